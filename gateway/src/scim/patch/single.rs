//! PATCH on a single value: setting it, its parts, and what both sorts of attribute share.
//!
//! Invariant: values pass the same coercion as in POST; what is empty does not stay.

use serde_json::{Map, Value};

use super::work::Work;
use crate::scim::dialect::Reading;
use crate::scim::error::ScimError;
use crate::scim::schema::{Attribute, Mutability, Resolved};
use crate::scim::syntax::Path;
use crate::scim::value::{
    At, assigned, check_unknown_sub, coerce_list, coerce_one, collapse, key_of, refers_to_nothing,
};

/// The key under which the attribute stands: its canonical name, or the spelling in which an unknown
/// one was first sent.
pub(super) fn own_key(
    map: &Map<String, Value>,
    name: &str,
    attribute: Option<&Attribute>,
) -> String {
    match attribute {
        Some(attribute) => attribute.name.clone().into_owned(),
        None => key_of(map, name).into_owned(),
    }
}

/// Sets a single-valued attribute or a part of it.
#[expect(
    clippy::too_many_arguments,
    reason = "one place, one operation, what bounds it"
)]
pub(super) fn set_single(
    map: &mut Map<String, Value>,
    key: String,
    path: &Path,
    resolved: &Resolved<'_>,
    value: Value,
    at: &At<'_>,
    reading: &Reading<'_>,
    work: &Work,
) -> Result<(), ScimError> {
    let Some(sub) = path.sub.as_deref() else {
        // An object is merged part by part, unless it stands for its `value`: another manager has
        // another `$ref`.
        let merges = resolved
            .attribute
            .is_none_or(|attribute| attribute.is_complex() && !attribute.has_value_sub());
        let value = match value {
            Value::Object(members) if merges && !members.is_empty() => {
                let mut target = match map.get_mut(&key).map(Value::take) {
                    Some(Value::Object(target)) => target,
                    _ => Map::new(),
                };
                merge(&mut target, members, resolved.attribute, at, reading, work)?;
                assigned(Value::Object(target))
            }
            value => coerce_or_keep(resolved.attribute, value, at, reading)?,
        };
        put(map, key, value);
        return Ok(());
    };
    if let Some(attribute) = resolved
        .attribute
        .filter(|attribute| !attribute.is_complex())
    {
        return Err(ScimError::invalid_path(format!(
            "{} has no sub-attributes.",
            attribute.name
        )));
    }
    let Some(value) = coerce_or_keep(resolved.sub, value, at, reading)? else {
        drop_sub(map, &key, sub, resolved.attribute);
        return Ok(());
    };
    let target = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    // Another manager has another `$ref`: nothing of the old one stays.
    let another = resolved.attribute.is_some_and(Attribute::has_value_sub)
        && sub.eq_ignore_ascii_case("value")
        && target.get("value").is_some_and(|old| *old != value);
    if another || !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Some(target) = target.as_object_mut() {
        let key = own_key(target, sub, resolved.sub);
        target.insert(key, value);
    }
    Ok(())
}

fn put(map: &mut Map<String, Value>, key: String, value: Option<Value>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.shift_remove(&key)),
    }
}

pub(super) fn coerce_or_keep(
    attribute: Option<&Attribute>,
    value: Value,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<Option<Value>, ScimError> {
    match attribute {
        Some(attribute) => coerce_one(attribute, value, at, reading),
        None => Ok(assigned(value)),
    }
}

/// Merges the parts of an object; a part that is null goes, the others stay.
pub(super) fn merge(
    target: &mut Map<String, Value>,
    members: Map<String, Value>,
    attribute: Option<&Attribute>,
    at: &At<'_>,
    reading: &Reading<'_>,
    work: &Work,
) -> Result<(), ScimError> {
    for (name, value) in members {
        let sub = attribute.and_then(|attribute| attribute.sub(&name));
        // A name in another spelling is looked for among all, and what stands behind it moves up when
        // it goes.
        let looks = sub.is_none() && !target.contains_key(&name);
        work.charge(if looks || value.is_null() {
            target.len()
        } else {
            1
        })?;
        if sub.is_some_and(|sub| sub.mutability == Mutability::ReadOnly) {
            continue;
        }
        if sub.is_none() && attribute.is_some() {
            check_unknown_sub(&name, at, reading)?;
        }
        let value = coerce_or_keep(sub, value, &at.part(&name), reading)?;
        let key = own_key(target, &name, sub);
        put(target, key, value);
    }
    Ok(())
}

/// Takes one part of an object away, and the object with it if nothing of worth is left.
pub(super) fn drop_sub(
    map: &mut Map<String, Value>,
    key: &str,
    sub: &str,
    attribute: Option<&Attribute>,
) {
    let Some(target) = map.get_mut(key).and_then(Value::as_object_mut) else {
        return;
    };
    let sub_key = key_of(target, sub).into_owned();
    target.shift_remove(&sub_key);
    let stands_for_value = attribute.is_some_and(Attribute::has_value_sub);
    if target.is_empty() || (stands_for_value && !target.contains_key("value")) {
        map.shift_remove(key);
    }
}

/// The values of a list attribute, coerced if its type is known.
pub(super) fn coerce_values(
    attribute: Option<&Attribute>,
    value: Value,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<Vec<Value>, ScimError> {
    match (attribute, value) {
        (Some(attribute), value) => coerce_list(attribute, value, at, reading),
        (None, Value::Array(items)) => Ok(items.into_iter().filter_map(assigned).collect()),
        (None, value) => Ok(assigned(value).into_iter().collect()),
    }
}

/// Takes away what has lost its worth, the values of a list that only say what they were for and a
/// manager without a `value`, and joins what has become the same.
pub(super) fn tidy_values(map: &mut Map<String, Value>, key: &str, attribute: Option<&Attribute>) {
    let label = |name: &str| matches!(name, "type" | "primary");
    let hollow = match map.get_mut(key) {
        Some(Value::Array(items)) => {
            items.retain(|item| {
                let members = item.as_object();
                members.is_none_or(|members| members.keys().any(|name| !label(name)))
            });
            if attribute.is_some() {
                collapse(items, attribute);
            }
            items.is_empty()
        }
        Some(Value::Object(members)) => {
            attribute.is_some_and(Attribute::has_value_sub) && refers_to_nothing(members)
        }
        _ => false,
    };
    if hollow {
        map.shift_remove(key);
    }
}
