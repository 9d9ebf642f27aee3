//! The resources that a filter can match, found by index; and what of a relation it needs to see.
//!
//! Invariant: whenever [`Filter::matches`] holds and [`Filter::lookups`] says something, one of its
//! lookups names the resource. Values are folded just as [`Resource::unique_values`] and
//! [`Resource::indexed_values`] fold them. Absent: the indexes; and asking the resources found, which
//! is still to be done with [`Filter::matches`].

use serde_json::Value;

use crate::scim::resource::{Resource, Unique};
use crate::scim::schema::{Container, ResourceKind, ResourceType};
use crate::scim::syntax::{Comparison, Filter, Path, Test};
use crate::scim::value::{fold, member};

/// An attribute with an index that several resources may share a value in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Indexed {
    /// `emails.value` of users, without regard to letter case.
    EmailValue,
    /// `displayName` of users, without regard to letter case. That of groups is unique.
    DisplayName,
}

impl Indexed {
    /// The attribute's path.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmailValue => "emails.value",
            Self::DisplayName => "displayName",
        }
    }
}

/// One question to an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// The resource with this `id`, as the filter spells it: `id` is caseExact.
    Id(String),
    /// The resource that holds this unique value, folded.
    Unique(Unique, String),
    /// The resources that hold this value, folded.
    Indexed(Indexed, String),
    /// The groups of which this is a member, or the members of this group, as the filter spells the
    /// `id`.
    Relation(String),
}

/// Which elements of `members` (of a group) or `groups` (of a user) [`Filter::matches`] has to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Relations {
    /// None: the filter does not ask for them.
    #[default]
    None,
    /// Those with these ids, as the filter spells them.
    Named(Vec<String>),
    /// All.
    All,
}

impl Relations {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, other) | (other, Self::None) => other,
            (Self::Named(mut ids), Self::Named(others)) => {
                for id in others {
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
                Self::Named(ids)
            }
            _ => Self::All,
        }
    }
}

/// The attributes that can be looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Id,
    Unique(Unique),
    DisplayName,
    Emails,
    Relation,
}

impl Source {
    /// What the path names, if it can be looked up: a simple attribute, or a complex one with its
    /// values in `value`.
    fn named(path: &Path, resource_type: &ResourceType) -> Option<Self> {
        let resolved = resource_type.resolve(path);
        if resolved.container != Container::Core {
            return None;
        }
        match (resource_type.kind, &*resolved.attribute?.name) {
            (_, "id") => Some(Self::Id),
            (_, "externalId") => Some(Self::Unique(Unique::ExternalId)),
            (ResourceKind::User, "userName") => Some(Self::Unique(Unique::UserName)),
            (ResourceKind::Group, "displayName") => Some(Self::Unique(Unique::DisplayName)),
            (ResourceKind::User, "displayName") => Some(Self::DisplayName),
            (ResourceKind::User, "emails") => Some(Self::Emails),
            (ResourceKind::Group, "members") | (ResourceKind::User, "groups") => {
                Some(Self::Relation)
            }
            _ => None,
        }
    }

    fn lookup(self, text: &str) -> Lookup {
        match self {
            Self::Id => Lookup::Id(text.to_owned()),
            Self::Unique(Unique::ExternalId) => Lookup::Unique(Unique::ExternalId, text.to_owned()),
            Self::Unique(unique) => Lookup::Unique(unique, fold(text)),
            Self::DisplayName => Lookup::Indexed(Indexed::DisplayName, fold(text)),
            Self::Emails => Lookup::Indexed(Indexed::EmailValue, fold(text)),
            Self::Relation => Lookup::Relation(text.to_owned()),
        }
    }
}

impl Lookup {
    /// How many resources it may name, roughly.
    const fn cost(&self) -> u8 {
        match self {
            Self::Id(_) => 0,
            Self::Unique(..) => 1,
            Self::Indexed(..) => 2,
            Self::Relation(_) => 3,
        }
    }
}

impl Filter {
    /// Questions to indexes whose answers, taken together, hold every resource that the filter
    /// matches; `None` if only a walk over all resources does. Of an `and` the cheapest part counts,
    /// of an `or` all parts.
    #[must_use]
    pub fn lookups(&self, resource_type: &ResourceType) -> Option<Vec<Lookup>> {
        match self {
            Self::And(parts) => parts
                .iter()
                .filter_map(|part| part.lookups(resource_type))
                .min_by_key(|lookups| {
                    let dearest = lookups.iter().map(Lookup::cost).max();
                    (dearest, lookups.len())
                }),
            Self::Or(parts) => {
                let mut all = Vec::with_capacity(parts.len());
                for part in parts {
                    for lookup in part.lookups(resource_type)? {
                        if !all.contains(&lookup) {
                            all.push(lookup);
                        }
                    }
                }
                Some(all)
            }
            Self::Not(_) => None,
            Self::Term { path, test } => {
                let source = Source::named(path, resource_type)?;
                let values = match source {
                    Source::Emails | Source::Relation => values_needed(path, test)?,
                    _ if path.filter.is_none() && path.sub.is_none() => vec![equal_to(test)?],
                    _ => return None,
                };
                Some(values.into_iter().map(|text| source.lookup(text)).collect())
            }
        }
    }

    /// Which elements of `members` or `groups` the map given to [`Filter::matches`] must hold. Named
    /// ones suffice where every term on them is an equality on their `value`.
    #[must_use]
    pub fn relations(&self, resource_type: &ResourceType) -> Relations {
        match self {
            Self::And(parts) | Self::Or(parts) => parts
                .iter()
                .map(|part| part.relations(resource_type))
                .fold(Relations::None, Relations::and),
            Self::Not(inner) => inner.relations(resource_type),
            Self::Term { path, test } => {
                if Source::named(path, resource_type) != Some(Source::Relation) {
                    return Relations::None;
                }
                // An element that the value filter, or the comparison, cannot mean changes nothing.
                let values = values_compared(path, test)
                    .or_else(|| path.filter.as_deref().and_then(values_picked));
                values.map_or(Relations::All, |values| {
                    Relations::Named(values.into_iter().map(str::to_owned).collect())
                })
            }
        }
    }

    /// The one id, as the filter spells it, if the filter asks for nothing but membership: `members eq
    /// "x"`, `groups.value eq "x"`, `members[value eq "x"]`. Then the relation alone is the answer.
    #[must_use]
    pub fn only_relation(&self, resource_type: &ResourceType) -> Option<&str> {
        let Self::Term { path, test } = self else {
            return None;
        };
        if Source::named(path, resource_type)? != Source::Relation || !means_value(path) {
            return None;
        }
        match (path.filter.as_deref(), test) {
            (None, test) => equal_to(test),
            (Some(Self::Term { path, test }), Test::Present) => element_equal_to(path, test),
            _ => None,
        }
    }
}

impl Resource {
    /// The values under which indexes hold this resource beside its unique ones, folded for
    /// comparison, each once.
    #[must_use]
    pub fn indexed_values(&self, kind: ResourceKind) -> Vec<(Indexed, String)> {
        if kind == ResourceKind::Group {
            return Vec::new();
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(fold);
        let emails = self.get("emails").and_then(Value::as_array);
        let emails = emails.into_iter().flatten().filter_map(|element| {
            let value = match element {
                Value::Object(map) => member(map, "value"),
                plain => Some(plain),
            };
            Some((Indexed::EmailValue, text(value)?))
        });
        let name = text(self.get("displayName")).map(|name| (Indexed::DisplayName, name));
        let mut values: Vec<(Indexed, String)> = name.into_iter().chain(emails).collect();
        values.sort();
        values.dedup();
        values
    }
}

/// The values of which an element must hold one for the term to hold; `None` if it may hold for others
/// or without any.
fn values_needed<'f>(path: &'f Path, test: &'f Test) -> Option<Vec<&'f str>> {
    values_compared(path, test).or_else(|| {
        let filter = path.filter.as_deref()?;
        // These hold where no element is left.
        let holds_for_none = match test {
            Test::Present => false,
            Test::Compare(Comparison::Eq, literal) => literal.is_null(),
            Test::Compare(Comparison::Ne, literal) => !literal.is_null(),
            Test::Compare(..) => false,
        };
        if holds_for_none {
            return None;
        }
        values_picked(filter)
    })
}

/// `emails eq "x"`, `emails.value eq "x"`, `emails[…].value eq "x"`
fn values_compared<'f>(path: &Path, test: &'f Test) -> Option<Vec<&'f str>> {
    means_value(path)
        .then(|| equal_to(test))?
        .map(|text| vec![text])
}

/// The values of which an element must hold one to pass a value filter.
fn values_picked(filter: &Filter) -> Option<Vec<&str>> {
    match filter {
        Filter::And(parts) => parts.iter().filter_map(values_picked).min_by_key(Vec::len),
        Filter::Or(parts) => {
            let parts = parts
                .iter()
                .map(values_picked)
                .collect::<Option<Vec<_>>>()?;
            Some(parts.into_iter().flatten().collect())
        }
        Filter::Not(_) => None,
        Filter::Term { path, test } => element_equal_to(path, test).map(|text| vec![text]),
    }
}

/// Whether the path ends in an element's `value`, named or not.
fn means_value(path: &Path) -> bool {
    path.sub
        .as_deref()
        .is_none_or(|sub| sub.eq_ignore_ascii_case("value"))
}

/// `value eq "x"` within a value filter.
fn element_equal_to<'f>(path: &Path, test: &'f Test) -> Option<&'f str> {
    let plain = path.urn.is_none() && path.filter.is_none() && path.sub.is_none();
    let name = path.name.as_deref().filter(|_| plain)?;
    name.eq_ignore_ascii_case("value").then(|| equal_to(test))?
}

/// The text of `eq "x"`.
fn equal_to(test: &Test) -> Option<&str> {
    match test {
        Test::Compare(Comparison::Eq, literal) if !literal.is_null() => Some(literal.text()),
        _ => None,
    }
}
