//! Members of a group: which ids a request names, and what its operations come to.
//!
//! Invariant: members never stand in a group's document. They are edges in the store, and a request
//! becomes a change to a set: adding what is there and removing what is not is nothing, and of several
//! operations on one id the last wins. Absent: whether an id is one of a user or a group, which the
//! store knows.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::dialect::{Form, Reading};
use super::error::ScimError;
use super::patch::Work;
use super::schema::{Attribute, Container, ResourceKind, ResourceType};
use super::syntax::{Comparison, Filter, Literal, Path, Test};
use super::value::{At, items, key_of};

/// The attribute of a group that is kept apart.
pub(super) const MEMBERS: &str = ResourceKind::Group.relation();

/// One operation on the members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberOp {
    /// These become members.
    Add(Vec<String>),
    /// These are members no more.
    Remove(Vec<String>),
    /// Those that the filter picks are members no more.
    RemoveWhere(Filter),
    /// These are the members and no others.
    Replace(Vec<String>),
}

/// What a request does to the members of a group, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberOps {
    operations: Vec<MemberOp>,
    /// What is left of `patch_work_max`.
    work: usize,
}

/// What several operations come to. No id stands in it twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberNet {
    /// Whether all members go first; then `remove` is empty.
    pub clear: bool,
    /// Who becomes a member.
    pub add: Vec<String>,
    /// Who is a member no more.
    pub remove: Vec<String>,
}

impl MemberOps {
    /// Whether the request leaves the members alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// What the operations come to, whoever the members are; `None` if that depends on what a filter
    /// picks: then see [`MemberOps::apply_to`].
    #[must_use]
    pub fn net(&self) -> Option<MemberNet> {
        let filters = self
            .operations
            .iter()
            .any(|op| matches!(op, MemberOp::RemoveWhere(_)));
        (!filters).then(|| net(&self.operations))
    }

    /// Carries the operations out on a list of members, objects with `value` and what else a filter
    /// may ask for. Who is added stands at the end, as an object with nothing but a `value`.
    ///
    /// # Errors
    /// 413 if that takes more work than the request has left of `patch_work_max`; then the list is not
    /// what was asked for.
    pub fn apply_to(
        &self,
        group: &ResourceType,
        members: &mut Vec<Value>,
    ) -> Result<(), ScimError> {
        let attribute = group.core_attribute(MEMBERS);
        let is_filter = |op: &MemberOp| matches!(op, MemberOp::RemoveWhere(_));
        let work = Work::new(self.work);
        // Between two filters the operations are one change, or each would walk over all members.
        for run in self
            .operations
            .chunk_by(|one, other| !is_filter(one) && !is_filter(other))
        {
            match run {
                [MemberOp::RemoveWhere(filter)] => {
                    work.charge_for(members, Some(filter))
                        .map_err(|_| too_much())?;
                    members.retain(|member| !filter.selects(member, attribute));
                }
                _ => {
                    work.charge(members.len()).map_err(|_| too_much())?;
                    apply(net(run), members);
                }
            }
        }
        Ok(())
    }

    /// Says what the request has left of `patch_work_max`.
    pub(super) fn with_work(self, work: usize) -> Self {
        Self { work, ..self }
    }

    pub(super) fn push(&mut self, op: MemberOp) {
        self.operations.push(op);
    }

    /// How many ids the operations name, and how many comparisons they hold.
    pub(super) fn size(&self) -> (usize, usize) {
        self.operations
            .iter()
            .fold((0, 0), |(ids, terms), op| match op {
                MemberOp::RemoveWhere(filter) => (ids, terms + filter.terms()),
                MemberOp::Add(own) | MemberOp::Remove(own) | MemberOp::Replace(own) => {
                    (ids + own.len(), terms)
                }
            })
    }
}

fn too_much() -> ScimError {
    ScimError::status_with(
        413,
        "The group has too many members for these filters on `members` (patch_work_max). Name the members by their ids.".to_owned(),
    )
}

fn net(ops: &[MemberOp]) -> MemberNet {
    let mut clear = false;
    // By id: where it was named first since the last `Replace`, and whether it is in.
    let mut last: HashMap<&str, (usize, bool)> = HashMap::new();
    for op in ops {
        let (ids, is_in) = match op {
            MemberOp::Add(ids) => (ids, true),
            MemberOp::Remove(ids) => (ids, false),
            MemberOp::Replace(ids) => {
                clear = true;
                last.clear();
                (ids, true)
            }
            MemberOp::RemoveWhere(_) => continue,
        };
        for id in ids {
            let next = last.len();
            last.entry(id).or_insert((next, is_in)).1 = is_in;
        }
    }
    let mut named: Vec<(&str, (usize, bool))> = last.into_iter().collect();
    named.sort_unstable_by_key(|(_, (at, _))| *at);
    let mut net = MemberNet {
        clear,
        ..MemberNet::default()
    };
    for (id, (_, is_in)) in named {
        match is_in {
            true => net.add.push(id.to_owned()),
            false if clear => {}
            false => net.remove.push(id.to_owned()),
        }
    }
    net
}

fn apply(net: MemberNet, members: &mut Vec<Value>) {
    let id = |member: &Value| {
        member
            .get("value")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    if net.clear {
        members.clear();
    }
    if !net.remove.is_empty() {
        let gone: HashSet<String> = net.remove.into_iter().collect();
        members.retain(|member| !id(member).is_some_and(|id| gone.contains(&id)));
    }
    if !net.add.is_empty() {
        let there: HashSet<String> = members.iter().filter_map(id).collect();
        let new = net.add.into_iter().filter(|id| !there.contains(id));
        members.extend(new.map(|id| json!({ "value": id })));
    }
}

impl ResourceType {
    /// Whether this attribute is a group's `members`, which no document holds.
    pub(super) fn keeps_apart(&self, container: Container<'_>, attribute: &Attribute) -> bool {
        self.kind == ResourceKind::Group
            && container == Container::Core
            && attribute.name == MEMBERS
    }
}

/// The ids that a value of `members` names, each once: a list of objects, or what a dialect takes for
/// one. Null and `[]` name nobody.
pub(super) fn named(
    value: Value,
    at: &At<'_>,
    reading: &Reading<'_>,
) -> Result<Vec<String>, ScimError> {
    let items = items(value, at, reading)?;
    check_named(items.len(), reading)?;
    let mut ids = Vec::with_capacity(items.len());
    for item in items {
        ids.push(one_named(item, at, reading)?);
    }
    Ok(each_once(ids))
}

/// Refuses more ids than one request may name.
pub(super) fn check_named(count: usize, reading: &Reading<'_>) -> Result<(), ScimError> {
    let max = reading.limits().members_changed_max;
    if count > max {
        return Err(ScimError::status_with(
            413,
            format!(
                "The request names more than {max} members (members_changed_max). Send them in several requests."
            ),
        ));
    }
    Ok(())
}

fn one_named(item: Value, at: &At<'_>, reading: &Reading<'_>) -> Result<String, ScimError> {
    let id = match item {
        Value::Object(mut member) => {
            let key = key_of(&member, "value").into_owned();
            member.swap_remove(&key)
        }
        Value::String(id) => {
            if !reading.tolerates(Form::MemberBare) {
                return Err(ScimError::invalid_value(format!(
                    "Each of {at} must be an object."
                )));
            }
            Some(Value::String(id))
        }
        _ => None,
    };
    match id {
        Some(Value::String(id)) if !id.is_empty() => Ok(id),
        _ => Err(ScimError::invalid_value(format!(
            "Each of {at} needs a `value`: the id of a user or a group, as a string."
        ))),
    }
}

fn each_once(mut ids: Vec<String>) -> Vec<String> {
    if ids.len() > 1 {
        let mut seen = HashSet::with_capacity(ids.len());
        let first: Vec<bool> = ids.iter().map(|id| seen.insert(id.as_str())).collect();
        let mut first = first.into_iter();
        ids.retain(|_| first.next().unwrap_or(true));
    }
    ids
}

/// The ids that a filter picks if it is nothing but `value eq "…"`, joined by `or`.
pub(super) fn ids_of(filter: &Filter) -> Option<Vec<String>> {
    match filter {
        Filter::Term {
            path:
                Path {
                    urn: None,
                    name: Some(name),
                    filter: None,
                    sub: None,
                },
            test: Test::Compare(Comparison::Eq, literal),
        } if name.eq_ignore_ascii_case("value") && !literal.is_null() => match literal {
            Literal::Quoted(id) | Literal::Bare(id) => Some(vec![id.clone()]),
        },
        Filter::Or(parts) => {
            let parts = parts.iter().map(ids_of).collect::<Option<Vec<_>>>()?;
            Some(each_once(parts.into_iter().flatten().collect()))
        }
        _ => None,
    }
}
