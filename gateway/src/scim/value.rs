//! Values: what counts as none, how one is brought to its attribute's type, how a name finds one.
//!
//! Invariant: POST, PUT and PATCH bring values to their type here and nowhere else. Only the type is
//! judged, never the form of a date, a URI, a language or a phone number (Entra fact 2.11).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Number, Value};

use super::dialect::{Form, Reading};
use super::error::ScimError;
use super::schema::{Attribute, AttributeType, Mutability};

/// The form in which values that are not caseExact are compared: Unicode lower case.
#[must_use]
pub fn fold(value: &str) -> String {
    value.to_lowercase()
}

/// Whether two texts are equal, with or without regard to letter case.
pub(super) fn same_text(one: &str, other: &str, exact: bool) -> bool {
    if exact || one == other {
        return one == other;
    }
    // The usual question, answered without building anything.
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    fold(one) == fold(other)
}

/// Whether a key of a resource is a schema's URN.
pub(super) fn is_urn(key: &str) -> bool {
    key.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
}

/// The key under which `name` stands in `map`, or `name` itself.
pub(super) fn key_of<'n>(map: &Map<String, Value>, name: &'n str) -> Cow<'n, str> {
    if map.contains_key(name) {
        return Cow::Borrowed(name);
    }
    match map.keys().find(|key| key.eq_ignore_ascii_case(name)) {
        Some(key) => Cow::Owned(key.clone()),
        None => Cow::Borrowed(name),
    }
}

/// The value under `name`, in any letter case.
pub(super) fn member<'v>(map: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    map.get(name).or_else(|| {
        map.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

/// Whether a value counts as absent (RFC 7643 section 2.5; Entra clears with `""`).
pub(super) fn is_unassigned(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a client's value takes away what stands `at` its place. RFC 7643 section 2.5 knows null and
/// `[]` for that; `""` is a form of its own.
pub(super) fn unassigns(
    value: &Value,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<bool, ScimError> {
    let empty = matches!(value, Value::String(text) if text.is_empty());
    if empty && !reading.tolerates(Form::EmptyUnassigns) {
        return Err(ScimError::invalid_value(format!(
            "{at} must not be an empty string; null takes a value away."
        )));
    }
    Ok(is_unassigned(value))
}

/// The value, unless it counts as absent.
pub(super) fn assigned(value: Value) -> Option<Value> {
    (!is_unassigned(&value)).then_some(value)
}

/// Where a value stands, for messages; nothing is built unless it is printed.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) outer: Option<&'a At<'a>>,
    pub(super) name: &'a str,
    pub(super) before: &'static str,
}

impl<'a> At<'a> {
    pub(super) fn top(name: &'a str) -> Self {
        Self {
            outer: None,
            name,
            before: "",
        }
    }

    /// A part of what stands here.
    pub(super) fn part<'b>(&'b self, name: &'b str) -> At<'b> {
        At {
            outer: Some(self),
            name,
            before: ".",
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            write!(f, "{outer}{}", self.before)?;
        }
        f.write_str(self.name)
    }
}

/// Brings a value to its attribute's type; `None` unassigns.
pub(super) fn coerce(
    attribute: &Attribute,
    value: Value,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<Option<Value>, ScimError> {
    if !attribute.multi_valued {
        return coerce_one(attribute, value, at, reading);
    }
    let list = coerce_list(attribute, value, at, reading)?;
    Ok((!list.is_empty()).then_some(Value::Array(list)))
}

/// The items of a value that stands for a list; none if it unassigns. A single one stands for a list of
/// one where the dialect takes it.
pub(super) fn items(
    value: Value,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<Vec<Value>, ScimError> {
    if unassigns(&value, at, reading)? {
        return Ok(Vec::new());
    }
    match value {
        Value::Array(items) => Ok(items),
        single if reading.tolerates(Form::ObjectForList) => Ok(vec![single]),
        _ => Err(ScimError::invalid_value(format!("{at} must be a list."))),
    }
}

/// The values of a multi-valued attribute, each once. A single object or word stands for a list of one.
pub(super) fn coerce_list(
    attribute: &Attribute,
    value: Value,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<Vec<Value>, ScimError> {
    let items = items(value, at, reading)?;
    check_count(items.len(), at, reading.limits().values_max)?;
    let mut list = Vec::with_capacity(items.len());
    let mut has_primary = false;
    for item in items {
        if item.is_array() {
            return Err(ScimError::invalid_value(format!(
                "{at} must not hold a list within a list."
            )));
        }
        let Some(mut value) = coerce_one(attribute, item, at, reading)? else {
            continue;
        };
        // "The primary attribute value true MUST appear no more than once" (RFC 7643 section 2.4).
        // The first one counts; a refusal would cost the administrator the whole user.
        if is_primary(&value) {
            if has_primary {
                if !reading.tolerates(Form::PrimaryTwice) {
                    return Err(ScimError::invalid_value(format!(
                        "{at} must not hold more than one primary value."
                    )));
                }
                value["primary"] = Value::Bool(false);
            }
            has_primary = true;
        }
        list.push(value);
    }
    collapse(&mut list, Some(attribute));
    Ok(list)
}

/// Whether this is the primary one of several values.
pub(super) fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

/// Refuses more values of one attribute than the limit allows.
pub(super) fn check_count(
    count: usize,
    at: &impl fmt::Display,
    values_max: usize,
) -> Result<(), ScimError> {
    if count > values_max {
        return Err(ScimError::invalid_value(format!(
            "{at} holds {count} values; at most {values_max} (values_max) are allowed."
        )));
    }
    Ok(())
}

/// Joins values that are one: no pair of `type` and `value` stands twice (RFC 7643 section 2.4). The
/// first keeps its place and takes over what the later ones say besides. Values without `value`, such
/// as addresses, are one if they are equal.
pub(super) fn collapse(list: &mut Vec<Value>, attribute: Option<&Attribute>) {
    if list.len() < 2 {
        return;
    }
    let mut places: HashMap<(String, Option<String>), usize> = HashMap::with_capacity(list.len());
    let mut kept: Vec<Value> = Vec::with_capacity(list.len());
    for value in list.drain(..) {
        let ty = value.get("type").and_then(Value::as_str).map(fold);
        let next = kept.len();
        let place = *places
            .entry((identity(&value, attribute), ty))
            .or_insert(next);
        match (kept.get_mut(place), value) {
            (Some(Value::Object(own)), Value::Object(new)) => {
                // The one that was primary stays so: of equal values only one can say it is.
                let primary = own.get("primary") == Some(&Value::Bool(true));
                own.extend(new);
                if primary {
                    own.insert("primary".to_owned(), Value::Bool(true));
                }
            }
            (Some(_), _) => {}
            (None, value) => kept.push(value),
        }
    }
    *list = kept;
}

/// By what a value is known to be the same: its `value`, or the whole of it if it has none.
pub(super) fn identity(item: &Value, attribute: Option<&Attribute>) -> String {
    let leaf = match item {
        Value::Object(map) => member(map, "value").unwrap_or(item),
        plain => plain,
    };
    let exact = attribute
        .and_then(|attribute| attribute.sub("value"))
        .is_some_and(|sub| sub.case_exact);
    match leaf {
        Value::String(text) if exact => text.clone(),
        Value::String(text) => fold(text),
        other => other.to_string(),
    }
}

/// One value. A list of one is taken for its element where an object is wanted: Entra sends
/// `"value": [{"value": "271"}]` for manager.
pub(super) fn coerce_one(
    attribute: &Attribute,
    value: Value,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<Option<Value>, ScimError> {
    if unassigns(&value, at, reading)? {
        return Ok(None);
    }
    let wrong = |expected: &str| ScimError::invalid_value(format!("{at} must be {expected}."));
    let allowed = |form: Form, expected: &str| match reading.tolerates(form) {
        true => Ok(()),
        false => Err(wrong(expected)),
    };
    let value = match (attribute.ty, value) {
        (AttributeType::Complex, Value::Object(map)) => {
            return coerce_object(attribute, map, at, reading);
        }
        (AttributeType::Complex, Value::Array(items)) => {
            return match <[Value; 1]>::try_from(items) {
                Ok([item]) if !item.is_array() => {
                    allowed(Form::ListForObject, "a single object")?;
                    coerce_one(attribute, item, at, reading)
                }
                _ => Err(wrong("a single object")),
            };
        }
        (
            AttributeType::Complex,
            value @ (Value::String(_) | Value::Number(_) | Value::Bool(_)),
        ) => {
            let Some(sub) = attribute.sub("value") else {
                return Err(wrong("an object"));
            };
            allowed(Form::WordForObject, "an object")?;
            let value = coerce_one(sub, value, &at.part("value"), reading)?;
            return Ok(value.map(|value| {
                let mut map = Map::with_capacity(1);
                map.insert("value".to_owned(), value);
                Value::Object(map)
            }));
        }
        (AttributeType::Boolean, value @ Value::Bool(_)) => value,
        (AttributeType::Boolean, Value::String(text)) => {
            let expected = "true or false";
            allowed(Form::BooleanAsString, expected)?;
            Value::Bool(parse_boolean(&text).ok_or_else(|| wrong(expected))?)
        }
        (AttributeType::Boolean, _) => return Err(wrong("true or false")),
        (AttributeType::Integer, Value::Number(number)) => {
            integer(&number).ok_or_else(|| wrong("a whole number"))?
        }
        (AttributeType::Integer, Value::String(text)) => {
            let expected = "a whole number";
            allowed(Form::NumberAsString, expected)?;
            let number = text.parse().ok().and_then(|number| integer(&number));
            number.ok_or_else(|| wrong(expected))?
        }
        (AttributeType::Integer, _) => return Err(wrong("a whole number")),
        (AttributeType::Decimal, value @ Value::Number(_)) => value,
        (AttributeType::Decimal, Value::String(text)) => {
            let expected = "a number";
            allowed(Form::NumberAsString, expected)?;
            Value::Number(text.parse().map_err(|_| wrong(expected))?)
        }
        (AttributeType::Decimal, _) => return Err(wrong("a number")),
        // No format is checked: not dates, not URIs, not languages (Entra fact 2.11).
        (_, value @ Value::String(_)) => value,
        _ => return Err(wrong("a string")),
    };
    Ok(Some(value))
}

fn coerce_object(
    attribute: &Attribute,
    members: Map<String, Value>,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<Option<Value>, ScimError> {
    let mut map = Map::with_capacity(members.len());
    for (key, value) in members {
        let Some(sub) = attribute.sub(&key) else {
            check_unknown_sub(&key, at, reading)?;
            map.extend(assigned(value).map(|value| (key, value)));
            continue;
        };
        if sub.mutability == Mutability::ReadOnly {
            continue;
        }
        if let Some(value) = coerce_one(sub, value, &at.part(&sub.name), reading)? {
            map.insert(canonical(key, sub), value);
        }
    }
    // The object of an attribute that stands for its value is nothing without one: Entra clears
    // manager with `{"value": ""}`.
    let hollow = map.is_empty()
        || (!attribute.multi_valued && attribute.has_value_sub() && refers_to_nothing(&map));
    Ok((!hollow).then_some(Value::Object(map)))
}

/// Refuses a part that the attribute does not have, unless the dialect keeps such.
pub(super) fn check_unknown_sub(
    name: &str,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<(), ScimError> {
    if reading.tolerates(Form::UnknownKept) {
        return Ok(());
    }
    Err(ScimError::invalid_value(format!(
        "{at} has no sub-attribute `{name}`."
    )))
}

/// Nothing is left of a single value but its `$ref`: `value` is gone, and a name that the app takes
/// beside it (`manager.displayName`) is not there either.
pub(super) fn refers_to_nothing(members: &Map<String, Value>) -> bool {
    members.keys().all(|name| name == "$ref")
}

/// The client's own string if it is spelt right, so that the usual case copies nothing.
fn canonical(key: String, attribute: &Attribute) -> String {
    if key == attribute.name {
        key
    } else {
        attribute.name.clone().into_owned()
    }
}

/// `true` and `false` in any letter case: Entra's mappings yield `"True"` (Entra fact 2.2).
pub(super) fn parse_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A whole number as an integer, also if it was written `5.0`.
fn integer(number: &Number) -> Option<Value> {
    if number.is_i64() || number.is_u64() {
        return Some(Value::Number(number.clone()));
    }
    // Up to 2^53 a double holds every whole number exactly.
    let float = number
        .as_f64()
        .filter(|float| float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    Some(Value::from(float as i64))
}
