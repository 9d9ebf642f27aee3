//! Taking a resource in: JSON to a [`Resource`] (RFC 7644 sections 3.3 and 3.5.1).
//!
//! Invariant: a [`Resource`] holds canonical names, values of their attribute's type, no null and no
//! empty value, no readOnly attribute, no password and no members, and `schemas` that say what it
//! contains.
//! Beyond that a value is stored byte for byte: Entra sends it again in every cycle if it comes back
//! in another shape (Entra fact 1.5). Absent: `id` and `meta`, which belong to the gateway's record.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::too_deep;
use super::dialect::{Form, Reading};
use super::error::ScimError;
use super::grammar::{split_flat, split_name};
use super::limits::ScimLimits;
use super::members;
use super::schema::{Attribute, Container, Mutability, ResourceKind, ResourceType, Schema, UrnKey};
use super::value::{At, assigned, coerce, fold, is_unassigned, is_urn, key_of};

/// A resource as the gateway stores it: attributes and `schemas`, without `id` and `meta`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Resource(pub(super) Map<String, Value>);

/// An attribute whose values are unique within a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unique {
    /// `userName`, without regard to letter case.
    UserName,
    /// `externalId`, exactly as sent.
    ExternalId,
    /// A group's `displayName`, without regard to letter case.
    DisplayName,
}

impl Unique {
    /// The attribute's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserName => "userName",
            Self::ExternalId => "externalId",
            Self::DisplayName => "displayName",
        }
    }
}

impl Resource {
    /// A resource read back from storage: `None` if the document is not a JSON object.
    #[must_use]
    pub fn from_document(document: Value) -> Option<Self> {
        match document {
            Value::Object(map) => Some(Self(map)),
            _ => None,
        }
    }

    /// The document to store.
    #[must_use]
    pub fn into_document(self) -> Value {
        Value::Object(self.0)
    }

    /// The attributes.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The value of a top-level attribute by its canonical name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// This resource with `active` as it was in `before`, if it says nothing of its own: a default of
    /// true (RFC 7644 section 3.5.1 allows one) would switch a disabled user on again, unasked.
    #[must_use]
    pub fn keeping_active(mut self, before: &Self) -> Self {
        if let (None, Some(active)) = (self.0.get("active"), before.0.get("active")) {
            self.0.insert("active".to_owned(), active.clone());
        }
        self
    }

    /// The values that no other resource of this kind in the tenant may hold, folded for comparison.
    #[must_use]
    pub fn unique_values(&self, kind: ResourceKind) -> Vec<(Unique, String)> {
        let named = match kind {
            ResourceKind::User => Unique::UserName,
            ResourceKind::Group => Unique::DisplayName,
        };
        let text = |unique: Unique| self.get(unique.as_str()).and_then(Value::as_str);
        text(named)
            .map(|value| (named, fold(value)))
            .into_iter()
            .chain(text(Unique::ExternalId).map(|value| (Unique::ExternalId, value.to_owned())))
            .collect()
    }
}

impl Resource {
    /// Refuses a resource that is too large, or has become so: one that is larger than a limit which
    /// came later may still shrink, and its user be disabled.
    ///
    /// # Errors
    /// 413 that names the limit.
    pub(super) fn check_size(
        &self,
        before: Option<&Self>,
        limits: &ScimLimits,
    ) -> Result<(), ScimError> {
        let max = limits.resource_bytes_max;
        let fits = |bytes: usize| serde_json::to_writer(Room(bytes), self).is_ok();
        if fits(max) || before.is_some_and(|before| fits(before.bytes())) {
            return Ok(());
        }
        Err(ScimError::status_with(
            413,
            format!(
                "The resource would be larger than {max} bytes of JSON (resource_bytes_max). Send fewer or shorter values."
            ),
        ))
    }

    fn bytes(&self) -> usize {
        let mut room = Room(usize::MAX);
        // Writing into so much room does not fail.
        let _ = serde_json::to_writer(&mut room, self);
        usize::MAX - room.0
    }
}

/// How many bytes there is still room for. Nothing is written: what does not fit ends the writing.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => self.0 = left,
            None => return Err(io::ErrorKind::StorageFull.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn value_deeper_than(value: &Value, depth_left: usize) -> bool {
    match value {
        Value::Array(items) => {
            depth_left == 0
                || items
                    .iter()
                    .any(|item| value_deeper_than(item, depth_left - 1))
        }
        Value::Object(map) => {
            depth_left == 0
                || map
                    .values()
                    .any(|item| value_deeper_than(item, depth_left - 1))
        }
        _ => false,
    }
}

/// What a POST or PUT brings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// The resource, without members.
    pub resource: Resource,
    /// The ids in a group's `members`, in their order and each once; `None` if the body does not
    /// mention members, or is a user's.
    pub members: Option<Vec<String>>,
}

impl ResourceType {
    /// Takes the body of a POST or PUT in.
    ///
    /// Names are matched in any letter case and stored in their own; null and `[]` unassign (RFC 7643
    /// section 2.5); readOnly attributes are dropped (RFC 7644 sections 3.3 and 3.5.1). Where the
    /// dialect lets it, values are brought to their attribute's type (`"True"` to `true`), the password
    /// is dropped, attributes and extensions that no schema knows are kept as they are, and what
    /// `schemas` says is ignored: Entra sends mistyped URNs there and leaves out those of extensions.
    ///
    /// # Errors
    /// 400 invalidSyntax if the body is no object or too deep, or uses a form that the dialect does
    /// not tolerate; 400 invalidValue, naming the path, if a value does not fit or a required one is
    /// missing; 413 for too many members or too large a resource.
    pub fn accept(&self, body: Value, reading: &Reading<'_>) -> Result<Accepted, ScimError> {
        if value_deeper_than(&body, reading.limits().json_depth()) {
            return Err(too_deep(reading.limits()));
        }
        let Value::Object(body) = body else {
            return Err(ScimError::invalid_syntax("The body is not a JSON object."));
        };
        let mut intake = Intake {
            resource_type: self,
            reading,
            map: Map::with_capacity(body.len() + 1),
            members: None,
            declared: Value::Null,
        };
        intake.map.insert("schemas".to_owned(), Value::Null);
        for (key, value) in body {
            intake.take(key, value)?;
        }
        self.refresh_schemas(&mut intake.map);
        intake.check_schemas()?;
        let resource = Resource(intake.map);
        match self
            .required
            .iter()
            .find(|path| path.value_in(self, &resource.0).is_none())
        {
            Some(path) => Err(ScimError::invalid_value(format!(
                "{path} is required and must not be empty."
            ))),
            None => {
                resource.check_size(None, reading.limits())?;
                Ok(Accepted {
                    resource,
                    members: intake.members,
                })
            }
        }
    }

    /// Writes `schemas` anew: the core schema and each extension of which the resource holds anything
    /// (RFC 7643 section 3.3).
    pub(super) fn refresh_schemas(&self, map: &mut Map<String, Value>) {
        let extensions = map
            .iter()
            .filter(|(key, value)| value.is_object() && is_urn(key))
            .map(|(key, _)| key);
        let urns = std::iter::once(&*self.schema.id)
            .chain(extensions.map(String::as_str))
            .map(Value::from)
            .collect();
        map.insert("schemas".to_owned(), Value::Array(urns));
    }
}

/// A body on its way in.
struct Intake<'a> {
    resource_type: &'a ResourceType,
    reading: &'a Reading<'a>,
    map: Map<String, Value>,
    members: Option<Vec<String>>,
    /// What the body says in `schemas`.
    declared: Value,
}

impl<'a> Intake<'a> {
    /// One member of the body's object.
    fn take(&mut self, key: String, value: Value) -> Result<(), ScimError> {
        let resource_type = self.resource_type;
        if let Some((container, _, attribute)) = resource_type.find(&key) {
            if container != Container::Core && !self.reading.tolerates(Form::ExtensionUnprefixed) {
                return Err(self.unknown(&key));
            }
            return self.put(container, attribute, value);
        }
        if !is_urn(&key) {
            return self.keep(key, value);
        }
        match resource_type.urn_key(&key) {
            UrnKey::Whole(schema) => {
                let core = resource_type.is_core(schema);
                if core && !self.reading.tolerates(Form::KeyUrn) {
                    return Err(self.unknown(&key));
                }
                object_under(&key, value)?
                    .into_iter()
                    .try_for_each(|(name, value)| match core {
                        true => self.take(name, value),
                        false => self.put_in(schema, name, value),
                    })
            }
            // The flat form, `URN:attribute`.
            UrnKey::Within {
                schema,
                rest,
                dotted,
            } => {
                let flat = matches!(split_name(rest), Some((_, None)))
                    && self.reading.tolerates(Form::KeyUrn)
                    && (!dotted || self.reading.tolerates(Form::DotAfterUrn));
                match (flat, resource_type.is_core(schema)) {
                    (false, _) => Err(self.unknown(&key)),
                    (true, true) => self.take(rest.to_owned(), value),
                    (true, false) => self.put_in(schema, rest.to_owned(), value),
                }
            }
            UrnKey::Foreign => self.keep_foreign(key, value),
        }
    }

    /// What stands under a URN of which no schema knows: an object is an extension, and anything else
    /// an attribute of one, if the key says where its URN ends.
    fn keep_foreign(&mut self, key: String, value: Value) -> Result<(), ScimError> {
        let flat = match value.is_object() {
            true => None,
            false => split_flat(&key, self.reading),
        };
        let Some(path) = flat.filter(|_| self.reading.tolerates(Form::KeyUrn)) else {
            let value = match value {
                Value::Object(mut members) => {
                    members.retain(|name, value| !says_nothing(name) && !is_unassigned(value));
                    Value::Object(members)
                }
                value => value,
            };
            return match (self.map.get_mut(&key), value) {
                // Some of it came in the flat form.
                (Some(Value::Object(own)), Value::Object(more)) => {
                    own.extend(more);
                    Ok(())
                }
                (Some(Value::Object(_)), value) if !is_unassigned(&value) => {
                    Err(not_an_object(&key))
                }
                (_, value) => self.keep(key, value),
            };
        };
        if says_nothing(path.name.as_deref().unwrap_or_default()) {
            return Ok(());
        }
        if !self.reading.tolerates(Form::UnknownKept) {
            return Err(self.unknown(&key));
        }
        let Some(value) = assigned(value) else {
            return Ok(());
        };
        let mut at = &mut self.map;
        let steps = [path.urn, path.name, path.sub];
        let mut steps = steps.into_iter().flatten().peekable();
        while let Some(step) = steps.next() {
            if steps.peek().is_none() {
                at.insert(step, value);
                break;
            }
            let inner = at.entry(step).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else {
                let detail = format!("What stands around `{key}` must be an object.");
                return Err(ScimError::invalid_value(detail));
            };
            at = inner;
        }
        Ok(())
    }

    fn put_in(&mut self, schema: &'a Schema, name: String, value: Value) -> Result<(), ScimError> {
        let container = Container::Extension(&schema.id);
        if let Some(attribute) = schema.attribute(&name) {
            return self.put(container, attribute, value);
        }
        if says_nothing(&name) {
            return Ok(());
        }
        if !self.reading.tolerates(Form::UnknownKept) {
            return Err(self.unknown(&name));
        }
        if let Some(value) = assigned(value)
            && let Some(target) = container_mut(&mut self.map, container)
        {
            target.insert(name, value);
        }
        Ok(())
    }

    fn put(
        &mut self,
        container: Container<'_>,
        attribute: &Attribute,
        value: Value,
    ) -> Result<(), ScimError> {
        if attribute.mutability == Mutability::ReadOnly {
            if attribute.name == "schemas" {
                self.declared = value;
            }
            return Ok(());
        }
        let outer = match container {
            Container::Core => None,
            Container::Extension(urn) => Some(At::top(urn)),
        };
        let at = At {
            outer: outer.as_ref(),
            name: &attribute.name,
            before: ":",
        };
        if self.resource_type.keeps_apart(container, attribute) {
            self.members = Some(members::named(value, &at, self.reading)?);
            return Ok(());
        }
        let value = coerce(attribute, value, &at, self.reading)?;
        if attribute.mutability == Mutability::WriteOnly {
            return drop_password(value.as_ref(), &at, self.reading);
        }
        if let Some(value) = value
            && let Some(target) = container_mut(&mut self.map, container)
        {
            target.insert(attribute.name.clone().into_owned(), value);
        }
        Ok(())
    }

    /// Keeps what no schema knows, unless it is empty.
    fn keep(&mut self, key: String, value: Value) -> Result<(), ScimError> {
        if !self.reading.tolerates(Form::UnknownKept) {
            return Err(self.unknown(&key));
        }
        if let Some(value) = assigned(value) {
            self.map.insert(key, value);
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> ScimError {
        ScimError::invalid_syntax(format!(
            "No schema of a {} knows `{name}`.",
            self.resource_type.kind.as_str()
        ))
    }

    /// `schemas` must name the core schema, those of the extensions in use (RFC 7643 section 3.3), and
    /// no others.
    fn check_schemas(&self) -> Result<(), ScimError> {
        let core = &*self.resource_type.schema.id;
        let declared = self.declared.as_array().map_or(&[][..], Vec::as_slice);
        let says = |urn: &str| {
            let mut words = declared.iter().filter_map(Value::as_str);
            words.any(|word| word.eq_ignore_ascii_case(urn))
        };
        if !says(core) && !self.reading.tolerates(Form::SchemasMissing) {
            return Err(ScimError::invalid_syntax(format!(
                "`schemas` must name {core}."
            )));
        }
        let foreign = declared.iter().find(|word| {
            !word.as_str().is_some_and(|word| {
                core.eq_ignore_ascii_case(word) || self.resource_type.extension(word).is_some()
            })
        });
        if let Some(foreign) = foreign
            && !self.reading.tolerates(Form::SchemasMistaken)
        {
            return Err(ScimError::invalid_syntax(format!(
                "`schemas` names {foreign}, which is no schema of a {}.",
                self.resource_type.kind.as_str()
            )));
        }
        let used = self.map.get("schemas").and_then(Value::as_array);
        let mut used = used.into_iter().flatten().filter_map(Value::as_str).skip(1);
        let known = |urn: &&str| self.resource_type.extension(urn).is_some();
        if let Some(left_out) = used.find(|urn| known(urn) && !says(urn))
            && !self.reading.tolerates(Form::SchemasMistaken)
        {
            return Err(ScimError::invalid_syntax(format!(
                "`schemas` must name {left_out}, of which the body holds attributes."
            )));
        }
        Ok(())
    }
}

/// The members of a schema's object; none if there is nothing.
fn object_under(urn: &str, value: Value) -> Result<Map<String, Value>, ScimError> {
    match value {
        Value::Object(members) => Ok(members),
        value if is_unassigned(&value) => Ok(Map::new()),
        _ => Err(not_an_object(urn)),
    }
}

/// Models of extensions carry `schemas` of their own.
pub(super) fn says_nothing(name: &str) -> bool {
    name.eq_ignore_ascii_case("schemas")
}

fn not_an_object(urn: &str) -> ScimError {
    ScimError::invalid_value(format!("{urn} must be an object."))
}

/// The password has been checked and is forgotten here: it must never come to rest.
pub(super) fn drop_password(
    password: Option<&Value>,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<(), ScimError> {
    if password.is_some() && !reading.tolerates(Form::PasswordDropped) {
        return Err(ScimError::invalid_value(format!(
            "{at} cannot be set here; leave it out."
        )));
    }
    Ok(())
}

/// The object in which an attribute stands, made if need be. `None` only if a client has put something
/// else than an object under the URN of an extension that no schema knows.
pub(super) fn container_mut<'m>(
    map: &'m mut Map<String, Value>,
    container: Container<'_>,
) -> Option<&'m mut Map<String, Value>> {
    match container {
        Container::Core => Some(map),
        Container::Extension(urn) => {
            let key = key_of(map, urn).into_owned();
            map.entry(key)
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
        }
    }
}
