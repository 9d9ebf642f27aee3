//! What requests may cost: work is counted, so that the verdict is the same on every machine.

use serde_json::{Map, Value, json};

use super::work::Work;
use super::{Patched, apply_within};
use crate::scim::dialect::{ENTRA, Reading};
use crate::scim::{Resource, ResourceKind, ResourceType};
use crate::scim::{ScimError, ScimLimits, core_schema};

fn user() -> ResourceType {
    ResourceType {
        kind: ResourceKind::User,
        schema: core_schema::user(),
        extensions: vec![core_schema::enterprise_user()],
        common: core_schema::common(),
        required: Vec::new(),
    }
}

/// What the request comes to, and how much work it took.
fn run(
    before: Value,
    operations: Vec<Value>,
    work_max: usize,
) -> (Result<Patched, ScimError>, usize) {
    let limits = ScimLimits::default();
    let work = Work::new(work_max);
    let before = Resource::from_document(before).expect("an object");
    let body = json!({ "Operations": operations });
    let reading = Reading::new(&ENTRA, &limits);
    let outcome = apply_within(&work, &user(), &before, body, "1", &reading);
    (outcome, work_max - work.left())
}

fn long(start: &str, bytes: usize, number: usize) -> String {
    format!("{}{number:05}", start.repeat(bytes / start.len()))
}

fn mails(count: usize, text: impl Fn(usize) -> String) -> Value {
    let mails = (0..count).map(|n| json!({ "type": "work", "value": text(n) }));
    json!({ "userName": "u", "emails": mails.collect::<Vec<_>>() })
}

/// Requests of up to a megabyte that make much of little, each with the resource that it needs.
fn hostile() -> Vec<(&'static str, Value, Vec<Value>)> {
    let op = |op: &str, path: &str, value: Value| json!({ "op": op, "path": path, "value": value });
    let many = |count: usize, one: &dyn Fn(usize) -> Value| (0..count).map(one).collect::<Vec<_>>();
    let keys = |count: usize| -> Map<String, Value> {
        (0..count).map(|n| (format!("k{n}"), json!(1))).collect()
    };
    let terms = |word: &str, count: usize| vec![format!("value co \"{word}\""); count].join(" or ");
    let ascii = |n: usize| long("a", 2000, n);
    let other = |n: usize| long("ä", 2000, n);
    let mut wide = mails(500, |n| n.to_string());
    wide.as_object_mut()
        .expect("an object")
        .extend(keys(50_000));
    let nulls = |count: usize| -> Map<String, Value> {
        (0..count).map(|n| (format!("K{n}"), Value::Null)).collect()
    };
    vec![
        (
            "adds to a list of long values",
            mails(500, ascii),
            many(500, &|n| {
                op("add", "emails", json!([{ "value": long("a", 2000, n) }]))
            }),
        ),
        (
            "adds to a list of long values beyond ASCII",
            mails(500, other),
            many(500, &|n| {
                op("add", "emails", json!([{ "value": other(n) }]))
            }),
        ),
        (
            "many adds at once, again and again",
            mails(499, ascii),
            many(500, &|_| op("add", "emails", json!(vec!["x"; 100]))),
        ),
        (
            "filters of many terms",
            mails(500, |n| long("a", 60, n)),
            many(
                490,
                &|_| json!({ "op": "remove", "path": format!("emails[{}]", terms("y", 113)) }),
            ),
        ),
        (
            "filters of many terms on long values beyond ASCII",
            mails(500, other),
            many(
                490,
                &|_| json!({ "op": "remove", "path": format!("emails[{}]", terms("y", 113)) }),
            ),
        ),
        (
            "filters with long values",
            mails(500, |n| long("ä", 60, n)),
            many(
                250,
                &|_| json!({ "op": "remove", "path": format!("emails[{}]", terms(&long("é", 3900, 1), 1)) }),
            ),
        ),
        (
            "one value copied into many",
            mails(500, |n| n.to_string()),
            many(100, &|n| {
                op(
                    "replace",
                    &format!("emails[value pr].x{n}"),
                    json!(ascii(n)),
                )
            }),
        ),
        (
            "one object copied into many",
            mails(500, |n| n.to_string()),
            many(100, &|n| {
                op(
                    "add",
                    "emails[value pr]",
                    json!({ format!("x{n}"): ascii(n) }),
                )
            }),
        ),
        (
            "an object of many parts",
            json!({ "userName": "u", "name": keys(50_000) }),
            vec![op("add", "name", Value::Object(nulls(50_000)))],
        ),
        (
            "a resource of many keys",
            wide,
            many(500, &|n| match n % 2 {
                0 => json!({ "op": "remove", "path": "emails" }),
                _ => op("add", "emails", json!([{ "value": "x" }])),
            }),
        ),
        (
            "unknown names among many keys",
            json!(keys(90_000)),
            vec![json!({ "op": "add", "value": nulls(499) })],
        ),
        (
            "unknown extensions among many keys",
            json!(keys(90_000)),
            many(499, &|n| {
                op("add", &format!("urn:x:{n}:1.0:U:a"), Value::Null)
            }),
        ),
        (
            "a value of many parts",
            json!({ "userName": "u", "emails": [keys(50_000)] }),
            many(
                400,
                &|_| json!({ "op": "remove", "path": "emails[Absent eq \"x\" or Neither eq \"y\"]" }),
            ),
        ),
        (
            "many names against many values",
            mails(500, |_| "a".to_owned()),
            many(80, &|n| {
                op(
                    "remove",
                    "emails",
                    json!(vec![json!({ "value": "a", "x": n }); 400]),
                )
            }),
        ),
        (
            "many parts against many values",
            json!({ "userName": "u", "tags": vec![json!({ "a": 1 }); 400] }),
            many(4, &|n| {
                op("remove", "tags", json!(vec![json!({ "b": n }); 20_000]))
            }),
        ),
    ]
}

#[test]
fn hostile_requests_are_stopped() {
    let max = ScimLimits::default().patch_work_max;
    for (name, before, operations) in hostile() {
        let (outcome, spent) = run(before, operations, max);
        let error = outcome
            .err()
            .unwrap_or_else(|| panic!("{name} passed for {spent}"));
        assert_eq!(error.status, 413, "{name}: {error}");
        assert!(error.detail.contains("(patch_work_max)"), "{name}: {error}");
    }
}

#[test]
fn what_clients_send_costs_little() {
    let max = ScimLimits::default().patch_work_max;
    let add = |n: usize| json!({ "op": "add", "path": "emails", "value": [{ "value": format!("{n}@example.com"), "type": "work" }] });
    // A list filled to its limit one value at a time, and emptied again so.
    let (filled, spent) = run(json!({ "userName": "u" }), (0..500).map(add).collect(), max);
    let filled = filled.expect("within the limit").resource.into_document();
    assert!(spent < max / 2, "{spent}");
    let remove = |n: usize| json!({ "op": "remove", "path": format!("emails[value eq \"{n}@example.com\"]") });
    let (emptied, spent) = run(filled, (0..500).map(remove).collect(), max);
    assert_eq!(
        emptied.expect("within the limit").resource.get("emails"),
        None
    );
    assert!(spent < max, "{spent}");
    // What Entra's validator sends at most: 36 operations.
    let set = |n: usize| json!({ "op": "replace", "path": format!("addresses[type eq \"t{}\"].region", n % 3), "value": "x" });
    let (_, spent) = run(mails(5, |n| n.to_string()), (0..36).map(set).collect(), max);
    assert!(spent < 1000, "{spent}");
}
