//! PATCH with a value and no path: its keys say what is set.
//!
//! Invariant: a key that is a URN means what it means in the body of a POST; only what is dotted or
//! filtered within a known schema is wider here, since Entra flattens PATCH requests and no others
//! (Entra fact 2.3). Each key counts like an operation.

use serde_json::{Map, Value};

use super::{Patch, Verb};
use crate::scim::dialect::Form;
use crate::scim::error::ScimError;
use crate::scim::grammar::{parse_path, split_flat};
use crate::scim::resource::says_nothing;
use crate::scim::schema::{Container, UrnKey};
use crate::scim::syntax::Path;
use crate::scim::value::{At, is_urn, member, unassigns};

impl Patch<'_> {
    /// The members of a value without a path.
    pub(super) fn set_members(
        &mut self,
        verb: Verb,
        members: Map<String, Value>,
    ) -> Result<(), ScimError> {
        members
            .into_iter()
            .try_for_each(|(key, value)| self.set_member(verb, &key, value))
    }

    /// One of them. Its key is tried as a declared name, then as a path.
    fn set_member(&mut self, verb: Verb, key: &str, value: Value) -> Result<(), ScimError> {
        // `schemas` is computed. Okta repeats the resource's own `id` in the value.
        let own_id = key.eq_ignore_ascii_case("id")
            && value.as_str() == Some(self.resource_id)
            && self.reading.tolerates(Form::OwnId);
        if own_id || key.eq_ignore_ascii_case("schemas") {
            return Ok(());
        }
        if self.resource_type.find(key).is_some() {
            return self.set(verb, &named(None, key), value);
        }
        if is_urn(key) {
            return self.set_urn(verb, key, value);
        }
        match parse_path(key, self.reading) {
            Ok(path) => {
                self.check_key(key, form_of(&path).unwrap_or(Form::UnknownKept))?;
                self.set(verb, &path, value)
            }
            Err(error) if key.contains('[') => Err(error),
            // A name that is no path, such as one with a space, is kept as POST keeps it.
            Err(_) => self.set_unknown(verb, key, value),
        }
    }

    /// A key that is a URN.
    fn set_urn(&mut self, verb: Verb, key: &str, value: Value) -> Result<(), ScimError> {
        match self.resource_type.urn_key(key) {
            UrnKey::Whole(schema) => {
                if self.resource_type.is_core(schema) {
                    self.check_key(key, Form::KeyUrn)?;
                }
                self.set(verb, &whole(key), value)
            }
            UrnKey::Within {
                schema,
                rest,
                dotted,
            } => {
                self.check_key(key, Form::KeyUrn)?;
                if dotted {
                    self.check_key(key, Form::DotAfterUrn)?;
                }
                let path = parse_path(rest, self.reading)?;
                if path.urn.is_some() {
                    let detail = format!("`{key}` in `value` is no attribute of {}.", schema.id);
                    return Err(ScimError::invalid_path(detail));
                }
                if path.filter.is_some() {
                    self.check_key(key, Form::KeyValuePath)?;
                }
                let urn = Some(schema.id.clone().into_owned());
                self.set(verb, &Path { urn, ..path }, value)
            }
            UrnKey::Foreign => {
                self.work.charge(self.map.len())?;
                let there = member(&self.map, key);
                let was_extension = there.is_some_and(Value::is_object);
                // An object is an extension that nobody declared.
                if value.is_object() || was_extension {
                    self.check_key(key, Form::UnknownKept)?;
                    if !was_extension {
                        self.take_key(key);
                    }
                    return self.set(verb, &whole(key), value);
                }
                match split_flat(key, self.reading).filter(|_| there.is_none()) {
                    Some(path) => {
                        self.check_key(key, Form::KeyUrn)?;
                        self.set(verb, &path, value)
                    }
                    None => self.set_unknown(verb, key, value),
                }
            }
        }
    }

    fn set_unknown(&mut self, verb: Verb, key: &str, value: Value) -> Result<(), ScimError> {
        self.check_key(key, Form::UnknownKept)?;
        self.set(verb, &named(None, key), value)
    }

    /// Refuses a key that is no attribute's name, unless the dialect lets this form pass.
    fn check_key(&self, key: &str, form: Form) -> Result<(), ScimError> {
        match self.reading.tolerates(form) {
            true => Ok(()),
            false => Err(ScimError::invalid_syntax(format!(
                "`{key}` in `value` is no attribute of a {}.",
                self.resource_type.kind.as_str()
            ))),
        }
    }

    /// All members of a schema's object: they are merged, never replaced as a whole.
    pub(super) fn set_schema(
        &mut self,
        verb: Verb,
        urn: &str,
        container: Container<'_>,
        value: Value,
    ) -> Result<(), ScimError> {
        let members = match value {
            Value::Object(members) => members,
            value if unassigns(&value, &At::top(urn), self.reading)? => {
                if let Container::Extension(urn) = container {
                    self.take_key(urn);
                }
                return Ok(());
            }
            _ => {
                return Err(ScimError::invalid_value(format!(
                    "{urn} must be an object."
                )));
            }
        };
        if container == Container::Core {
            return self.set_members(verb, members);
        }
        let mut members = members.into_iter().filter(|(key, _)| !says_nothing(key));
        members.try_for_each(|(key, value)| {
            let declared = self
                .resource_type
                .extension(urn)
                .is_some_and(|schema| schema.attribute(&key).is_some());
            let path = parse_path(&key, self.reading)
                .ok()
                .filter(|path| !declared && path.urn.is_none());
            if let Some(form) = path.as_ref().and_then(form_of) {
                self.check_key(&key, form)?;
            }
            let path = match path {
                Some(path) => Path {
                    urn: Some(urn.to_owned()),
                    ..path
                },
                None => named(Some(urn), &key),
            };
            self.set(verb, &path, value)
        })
    }
}

/// The form of a key that is more than a name.
fn form_of(path: &Path) -> Option<Form> {
    match (&path.filter, &path.sub) {
        (Some(_), _) => Some(Form::KeyValuePath),
        (None, Some(_)) => Some(Form::KeyDotted),
        (None, None) => None,
    }
}

fn named(urn: Option<&str>, name: &str) -> Path {
    Path {
        urn: urn.map(str::to_owned),
        name: Some(name.to_owned()),
        filter: None,
        sub: None,
    }
}

fn whole(urn: &str) -> Path {
    Path {
        urn: Some(urn.to_owned()),
        name: None,
        filter: None,
        sub: None,
    }
}
