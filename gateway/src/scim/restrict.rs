//! What of a resource an app hears: the attributes of its profile, and no others.
//!
//! Invariant: a value that no path of the profile names never leaves the gateway. What a path needs to
//! be understood stays with it: the `type` of `emails[type eq "work"].value`.

use serde_json::{Map, Value};

use super::profile::Profile;
use super::render::{Target, naming};
use super::resource::Resource;
use super::schema::{Attribute, Container, ResourceKind, ResourceType};
use super::syntax::Path;
use super::value::is_urn;

impl Profile {
    /// The part of a resource that the app takes. `schemas` names what is left.
    #[must_use]
    pub fn restrict(&self, kind: ResourceKind, resource: &Resource) -> Resource {
        let Some(resource_type) = self.resource_type(kind) else {
            return Resource::default();
        };
        let paths: Vec<Target<'_>> = self
            .paths(kind)
            .iter()
            .map(|known| (resource_type.resolve(&known.path).container, &known.path))
            .collect();
        let mut kept = Map::with_capacity(resource.as_map().len());
        kept.insert("schemas".to_owned(), Value::Null);
        for (key, value) in resource.as_map() {
            let value = match value {
                Value::Object(members) if is_urn(key) => {
                    restrict_extension(resource_type, &paths, key, members)
                }
                value => {
                    let attribute = resource_type.core_attribute(key);
                    restrict_value(value, attribute, &naming(&paths, Container::Core, key))
                }
            };
            if let Some(value) = value {
                kept.insert(key.clone(), value);
            }
        }
        resource_type.refresh_schemas(&mut kept);
        Resource(kept)
    }
}

fn restrict_extension(
    resource_type: &ResourceType,
    paths: &[Target<'_>],
    urn: &str,
    members: &Map<String, Value>,
) -> Option<Value> {
    let schema = resource_type.extension(urn)?;
    let kept: Map<String, Value> = members
        .iter()
        .filter_map(|(name, value)| {
            let named = naming(paths, Container::Extension(urn), name);
            let value = restrict_value(value, schema.attribute(name), &named)?;
            Some((name.clone(), value))
        })
        .collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

fn restrict_value(value: &Value, attribute: Option<&Attribute>, named: &[&Path]) -> Option<Value> {
    if named.is_empty() {
        return None;
    }
    if named
        .iter()
        .any(|path| path.filter.is_none() && path.sub.is_none())
    {
        return Some(value.clone());
    }
    let members = |item: &Value| -> Option<Value> {
        let picking: Vec<&&Path> = named
            .iter()
            .filter(|path| path.picks(item, attribute))
            .collect();
        let Value::Object(members) = item else {
            return (!picking.is_empty()).then(|| item.clone());
        };
        let kept: Map<String, Value> = members
            .iter()
            .filter(|(name, _)| picking.iter().any(|path| tells(path, name)))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        (!kept.is_empty()).then_some(Value::Object(kept))
    };
    match value {
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().filter_map(members).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        single => members(single),
    }
}

/// Whether a path is about this sub-attribute, or tells by it which value it means.
fn tells(path: &Path, name: &str) -> bool {
    let named = path.sub.as_deref();
    let described = path.filter.as_ref().and_then(|filter| filter.equalities());
    named.is_none_or(|sub| sub.eq_ignore_ascii_case(name))
        || described
            .unwrap_or_default()
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
}
