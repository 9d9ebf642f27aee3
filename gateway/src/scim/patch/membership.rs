//! PATCH on a group's `members`.
//!
//! Invariant: nothing here knows who is a member; an operation becomes a [`MemberOp`], and `members`
//! is never written into a document. Members are immutable (RFC 7643 section 4.2): one can come and
//! go, its parts cannot change. Whether a filter by id hits is not asked, not even for the strict
//! dialect's sake: two removals of one member must both succeed (Entra fact 2.6).

use serde_json::Value;

use super::Verb;
use crate::scim::dialect::{Form, Reading};
use crate::scim::error::{ScimError, ScimType};
use crate::scim::members::{MemberOp, ids_of, named};
use crate::scim::syntax::{Filter, Path};
use crate::scim::value::At;

/// What the operation does to the members.
pub(super) fn read(
    verb: Verb,
    path: &Path,
    value: Option<Value>,
    reading: &Reading<'_>,
) -> Result<MemberOp, ScimError> {
    let at = At::top("members");
    match (verb, &path.filter, path.sub.as_deref()) {
        (Verb::Add, None, None) => {
            // A single object is what RFC 7644 section 3.5.2.1 asks for here.
            let value = match value.unwrap_or_default() {
                member @ Value::Object(_) => Value::Array(vec![member]),
                value => value,
            };
            Ok(MemberOp::Add(named(value, &at, reading)?))
        }
        (Verb::Replace, None, None) => Ok(MemberOp::Replace(named(
            value.unwrap_or_default(),
            &at,
            reading,
        )?)),
        // Entra names whom it removes in the value; without one everybody goes.
        (Verb::Remove, None, None) => Ok(match value {
            None => MemberOp::Replace(Vec::new()),
            Some(member @ Value::Object(_)) => {
                MemberOp::Remove(named(Value::Array(vec![member]), &at, reading)?)
            }
            Some(value) => MemberOp::Remove(named(value, &at, reading)?),
        }),
        (Verb::Remove, Some(filter), None) => Ok(removal(filter)),
        (Verb::Remove, Some(filter), Some(sub)) if is_value(sub) => {
            match reading.tolerates(Form::MemberValueRemoved) {
                true => Ok(removal(filter)),
                false => Err(immutable(path)),
            }
        }
        (_, Some(filter), sub) if sub.is_none_or(is_value) => made(path, filter, value, reading),
        _ => Err(immutable(path)),
    }
}

fn is_value(sub: &str) -> bool {
    sub.eq_ignore_ascii_case("value")
}

fn removal(filter: &Filter) -> MemberOp {
    ids_of(filter).map_or_else(|| MemberOp::RemoveWhere(filter.clone()), MemberOp::Remove)
}

fn immutable(path: &Path) -> ScimError {
    ScimError::mutability(format!(
        "{path} cannot be changed: remove the member and add another one."
    ))
}

/// Add or replace at `members[value eq "x"]`: x becomes a member, as a value filter that matches
/// nothing makes the value it describes.
fn made(
    path: &Path,
    filter: &Filter,
    value: Option<Value>,
    reading: &Reading<'_>,
) -> Result<MemberOp, ScimError> {
    let Some(ids) = ids_of(filter) else {
        return Err(ScimError::with(
            ScimType::NoTarget,
            format!("{path} names no member by its `value`."),
        ));
    };
    if !reading.tolerates(Form::ElementMade) {
        return Err(ScimError::with(
            ScimType::NoTarget,
            format!("{path} can only be removed; add members at the path `members`."),
        ));
    }
    let value = match value.unwrap_or_default() {
        list @ Value::Array(_) => list,
        single => Value::Array(vec![single]),
    };
    let given = named(value, &At::top("members"), reading)?;
    match given.iter().all(|id| ids.contains(id)) {
        true => Ok(MemberOp::Add(ids)),
        false => Err(immutable(path)),
    }
}
