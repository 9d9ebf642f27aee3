//! PATCH on a multi-valued attribute.
//!
//! Invariant: a list that is written back holds no value twice and at most one primary value; an empty
//! one is taken away.

use std::collections::HashMap;
use std::mem;

use serde_json::{Map, Value};

use super::{coerce_or_keep, coerce_values, merge, own_key};
use crate::scim::error::{ScimError, ScimType};
use crate::scim::schema::{Attribute, Resolved};
use crate::scim::syntax::Path;
use crate::scim::value::{
    At, coerce_one, fold, is_primary, is_unassigned, key_of, member, same_text,
};

/// A list taken out of its resource for one operation.
pub(super) struct List<'p> {
    items: Vec<Value>,
    path: &'p Path,
    attribute: Option<&'p Attribute>,
    sub: Option<&'p Attribute>,
}

impl<'p> List<'p> {
    pub(super) fn open(
        map: &mut Map<String, Value>,
        key: &str,
        path: &'p Path,
        resolved: &Resolved<'p>,
    ) -> Self {
        let items = match map.get_mut(key).map(mem::take) {
            Some(Value::Array(items)) => items,
            None | Some(Value::Null) => Vec::new(),
            Some(single) => vec![single],
        };
        Self {
            items,
            path,
            attribute: resolved.attribute,
            sub: resolved.sub,
        }
    }

    pub(super) fn close(self, map: &mut Map<String, Value>, key: String) {
        if self.items.is_empty() {
            map.shift_remove(&key);
        } else {
            map.insert(key, Value::Array(self.items));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The places of the values that the filter picks; all of them without a filter.
    fn picked(&self) -> Vec<usize> {
        let picks = |(_, item): &(usize, &Value)| self.path.picks(item, self.attribute);
        self.items
            .iter()
            .enumerate()
            .filter(picks)
            .map(|(at, _)| at)
            .collect()
    }

    /// Add or replace. Returns whether a value has lost a part.
    pub(super) fn set(
        &mut self,
        add: bool,
        value: Value,
        at: &At<'_>,
        values_max: usize,
    ) -> Result<bool, ScimError> {
        match (&self.path.filter, &self.path.sub) {
            (None, None) => {
                let values = coerce_values(self.attribute, value, at, values_max)?;
                if add {
                    self.append(values);
                } else {
                    self.items = values;
                }
                Ok(false)
            }
            (_, Some(sub)) => self.set_sub(sub, value, at),
            (Some(_), None) => self.set_picked(add, value, at).map(|()| false),
        }
    }

    /// Adds values; one that is there already takes over what the new one says besides.
    fn append(&mut self, values: Vec<Value>) {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, item) in self.items.iter().enumerate() {
            places
                .entry(identity(item, self.attribute))
                .or_default()
                .push(at);
        }
        let mut primary = Vec::new();
        for value in values {
            let same = places.entry(identity(&value, self.attribute)).or_default();
            let known = same
                .iter()
                .copied()
                .find(|at| same_type(&self.items[*at], &value));
            let at = known.unwrap_or(self.items.len());
            if is_primary(&value) {
                primary.push(at);
            }
            match (self.items.get_mut(at), value) {
                (Some(Value::Object(own)), Value::Object(new)) => own.extend(new),
                (Some(_), _) => {}
                (None, value) => {
                    same.push(at);
                    self.items.push(value);
                }
            }
        }
        self.keep_last_primary(&primary);
    }

    /// Sets one part of the picked values; makes a value if there is none.
    fn set_sub(&mut self, sub: &str, value: Value, at: &At<'_>) -> Result<bool, ScimError> {
        if let Some(attribute) = self.attribute.filter(|attribute| !attribute.is_complex()) {
            return Err(ScimError::invalid_path(format!(
                "{} has no sub-attributes.",
                attribute.name
            )));
        }
        let Some(value) = coerce_or_keep(self.sub, value, at)? else {
            return Ok(self.drop_part(sub));
        };
        let mut picked = self.picked();
        if picked.is_empty() {
            picked.push(self.items.len());
            self.items.push(Value::Object(self.described()?));
        }
        for place in &picked {
            if let Some(Value::Object(item)) = self.items.get_mut(*place) {
                let key = own_key(item, sub, self.sub);
                item.insert(key, value.clone());
            }
        }
        if sub.eq_ignore_ascii_case("primary") {
            self.keep_last_primary(&picked);
        }
        Ok(false)
    }

    /// Sets the picked values as a whole: add merges, replace keeps only what the filter says.
    fn set_picked(&mut self, add: bool, value: Value, at: &At<'_>) -> Result<(), ScimError> {
        let value = match value {
            Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or_default(),
            value => value,
        };
        let mut picked = self.picked();
        if is_unassigned(&value) {
            if !add {
                self.drop_picked();
            }
            return Ok(());
        }
        let members = match value {
            Value::Object(members) => members,
            // A word stands for its object, as in POST.
            word => match self.attribute {
                Some(attribute) => match coerce_one(attribute, word, at)? {
                    Some(Value::Object(members)) => members,
                    _ => return Err(ScimError::invalid_value(format!("{at} must be an object."))),
                },
                None => Map::from_iter([("value".to_owned(), word)]),
            },
        };
        if picked.is_empty() {
            picked.push(self.items.len());
            self.items.push(Value::Object(self.described()?));
        } else if !add {
            let described = self.described().unwrap_or_default();
            for place in &picked {
                self.items[*place] = Value::Object(described.clone());
            }
        }
        for place in &picked {
            if let Some(Value::Object(item)) = self.items.get_mut(*place) {
                merge(item, members.clone(), self.attribute, at)?;
            }
        }
        self.keep_last_primary(&picked);
        Ok(())
    }

    /// Removes. Returns whether a value has lost a part.
    pub(super) fn remove(
        &mut self,
        value: Option<Value>,
        at: &At<'_>,
        values_max: usize,
    ) -> Result<bool, ScimError> {
        match (&self.path.filter, &self.path.sub, value) {
            (_, Some(sub), _) => return Ok(self.drop_part(sub)),
            // A value beside a filter says nothing more (Entra sends both).
            (Some(_), None, _) => self.drop_picked(),
            (None, None, None) => self.items.clear(),
            (None, None, Some(value)) => {
                let given = coerce_values(self.attribute, value, at, values_max)?;
                self.drop_given(&given);
            }
        }
        Ok(false)
    }

    /// Removes what the client names by value. Equal values are looked up, so that many against many
    /// stays cheap.
    fn drop_given(&mut self, given: &[Value]) {
        let attribute = self.attribute;
        let mut named: HashMap<String, Vec<&Value>> = HashMap::new();
        let mut unnamed: Vec<&Value> = Vec::new();
        for given in given {
            match given {
                Value::Object(members) if !members.contains_key("value") => unnamed.push(given),
                _ => named
                    .entry(identity(given, attribute))
                    .or_default()
                    .push(given),
            }
        }
        self.items.retain(|item| {
            let same = named.get(&identity(item, attribute));
            let mut candidates = same.into_iter().flatten().chain(&unnamed);
            !candidates.any(|given| covers(item, given, attribute))
        });
    }

    fn drop_picked(&mut self) {
        let (path, attribute) = (self.path, self.attribute);
        self.items.retain(|item| !path.picks(item, attribute));
    }

    fn drop_part(&mut self, sub: &str) -> bool {
        let mut lost = false;
        for place in self.picked() {
            if let Some(Value::Object(item)) = self.items.get_mut(place) {
                let key = key_of(item, sub).into_owned();
                lost |= item.shift_remove(&key).is_some();
            }
        }
        lost
    }

    /// The value that the filter describes: `[type eq "work"]` gives `{"type": "work"}`.
    fn described(&self) -> Result<Map<String, Value>, ScimError> {
        let Some(filter) = &self.path.filter else {
            return Ok(Map::new());
        };
        let Some(parts) = filter.equalities() else {
            return Err(ScimError::with(
                ScimType::NoTarget,
                format!(
                    "No value matches {}, and its filter does not describe one.",
                    self.path
                ),
            ));
        };
        let members = parts
            .into_iter()
            .map(|(name, text)| (name.to_owned(), Value::from(text)))
            .collect();
        let mut described = Map::new();
        merge(
            &mut described,
            members,
            self.attribute,
            &At::top("the filter"),
        )?;
        Ok(described)
    }

    /// "The primary attribute value true MUST appear no more than once" (RFC 7643 section 2.4): of the
    /// values that this operation has written, the last one that is primary wins over all others.
    fn keep_last_primary(&mut self, written: &[usize]) {
        let primary = |place: &&usize| self.items.get(**place).is_some_and(is_primary);
        let Some(place) = written.iter().rfind(primary).copied() else {
            return;
        };
        for (at, item) in self.items.iter_mut().enumerate() {
            if at != place && is_primary(item) {
                item["primary"] = Value::Bool(false);
            }
        }
    }
}

/// By what a value is known to be the same: its `value`, or the whole of it if it has none.
fn identity(item: &Value, attribute: Option<&Attribute>) -> String {
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

/// Two values of one address may stand side by side if they differ in `type`, as roles do.
fn same_type(one: &Value, other: &Value) -> bool {
    match (
        one.get("type").and_then(Value::as_str),
        other.get("type").and_then(Value::as_str),
    ) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => true,
    }
}

/// Whether `item` is one that the client means by `given`. What only decorates a value does not count:
/// Entra sends `{"$ref": null, "value": "…"}`.
fn covers(item: &Value, given: &Value, attribute: Option<&Attribute>) -> bool {
    let (Some(own), Some(given)) = (item.as_object(), given.as_object()) else {
        return identity(item, attribute) == identity(given, attribute);
    };
    given
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "$ref" | "display" | "primary"))
        .all(|(name, value)| match (member(own, name), value) {
            (Some(Value::String(own)), Value::String(given)) => {
                let exact = attribute
                    .and_then(|attribute| attribute.sub(name))
                    .is_some_and(|sub| sub.case_exact);
                same_text(own, given, exact)
            }
            (own, given) => own == Some(given),
        })
}
