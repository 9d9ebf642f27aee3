//! From changes to the operations of a PATCH (RFC 7644 section 3.5.2), or to the whole resource.
//!
//! Invariant: what the resource is known to hold is not sent again, so an operation without effect
//! is never the reason for a refusal.

use serde_json::{Map, Value};

use super::is_sent;
use crate::Delta;
use crate::path::{self, ValuePath};

/// Sub-attributes that say what an element is for: one that has nothing else stands for no value.
const LABELS: &[&str] = &["type", "primary", "display", "$ref"];

/// One attribute's new value; none if it lost its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    path: String,
    value: Option<Value>,
    /// Joins the list at the path, instead of replacing it.
    joins: bool,
}

impl Change {
    pub(super) fn new(path: impl Into<String>, value: Option<Value>) -> Change {
        Change {
            path: path.into(),
            // An empty list is no value (RFC 7643 section 2.5).
            value: value.filter(|value| value.as_array().is_none_or(|list| !list.is_empty())),
            joins: false,
        }
    }

    fn joining(path: impl Into<String>, element: Value) -> Change {
        Change {
            joins: true,
            ..Change::new(path, Some(Value::Array(vec![element])))
        }
    }

    pub(super) fn has_value_path(&self) -> bool {
        ValuePath::parse(&self.path).is_some()
    }
}

impl From<&Delta> for Change {
    fn from(delta: &Delta) -> Change {
        Change::new(&delta.path, delta.value.clone())
    }
}

/// The operations that make these changes to a resource; `held` is the resource, where it was read.
pub(super) fn of(changes: &[Change], held: Option<&Map<String, Value>>) -> Vec<Value> {
    let nothing = Map::new();
    let mut operations = Vec::new();
    let mut elements: Vec<Element<'_>> = Vec::new();
    for change in changes {
        if let Some(at) = ValuePath::parse(&change.path) {
            let known = elements
                .iter_mut()
                .find(|known| known.at.list == at.list && known.at.filter == at.filter);
            let element = match known {
                Some(known) => known,
                None => {
                    let held = at.find(held.unwrap_or(&nothing)).and_then(Value::as_object);
                    elements.push(Element::new(at, held.cloned()));
                    let last = elements.len() - 1;
                    &mut elements[last]
                }
            };
            element.set(&change.path, change.value.as_ref());
            continue;
        }
        let before = held.map(|held| path::get(held, &change.path));
        match &change.value {
            value if before == Some(value.as_ref()) => {}
            Some(value) => {
                let op = if change.joins { "add" } else { "replace" };
                operations.push(operation(op, change.path.clone(), Some(value.clone())));
            }
            None => operations.push(operation("remove", change.path.clone(), None)),
        }
    }
    operations.extend(elements.iter().flat_map(Element::operations));
    operations
}

/// One element of a list, and what becomes of it.
struct Element<'a> {
    at: ValuePath<'a>,
    before: Option<Map<String, Value>>,
    after: Map<String, Value>,
}

impl<'a> Element<'a> {
    fn new(at: ValuePath<'a>, before: Option<Map<String, Value>>) -> Element<'a> {
        let after = before.clone().unwrap_or_else(|| {
            let (name, value) = at.condition();
            Map::from_iter([(name.to_owned(), value.clone())])
        });
        Element { at, before, after }
    }

    /// `path` names this element, or a sub-attribute of it.
    fn set(&mut self, path: &str, value: Option<&Value>) {
        let sub = ValuePath::parse(path).and_then(|at| at.sub);
        match (sub, value) {
            (Some(sub), Some(value)) => _ = self.after.insert(sub.to_owned(), value.clone()),
            (Some(sub), None) => _ = self.after.remove(sub),
            (None, Some(Value::Object(whole))) => self.after.extend(whole.clone()),
            (None, _) => self.after.retain(|name, _| LABELS.contains(&name.as_str())),
        }
    }

    fn operations(&self) -> Vec<Value> {
        let list = self.at.list;
        let whole = format!("{list}[{}]", self.at.filter);
        match &self.before {
            None if stands_for_nothing(&self.after) => Vec::new(),
            None => {
                let value = Value::Array(vec![Value::Object(self.after.clone())]);
                vec![operation("add", list.to_owned(), Some(value))]
            }
            Some(_) if stands_for_nothing(&self.after) => vec![operation("remove", whole, None)],
            Some(before) => {
                let mut operations = Vec::new();
                for (name, value) in &self.after {
                    if before.get(name) != Some(value) {
                        let path = format!("{whole}.{name}");
                        operations.push(operation("replace", path, Some(value.clone())));
                    }
                }
                for name in before.keys().filter(|name| !self.after.contains_key(*name)) {
                    operations.push(operation("remove", format!("{whole}.{name}"), None));
                }
                operations
            }
        }
    }
}

/// One step of a PATCH.
pub(super) fn operation(op: &str, path: String, value: Option<Value>) -> Value {
    let mut operation = Map::new();
    operation.insert("op".to_owned(), op.into());
    operation.insert("path".to_owned(), path.into());
    operation.extend(value.map(|value| ("value".to_owned(), value)));
    Value::Object(operation)
}

fn stands_for_nothing(element: &Map<String, Value>) -> bool {
    let mut names = element.iter().filter(|(_, value)| !value.is_null());
    names.all(|(name, _)| LABELS.contains(&name.as_str()))
}

/// The resource with the changes made to it.
pub(super) fn applied(mut held: Map<String, Value>, changes: &[Change]) -> Map<String, Value> {
    for change in changes {
        let value = match (&change.value, path::get(&held, &change.path)) {
            (Some(Value::Array(joining)), Some(Value::Array(before))) if change.joins => {
                Value::Array(before.iter().chain(joining).cloned().collect())
            }
            (value, _) => value.clone().unwrap_or_default(),
        };
        path::set(&mut held, &change.path, value);
    }
    for value in held.values_mut() {
        if let Value::Array(elements) = value {
            elements.retain(|element| !element.as_object().is_some_and(stands_for_nothing));
        }
    }
    held.retain(|_, value| !value.is_null() && *value != Value::Array(Vec::new()));
    held
}

/// What a resource that was found lacks of what is desired. What found it stays as it is written.
pub(super) fn adoption(
    desired: &Map<String, Value>,
    held: &Map<String, Value>,
    matching: &str,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (path, value) in flatten(desired) {
        match value {
            _ if path == matching => {}
            Value::Array(elements) => join(&path, elements, held, &mut changes),
            value if path::get(held, &path) == Some(value) => {}
            value => changes.push(Change::new(path, Some(value.clone()))),
        }
    }
    changes
}

/// The elements of a list that are not held: one that has a type of its own takes the place of the
/// held one of that type, any other joins.
fn join(list: &str, elements: &[Value], held: &Map<String, Value>, changes: &mut Vec<Change>) {
    let nothing = Vec::new();
    let before = path::get(held, list)
        .and_then(Value::as_array)
        .unwrap_or(&nothing);
    let holds = |wanted: &Value| {
        before.iter().any(|element| match (element, wanted) {
            (Value::Object(element), Value::Object(wanted)) => wanted
                .iter()
                .all(|(name, value)| element.get(name) == Some(value)),
            (element, wanted) => element == wanted,
        })
    };
    for wanted in elements.iter().filter(|wanted| !holds(wanted)) {
        let of_type = |element: &&Value| element.get("type") == wanted.get("type");
        let is_only = elements.iter().filter(of_type).count() == 1;
        match (
            wanted.as_object(),
            wanted.get("type").and_then(Value::as_str),
        ) {
            (Some(subs), Some(ty)) if is_only => {
                let element = format!("{list}[{}]", path::equals("type", ty));
                let subs = subs.iter().filter(|(name, _)| *name != "type");
                changes.extend(subs.map(|(name, value)| {
                    Change::new(format!("{element}.{name}"), Some(value.clone()))
                }));
            }
            _ => changes.push(Change::joining(list, wanted.clone())),
        }
    }
}

/// Each attribute of a resource with its path; sub-attributes of what is not a list by themselves.
fn flatten(resource: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (name, value) in resource {
        match value {
            _ if !is_sent(name) => {}
            // An extension's attributes follow its URN after a colon (RFC 7644 section 3.10).
            Value::Object(attributes) if name.starts_with("urn:") => {
                for (attribute, value) in attributes {
                    leaves(format!("{name}:{attribute}"), value, &mut found);
                }
            }
            value => leaves(name.clone(), value, &mut found),
        }
    }
    found
}

fn leaves<'a>(path: String, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Null => {}
        Value::Object(subs) => {
            let subs = subs.iter().filter(|(_, value)| !value.is_null());
            found.extend(subs.map(|(sub, value)| (format!("{path}.{sub}"), value)));
        }
        value => found.push((path, value)),
    }
}

/// The paths that a request's body names, to find the one at fault in a refusal.
pub(super) fn paths(body: &Value) -> Vec<String> {
    match (body["Operations"].as_array(), body.as_object()) {
        (Some(operations), _) => {
            let paths = operations
                .iter()
                .filter_map(|operation| operation["path"].as_str());
            paths.map(str::to_owned).collect()
        }
        (None, Some(resource)) => {
            let found = flatten(resource).into_iter();
            found.map(|(path, _)| path).collect()
        }
        (None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else {
            panic!("{value} is no object");
        };
        map
    }

    fn held() -> Map<String, Value> {
        map(json!({
            "id": "7", "userName": "Ann@example.com", "title": "Boss", "active": true,
            "name": {"givenName": "Ann"},
            "emails": [
                {"type": "home", "value": "h@x"},
                {"type": "work", "value": "w@x", "primary": true},
            ],
            "addresses": [{"type": "work", "region": "R", "locality": "L"}],
            "roles": [{"value": "admin"}],
            ENTERPRISE: {"department": "IT", "manager": {"value": "1"}},
        }))
    }

    fn changes(deltas: Value) -> Vec<Change> {
        let deltas: Vec<Delta> = serde_json::from_value(deltas).unwrap();
        deltas.iter().map(Change::from).collect()
    }

    const WORK: &str = r#"emails[type eq "work"]"#;
    const MOBILE: &str = r#"phoneNumbers[type eq "mobile"].value"#;
    const REGION: &str = r#"addresses[type eq "work"].region"#;
    const LOCALITY: &str = r#"addresses[type eq "work"].locality"#;

    #[test]
    fn a_change_is_one_operation_where_it_changes_something() {
        let email = format!("{WORK}.value");
        let display = format!("{WORK}.display");
        let region = |value: Option<&str>| json!({"path": REGION, "value": value});
        let locality = |value: Option<&str>| json!({"path": LOCALITY, "value": value});
        let check = |deltas: Value, operations: Value| {
            let made = of(&changes(deltas.clone()), Some(&held()));
            assert_eq!(Value::from(made), operations, "{deltas}");
        };
        check(
            json!([{"path": "title", "value": "CEO"}]),
            json!([{"op": "replace", "path": "title", "value": "CEO"}]),
        );
        check(
            json!([{"path": "title", "value": null}]),
            json!([{"op": "remove", "path": "title"}]),
        );
        check(
            json!([{"path": "roles", "value": []}]),
            json!([{"op": "remove", "path": "roles"}]),
        );
        check(
            json!([{"path": "title", "value": "Boss"}, {"path": "nickName", "value": null}]),
            json!([]),
        );
        check(
            json!([{"path": format!("{ENTERPRISE}:manager.value"), "value": null}]),
            json!([{"op": "remove", "path": format!("{ENTERPRISE}:manager.value")}]),
        );
        // The element is there: changed in place, with what else it holds.
        check(
            json!([{"path": email, "value": "new@x"}]),
            json!([{"op": "replace", "path": email, "value": "new@x"}]),
        );
        check(json!([{"path": email, "value": "w@x"}]), json!([]));
        // It is not there: made, once for all its sub-attributes.
        check(
            json!([{"path": MOBILE, "value": "1"}]),
            json!([{"op": "add", "path": "phoneNumbers", "value": [{"type": "mobile", "value": "1"}]}]),
        );
        check(json!([{"path": MOBILE, "value": null}]), json!([]));
        check(
            json!([region(Some("A")), locality(None)]),
            json!([
                {"op": "replace", "path": REGION, "value": "A"},
                {"op": "remove", "path": LOCALITY},
            ]),
        );
        // Nothing but its labels would be left of it.
        check(
            json!([region(None), locality(None)]),
            json!([{"op": "remove", "path": r#"addresses[type eq "work"]"#}]),
        );
        check(
            json!([{"path": email, "value": null}, {"path": display, "value": "Ann"}]),
            json!([{"op": "remove", "path": WORK}]),
        );
        check(
            json!([{"path": WORK, "value": {"value": "new@x"}}]),
            json!([{"op": "replace", "path": email, "value": "new@x"}]),
        );
    }

    #[test]
    fn what_is_not_known_to_be_held_is_sent() {
        let deltas =
            json!([{"path": "title", "value": "Boss"}, {"path": "nickName", "value": null}]);
        let operations = json!([
            {"op": "replace", "path": "title", "value": "Boss"},
            {"op": "remove", "path": "nickName"},
        ]);
        assert_eq!(Value::from(of(&changes(deltas), None)), operations);
    }

    #[test]
    fn a_whole_resource_with_its_changes() {
        let deltas = json!([
            {"path": "title", "value": null},
            {"path": format!("{WORK}.value"), "value": null},
            {"path": MOBILE, "value": "1"},
            {"path": r#"ims[type eq "xmpp"].value"#, "value": null},
            {"path": "roles", "value": []},
            {"path": format!("{ENTERPRISE}:department"), "value": "HR"},
        ]);
        let whole = applied(held(), &changes(deltas));
        assert_eq!(
            Value::from(whole),
            json!({
                "id": "7", "userName": "Ann@example.com", "active": true,
                "name": {"givenName": "Ann"},
                "emails": [{"type": "home", "value": "h@x"}],
                "addresses": [{"type": "work", "region": "R", "locality": "L"}],
                ENTERPRISE: {"department": "HR", "manager": {"value": "1"}},
                "phoneNumbers": [{"type": "mobile", "value": "1"}],
            })
        );
    }

    #[test]
    fn adoption_sets_what_is_missing_and_clears_nothing() {
        let desired = map(json!({
            "schemas": ["x"], "id": "other", "userName": "ann@example.com", "active": true,
            "nickName": "A",
            "name": {"givenName": "Anna", "familyName": "Lee", "middleName": null},
            "emails": [{"type": "work", "value": "new@x", "primary": true}],
            "phoneNumbers": [{"type": "mobile", "value": "1"}],
            "roles": [{"value": "admin"}, {"value": "owner"}],
            ENTERPRISE: {"department": "IT", "manager": {"value": "2"}},
        }));
        let changes = adoption(&desired, &held(), "userName");
        let email = format!("{WORK}.value");
        let manager = format!("{ENTERPRISE}:manager.value");
        assert_eq!(
            Value::from(of(&changes, Some(&held()))),
            json!([
                {"op": "replace", "path": "nickName", "value": "A"},
                {"op": "replace", "path": "name.givenName", "value": "Anna"},
                {"op": "replace", "path": "name.familyName", "value": "Lee"},
                {"op": "add", "path": "roles", "value": [{"value": "owner"}]},
                {"op": "replace", "path": manager, "value": "2"},
                {"op": "replace", "path": email, "value": "new@x"},
                {"op": "add", "path": "phoneNumbers", "value": [{"type": "mobile", "value": "1"}]},
            ])
        );
        let whole = applied(held(), &changes);
        assert!(
            adoption(&desired, &whole, "userName").is_empty(),
            "{whole:?}"
        );
    }
}
