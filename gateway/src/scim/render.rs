//! Giving a resource out: `id`, `meta`, and the client's choice of attributes (RFC 7644 sections
//! 3.4.2.5 and 3.9), and the list around several.
//!
//! Invariant: what is `returned: never` leaves by no road, what is `returned: always` by every one.
//! Absent: which resources are on the page.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::dialect::Reading;
use super::error::ScimError;
use super::grammar::parse_path;
use super::resource::Resource;
use super::schema::{Attribute, Container, ResourceType, Returned};
use super::syntax::Path;
use super::value::is_urn;
use super::version::etag;

const LIST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// What the gateway knows of a resource beside its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The resource's identifier.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub modified: Timestamp,
    /// How often it was written.
    pub version: u64,
    /// Its absolute URL.
    pub location: String,
}

/// Which attributes the client asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// Those that are returned by default.
    #[default]
    Default,
    /// `attributes`: these and what is always returned.
    Only(Vec<Path>),
    /// `excludedAttributes`: the default ones without these.
    Except(Vec<Path>),
}

impl Projection {
    /// Reads the two query parameters; `attributes` counts if both are there. Names that no schema
    /// knows are no error: they choose nothing.
    ///
    /// # Errors
    /// 400 invalidPath if a name cannot be read or a list is too long.
    pub fn parse(
        attributes: Option<&str>,
        excluded: Option<&str>,
        reading: &Reading<'_>,
    ) -> Result<Self, ScimError> {
        Ok(match (attributes.map(str::trim), excluded.map(str::trim)) {
            (Some(list), _) if !list.is_empty() => Self::Only(parse_list(list, reading)?),
            (_, Some(list)) if !list.is_empty() => Self::Except(parse_list(list, reading)?),
            _ => Self::Default,
        })
    }

    /// Whether any part of this core attribute can be in the answer: if not, it need not be read.
    #[must_use]
    pub fn shows(&self, resource_type: &ResourceType, attribute: &str) -> bool {
        let row = resource_type.core_attribute(attribute);
        let returned = row.map_or(Returned::Default, |row| row.returned);
        let names = |path: &&Path| {
            let core = resource_type.resolve(path).container == Container::Core;
            let name = path.name.as_deref();
            core && name.is_none_or(|name| name.eq_ignore_ascii_case(attribute))
        };
        match (returned, self) {
            (Returned::Always, _) => true,
            (Returned::Never, _) | (Returned::Request, Self::Default | Self::Except(_)) => false,
            (Returned::Default, Self::Default) => true,
            (_, Self::Only(paths)) => paths.iter().any(|path| names(&path)),
            (_, Self::Except(paths)) => !paths
                .iter()
                .filter(names)
                .any(|path| path.filter.is_none() && path.sub.is_none()),
        }
    }

    /// Applies the choice to a resource that [`render()`] gave with [`Projection::Default`]: for a
    /// caller that has to filter the whole resource first.
    #[must_use]
    pub fn apply(&self, resource_type: &ResourceType, whole: Value) -> Value {
        match (self, whole) {
            (Self::Only(paths), Value::Object(map)) => {
                Value::Object(project(resource_type, map, paths, true))
            }
            (Self::Except(paths), Value::Object(map)) => {
                Value::Object(project(resource_type, map, paths, false))
            }
            (_, whole) => whole,
        }
    }
}

/// A list of paths; the commas within brackets and quotes are not its own.
fn parse_list(list: &str, reading: &Reading<'_>) -> Result<Vec<Path>, ScimError> {
    let limits = reading.limits();
    if list.len() > limits.filter_bytes_max {
        return Err(ScimError::invalid_path(format!(
            "The list of attributes is {} bytes long; at most {} (filter_bytes_max) are allowed.",
            list.len(),
            limits.filter_bytes_max
        )));
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let names = list.split(|c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0 && !quoted
    });
    let names: Vec<&str> = names
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if names.len() > limits.filter_terms_max {
        return Err(ScimError::invalid_path(format!(
            "The list of attributes names {}; at most {} (filter_terms_max) are allowed.",
            names.len(),
            limits.filter_terms_max
        )));
    }
    names
        .into_iter()
        .map(|name| parse_path(name, reading))
        .collect()
}

/// A resource as the client sees it. It is taken apart, nothing of it is copied. `relation` is what the
/// gateway keeps beside the document: the members of a group, the groups of a user; nothing is shown of
/// an empty list, as of any other (RFC 7643 section 2.5).
#[must_use]
pub fn render(
    resource_type: &ResourceType,
    resource: Resource,
    meta: &Meta,
    relation: Option<Vec<Value>>,
    projection: &Projection,
) -> Value {
    let mut map = resource.0;
    // What only comes on request must not be lost before the request is looked at.
    let asked = matches!(projection, Projection::Only(_));
    let hidden = |key: &str| {
        resource_type
            .core_attribute(key)
            .is_some_and(|attribute| match attribute.returned {
                Returned::Never => true,
                Returned::Request => !asked,
                Returned::Always | Returned::Default => false,
            })
    };
    if map.keys().any(|key| hidden(key)) {
        map.retain(|key, _| !hidden(key));
    }
    let second = map.len().min(1);
    map.shift_insert(second, "id".to_owned(), Value::from(meta.id.as_str()));
    if let Some(elements) = relation.filter(|elements| !elements.is_empty()) {
        let key = resource_type.kind.relation();
        map.insert(key.to_owned(), Value::Array(elements));
    }
    if projection.shows(resource_type, "meta") {
        map.insert("meta".to_owned(), render_meta(resource_type, meta));
    }
    projection.apply(resource_type, Value::Object(map))
}

fn render_meta(resource_type: &ResourceType, meta: &Meta) -> Value {
    let mut map = Map::with_capacity(5);
    let mut put = |name: &str, text: String| map.insert(name.to_owned(), Value::String(text));
    put("resourceType", resource_type.kind.as_str().to_owned());
    // Milliseconds: what every client's date type can hold.
    put("created", format!("{:.3}", meta.created));
    put("lastModified", format!("{:.3}", meta.modified));
    put("location", meta.location.clone());
    put("version", etag(meta.version));
    Value::Object(map)
}

/// A path and the object in which its attribute stands.
pub(super) type Target<'p> = (Container<'p>, &'p Path);

/// Goes through a resource once; `keep` says whether the paths name what stays or what goes.
fn project(
    resource_type: &ResourceType,
    map: Map<String, Value>,
    paths: &[Path],
    keep: bool,
) -> Map<String, Value> {
    let targets: Vec<Target<'_>> = paths
        .iter()
        .map(|path| (resource_type.resolve(path).container, path))
        .collect();
    let mut out = Map::with_capacity(map.len());
    for (key, value) in map {
        let kept = match value {
            Value::Object(members) if is_urn(&key) => {
                let schema = resource_type.extension(&key);
                let whole = paths.iter().any(|path| {
                    path.name.is_none()
                        && path
                            .urn
                            .as_deref()
                            .is_some_and(|urn| urn.eq_ignore_ascii_case(&key))
                });
                if whole {
                    keep.then_some(Value::Object(members))
                } else {
                    let container = Container::Extension(&key);
                    let inner: Map<String, Value> = members
                        .into_iter()
                        .filter_map(|(name, value)| {
                            let attribute = schema.and_then(|schema| schema.attribute(&name));
                            let named = naming(&targets, container, &name);
                            Some((name, choose(value, attribute, &named, keep)?))
                        })
                        .collect();
                    (!inner.is_empty()).then_some(Value::Object(inner))
                }
            }
            value => {
                let attribute = resource_type.core_attribute(&key);
                let named = naming(&targets, Container::Core, &key);
                choose(value, attribute, &named, keep)
            }
        };
        if let Some(value) = kept {
            out.insert(key, value);
        }
    }
    out
}

/// The paths that name this attribute or a part of it.
pub(super) fn naming<'p>(
    targets: &[Target<'p>],
    container: Container<'_>,
    key: &str,
) -> Vec<&'p Path> {
    let names = |(target, path): &&Target<'p>| {
        let here = match (target, container) {
            (Container::Core, Container::Core) => true,
            (Container::Extension(one), Container::Extension(other)) => {
                one.eq_ignore_ascii_case(other)
            }
            _ => false,
        };
        // The core schema's URN alone names all that stands at the top.
        let name = path.name.as_deref();
        here && name.is_none_or(|name| name.eq_ignore_ascii_case(key))
    };
    targets
        .iter()
        .filter(names)
        .map(|(_, path)| *path)
        .collect()
}

/// What is left of one attribute's value; `None` if nothing is.
fn choose(
    value: Value,
    attribute: Option<&Attribute>,
    named: &[&Path],
    keep: bool,
) -> Option<Value> {
    if attribute.is_some_and(|attribute| attribute.returned == Returned::Always) {
        return Some(value);
    }
    if named.is_empty() {
        return (!keep).then_some(value);
    }
    if named
        .iter()
        .any(|path| path.filter.is_none() && path.sub.is_none())
    {
        return keep.then_some(value);
    }
    match value {
        Value::Array(items) => {
            let items: Vec<Value> = items
                .into_iter()
                .filter_map(|item| choose_members(item, attribute, named, keep))
                .collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        single => choose_members(single, attribute, named, keep),
    }
}

/// What is left of one value when the paths name sub-attributes or some values only.
fn choose_members(
    value: Value,
    attribute: Option<&Attribute>,
    named: &[&Path],
    keep: bool,
) -> Option<Value> {
    let picking: Vec<&Path> = named
        .iter()
        .copied()
        .filter(|path| path.picks(&value, attribute))
        .collect();
    let is_named = |name: &str| {
        picking.iter().any(|path| {
            path.sub
                .as_deref()
                .is_none_or(|sub| sub.eq_ignore_ascii_case(name))
        })
    };
    match value {
        Value::Object(members) => {
            let left: Map<String, Value> = members
                .into_iter()
                .filter(|(name, _)| is_named(name) == keep)
                .collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        plain => (is_named("value") == keep).then_some(plain),
    }
}

/// One page of a result (RFC 7644 section 3.4.2, RFC 9865 section 2).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// How many resources match, on all pages together.
    pub total: Option<u64>,
    /// The place of the first resource of the page, from 1; not on pages by cursor.
    pub start_index: Option<u64>,
    /// What the client sends for the next page; none on the last page.
    pub next_cursor: Option<String>,
    /// The resources of the page, rendered.
    pub resources: Vec<Value>,
}

impl Page {
    /// A result that fits on one page.
    #[must_use]
    pub fn whole(resources: Vec<Value>) -> Self {
        Self {
            total: Some(resources.len() as u64),
            start_index: Some(1),
            next_cursor: None,
            resources,
        }
    }

    /// The `ListResponse`. `Resources` is there also when it is empty: Entra reads it unasked.
    #[must_use]
    pub fn body(self) -> Value {
        let mut map = Map::with_capacity(6);
        map.insert("schemas".to_owned(), json!([LIST_URN]));
        let mut put = |name: &str, value: Option<Value>| {
            map.extend(value.map(|value| (name.to_owned(), value)));
        };
        put("totalResults", self.total.map(Value::from));
        put("startIndex", self.start_index.map(Value::from));
        put("itemsPerPage", Some(Value::from(self.resources.len())));
        put("nextCursor", self.next_cursor.map(Value::from));
        put("Resources", Some(Value::Array(self.resources)));
        Value::Object(map)
    }
}
