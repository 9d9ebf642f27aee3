//! PATCH on a multi-valued attribute.
//!
//! Invariant: a list that is written back holds no value twice and at most one primary value; an empty
//! one is taken away.

use std::collections::HashMap;
use std::mem;

use serde_json::{Map, Value};

use super::single::{coerce_or_keep, coerce_values, merge, own_key};
use super::work::Work;
use crate::scim::dialect::{Form, Reading};
use crate::scim::error::{ScimError, ScimType};
use crate::scim::schema::{Attribute, AttributeType, Resolved};
use crate::scim::syntax::{Literal, Path};
use crate::scim::value::{
    At, coerce_one, identity, is_primary, key_of, member, same_text, unassigns,
};

/// Up to so many new values are compared with those of the list one by one; more are looked up.
const COMPARED_MAX: usize = 8;

/// A list taken out of its resource for one operation.
pub(super) struct List<'p> {
    items: Vec<Value>,
    path: &'p Path,
    attribute: Option<&'p Attribute>,
    sub: Option<&'p Attribute>,
    reading: &'p Reading<'p>,
    work: &'p Work,
}

impl<'p> List<'p> {
    pub(super) fn open(
        map: &mut Map<String, Value>,
        key: &str,
        path: &'p Path,
        resolved: &Resolved<'p>,
        reading: &'p Reading<'p>,
        work: &'p Work,
    ) -> Result<Self, ScimError> {
        let items = match map.get_mut(key).map(mem::take) {
            Some(Value::Array(items)) => items,
            None | Some(Value::Null) => Vec::new(),
            Some(single) => vec![single],
        };
        work.charge_for(&items, path.filter.as_deref())?;
        Ok(Self {
            items,
            path,
            attribute: resolved.attribute,
            sub: resolved.sub,
            reading,
            work,
        })
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

    /// Add or replace. Returns whether values may have lost a part, or become equal to others.
    pub(super) fn set(&mut self, add: bool, value: Value, at: &At<'_>) -> Result<bool, ScimError> {
        match (&self.path.filter, &self.path.sub) {
            (None, None) => {
                let value = match value {
                    // A single object is what RFC 7644 section 3.5.2.1 asks for here.
                    Value::Object(members) if add => Value::Array(vec![Value::Object(members)]),
                    value => value,
                };
                self.work.charge_intake(&value)?;
                let values = coerce_values(self.attribute, value, at, self.reading)?;
                if add {
                    self.append(values);
                } else {
                    self.items = values;
                }
                Ok(false)
            }
            (_, Some(sub)) => self.set_sub(sub, value, at).map(|()| true),
            (Some(_), None) => self.set_picked(add, value, at).map(|()| true),
        }
    }

    /// Adds values; one that is there already takes over what the new one says besides.
    fn append(&mut self, values: Vec<Value>) {
        let attribute = self.attribute;
        let mut primary = Vec::new();
        if values.len() <= COMPARED_MAX {
            for value in values {
                let new = identity(&value, attribute);
                let known = self
                    .items
                    .iter()
                    .position(|item| is_identity(item, &new, attribute) && same_type(item, &value));
                self.join(known, value, &mut primary);
            }
        } else {
            let mut places: HashMap<String, Vec<usize>> = HashMap::new();
            for (at, item) in self.items.iter().enumerate() {
                let same = places.entry(identity(item, attribute)).or_default();
                same.push(at);
            }
            for value in values {
                let same = places.entry(identity(&value, attribute)).or_default();
                let mut same_values = same.iter().copied();
                let known = same_values.find(|at| same_type(&self.items[*at], &value));
                if known.is_none() {
                    same.push(self.items.len());
                }
                self.join(known, value, &mut primary);
            }
        }
        self.keep_last_primary(&primary);
    }

    /// Puts a value at the place of the one that is the same, or at the end.
    fn join(&mut self, known: Option<usize>, value: Value, primary: &mut Vec<usize>) {
        let at = known.unwrap_or(self.items.len());
        if is_primary(&value) {
            primary.push(at);
        }
        match (self.items.get_mut(at), value) {
            (Some(Value::Object(own)), Value::Object(new)) => own.extend(new),
            (Some(_), _) => {}
            (None, value) => self.items.push(value),
        }
    }

    /// Sets one part of the picked values; makes a value if there is none.
    fn set_sub(&mut self, sub: &str, value: Value, at: &At<'_>) -> Result<(), ScimError> {
        if let Some(attribute) = self.attribute.filter(|attribute| !attribute.is_complex()) {
            return Err(ScimError::invalid_path(format!(
                "{} has no sub-attributes.",
                attribute.name
            )));
        }
        let Some(value) = coerce_or_keep(self.sub, value, at, self.reading)? else {
            return self.drop_part(sub);
        };
        let mut picked = self.picked();
        if picked.is_empty() {
            picked.push(self.make()?);
        }
        self.work.charge_copies(&value, picked.len())?;
        for place in &picked {
            if let Some(Value::Object(item)) = self.items.get_mut(*place) {
                let key = own_key(item, sub, self.sub);
                item.insert(key, value.clone());
            }
        }
        if sub.eq_ignore_ascii_case("primary") {
            self.keep_last_primary(&picked);
        }
        Ok(())
    }

    /// Sets the picked values as a whole: add merges, replace keeps only what the filter says.
    fn set_picked(&mut self, add: bool, value: Value, at: &At<'_>) -> Result<(), ScimError> {
        let value = match value {
            Value::Array(mut items) if items.len() == 1 => {
                if !self.reading.tolerates(Form::ListForObject) {
                    return Err(ScimError::invalid_value(format!("{at} must be an object.")));
                }
                items.pop().unwrap_or_default()
            }
            value => value,
        };
        let mut picked = self.picked();
        if unassigns(&value, at, self.reading)? {
            return match add {
                true => Ok(()),
                false => self.drop_picked(),
            };
        }
        let members = match value {
            Value::Object(members) => members,
            // A word stands for its object, as in POST.
            word => match self.attribute {
                Some(attribute) => match coerce_one(attribute, word, at, self.reading)? {
                    Some(Value::Object(members)) => members,
                    _ => return Err(ScimError::invalid_value(format!("{at} must be an object."))),
                },
                None => Map::from_iter([("value".to_owned(), word)]),
            },
        };
        if picked.is_empty() {
            picked.push(self.make()?);
        } else if !add {
            let described = self.described().unwrap_or_default();
            for place in &picked {
                self.items[*place] = Value::Object(described.clone());
            }
        }
        let members = Value::Object(members);
        self.work.charge_copies(&members, picked.len())?;
        for place in &picked {
            if let (Some(Value::Object(item)), Value::Object(members)) =
                (self.items.get_mut(*place), members.clone())
            {
                merge(item, members, self.attribute, at, self.reading, self.work)?;
            }
        }
        self.keep_last_primary(&picked);
        Ok(())
    }

    /// Makes the value that the filter describes and returns its place.
    fn make(&mut self) -> Result<usize, ScimError> {
        if self.path.filter.is_some() && !self.reading.tolerates(Form::ElementMade) {
            return Err(self.no_match());
        }
        let described = self.described()?;
        self.items.push(Value::Object(described));
        Ok(self.items.len() - 1)
    }

    fn no_match(&self) -> ScimError {
        ScimError::with(
            ScimType::NoTarget,
            format!("No value matches {}.", self.path),
        )
    }

    /// Removes. Returns whether a value has lost a part.
    pub(super) fn remove(&mut self, value: Option<Value>, at: &At<'_>) -> Result<bool, ScimError> {
        match (&self.path.filter, &self.path.sub, value) {
            (_, Some(sub), _) => return self.drop_part(sub).map(|()| true),
            // A value beside a filter says nothing more (Entra sends both).
            (Some(_), None, _) => self.drop_picked()?,
            (None, None, None) => self.items.clear(),
            (None, None, Some(value)) => {
                let value = match value {
                    list @ Value::Array(_) => list,
                    single => Value::Array(vec![single]),
                };
                self.work.charge_intake(&value)?;
                let given = coerce_values(self.attribute, value, at, self.reading)?;
                self.drop_given(&given)?;
            }
        }
        Ok(false)
    }

    /// Removes what the client names by value. Equal values are looked up, so that many against many
    /// stays cheap.
    fn drop_given(&mut self, given: &[Value]) -> Result<(), ScimError> {
        let (attribute, work) = (self.attribute, self.work);
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
        let mut enough = true;
        self.items.retain(|item| {
            let same = named.get(&identity(item, attribute));
            let mut candidates = same.into_iter().flatten().chain(&unnamed);
            !candidates.any(|given| {
                let parts = given.as_object().map_or(1, |parts| 16 * parts.len());
                enough = enough && work.spend(parts);
                enough && covers(item, given, attribute)
            })
        });
        // Says so if the work was used up; what is left of the list goes with the request.
        work.charge(usize::from(!enough))
    }

    fn drop_picked(&mut self) -> Result<(), ScimError> {
        let (path, attribute, before) = (self.path, self.attribute, self.items.len());
        self.items.retain(|item| !path.picks(item, attribute));
        match self.items.len() < before {
            true => Ok(()),
            false => self.check_hit(),
        }
    }

    fn drop_part(&mut self, sub: &str) -> Result<(), ScimError> {
        let picked = self.picked();
        if picked.is_empty() {
            return self.check_hit();
        }
        for place in picked {
            if let Some(Value::Object(item)) = self.items.get_mut(place) {
                let key = key_of(item, sub).into_owned();
                item.shift_remove(&key);
            }
        }
        Ok(())
    }

    /// A removal has hit nothing.
    fn check_hit(&self) -> Result<(), ScimError> {
        match self.path.filter.is_none() || self.reading.tolerates(Form::RemoveHitsNothing) {
            true => Ok(()),
            false => Err(self.no_match()),
        }
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
            .map(|(name, literal)| (name.to_owned(), json_of(name, literal, self.attribute)))
            .collect();
        let mut described = Map::new();
        merge(
            &mut described,
            members,
            self.attribute,
            &At::top("the filter"),
            self.reading,
            self.work,
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

/// Whether this is the value's identity, without building another one if it can be helped.
fn is_identity(item: &Value, wanted: &str, attribute: Option<&Attribute>) -> bool {
    let leaf = match item {
        Value::Object(map) => member(map, "value"),
        plain => Some(plain),
    };
    match leaf {
        Some(Value::String(text)) if text.is_ascii() && wanted.is_ascii() => {
            text.len() == wanted.len() && identity_of_ascii(text, wanted, attribute)
        }
        _ => identity(item, attribute) == wanted,
    }
}

fn identity_of_ascii(text: &str, wanted: &str, attribute: Option<&Attribute>) -> bool {
    let exact = attribute
        .and_then(|attribute| attribute.sub("value"))
        .is_some_and(|sub| sub.case_exact);
    match exact {
        true => text == wanted,
        false => text.eq_ignore_ascii_case(wanted),
    }
}

/// A filter's value as JSON: an unquoted word is a boolean or a number where one may stand.
fn json_of(name: &str, literal: &Literal, attribute: Option<&Attribute>) -> Value {
    let text = || Value::from(literal.text());
    let sub = attribute.and_then(|attribute| attribute.sub(name));
    let plain = sub.is_none_or(|sub| {
        matches!(
            sub.ty,
            AttributeType::Boolean | AttributeType::Integer | AttributeType::Decimal
        )
    });
    match literal {
        Literal::Bare(word) if plain => serde_json::from_str(word).unwrap_or_else(|_| text()),
        _ => text(),
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
