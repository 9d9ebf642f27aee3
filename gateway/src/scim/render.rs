//! Giving a resource out: `id`, `meta`, and the client's choice of attributes (RFC 7644 sections
//! 3.4.2.5 and 3.9), and the list around several.
//!
//! Invariant: what is `returned: never` leaves by no road, what is `returned: always` by every one.
//! Absent: which resources are on the page.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::error::ScimError;
use super::grammar::parse_path;
use super::limits::ScimLimits;
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
        limits: &ScimLimits,
    ) -> Result<Self, ScimError> {
        Ok(match (attributes.map(str::trim), excluded.map(str::trim)) {
            (Some(list), _) if !list.is_empty() => Self::Only(parse_list(list, limits)?),
            (_, Some(list)) if !list.is_empty() => Self::Except(parse_list(list, limits)?),
            _ => Self::Default,
        })
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
fn parse_list(list: &str, limits: &ScimLimits) -> Result<Vec<Path>, ScimError> {
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
        .map(|name| parse_path(name, limits))
        .collect()
}

/// A resource as the client sees it.
#[must_use]
pub fn render(
    resource_type: &ResourceType,
    resource: &Resource,
    meta: &Meta,
    projection: &Projection,
) -> Value {
    let mut map = Map::with_capacity(resource.0.len() + 2);
    if let Some(schemas) = resource.0.get("schemas") {
        map.insert("schemas".to_owned(), schemas.clone());
    }
    map.insert("id".to_owned(), Value::from(meta.id.as_str()));
    // What only comes on request must not be lost before the request is looked at.
    let asked = matches!(projection, Projection::Only(_));
    for (key, value) in &resource.0 {
        let returned = resource_type
            .core_attribute(key)
            .map_or(Returned::Default, |attribute| attribute.returned);
        if key != "schemas"
            && (returned == Returned::Default || (asked && returned == Returned::Request))
        {
            map.insert(key.clone(), value.clone());
        }
    }
    map.insert("meta".to_owned(), render_meta(resource_type, meta));
    projection.apply(resource_type, Value::Object(map))
}

fn render_meta(resource_type: &ResourceType, meta: &Meta) -> Value {
    json!({
        "resourceType": resource_type.kind.as_str(),
        // Milliseconds: what every client's date type can hold.
        "created": format!("{:.3}", meta.created),
        "lastModified": format!("{:.3}", meta.modified),
        "location": meta.location,
        "version": etag(meta.version),
    })
}

/// A path and the object in which its attribute stands.
type Target<'p> = (Container<'p>, &'p Path);

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
                choose(
                    value,
                    attribute,
                    &naming(&targets, Container::Core, &key),
                    keep,
                )
            }
        };
        if let Some(value) = kept {
            out.insert(key, value);
        }
    }
    out
}

/// The paths that name this attribute or a part of it.
fn naming<'p>(targets: &[Target<'p>], container: Container<'_>, key: &str) -> Vec<&'p Path> {
    let names = |(target, path): &&Target<'p>| {
        let here = match (target, container) {
            (Container::Core, Container::Core) => true,
            (Container::Extension(one), Container::Extension(other)) => {
                one.eq_ignore_ascii_case(other)
            }
            _ => false,
        };
        let name = path.name.as_deref();
        here && name.is_some_and(|name| name.eq_ignore_ascii_case(key))
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

/// One page of a result (RFC 7644 section 3.4.2). `total` counts all matches, `start_index` begins
/// with 1 and is the client's own.
#[must_use]
pub fn list_response(total: u64, start_index: u64, resources: Vec<Value>) -> Value {
    json!({
        "schemas": [LIST_URN],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}
