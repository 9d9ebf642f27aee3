//! PATCH (RFC 7644 section 3.5.2), the way Entra and its kin send it.
//!
//! Invariant: operations run in order on a copy; the first that fails fails the request and nothing
//! has changed. Every value passes the same coercion as in POST. What the operations may cost is
//! bounded (`patch_work_max`), and so is what they leave (`resource_bytes_max`). Absent: who the
//! members of a group are; operations on them come out as [`MemberOps`].
//!
//! Where this is wider than the RFC, a client forces it (Entra facts 2.1 to 2.5 and 2.11) and the
//! dialect must let it:
//! - `op` in any letter case; `Operations: []` changes nothing;
//! - keys of a path-less value may be paths: `name.givenName`, `emails[type eq "work"].value`,
//!   `urn:…:User:department`;
//! - a value filter that matches nothing makes the value it describes; the next operation with the
//!   same filter finds it, so that several feed one value. The RFC would answer noTarget;
//! - a removal that hits nothing succeeds; null, `""` and `[]` remove.
//!
//! Where it is narrower: a value of which nothing is left but its `type` and `primary` goes, as does a
//! manager without a `value`; and another manager is another value, of which no sub-attribute of the
//! old one stays, though RFC 7644 section 3.5.2.3 leaves what is not named. An old `$ref` beside a new
//! `value` would name two people.

mod keyed;
mod list;
mod membership;
mod single;
#[cfg(test)]
mod tests;
mod work;

use serde_json::{Map, Value};

use self::list::List;
use self::single::{drop_sub, own_key, set_single, tidy_values};
pub(super) use self::work::Work;
use super::dialect::{Form, Reading};
use super::error::{ScimError, ScimType};
use super::grammar::parse_path;
use super::members::{MemberOps, check_named};
use super::resource::{Resource, container_mut, drop_password, says_nothing};
use super::schema::{Attribute, Container, Mutability, Resolved, ResourceType, UrnKey};
use super::syntax::Path;
use super::value::{At, check_count, coerce_one, is_unassigned, key_of, member};

/// The URN of the message (RFC 7644 section 3.5.2).
const PATCH_URN: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The three operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

impl Verb {
    fn read(word: &str, reading: &Reading<'_>) -> Option<Self> {
        let verbs = [
            ("add", Self::Add),
            ("replace", Self::Replace),
            ("remove", Self::Remove),
        ];
        let (name, verb) = verbs
            .into_iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name))?;
        (word == name || reading.tolerates(Form::OpCapitalised)).then_some(verb)
    }
}

struct Operation {
    verb: Verb,
    path: Option<String>,
    value: Option<Value>,
}

/// What a PATCH comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patched {
    /// The resource as it shall be.
    pub resource: Resource,
    /// What happens to a group's members; empty for a user, and if no operation names members.
    pub members: MemberOps,
}

/// Applies the body of a PATCH to a resource and returns the result.
///
/// # Errors
/// 400 with invalidSyntax (not a PatchOp, unknown `op`, a form that the dialect does not tolerate),
/// invalidPath, noTarget, mutability (readOnly target, a required attribute that is removed) or
/// invalidValue (a value that does not fit, a required attribute that gets none); 413 for too many
/// operations, too many members, too much work or too large a resource. The text names the operation.
pub fn apply(
    resource_type: &ResourceType,
    resource: &Resource,
    body: Value,
    resource_id: &str,
    reading: &Reading<'_>,
) -> Result<Patched, ScimError> {
    let work = Work::new(reading.limits().patch_work_max);
    apply_within(&work, resource_type, resource, body, resource_id, reading)
}

fn apply_within(
    work: &Work,
    resource_type: &ResourceType,
    resource: &Resource,
    body: Value,
    resource_id: &str,
    reading: &Reading<'_>,
) -> Result<Patched, ScimError> {
    let operations = read_operations(body, reading)?;
    let count = operations.len();
    let mut patch = Patch {
        resource_type,
        resource_id,
        reading,
        work,
        map: resource.as_map().clone(),
        members: MemberOps::default(),
        steps: 0,
        loose: Vec::new(),
        removed: Vec::new(),
    };
    for (at, operation) in operations.into_iter().enumerate() {
        let outcome = read_operation(operation, reading).and_then(|operation| patch.run(operation));
        outcome.map_err(|mut error| {
            if count > 1 {
                error.detail = format!("Operation {} of {count}: {}", at + 1, error.detail);
            }
            error
        })?;
    }
    patch.finish(resource)
}

fn read_operations(body: Value, reading: &Reading<'_>) -> Result<Vec<Value>, ScimError> {
    let Value::Object(mut body) = body else {
        return Err(ScimError::invalid_syntax("The body is not a JSON object."));
    };
    let declared = member(&body, "schemas").and_then(Value::as_array);
    let declared = declared.into_iter().flatten().filter_map(Value::as_str);
    if !declared
        .into_iter()
        .any(|urn| urn.eq_ignore_ascii_case(PATCH_URN))
        && !reading.tolerates(Form::SchemasMissing)
    {
        return Err(ScimError::invalid_syntax(format!(
            "`schemas` must name {PATCH_URN}."
        )));
    }
    let key = key_of(&body, "Operations").into_owned();
    let Some(Value::Array(operations)) = body.swap_remove(&key) else {
        return Err(ScimError::invalid_syntax(
            "`Operations` is missing or not a list.",
        ));
    };
    if operations.is_empty() && !reading.tolerates(Form::OperationsEmpty) {
        return Err(ScimError::invalid_syntax(
            "`Operations` must hold an operation.",
        ));
    }
    if operations.len() > reading.limits().patch_operations_max {
        return Err(too_many(reading));
    }
    Ok(operations)
}

fn too_many(reading: &Reading<'_>) -> ScimError {
    ScimError::status_with(
        413,
        format!(
            "The request carries more than {} operations (patch_operations_max). Send them in several requests.",
            reading.limits().patch_operations_max
        ),
    )
}

fn read_operation(operation: Value, reading: &Reading<'_>) -> Result<Operation, ScimError> {
    let Value::Object(mut operation) = operation else {
        return Err(ScimError::invalid_syntax("An operation must be an object."));
    };
    let mut take = |name: &str| {
        let key = key_of(&operation, name).into_owned();
        operation.swap_remove(&key)
    };
    let verb = take("op").and_then(|word| Verb::read(word.as_str()?, reading));
    let Some(verb) = verb else {
        return Err(ScimError::invalid_syntax(
            "`op` must be add, replace or remove.",
        ));
    };
    let path = match take("path") {
        None | Some(Value::Null) => None,
        Some(Value::String(path))
            if path.trim().is_empty() && reading.tolerates(Form::PathEmpty) =>
        {
            None
        }
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
    reading: &'a Reading<'a>,
    work: &'a Work,
    map: Map<String, Value>,
    members: MemberOps,
    /// Attributes set so far: the keys of path-less values count like operations.
    steps: usize,
    /// Attributes of which a value may be left without what it stands for, or equal to another: looked
    /// at when all operations have run, since the next one may change that.
    loose: Vec<Path>,
    /// What remove operations named.
    removed: Vec<Path>,
}

impl<'a> Patch<'a> {
    fn run(&mut self, operation: Operation) -> Result<(), ScimError> {
        let Operation { verb, path, value } = operation;
        match (verb, path) {
            (Verb::Remove, None) => Err(ScimError::with(
                ScimType::NoTarget,
                "A remove operation needs a `path`.",
            )),
            (Verb::Remove, Some(path)) => {
                let path = parse_path(&path, self.reading)?;
                let value = value.filter(|value| !value.is_null());
                if value.is_some() && !self.reading.tolerates(Form::RemoveWithValue) {
                    return Err(ScimError::invalid_syntax(
                        "A remove operation takes no `value`; name what goes in the path.",
                    ));
                }
                self.remove(&path, value)?;
                self.removed.push(path);
                Ok(())
            }
            (_, Some(path)) => {
                let path = parse_path(&path, self.reading)?;
                self.set(verb, &path, value.unwrap_or_default())
            }
            (_, None) => match value {
                Some(Value::Object(members)) => self.set_members(verb, members),
                _ => Err(ScimError::invalid_value(
                    "`value` must be an object if there is no `path`.",
                )),
            },
        }
    }

    fn take_key(&mut self, name: &str) {
        let key = key_of(&self.map, name).into_owned();
        self.map.shift_remove(&key);
    }

    /// What a path means, if the dialect lets it be written so and knows what it names.
    fn resolve<'p>(&self, path: &'p Path) -> Result<Resolved<'p>, ScimError>
    where
        'a: 'p,
    {
        let resource_type = self.resource_type;
        let resolved = resource_type.resolve(path);
        // A key in another spelling is looked for among all others, and what stands behind one moves
        // up when it goes.
        let looks = match resolved.container {
            Container::Core => resolved.attribute.is_none(),
            Container::Extension(urn) => !self.map.contains_key(urn),
        };
        self.work
            .charge(1 + self.map.len() / if looks { 1 } else { 8 })?;
        let invalid = |what: String| Err(ScimError::invalid_path(what));
        // What begins with the URN of a known schema belongs to that schema, as a key of a POST does.
        if let (Some(urn), None) = (&path.urn, resolved.schema)
            && let UrnKey::Within { schema, .. } = resource_type.urn_key(urn)
        {
            return invalid(format!("{path} is no attribute of {}.", schema.id));
        }
        if let (None, Container::Extension(urn)) = (&path.urn, resolved.container)
            && !self.reading.tolerates(Form::ExtensionUnprefixed)
        {
            return invalid(format!("{path} belongs to a schema: write {urn}:{path}."));
        }
        let known = match (&path.name, &path.sub) {
            (None, _) => resolved.schema.is_some(),
            (Some(_), None) => resolved.attribute.is_some(),
            (Some(_), Some(_)) => {
                resolved.sub.is_some()
                    // What has no sub-attributes at all is refused as such.
                    || resolved.attribute.is_some_and(|own| !own.is_complex())
            }
        };
        if !known && !self.reading.tolerates(Form::UnknownKept) {
            return invalid(format!(
                "{path} is no attribute of a {}.",
                resource_type.kind.as_str()
            ));
        }
        Ok(resolved)
    }

    /// An operation on a group's members, which are kept apart.
    fn change_members(
        &mut self,
        verb: Verb,
        path: &Path,
        value: Option<Value>,
    ) -> Result<(), ScimError> {
        let op = membership::read(verb, path, value, self.reading)?;
        self.members.push(op);
        let (ids, terms) = self.members.size();
        check_named(ids, self.reading)?;
        let terms_max = self.reading.limits().filter_terms_max;
        if terms > terms_max {
            return Err(ScimError::status_with(
                413,
                format!(
                    "The filters on members have more than {terms_max} comparisons (filter_terms_max). Send them in several requests."
                ),
            ));
        }
        Ok(())
    }

    /// Add and replace.
    fn set(&mut self, verb: Verb, path: &Path, value: Value) -> Result<(), ScimError> {
        self.steps += 1;
        if self.steps > self.reading.limits().patch_operations_max {
            return Err(too_many(self.reading));
        }
        let resolved = self.resolve(path)?;
        let Some(name) = path.name.as_deref() else {
            let urn = path.urn.as_deref().unwrap_or_default();
            return self.set_schema(verb, urn, resolved.container, value);
        };
        if resolved.container != Container::Core && says_nothing(name) {
            return Ok(());
        }
        check_mutable(path, &resolved)?;
        if self.keeps_apart(&resolved) {
            return self.change_members(verb, path, Some(value));
        }
        let text = path.to_string();
        let at = At::top(&text);
        if let Some(attribute) = resolved
            .attribute
            .filter(|own| own.mutability == Mutability::WriteOnly)
        {
            let password = coerce_one(attribute, value, &at, self.reading)?;
            return drop_password(password.as_ref(), &at, self.reading);
        }
        let values_max = self.reading.limits().values_max;
        let Some(map) = container_mut(&mut self.map, resolved.container) else {
            return Err(not_an_object(resolved.container));
        };
        if resolved.container != Container::Core {
            self.work.charge(map.len())?;
        }
        let key = own_key(map, name, resolved.attribute);
        let loose = if is_list(map.get(&key), path, &resolved)? {
            let mut list = List::open(map, &key, path, &resolved, self.reading, self.work)?;
            let loose = list.set(verb == Verb::Add, value, &at)?;
            check_count(list.len(), &at, values_max)?;
            list.close(map, key);
            loose
        } else {
            set_single(
                map,
                key,
                path,
                &resolved,
                value,
                &at,
                self.reading,
                self.work,
            )?;
            path.sub.is_some() && resolved.attribute.is_some_and(Attribute::has_value_sub)
        };
        if loose {
            self.note_loose(path);
        }
        self.sweep(resolved.container);
        Ok(())
    }

    fn remove(&mut self, path: &Path, value: Option<Value>) -> Result<(), ScimError> {
        let resolved = self.resolve(path)?;
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
        if self.keeps_apart(&resolved) {
            return self.change_members(Verb::Remove, path, value);
        }
        let Some(map) = container_mut(&mut self.map, resolved.container) else {
            return Err(not_an_object(resolved.container));
        };
        if resolved.container != Container::Core {
            self.work.charge(map.len())?;
        }
        let key = own_key(map, name, resolved.attribute);
        let text = path.to_string();
        if is_list(map.get(&key), path, &resolved)? {
            let mut list = List::open(map, &key, path, &resolved, self.reading, self.work)?;
            let loose = list.remove(value, &At::top(&text))?;
            list.close(map, key);
            if loose {
                self.note_loose(path);
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

    fn keeps_apart(&self, resolved: &Resolved<'_>) -> bool {
        resolved.attribute.is_some_and(|attribute| {
            self.resource_type
                .keeps_apart(resolved.container, attribute)
        })
    }

    /// Remembers the attribute for [`Patch::finish`], once.
    fn note_loose(&mut self, path: &Path) {
        let attribute = Path {
            urn: path.urn.clone(),
            name: path.name.clone(),
            filter: None,
            sub: None,
        };
        if !self.loose.contains(&attribute) {
            self.loose.push(attribute);
        }
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
    fn finish(mut self, before: &Resource) -> Result<Patched, ScimError> {
        for path in std::mem::take(&mut self.loose) {
            let resolved = self.resource_type.resolve(&path);
            if let Some(map) = container_mut(&mut self.map, resolved.container) {
                let key = own_key(
                    map,
                    path.name.as_deref().unwrap_or_default(),
                    resolved.attribute,
                );
                tidy_values(map, &key, resolved.attribute);
            }
            self.sweep(resolved.container);
        }
        let lost = self.resource_type.required.iter().find(|path| {
            // Only what this request took: an app may have come to require what older users lack.
            path.value_in(self.resource_type, &self.map).is_none()
                && path.value_in(self.resource_type, before.as_map()).is_some()
        });
        if let Some(path) = lost {
            return Err(self.refuse_loss(path));
        }
        self.resource_type.refresh_schemas(&mut self.map);
        let resource = Resource(self.map);
        resource.check_size(Some(before), self.reading.limits())?;
        Ok(Patched {
            resource,
            members: self.members.with_work(self.work.left()),
        })
    }

    /// A required attribute has been removed (RFC 7644 section 3.5.2.2: mutability), or was set to
    /// nothing.
    fn refuse_loss(&self, required: &Path) -> ScimError {
        let lost = self.resource_type.resolve(required);
        let same = |path: &&Path| {
            let resolved = self.resource_type.resolve(path);
            resolved.container == lost.container
                && path.name.is_some()
                && resolved.attribute.map(|own| &own.name) == lost.attribute.map(|own| &own.name)
        };
        let detail = format!("{required} is required and cannot be removed.");
        match self.removed.iter().find(same) {
            Some(_) => ScimError::mutability(detail),
            None => ScimError::invalid_value(detail),
        }
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
