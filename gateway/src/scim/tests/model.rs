//! PATCH against a model: the sentences of RFC 7644 section 3.5.2 over plain JSON, naive and short.
//!
//! The model knows paths as parts, lists as lists and nothing of budgets, dialects or spellings. It
//! shares no code with the engine. What the engine does beyond it is tested by tables elsewhere.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{profile, read_as};
use crate::scim::members::MemberOps;
use crate::scim::{MemberOp, Resource, STRICT, parse_filter, patch};

/// A path in parts: attribute, `type` or `value` with what it must be, sub-attribute.
type Parts = (
    &'static str,
    Option<(&'static str, String)>,
    Option<&'static str>,
);

const LISTS: [&str; 2] = ["emails", "roles"];

fn text_of(path: &Parts) -> String {
    let (name, filter, sub) = path;
    let filter = filter
        .as_ref()
        .map(|(key, word)| format!("[{key} eq \"{word}\"]"));
    let sub = sub.map(|sub| format!(".{sub}"));
    format!(
        "{name}{}{}",
        filter.unwrap_or_default(),
        sub.unwrap_or_default()
    )
}

/// One operation; the error is the `scimType`.
fn model(
    user: &mut Map<String, Value>,
    op: &str,
    path: &Parts,
    value: &Value,
) -> Result<(), &'static str> {
    let (name, filter, sub) = path;
    if LISTS.contains(name) {
        let mut items = match user.remove(*name) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let picks = |item: &Value| {
            filter
                .as_ref()
                .is_none_or(|(key, word)| item[*key] == word.as_str())
        };
        let written = match (op, filter, sub) {
            ("add", None, None) => add(&mut items, value),
            ("replace", None, None) => {
                items.clear();
                add(&mut items, value)
            }
            _ => {
                // "… no record match was made": 400 noTarget (section 3.5.2.3, table 9).
                if !items.iter().any(picks) {
                    return Err("noTarget");
                }
                let mut written = None;
                match (op, sub) {
                    ("remove", None) => items.retain(|item| !picks(item)),
                    ("remove", Some(sub)) => {
                        for item in items.iter_mut().filter(|item| picks(item)) {
                            item.as_object_mut().expect("an object").remove(*sub);
                        }
                    }
                    (_, Some(sub)) => {
                        for (at, item) in items.iter_mut().enumerate() {
                            if picks(item) {
                                item[*sub] = value.clone();
                                written = (value == &json!(true)).then_some(at);
                            }
                        }
                    }
                    (_, None) => {
                        for (at, item) in items.iter_mut().enumerate() {
                            if picks(item) {
                                if op == "replace" {
                                    let (key, word) = filter.clone().expect("picked by it");
                                    *item = json!({ key: word });
                                }
                                let new = value.as_object().expect("an object").clone();
                                item.as_object_mut().expect("an object").extend(new);
                                written = if item["primary"] == true {
                                    Some(at)
                                } else {
                                    written
                                };
                            }
                        }
                    }
                }
                written
            }
        };
        // "… automatically set "primary" to "false" for any other values in the array."
        for (at, item) in items.iter_mut().enumerate() {
            if written.is_some_and(|written| written != at) && item["primary"] == true {
                item["primary"] = json!(false);
            }
            item.as_object_mut()
                .expect("an object")
                .retain(|_, part| !part.is_null());
        }
        if !items.is_empty() {
            user.insert((*name).to_owned(), Value::Array(items));
        }
        return Ok(());
    }
    match (op, sub) {
        ("remove", None) => {
            user.remove(*name);
        }
        ("remove", Some(sub)) => {
            if let Some(object) = user.get_mut(*name).and_then(Value::as_object_mut) {
                object.remove(*sub);
            }
        }
        (_, Some(sub)) => user.entry(*name).or_insert_with(|| json!({}))[*sub] = value.clone(),
        // "Sub-attributes that are not specified SHALL be left unchanged."
        (_, None) if value.is_object() => {
            let object = user.entry(*name).or_insert_with(|| json!({}));
            let new = value.as_object().expect("an object").clone();
            object.as_object_mut().expect("an object").extend(new);
        }
        (_, None) => {
            user.insert((*name).to_owned(), value.clone());
        }
    }
    if user.get(*name) == Some(&json!({})) {
        user.remove(*name);
    }
    Ok(())
}

/// Adds values to a list; one that is there (same value, no other type) takes the new parts.
fn add(items: &mut Vec<Value>, values: &Value) -> Option<usize> {
    let mut primary = None;
    for value in values.as_array().expect("a list") {
        let same = |item: &Value| {
            let differ = |key: &str| item[key] != value[key];
            !differ("value")
                && (item["type"].is_null() || value["type"].is_null() || !differ("type"))
        };
        let known = items.iter().position(same);
        let at = known.unwrap_or(items.len());
        match known {
            Some(at) => items[at]
                .as_object_mut()
                .expect("an object")
                .extend(value.as_object().expect("an object").clone()),
            None => items.push(value.clone()),
        }
        if value["primary"] == true {
            primary = Some(at);
        }
    }
    primary
}

/// What is true when all operations have run: values of nothing but a label go, equal ones are one.
fn settle(user: &mut Map<String, Value>, touched: &[&str]) {
    for name in touched.iter().filter(|name| LISTS.contains(name)) {
        let Some(Value::Array(items)) = user.remove(*name) else {
            continue;
        };
        let mut kept: Vec<Value> = Vec::new();
        for item in items {
            let parts = item.as_object().expect("an object");
            if parts.keys().all(|key| key == "type" || key == "primary") {
                continue;
            }
            let whole = |item: &Value| match item.get("value") {
                Some(value) => (value.clone(), item["type"].clone()),
                None => (item.clone(), item["type"].clone()),
            };
            match kept.iter_mut().find(|known| whole(known) == whole(&item)) {
                Some(known) => {
                    let primary = known["primary"] == true;
                    known
                        .as_object_mut()
                        .expect("an object")
                        .extend(parts.clone());
                    if primary {
                        known["primary"] = json!(true);
                    }
                    known
                        .as_object_mut()
                        .expect("an object")
                        .retain(|_, part| !part.is_null());
                }
                None => kept.push(item),
            }
        }
        if !kept.is_empty() {
            user.insert((*name).to_owned(), Value::Array(kept));
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    "[abc]"
}

/// A value of a list: at least a `value` or a `display`.
fn item() -> impl Strategy<Value = Value> {
    (
        word(),
        proptest::option::of("[wh]"),
        proptest::option::of(any::<bool>()),
    )
        .prop_map(|(value, ty, primary)| {
            let mut item = json!({ "value": value });
            if let Some(ty) = ty {
                item["type"] = json!(ty);
            }
            if let Some(primary) = primary {
                item["primary"] = json!(primary);
            }
            item
        })
}

/// A list with at most one primary value and no two that are one.
fn list() -> impl Strategy<Value = Value> {
    proptest::collection::vec(item(), 1..4).prop_map(|items| {
        let mut kept: Vec<Value> = Vec::new();
        for mut item in items {
            let clash = |known: &&Value| known["value"] == item["value"];
            if kept.iter().find(clash).is_some() {
                continue;
            }
            if item["primary"] == true && kept.iter().any(|known| known["primary"] == true) {
                item["primary"] = json!(false);
            }
            kept.push(item);
        }
        json!(kept)
    })
}

fn operation() -> impl Strategy<Value = (&'static str, Parts, Value)> {
    let verb = || prop_oneof![Just("add"), Just("replace"), Just("remove")];
    let filter = || prop_oneof![(Just("type"), "[wh]"), (Just("value"), "[abc]")];
    let lists = || prop_oneof![Just("emails"), Just("roles")];
    prop_oneof![
        (verb(), prop_oneof![Just("title"), Just("nickName")], word())
            .prop_map(|(verb, name, word)| (verb, (name, None, None), json!(word))),
        (
            verb(),
            prop_oneof![Just("givenName"), Just("familyName")],
            word()
        )
            .prop_map(|(verb, sub, word)| (verb, ("name", None, Some(sub)), json!(word))),
        (verb(), word()).prop_map(|(verb, word)| (
            verb,
            ("name", None, None),
            json!({ "givenName": word })
        )),
        (prop_oneof![Just("add"), Just("replace")], lists(), list())
            .prop_map(|(verb, name, list)| (verb, (name, None, None), list)),
        (verb(), lists(), filter(), item()).prop_map(|(verb, name, filter, item)| (
            verb,
            (name, Some(filter), None),
            item
        )),
        (verb(), lists(), filter(), word()).prop_map(|(verb, name, filter, word)| (
            verb,
            (name, Some(filter), Some("display")),
            json!(word)
        )),
        (verb(), lists(), filter(), any::<bool>()).prop_map(|(verb, name, filter, primary)| (
            verb,
            (name, Some(filter), Some("primary")),
            json!(primary)
        )),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn patch_does_as_the_model(
        emails in proptest::option::of(list()),
        operations in proptest::collection::vec(operation(), 1..6),
    ) {
        let core = "urn:ietf:params:scim:schemas:core:2.0:User";
        let mut before = json!({ "schemas": [core], "userName": "u", "name": { "familyName": "F" } });
        if let Some(emails) = emails {
            before["emails"] = emails;
        }
        let mut wanted = before.as_object().expect("an object").clone();
        let mut outcome = Ok(());
        let mut sent = Vec::new();
        let mut touched = Vec::new();
        for (verb, path, value) in &operations {
            let mut operation = json!({ "op": verb, "path": text_of(path) });
            if *verb != "remove" {
                operation["value"] = value.clone();
            }
            sent.push(operation);
            if outcome.is_ok() {
                outcome = model(&mut wanted, verb, path, value);
            }
            if path.1.is_some() && !touched.contains(&path.0) {
                touched.push(path.0);
            }
        }
        settle(&mut wanted, &touched);
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": sent });
        let resource = Resource::from_document(before).expect("an object");
        let profile = profile();
        let found = patch::apply(profile.user(), &resource, body.clone(), "1", &read_as(&STRICT));
        match (found, outcome) {
            (Ok(found), Ok(())) => prop_assert_eq!(found.resource.into_document(), Value::Object(wanted), "{}", body),
            (Err(found), Err(wanted)) => prop_assert_eq!(found.scim_type.map(|it| it.as_str()), Some(wanted), "{}", body),
            (found, wanted) => prop_assert!(false, "{:?} instead of {:?}: {}", found, wanted, body),
        }
    }

    #[test]
    fn member_operations_do_as_a_set(
        before in proptest::collection::btree_set("[a-e]", 0..5),
        operations in proptest::collection::vec((0..4_u8, proptest::collection::vec("[a-e]", 0..3)), 0..6),
    ) {
        let limits = crate::scim::ScimLimits::default();
        let reading = crate::scim::Reading::new(&STRICT, &limits);
        let mut wanted: Vec<String> = before.iter().cloned().collect();
        let mut ops = MemberOps::default().with_work(usize::MAX);
        for (kind, ids) in operations {
            let gone = |wanted: &mut Vec<String>, ids: &[String]| wanted.retain(|id| !ids.contains(id));
            match kind {
                0 | 1 => {
                    if kind == 1 {
                        wanted.clear();
                    }
                    for id in &ids {
                        if !wanted.contains(id) {
                            wanted.push(id.clone());
                        }
                    }
                    ops.push(if kind == 1 { MemberOp::Replace(ids) } else { MemberOp::Add(ids) });
                }
                2 => {
                    gone(&mut wanted, &ids);
                    ops.push(MemberOp::Remove(ids));
                }
                _ => {
                    wanted.retain(|id| id.as_str() >= "c");
                    let filter = parse_filter("value sw \"a\" or value sw \"b\"", &reading).expect("well-formed");
                    ops.push(MemberOp::RemoveWhere(filter));
                }
            }
        }
        let group = super::groups();
        let mut members: Vec<Value> = before.iter().map(|id| json!({ "value": id, "type": "User" })).collect();
        ops.apply_to(&group, &mut members).expect("enough work");
        let mut found: Vec<String> = members.iter().map(|it| it["value"].as_str().expect("an id").to_owned()).collect();
        found.sort();
        wanted.sort();
        prop_assert_eq!(&found, &wanted);
        if let Some(net) = ops.net() {
            let mut set: Vec<String> = if net.clear { Vec::new() } else { before.into_iter().collect() };
            set.retain(|id| !net.remove.contains(id));
            set.extend(net.add.into_iter());
            set.sort();
            set.dedup();
            prop_assert_eq!(set, wanted);
        }
    }
}
