//! What a filter means for a resource (RFC 7644 section 3.4.2.2).
//!
//! Invariant: the schema decides how values compare: `caseExact`, booleans, numbers, dates. A complex
//! value compares by its `value` sub-attribute, a multi-valued attribute matches if any value does.
//! Absent: finding the resources to ask; the caller walks them, with [`Filter::index_lookup`] as its
//! short cut.

use std::cmp::Ordering;
use std::slice;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::core_schema::USER_URN;
use super::error::ScimError;
use super::schema::{Attribute, AttributeType, Container, Resolved, ResourceType, Returned};
use super::syntax::{Comparison, Filter, Literal, Path, Test};
use super::value::{fold, is_unassigned, member, parse_boolean, same_text};

/// An attribute by which the store finds a resource at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexedAttribute {
    /// `id`
    Id,
    /// `userName`, folded
    UserName,
    /// `externalId`
    ExternalId,
}

impl Filter {
    /// Whether a resource matches. `resource` is the whole of it, with `id` and `meta`: what
    /// [`super::render()`] gives without a projection. Call [`Filter::check`] once before.
    #[must_use]
    pub fn matches(&self, resource: &Map<String, Value>, resource_type: &ResourceType) -> bool {
        self.holds(&|path, test| {
            let resolved = resource_type.resolve(path);
            holds_for(stored(resource, path, &resolved), path, &resolved, test)
        })
    }

    /// Refuses what can never be answered: an order of booleans or binaries, a boolean compared with
    /// a word, and the password, which must not be found out by asking (RFC 7643 section 7).
    ///
    /// # Errors
    /// 400 invalidFilter that names the attribute.
    pub fn check(&self, resource_type: &ResourceType) -> Result<(), ScimError> {
        self.check_terms(&|path| resource_type.resolve(path))
    }

    /// The one resource that the filter can match, if it says so: `userName eq "x"`, alone or joined
    /// with others by `and`. The value is folded as [`super::Resource::unique_values`] folds it. The
    /// resource found so must still be asked with [`Filter::matches`].
    #[must_use]
    pub fn index_lookup(&self) -> Option<(IndexedAttribute, String)> {
        match self {
            Self::And(parts) => parts.iter().find_map(Self::index_lookup),
            Self::Term {
                path,
                test: Test::Compare(Comparison::Eq, literal),
            } if !literal.is_null() => {
                let core = path
                    .urn
                    .as_deref()
                    .is_none_or(|urn| urn.eq_ignore_ascii_case(USER_URN));
                if !core || path.filter.is_some() || path.sub.is_some() {
                    return None;
                }
                let name = path.name.as_deref()?;
                let text = literal.text();
                if name.eq_ignore_ascii_case("userName") {
                    Some((IndexedAttribute::UserName, fold(text)))
                } else if name.eq_ignore_ascii_case("externalId") {
                    Some((IndexedAttribute::ExternalId, text.to_owned()))
                } else if name.eq_ignore_ascii_case("id") {
                    Some((IndexedAttribute::Id, text.to_owned()))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// Whether one value of a multi-valued attribute is meant, as `type eq "work"` in
    /// `emails[type eq "work"]`.
    pub(super) fn selects(&self, element: &Value, attribute: Option<&Attribute>) -> bool {
        self.holds(&|path, test| {
            let name = path.name.as_deref().unwrap_or_default();
            let value = match element {
                Value::Object(map) => member(map, name),
                // A plain list, `["a", "b"]`, is asked as if each were `{"value": …}`.
                plain => name.eq_ignore_ascii_case("value").then_some(plain),
            };
            holds_for(value, path, &element_resolved(path, attribute), test)
        })
    }

    fn holds(&self, term: &dyn Fn(&Path, &Test) -> bool) -> bool {
        match self {
            Self::Term { path, test } => term(path, test),
            Self::And(parts) => parts.iter().all(|part| part.holds(term)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(term)),
            Self::Not(inner) => !inner.holds(term),
        }
    }

    fn check_terms<'p>(
        &'p self,
        resolve: &dyn Fn(&'p Path) -> Resolved<'p>,
    ) -> Result<(), ScimError> {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().try_for_each(|part| part.check_terms(resolve))
            }
            Self::Not(inner) => inner.check_terms(resolve),
            Self::Term { path, test } => {
                let resolved = resolve(path);
                if let Some(filter) = &path.filter {
                    filter.check_terms(&|path| element_resolved(path, resolved.attribute))?;
                }
                let leaf = leaf_attribute(path, &resolved);
                leaf.map_or(Ok(()), |leaf| check_term(path, leaf, test))
            }
        }
    }
}

fn check_term(path: &Path, leaf: &Attribute, test: &Test) -> Result<(), ScimError> {
    if leaf.returned == Returned::Never {
        return Err(ScimError::invalid_filter(format!(
            "{path} cannot be used in a filter."
        )));
    }
    let Test::Compare(comparison, literal) = test else {
        return Ok(());
    };
    if literal.is_null() {
        return Ok(());
    }
    let ordered = !matches!(leaf.ty, AttributeType::Boolean | AttributeType::Binary);
    if comparison.is_order() && !ordered {
        return Err(ScimError::invalid_filter(format!(
            "{path} has no order; {} cannot be used with it.",
            comparison.as_str()
        )));
    }
    let problem = match leaf.ty {
        AttributeType::Boolean if parse_boolean(literal.text()).is_none() => {
            "compare it with true or false"
        }
        AttributeType::Integer | AttributeType::Decimal
            if literal.text().parse::<f64>().is_err() =>
        {
            "compare it with a number"
        }
        AttributeType::Complex => "name one of its sub-attributes",
        _ => return Ok(()),
    };
    Err(ScimError::invalid_filter(format!(
        "{path} is of type {}: {problem}.",
        leaf.ty.as_str()
    )))
}

impl Path {
    /// The value that stands at this path of a resource: the first one, if a value filter or the
    /// sub-attribute of a list leaves several. `None` if there is none or it is empty.
    #[must_use]
    pub fn value_in<'v>(
        &self,
        resource_type: &ResourceType,
        resource: &'v Map<String, Value>,
    ) -> Option<&'v Value> {
        let resolved = resource_type.resolve(self);
        let value = match (&self.name, resolved.container) {
            (None, Container::Extension(urn)) => member(resource, urn),
            _ => stored(resource, self, &resolved),
        }?;
        if self.filter.is_none() && self.sub.is_none() {
            return Some(value).filter(|value| !is_unassigned(value));
        }
        elements(Some(value))
            .iter()
            .filter(|element| self.picks(element, resolved.attribute))
            .filter_map(|element| self.part(element))
            .find(|value| !is_unassigned(value))
    }

    /// Whether the value filter, if there is one, picks this value.
    pub(super) fn picks(&self, element: &Value, attribute: Option<&Attribute>) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.selects(element, attribute))
    }

    /// The sub-attribute of a value, or the value itself if the path names none.
    fn part<'v>(&self, element: &'v Value) -> Option<&'v Value> {
        match &self.sub {
            None => Some(element),
            Some(sub) => member(element.as_object()?, sub),
        }
    }
}

/// The value that a resource holds under the path's attribute.
fn stored<'v>(
    resource: &'v Map<String, Value>,
    path: &Path,
    resolved: &Resolved<'_>,
) -> Option<&'v Value> {
    let map = match resolved.container {
        Container::Core => resource,
        Container::Extension(urn) => member(resource, urn)?.as_object()?,
    };
    member(
        map,
        resolved
            .attribute
            .map_or(path.name.as_deref()?, |attribute| &attribute.name),
    )
}

/// What a path within a value filter means: a sub-attribute of the filtered attribute.
fn element_resolved<'p>(path: &Path, attribute: Option<&'p Attribute>) -> Resolved<'p> {
    let own = attribute.and_then(|attribute| attribute.sub(path.name.as_deref()?));
    Resolved {
        container: Container::Core,
        schema: None,
        attribute: own,
        sub: None,
    }
}

fn elements(value: Option<&Value>) -> &[Value] {
    match value {
        None => &[],
        Some(Value::Array(items)) => items,
        Some(single) => slice::from_ref(single),
    }
}

/// The row that decides how the path's values compare.
fn leaf_attribute<'p>(path: &Path, resolved: &Resolved<'p>) -> Option<&'p Attribute> {
    match path.sub {
        Some(_) => resolved.sub,
        None => resolved
            .attribute
            .map(|attribute| attribute.sub("value").unwrap_or(attribute)),
    }
}

fn holds_for(value: Option<&Value>, path: &Path, resolved: &Resolved<'_>, test: &Test) -> bool {
    let mut leaves = elements(value)
        .iter()
        .filter(|element| path.picks(element, resolved.attribute))
        .filter_map(|element| path.part(element))
        .filter(|leaf| !is_unassigned(leaf));
    let Test::Compare(comparison, literal) = test else {
        return leaves.next().is_some();
    };
    if literal.is_null() {
        return match comparison {
            Comparison::Eq => leaves.next().is_none(),
            Comparison::Ne => leaves.next().is_some(),
            _ => false,
        };
    }
    let attribute = leaf_attribute(path, resolved);
    let mut leaves = leaves
        .filter_map(|leaf| match leaf {
            Value::Object(map) => member(map, "value"),
            plain => Some(plain),
        })
        .peekable();
    // What is absent differs from every value: `title ne "x"` holds for somebody without a title.
    if leaves.peek().is_none() {
        return *comparison == Comparison::Ne;
    }
    leaves.any(|leaf| compare(leaf, *comparison, literal, attribute))
}

fn compare(
    value: &Value,
    comparison: Comparison,
    literal: &Literal,
    attribute: Option<&Attribute>,
) -> bool {
    let text = literal.text();
    let ordering = match value {
        Value::Bool(boolean) => {
            let equal = parse_boolean(text) == Some(*boolean);
            return match comparison {
                Comparison::Eq => equal,
                Comparison::Ne => !equal,
                _ => false,
            };
        }
        Value::Number(number) => compare_numbers(number, text),
        Value::String(string) => {
            let dated = attribute.is_some_and(|attribute| attribute.ty == AttributeType::DateTime);
            match dated.then(|| instant(string).zip(instant(text))).flatten() {
                // `co`, `sw` and `ew` ask for text even of a date.
                Some((own, asked)) if !comparison.is_text() => Some(own.cmp(&asked)),
                _ => {
                    let exact = attribute.is_some_and(|attribute| attribute.case_exact);
                    return compare_text(string, comparison, text, exact);
                }
            }
        }
        _ => None,
    };
    match ordering {
        Some(ordering) => ordered(comparison, ordering),
        None => comparison == Comparison::Ne,
    }
}

fn ordered(comparison: Comparison, ordering: Ordering) -> bool {
    match comparison {
        Comparison::Eq => ordering.is_eq(),
        Comparison::Ne => ordering.is_ne(),
        Comparison::Gt => ordering.is_gt(),
        Comparison::Ge => ordering.is_ge(),
        Comparison::Lt => ordering.is_lt(),
        Comparison::Le => ordering.is_le(),
        Comparison::Co | Comparison::Sw | Comparison::Ew => false,
    }
}

fn compare_numbers(number: &serde_json::Number, text: &str) -> Option<Ordering> {
    // Whole numbers first: a double would round long identifiers.
    if let (Some(own), Ok(asked)) = (number.as_i64(), text.parse::<i64>()) {
        return Some(own.cmp(&asked));
    }
    number.as_f64()?.partial_cmp(&text.parse().ok()?)
}

fn compare_text(own: &str, comparison: Comparison, asked: &str, exact: bool) -> bool {
    match comparison {
        Comparison::Eq => same_text(own, asked, exact),
        Comparison::Ne => !same_text(own, asked, exact),
        _ if exact => compare_exact(own, comparison, asked),
        _ => compare_exact(&fold(own), comparison, &fold(asked)),
    }
}

fn compare_exact(own: &str, comparison: Comparison, asked: &str) -> bool {
    match comparison {
        Comparison::Co => own.contains(asked),
        Comparison::Sw => own.starts_with(asked),
        Comparison::Ew => own.ends_with(asked),
        _ => ordered(comparison, own.cmp(asked)),
    }
}

/// A date with or without a time; without an offset it is taken as UTC.
fn instant(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let at = text.parse::<civil::DateTime>().ok()?;
        at.to_zoned(TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp())
    })
}
