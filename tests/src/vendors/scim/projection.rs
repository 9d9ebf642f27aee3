//! `attributes` and `excludedAttributes` of the simulated SCIM service.
//!
//! Invariant: `schemas` and `id` are in every answer.
//! Absent: the query they come from.

use serde_json::{Map, Value};

use super::schema::Kind;

/// Which attributes an answer has (RFC 7644 section 3.9).
pub(super) enum Projection {
    All,
    Only(Vec<String>),
    Without(Vec<String>),
}

impl Projection {
    /// Whether `members` of groups or `groups` of users can be in the answer.
    pub(super) fn shows_relations(&self, kind: Kind) -> bool {
        let relations = match kind {
            Kind::User => "groups",
            Kind::Group => "members",
        };
        let first = |name: &String| {
            let name = name.rsplit(':').next().unwrap_or_default();
            name.split('.')
                .next()
                .unwrap_or_default()
                .eq_ignore_ascii_case(relations)
        };
        match self {
            Projection::All => true,
            Projection::Only(names) => names.iter().any(first),
            Projection::Without(names) => !names
                .iter()
                .any(|it| first(it) && !it.rsplit(':').next().unwrap_or_default().contains('.')),
        }
    }

    /// What is left of a resource as the API shows it.
    pub(super) fn of(&self, shown: Value) -> Value {
        let Value::Object(mut shown) = shown else {
            return shown;
        };
        match self {
            Projection::All => {}
            Projection::Only(names) => {
                let mut kept = Map::new();
                for always in ["schemas", "id"] {
                    kept.extend(shown.get(always).map(|it| (always.to_owned(), it.clone())));
                }
                for name in names {
                    keep(&shown, name, &mut kept);
                }
                shown = kept;
            }
            Projection::Without(names) => {
                for name in names
                    .iter()
                    .filter(|it| !matches!(it.as_str(), "schemas" | "id"))
                {
                    leave_out(&mut shown, name);
                }
            }
        }
        shown.into()
    }
}

/// The steps of `urn:…:attribute.part`: the extension, the attribute, the part.
fn steps(name: &str) -> Vec<&str> {
    match name.rsplit_once(':') {
        Some((urn, _)) if urn == Kind::User.core() || urn == Kind::Group.core() => {
            steps(&name[urn.len() + 1..])
        }
        Some((urn, path)) => std::iter::once(urn).chain(path.split('.')).collect(),
        None => name.split('.').collect(),
    }
}

fn keep(from: &Map<String, Value>, name: &str, kept: &mut Map<String, Value>) {
    fn walk(from: &Map<String, Value>, steps: &[&str], kept: &mut Map<String, Value>) {
        let [step, rest @ ..] = steps else { return };
        let Some((name, value)) = from.iter().find(|(it, _)| it.eq_ignore_ascii_case(step)) else {
            return;
        };
        let part = |of: &Map<String, Value>, kept: Option<Value>| {
            let mut kept = match kept {
                Some(Value::Object(kept)) => kept,
                _ => Map::new(),
            };
            walk(of, rest, &mut kept);
            Value::Object(kept)
        };
        let value = match value {
            value if rest.is_empty() => value.clone(),
            Value::Object(parts) => part(parts, kept.remove(name)),
            Value::Array(elements) => {
                let mut before = match kept.remove(name) {
                    Some(Value::Array(before)) => before,
                    _ => Vec::new(),
                };
                before.resize(elements.len(), Value::Null);
                let elements = elements.iter().zip(before);
                elements
                    .filter_map(|(it, before)| Some(part(it.as_object()?, Some(before))))
                    .collect()
            }
            _ => return,
        };
        kept.insert(name.clone(), value);
    }
    walk(from, &steps(name), kept);
}

fn leave_out(from: &mut Map<String, Value>, name: &str) {
    fn walk(from: &mut Map<String, Value>, steps: &[&str]) {
        let [step, rest @ ..] = steps else { return };
        let Some(name) = from
            .keys()
            .find(|it| it.eq_ignore_ascii_case(step))
            .cloned()
        else {
            return;
        };
        match from.get_mut(&name) {
            _ if rest.is_empty() => drop(from.shift_remove(&name)),
            Some(Value::Object(parts)) => walk(parts, rest),
            Some(Value::Array(elements)) => {
                for element in elements.iter_mut().filter_map(Value::as_object_mut) {
                    walk(element, rest);
                }
            }
            _ => {}
        }
    }
    walk(from, &steps(name));
}
