//! PATCH as RFC 7644 section 3.5.2 has it: the operations of one request, applied in their order to a
//! copy of the attributes.
//!
//! Invariant: what is returned holds all operations; with a refusal, none has happened.
//! Absent: the members of a group, which are many: changes of them are returned for the service to make;
//! required attributes and uniqueness, which are checked on the result.

use serde_json::{Map, Value};

use super::grammar::{Filter, Path};
use super::schema::{Found, NamedMember, Refusal, Schema, members, simple};

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// What a PATCH leaves.
#[derive(Debug)]
pub(super) struct Patched {
    pub(super) attributes: Map<String, Value>,
    pub(super) members: Vec<MemberChange>,
}

/// One change of a group's members.
#[derive(Debug, PartialEq)]
pub(super) enum MemberChange {
    Add(Vec<NamedMember>),
    Replace(Vec<NamedMember>),
    Remove(Filter),
}

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

/// Applies the body of a PATCH.
pub(super) fn apply(
    schema: &Schema<'_>,
    attributes: &Map<String, Value>,
    body: &Value,
) -> Result<Patched, Refusal> {
    let syntax = |detail: &str| Refusal::bad("invalidSyntax", detail);
    if body["schemas"] != serde_json::json!([PATCH_OP]) {
        return Err(syntax("`schemas` is the URN of PatchOp and no other"));
    }
    let operations = body["Operations"].as_array().filter(|it| !it.is_empty());
    let operations = operations.ok_or_else(|| syntax("`Operations` is no list of operations"))?;
    let mut patched = Patched {
        attributes: attributes.clone(),
        members: Vec::new(),
    };
    for operation in operations {
        let operation = operation
            .as_object()
            .ok_or_else(|| syntax("an operation is an object"))?;
        let unknown = operation
            .keys()
            .find(|it| !matches!(it.as_str(), "op" | "path" | "value"));
        if let Some(unknown) = unknown {
            return Err(syntax(&format!("an operation has no {unknown}")));
        }
        let verb = match operation.get("op").and_then(Value::as_str) {
            Some("add") => Verb::Add,
            Some("replace") => Verb::Replace,
            Some("remove") => Verb::Remove,
            _ => return Err(syntax("`op` is add, replace or remove, in lower case")),
        };
        let path = match operation.get("path") {
            None => None,
            Some(Value::String(path)) => Some(Path::read(path)?),
            Some(_) => return Err(Refusal::bad("invalidPath", "a path is text")),
        };
        match (verb, path, operation.get("value")) {
            (Verb::Remove, None, _) => {
                return Err(Refusal::bad("noTarget", "a removal has a path"));
            }
            (Verb::Remove, Some(_), Some(_)) => {
                return Err(syntax("a removal has no value: say what goes in the path"));
            }
            (Verb::Remove, Some(path), None) => aim(schema, &path)?.remove(&mut patched)?,
            (_, _, None) => return Err(syntax("add and replace have a value")),
            (_, Some(path), Some(value)) => aim(schema, &path)?.set(&mut patched, verb, value)?,
            (_, None, Some(value)) => merge(schema, &mut patched, verb, value)?,
        }
    }
    Ok(patched)
}

/// A path whose every step is known.
struct Aim<'a, 'p> {
    schema: &'a Schema<'a>,
    found: Found<'a>,
    filter: Option<&'p Filter>,
    part: Option<Found<'a>>,
}

fn aim<'a, 'p>(schema: &'a Schema<'a>, path: &'p Path) -> Result<Aim<'a, 'p>, Refusal> {
    let no_path = |detail: String| Refusal::bad("invalidPath", detail);
    let found = schema
        .find(path.urn.as_deref(), &path.attribute)
        .ok_or_else(|| no_path(format!("unknown attribute {}", path.attribute)))?;
    let part = match &path.part {
        None => None,
        Some(name) => {
            let part = schema
                .part(&found, name)
                .ok_or_else(|| no_path(format!("unknown sub-attribute {}.{name}", found.name)))?;
            Some(Found {
                urn: None,
                name: part.name,
                attribute: part,
            })
        }
    };
    if path.filter.is_some() && !found.attribute.many {
        return Err(no_path(format!("{} has one value: no filter", found.name)));
    }
    if part.is_some() && path.filter.is_none() && found.attribute.many {
        let name = found.name;
        return Err(no_path(format!("{name} has many values: which is meant?")));
    }
    if found.attribute.read_only || part.is_some_and(|part| part.attribute.read_only) {
        let detail = format!("{} is read-only", found.name);
        return Err(Refusal::bad("mutability", detail));
    }
    Ok(Aim {
        schema,
        found,
        filter: path.filter.as_ref(),
        part,
    })
}

/// An operation without a path: its value is a part of the resource.
fn merge(
    schema: &Schema<'_>,
    patched: &mut Patched,
    verb: Verb,
    value: &Value,
) -> Result<(), Refusal> {
    let given = value
        .as_object()
        .ok_or_else(|| Refusal::bad("invalidValue", "without a path, the value is an object"))?;
    for (name, value) in given {
        if !name.to_ascii_lowercase().starts_with("urn:") {
            set_whole(schema, patched, verb, None, name, value)?;
            continue;
        }
        let extension = value
            .as_object()
            .ok_or_else(|| Refusal::bad("invalidValue", format!("{name} takes an object")))?;
        for (attribute, value) in extension {
            set_whole(schema, patched, verb, Some(name), attribute, value)?;
        }
    }
    Ok(())
}

fn set_whole(
    schema: &Schema<'_>,
    patched: &mut Patched,
    verb: Verb,
    urn: Option<&str>,
    name: &str,
    value: &Value,
) -> Result<(), Refusal> {
    let path = Path {
        urn: urn.map(str::to_owned),
        attribute: name.to_owned(),
        filter: None,
        part: None,
    };
    aim(schema, &path)?.set(patched, verb, value)
}

impl Aim<'_, '_> {
    fn set(&self, patched: &mut Patched, verb: Verb, value: &Value) -> Result<(), Refusal> {
        let name = self.found.name;
        if name == "members" {
            if self.filter.is_some() {
                // RFC 7643 section 4.2: what a member says of itself is immutable.
                return Err(Refusal::bad("mutability", "a member does not change"));
            }
            let named = members(value)?;
            patched.members.push(match verb {
                Verb::Replace => MemberChange::Replace(named),
                _ => MemberChange::Add(named),
            });
            return Ok(());
        }
        let held = holder(&mut patched.attributes, self.found.urn);
        match (self.filter, &self.part) {
            (Some(filter), part) => self.set_elements(held, filter, part.as_ref(), verb, value)?,
            (None, Some(part)) => {
                let parts = object(held.entry(name).or_insert_with(|| Map::new().into()));
                assign(parts, part.name, part_value(part, name, value)?);
            }
            (None, None) if self.found.attribute.many && verb == Verb::Add => {
                self.add_elements(held, value)?;
            }
            (None, None) => {
                let new = self.schema.value(&self.found, value)?;
                match (held.get_mut(name), new) {
                    // The parts that are not named stay as they are (RFC 7644 section 3.5.2.3).
                    (Some(Value::Object(parts)), Some(Value::Object(new))) => parts.extend(new),
                    (_, new) => assign(held, name, new),
                }
            }
        }
        sweep(&mut patched.attributes, &self.found);
        Ok(())
    }

    fn add_elements(&self, held: &mut Map<String, Value>, value: &Value) -> Result<(), Refusal> {
        let name = self.found.name;
        let Some(Value::Array(new)) = self.schema.value(&self.found, value)? else {
            return Ok(());
        };
        let elements = list(held.entry(name).or_insert_with(|| Value::Array(Vec::new())));
        if new.iter().any(|it| it["primary"] == true) {
            step_down(elements);
        }
        for element in new {
            if !elements.contains(&element) {
                elements.push(element);
            }
        }
        Ok(())
    }

    fn set_elements(
        &self,
        held: &mut Map<String, Value>,
        filter: &Filter,
        part: Option<&Found<'_>>,
        verb: Verb,
        value: &Value,
    ) -> Result<(), Refusal> {
        let name = self.found.name;
        let empty = &mut Value::Array(Vec::new());
        let elements = list(held.get_mut(name).unwrap_or(empty));
        let selected: Vec<usize> = (0..elements.len())
            .filter(|at| {
                elements[*at]
                    .as_object()
                    .is_some_and(|it| filter.selects(it))
            })
            .collect();
        if selected.is_empty() {
            return Err(no_target(name));
        }
        let new = match part {
            Some(part) => part_value(part, name, value)?,
            None => self.schema.one(&self.found, value)?,
        };
        let primary = match part {
            Some(part) => part.name == "primary" && new == Some(Value::Bool(true)),
            None => new.as_ref().is_some_and(|it| it["primary"] == true),
        };
        if primary {
            if selected.len() > 1 {
                let detail = format!("{name}: more than one would be primary");
                return Err(Refusal::bad("invalidValue", detail));
            }
            step_down(elements);
        }
        for at in selected {
            let parts = object(&mut elements[at]);
            match (part, &new) {
                (Some(part), new) => assign(parts, part.name, new.clone()),
                (None, Some(Value::Object(new))) if verb == Verb::Add => parts.extend(new.clone()),
                (None, Some(Value::Object(new))) => *parts = new.clone(),
                (None, _) => parts.clear(),
            }
        }
        Ok(())
    }

    fn remove(&self, patched: &mut Patched) -> Result<(), Refusal> {
        let name = self.found.name;
        if name == "members" {
            patched.members.push(match (self.filter, &self.part) {
                (_, Some(_)) => {
                    return Err(Refusal::bad("mutability", "a member does not change"));
                }
                (None, None) => MemberChange::Replace(Vec::new()),
                (Some(filter), None) => MemberChange::Remove(filter.clone()),
            });
            return Ok(());
        }
        let held = holder(&mut patched.attributes, self.found.urn);
        match (self.filter, &self.part) {
            (None, None) => drop(held.remove(name)),
            (None, Some(part)) => {
                if let Some(Value::Object(parts)) = held.get_mut(name) {
                    parts.remove(part.name);
                }
            }
            (Some(filter), part) => {
                let empty = &mut Value::Array(Vec::new());
                let elements = list(held.get_mut(name).unwrap_or(empty));
                let mut selected = false;
                for element in elements.iter_mut() {
                    let parts = object(element);
                    if !filter.selects(parts) {
                        continue;
                    }
                    selected = true;
                    match part {
                        Some(part) => drop(parts.remove(part.name)),
                        None => parts.clear(),
                    }
                }
                if !selected {
                    return Err(no_target(name));
                }
            }
        }
        sweep(&mut patched.attributes, &self.found);
        Ok(())
    }
}

fn part_value(part: &Found<'_>, name: &str, value: &Value) -> Result<Option<Value>, Refusal> {
    if value.is_null() {
        return Ok(None);
    }
    let path = format!("{name}.{}", part.name);
    simple(part.attribute, &path, value).map(Some)
}

fn no_target(name: &str) -> Refusal {
    let detail = format!("no value of {name} is selected by the filter");
    Refusal::bad("noTarget", detail)
}

/// Where the attributes of an extension, or of the core schema, are kept.
fn holder<'a>(
    attributes: &'a mut Map<String, Value>,
    urn: Option<&str>,
) -> &'a mut Map<String, Value> {
    match urn {
        None => attributes,
        Some(urn) => object(
            attributes
                .entry(urn)
                .or_insert_with(|| Value::Object(Map::new())),
        ),
    }
}

fn assign(parts: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(parts.insert(name.to_owned(), value)),
        None => drop(parts.remove(name)),
    }
}

/// RFC 7644 section 3.5.2: a new primary takes the flag from the old one.
fn step_down(elements: &mut [Value]) {
    for element in elements {
        let parts = object(element);
        if parts.contains_key("primary") {
            parts.insert("primary".to_owned(), false.into());
        }
    }
}

/// Takes away what has become empty: elements, then attributes, then the extension.
fn sweep(attributes: &mut Map<String, Value>, found: &Found<'_>) {
    let empty = |value: &Value| match value {
        Value::Object(parts) => parts.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    };
    let held = holder(attributes, found.urn);
    if let Some(Value::Array(elements)) = held.get_mut(found.name) {
        elements.retain(|it| !empty(it));
    }
    if held.get(found.name).is_some_and(empty) {
        held.remove(found.name);
    }
    if let Some(urn) = found
        .urn
        .filter(|urn| attributes.get(*urn).is_some_and(empty))
    {
        attributes.remove(urn);
    }
}

/// The object that the schema says is there.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(parts) => parts,
        _ => unreachable!("it was made an object above"),
    }
}

/// The list that the schema says is there.
fn list(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(elements) => elements,
        _ => unreachable!("it was made a list above"),
    }
}
