//! Taking a resource in: bytes to JSON, JSON to a [`Resource`] (RFC 7644 sections 3.3 and 3.5.1).
//!
//! Invariant: a [`Resource`] holds canonical names, values of their attribute's type, no null and no
//! empty value, no readOnly attribute and no password, and `schemas` that say what it contains.
//! Beyond that a value is stored byte for byte: Entra sends it again in every cycle if it comes back
//! in another shape (Entra fact 1.5). Absent: `id` and `meta`, which belong to the gateway's record.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::ScimError;
use super::grammar::split_attribute;
use super::limits::ScimLimits;
use super::schema::{Attribute, Container, Mutability, ResourceKind, ResourceType, Schema};
use super::value::{At, assigned, coerce, fold, is_urn, key_of};

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

/// Reads a request's body. The depth is checked before anything is built, so that a body of brackets
/// costs nothing.
///
/// # Errors
/// 400 invalidSyntax: empty, too deep, or not JSON; the text says at which line and column.
pub fn parse_body(body: &[u8], limits: &ScimLimits) -> Result<Value, ScimError> {
    if body.trim_ascii().is_empty() {
        return Err(ScimError::invalid_syntax(
            "The body is empty; a JSON object was expected.",
        ));
    }
    if text_deeper_than(body, limits.json_depth()) {
        return Err(too_deep(limits));
    }
    serde_json::from_slice(body)
        .map_err(|error| ScimError::invalid_syntax(format!("The body is not valid JSON: {error}.")))
}

fn too_deep(limits: &ScimLimits) -> ScimError {
    let depth_max = limits.json_depth();
    ScimError::invalid_syntax(format!(
        "The body is nested deeper than {depth_max} (json_depth_max)."
    ))
}

/// Counts brackets outside strings; broken JSON is left for the parser to report.
fn text_deeper_than(body: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in body {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
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

impl ResourceType {
    /// Takes the body of a POST or PUT in.
    ///
    /// Names are matched in any letter case and stored in their own; values are brought to their
    /// attribute's type (`"True"` to `true`, `"5"` to `5`); null, `""` and `[]` unassign
    /// (RFC 7643 section 2.5); readOnly attributes and the password are dropped; attributes and
    /// extensions that no schema knows are kept as they are. What `schemas` says is ignored: Entra
    /// sends mistyped URNs there and leaves out those of extensions.
    ///
    /// # Errors
    /// 400 invalidSyntax if the body is no object or too deep; 400 invalidValue, naming the path, if
    /// a value does not fit or a required one is missing.
    pub fn accept(&self, body: Value, limits: &ScimLimits) -> Result<Resource, ScimError> {
        if value_deeper_than(&body, limits.json_depth()) {
            return Err(too_deep(limits));
        }
        let Value::Object(body) = body else {
            return Err(ScimError::invalid_syntax("The body is not a JSON object."));
        };
        let mut map = Map::with_capacity(body.len() + 1);
        map.insert("schemas".to_owned(), Value::Null);
        for (key, value) in body {
            self.accept_member(&mut map, key, value, limits)?;
        }
        self.refresh_schemas(&mut map);
        let resource = Resource(map);
        match self
            .required
            .iter()
            .find(|path| path.value_in(self, &resource.0).is_none())
        {
            Some(path) => Err(ScimError::invalid_value(format!(
                "{path} is required and must not be empty."
            ))),
            None => Ok(resource),
        }
    }

    /// One member of the body's object.
    fn accept_member(
        &self,
        map: &mut Map<String, Value>,
        key: String,
        value: Value,
        limits: &ScimLimits,
    ) -> Result<(), ScimError> {
        if let Some((container, _, attribute)) = self.find(&key) {
            return accept_into(map, container, attribute, value, limits);
        }
        // An extension's object, or the flat form `URN:attribute`.
        if let Some(schema) = self.extension(&key) {
            let Some(value) = assigned(value) else {
                return Ok(());
            };
            let Value::Object(members) = value else {
                return Err(ScimError::invalid_value(format!(
                    "{key} must be an object."
                )));
            };
            return members
                .into_iter()
                .try_for_each(|(name, value)| accept_extension(map, schema, name, value, limits));
        }
        if is_urn(&key)
            && let Some((Some(urn), Some(name), None)) = split_attribute(&key)
        {
            if self.schema.id.eq_ignore_ascii_case(urn) {
                let name = name.to_owned();
                return self.accept_member(map, name, value, limits);
            }
            if let Some(schema) = self.extension(urn) {
                return accept_extension(map, schema, name.to_owned(), value, limits);
            }
        }
        if self.schema.id.eq_ignore_ascii_case(&key)
            && let Value::Object(members) = value
        {
            return members
                .into_iter()
                .try_for_each(|(name, value)| self.accept_member(map, name, value, limits));
        }
        keep(map, key, value);
        Ok(())
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

fn accept_extension(
    map: &mut Map<String, Value>,
    schema: &Schema,
    name: String,
    value: Value,
    limits: &ScimLimits,
) -> Result<(), ScimError> {
    match schema.attribute(&name) {
        Some(attribute) => accept_into(
            map,
            Container::Extension(&schema.id),
            attribute,
            value,
            limits,
        ),
        None => {
            if let Some(value) = assigned(value)
                && let Some(target) = container_mut(map, Container::Extension(&schema.id))
            {
                target.insert(name, value);
            }
            Ok(())
        }
    }
}

fn accept_into(
    map: &mut Map<String, Value>,
    container: Container<'_>,
    attribute: &Attribute,
    value: Value,
    limits: &ScimLimits,
) -> Result<(), ScimError> {
    if attribute.mutability == Mutability::ReadOnly {
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
    let value = coerce(attribute, value, &at, limits.values_max)?;
    // A writeOnly value, the password, is checked and forgotten: it must never come to rest here.
    if let Some(value) = value.filter(|_| attribute.mutability != Mutability::WriteOnly)
        && let Some(target) = container_mut(map, container)
    {
        target.insert(attribute.name.clone().into_owned(), value);
    }
    Ok(())
}

/// Keeps what no schema knows, unless it is empty.
fn keep(map: &mut Map<String, Value>, key: String, value: Value) {
    if let Some(value) = assigned(value) {
        map.insert(key, value);
    }
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
