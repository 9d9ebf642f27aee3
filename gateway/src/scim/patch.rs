//! PATCH (RFC 7644 section 3.5.2), the way Entra and its kin send it.
//!
//! Invariant: operations run in order on a copy; the first that fails fails the request and nothing
//! has changed. Every value passes the same coercion as in POST. Absent: groups' members, which are
//! edges in the store and never part of a document.
//!
//! Where this is wider than the RFC, a client forces it (Entra facts 2.1 to 2.5 and 2.11):
//! - `op` in any letter case; `Operations: []` changes nothing;
//! - keys of a path-less value may be paths: `name.givenName`, `emails[type eq "work"].value`,
//!   `urn:…:User:department`;
//! - a value filter that matches nothing makes the value it describes; the next operation with the
//!   same filter finds it, so that several feed one value. The RFC would answer noTarget;
//! - a removal that hits nothing succeeds; null, `""` and `[]` remove.

mod list;

use serde_json::{Map, Value};

use self::list::List;
use super::error::{ScimError, ScimType};
use super::grammar::parse_path;
use super::limits::ScimLimits;
use super::resource::{Resource, container_mut};
use super::schema::{Attribute, Container, Mutability, Resolved, ResourceType};
use super::syntax::Path;
use super::value::{
    At, assigned, check_count, coerce_list, coerce_one, is_unassigned, is_urn, key_of, member,
    refers_to_nothing,
};

/// The three operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

struct Operation {
    verb: Verb,
    path: Option<String>,
    value: Option<Value>,
}

/// Applies the body of a PATCH to a resource and returns the result.
///
/// # Errors
/// 400 with invalidSyntax (not a PatchOp, unknown `op`), invalidPath, noTarget, mutability (readOnly
/// target) or invalidValue (a value that does not fit, a required attribute that would go); 413 for
/// too many operations. The text names the operation.
pub fn apply(
    resource_type: &ResourceType,
    resource: &Resource,
    body: Value,
    resource_id: &str,
    limits: &ScimLimits,
) -> Result<Resource, ScimError> {
    let operations = read_operations(body, limits)?;
    let count = operations.len();
    let mut patch = Patch {
        resource_type,
        resource_id,
        limits,
        map: resource.as_map().clone(),
        steps: 0,
        hollow: Vec::new(),
    };
    for (at, operation) in operations.into_iter().enumerate() {
        let outcome = read_operation(operation).and_then(|operation| patch.run(operation));
        outcome.map_err(|mut error| {
            if count > 1 {
                error.detail = format!("Operation {} of {count}: {}", at + 1, error.detail);
            }
            error
        })?;
    }
    patch.finish(resource)
}

fn read_operations(body: Value, limits: &ScimLimits) -> Result<Vec<Value>, ScimError> {
    let Value::Object(mut body) = body else {
        return Err(ScimError::invalid_syntax("The body is not a JSON object."));
    };
    let key = key_of(&body, "Operations").into_owned();
    let Some(Value::Array(operations)) = body.shift_remove(&key) else {
        return Err(ScimError::invalid_syntax(
            "`Operations` is missing or not a list.",
        ));
    };
    if operations.len() > limits.patch_operations_max {
        return Err(too_many(limits));
    }
    Ok(operations)
}

fn too_many(limits: &ScimLimits) -> ScimError {
    ScimError::status_with(
        413,
        format!(
            "The request carries more than {} operations (patch_operations_max). Send them in several requests.",
            limits.patch_operations_max
        ),
    )
}

fn read_operation(operation: Value) -> Result<Operation, ScimError> {
    let Value::Object(mut operation) = operation else {
        return Err(ScimError::invalid_syntax("An operation must be an object."));
    };
    let mut take = |name: &str| {
        let key = key_of(&operation, name).into_owned();
        operation.shift_remove(&key)
    };
    let verb = match take("op").as_ref().and_then(Value::as_str) {
        Some(word) if word.eq_ignore_ascii_case("add") => Verb::Add,
        Some(word) if word.eq_ignore_ascii_case("replace") => Verb::Replace,
        Some(word) if word.eq_ignore_ascii_case("remove") => Verb::Remove,
        _ => {
            return Err(ScimError::invalid_syntax(
                "`op` must be add, replace or remove.",
            ));
        }
    };
    let path = match take("path") {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) if path.trim().is_empty() => None,
        Some(Value::String(path)) => Some(path),
        Some(_) => return Err(ScimError::invalid_path("`path` must be a string.")),
    };
    let value = take("value");
    if verb != Verb::Remove && value.is_none() {
        return Err(ScimError::invalid_syntax(
            "An add or replace operation needs a `value`.",
        ));
    }
    Ok(Operation { verb, path, value })
}

/// A request at work on its copy of the resource.
struct Patch<'a> {
    resource_type: &'a ResourceType,
    resource_id: &'a str,
    limits: &'a ScimLimits,
    map: Map<String, Value>,
    /// Attributes set so far: the keys of path-less values count like operations.
    steps: usize,
    /// Attributes of which a value may be left without what it stands for: looked at when all
    /// operations have run, since the next one may fill it again.
    hollow: Vec<Path>,
}

impl Patch<'_> {
    fn run(&mut self, operation: Operation) -> Result<(), ScimError> {
        let Operation { verb, path, value } = operation;
        match (verb, path) {
            (Verb::Remove, None) => Err(ScimError::with(
                ScimType::NoTarget,
                "A remove operation needs a `path`.",
            )),
            (Verb::Remove, Some(path)) => {
                let path = parse_path(&path, self.limits)?;
                self.remove(&path, value.filter(|value| !value.is_null()))
            }
            (_, Some(path)) => {
                let path = parse_path(&path, self.limits)?;
                self.set(verb, &path, value.unwrap_or_default())
            }
            (_, None) => match value {
                Some(Value::Object(members)) => members
                    .into_iter()
                    .try_for_each(|(key, value)| self.set_member(verb, &key, value)),
                _ => Err(ScimError::invalid_value(
                    "`value` must be an object if there is no `path`.",
                )),
            },
        }
    }

    /// One member of a path-less value. Its key is tried as a declared name, then as a path.
    fn set_member(&mut self, verb: Verb, key: &str, value: Value) -> Result<(), ScimError> {
        // `schemas` is computed. Okta repeats the resource's own `id` in the value.
        let own_id = key.eq_ignore_ascii_case("id") && value.as_str() == Some(self.resource_id);
        if own_id || key.eq_ignore_ascii_case("schemas") {
            return Ok(());
        }
        let literal = |urn: Option<&str>, name: Option<&str>| Path {
            urn: urn.map(str::to_owned),
            name: name.map(str::to_owned),
            filter: None,
            sub: None,
        };
        if self.resource_type.find(key).is_some() {
            return self.set(verb, &literal(None, Some(key)), value);
        }
        let known = self.resource_type.extension(key).is_some()
            || self.resource_type.schema.id.eq_ignore_ascii_case(key);
        if is_urn(key) && (known || member(&self.map, key).is_some()) {
            return self.set(verb, &literal(Some(key), None), value);
        }
        match parse_path(key, self.limits) {
            // An object under a URN that names no declared attribute is an extension nobody declared.
            Ok(path)
                if is_urn(key)
                    && value.is_object()
                    && self.resource_type.resolve(&path).attribute.is_none() =>
            {
                self.set(verb, &literal(Some(key), None), value)
            }
            Ok(path) => self.set(verb, &path, value),
            Err(error) if key.contains('[') => Err(error),
            // A name that is no path, such as one with a space, is kept as POST keeps it.
            Err(_) => self.set(verb, &literal(None, Some(key)), value),
        }
    }

    /// All members of a schema's object: they are merged, never replaced as a whole.
    fn set_schema(
        &mut self,
        verb: Verb,
        urn: &str,
        container: Container<'_>,
        value: Value,
    ) -> Result<(), ScimError> {
        let members = match value {
            Value::Object(members) => members,
            value if is_unassigned(&value) => {
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
        members.into_iter().try_for_each(|(key, value)| {
            if container == Container::Core {
                return self.set_member(verb, &key, value);
            }
            let declared = self
                .resource_type
                .extension(urn)
                .is_some_and(|schema| schema.attribute(&key).is_some());
            let path = parse_path(&key, self.limits)
                .ok()
                .filter(|path| !declared && path.urn.is_none());
            let path = match path {
                Some(path) => Path {
                    urn: Some(urn.to_owned()),
                    ..path
                },
                None => Path {
                    urn: Some(urn.to_owned()),
                    name: Some(key),
                    filter: None,
                    sub: None,
                },
            };
            self.set(verb, &path, value)
        })
    }

    fn take_key(&mut self, name: &str) {
        let key = key_of(&self.map, name).into_owned();
        self.map.shift_remove(&key);
    }

    /// Add and replace.
    fn set(&mut self, verb: Verb, path: &Path, value: Value) -> Result<(), ScimError> {
        self.steps += 1;
        if self.steps > self.limits.patch_operations_max {
            return Err(too_many(self.limits));
        }
        let resource_type = self.resource_type;
        let resolved = resource_type.resolve(path);
        let Some(name) = path.name.as_deref() else {
            let urn = path.urn.as_deref().unwrap_or_default();
            return self.set_schema(verb, urn, resolved.container, value);
        };
        check_mutable(path, &resolved)?;
        let text = path.to_string();
        let at = At::top(&text);
        if let Some(attribute) = resolved
            .attribute
            .filter(|own| own.mutability == Mutability::WriteOnly)
        {
            // The password: checked and forgotten.
            return coerce_one(attribute, value, &at).map(|_| ());
        }
        let values_max = self.limits.values_max;
        let Some(map) = container_mut(&mut self.map, resolved.container) else {
            return Err(not_an_object(resolved.container));
        };
        let key = own_key(map, name, resolved.attribute);
        if is_list(map.get(&key), path, &resolved)? {
            let mut list = List::open(map, &key, path, &resolved);
            let lost = list.set(verb == Verb::Add, value, &at, values_max)?;
            check_count(list.len(), &at, values_max)?;
            list.close(map, key);
            if lost {
                self.hollow.push(path.clone());
            }
        } else {
            set_single(map, key, path, &resolved, value, &at)?;
            if path.sub.is_some() && resolved.attribute.is_some_and(Attribute::has_value_sub) {
                self.hollow.push(path.clone());
            }
        }
        self.sweep(resolved.container);
        Ok(())
    }

    fn remove(&mut self, path: &Path, value: Option<Value>) -> Result<(), ScimError> {
        let resource_type = self.resource_type;
        let resolved = resource_type.resolve(path);
        let Some(name) = path.name.as_deref() else {
            return match resolved.container {
                Container::Extension(urn) => {
                    self.take_key(urn);
                    Ok(())
                }
                Container::Core => Err(ScimError::with(
                    ScimType::NoTarget,
                    "The core schema cannot be removed.",
                )),
            };
        };
        check_mutable(path, &resolved)?;
        let Some(map) = container_mut(&mut self.map, resolved.container) else {
            return Err(not_an_object(resolved.container));
        };
        let key = own_key(map, name, resolved.attribute);
        let text = path.to_string();
        if is_list(map.get(&key), path, &resolved)? {
            let mut list = List::open(map, &key, path, &resolved);
            let lost = list.remove(value, &At::top(&text), self.limits.values_max)?;
            list.close(map, key);
            if lost {
                self.hollow.push(path.clone());
            }
        } else {
            match &path.sub {
                None => drop(map.shift_remove(&key)),
                Some(sub) => drop_sub(map, &key, sub, resolved.attribute),
            }
        }
        self.sweep(resolved.container);
        Ok(())
    }

    /// Takes an extension away that has lost its last attribute.
    fn sweep(&mut self, container: Container<'_>) {
        if let Container::Extension(urn) = container
            && member(&self.map, urn).is_some_and(is_unassigned)
        {
            self.take_key(urn);
        }
    }

    /// What is true of the result as a whole.
    fn finish(mut self, before: &Resource) -> Result<Resource, ScimError> {
        for path in std::mem::take(&mut self.hollow) {
            let resolved = self.resource_type.resolve(&path);
            if let Some(map) = container_mut(&mut self.map, resolved.container) {
                let key = own_key(
                    map,
                    path.name.as_deref().unwrap_or_default(),
                    resolved.attribute,
                );
                drop_hollow(map, &key, resolved.attribute);
            }
            self.sweep(resolved.container);
        }
        let lost = self.resource_type.required.iter().find(|path| {
            // Only what this request took: an app may have come to require what older users lack.
            path.value_in(self.resource_type, &self.map).is_none()
                && path.value_in(self.resource_type, before.as_map()).is_some()
        });
        if let Some(path) = lost {
            return Err(ScimError::invalid_value(format!(
                "{path} is required and cannot be removed."
            )));
        }
        self.resource_type.refresh_schemas(&mut self.map);
        Ok(Resource(self.map))
    }
}

fn check_mutable(path: &Path, resolved: &Resolved<'_>) -> Result<(), ScimError> {
    let read_only = |attribute: Option<&Attribute>| {
        attribute.is_some_and(|own| own.mutability == Mutability::ReadOnly)
    };
    if read_only(resolved.attribute) || read_only(resolved.sub) {
        return Err(ScimError::mutability(format!("{path} is readOnly.")));
    }
    Ok(())
}

fn not_an_object(container: Container<'_>) -> ScimError {
    let urn = match container {
        Container::Core => "The resource",
        Container::Extension(urn) => urn,
    };
    ScimError::with(ScimType::NoTarget, format!("{urn} holds no attributes."))
}

/// The key under which the attribute stands: its canonical name, or the spelling in which an unknown
/// one was first sent.
fn own_key(map: &Map<String, Value>, name: &str, attribute: Option<&Attribute>) -> String {
    match attribute {
        Some(attribute) => attribute.name.clone().into_owned(),
        None => key_of(map, name).into_owned(),
    }
}

/// Whether the path leads into a list. What no schema knows is one if it holds one, or if the client
/// filters it.
fn is_list(
    current: Option<&Value>,
    path: &Path,
    resolved: &Resolved<'_>,
) -> Result<bool, ScimError> {
    match resolved.attribute {
        Some(attribute) if path.filter.is_some() && !attribute.multi_valued => {
            Err(ScimError::invalid_path(format!(
                "{} has a single value; a filter cannot stand there.",
                attribute.name
            )))
        }
        Some(attribute) => Ok(attribute.multi_valued),
        None => Ok(path.filter.is_some() || current.is_some_and(Value::is_array)),
    }
}

/// Sets a single-valued attribute or a part of it.
fn set_single(
    map: &mut Map<String, Value>,
    key: String,
    path: &Path,
    resolved: &Resolved<'_>,
    value: Value,
    at: &At<'_>,
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
                merge(&mut target, members, resolved.attribute, at)?;
                assigned(Value::Object(target))
            }
            value => coerce_or_keep(resolved.attribute, value, at)?,
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
    let Some(value) = coerce_or_keep(resolved.sub, value, at)? else {
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

fn coerce_or_keep(
    attribute: Option<&Attribute>,
    value: Value,
    at: &At<'_>,
) -> Result<Option<Value>, ScimError> {
    match attribute {
        Some(attribute) => coerce_one(attribute, value, at),
        None => Ok(assigned(value)),
    }
}

/// Merges the parts of an object; a part that is null goes, the others stay.
fn merge(
    target: &mut Map<String, Value>,
    members: Map<String, Value>,
    attribute: Option<&Attribute>,
    at: &At<'_>,
) -> Result<(), ScimError> {
    for (name, value) in members {
        let sub = attribute.and_then(|attribute| attribute.sub(&name));
        if sub.is_some_and(|sub| sub.mutability == Mutability::ReadOnly) {
            continue;
        }
        let value = coerce_or_keep(sub, value, &at.part(&name))?;
        let key = own_key(target, &name, sub);
        put(target, key, value);
    }
    Ok(())
}

/// Takes one part of an object away, and the object with it if nothing of worth is left.
fn drop_sub(map: &mut Map<String, Value>, key: &str, sub: &str, attribute: Option<&Attribute>) {
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
fn coerce_values(
    attribute: Option<&Attribute>,
    value: Value,
    at: &At<'_>,
    values_max: usize,
) -> Result<Vec<Value>, ScimError> {
    match (attribute, value) {
        (Some(attribute), value) => coerce_list(attribute, value, at, values_max),
        (None, Value::Array(items)) => Ok(items.into_iter().filter_map(assigned).collect()),
        (None, value) => Ok(assigned(value).into_iter().collect()),
    }
}

/// Takes away what has lost its worth: the values of a list that only say what they were for, and a
/// manager without a `value`.
fn drop_hollow(map: &mut Map<String, Value>, key: &str, attribute: Option<&Attribute>) {
    let label = |name: &str| matches!(name, "type" | "primary");
    let hollow = match map.get_mut(key) {
        Some(Value::Array(items)) => {
            items.retain(|item| {
                let members = item.as_object();
                members.is_none_or(|members| members.keys().any(|name| !label(name)))
            });
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
