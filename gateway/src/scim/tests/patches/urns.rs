//! Keys that are URNs, without a path: PATCH means by them what POST means.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ENTERPRISE, ID, VENDOR};
use crate::scim::tests::{profile, read_as};
use crate::scim::{Dialect, ENTRA, OKTA, Resource, STRICT, ScimError, ScimType, patch};

fn post(dialect: &'static Dialect, body: Value) -> Result<Resource, ScimError> {
    let mut user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "userName": "ann",
    });
    let map = user.as_object_mut().expect("an object");
    map.extend(body.as_object().expect("an object").clone());
    let accepted = profile().user().accept(user, &read_as(dialect))?;
    Ok(accepted.resource)
}

fn patched(
    dialect: &'static Dialect,
    before: &Resource,
    value: Value,
) -> Result<Resource, ScimError> {
    let request = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "add", "value": value }],
    });
    let reading = read_as(dialect);
    patch::apply(profile().user(), before, request, ID, &reading).map(|patched| patched.resource)
}

/// The key in a POST and in a PATCH: both refuse it, or both come to `expected`.
#[track_caller]
fn check(dialect: &'static Dialect, key: &str, value: &Value, expected: Option<Value>) {
    let before = post(dialect, json!({})).expect("accepted");
    let by_patch = patched(dialect, &before, json!({ key: value }));
    let by_post = post(dialect, json!({ key: value }));
    let name = dialect.name;
    match expected {
        Some(expected) => {
            let expected = post(dialect, expected);
            assert_eq!(by_post, expected, "POST {name}: {key}");
            assert_eq!(by_patch, expected, "PATCH {name}: {key}");
        }
        None => {
            let error = by_post.expect_err(key);
            assert_eq!(error.status, 400, "{error}");
            assert_eq!(by_patch.expect_err(key).status, 400);
        }
    }
}

#[test]
fn urns_mean_the_same_in_post_and_patch() {
    let flat = |rest: &str| format!("{ENTERPRISE}{rest}");
    let department = json!({ ENTERPRISE: { "department": "Tools" } });
    let foreign = "urn:x:y:2.0:User";
    let word = json!("Tools");
    for dialect in [&ENTRA, &OKTA] {
        let only_entra = |value: &Value| (*dialect == ENTRA).then(|| value.clone());
        check(
            dialect,
            &flat(":department"),
            &word,
            Some(department.clone()),
        );
        check(
            dialect,
            &flat(":DEPARTMENT").to_uppercase(),
            &word,
            Some(department.clone()),
        );
        // What old Entra jobs send.
        check(
            dialect,
            &flat(".department"),
            &word,
            only_entra(&department),
        );
        check(
            dialect,
            &flat(":odd"),
            &word,
            Some(json!({ ENTERPRISE: { "odd": "Tools" } })),
        );
        check(
            dialect,
            &flat(":odd"),
            &json!({ "a": 1 }),
            Some(json!({ ENTERPRISE: { "odd": { "a": 1 } } })),
        );
        check(
            dialect,
            &flat(":schemas"),
            &json!([ENTERPRISE]),
            Some(json!({})),
        );
        // What begins with the URN of a known schema is within it, or nothing.
        for rest in [
            ":mrueva:lue",
            ":odd name",
            ":",
            ":urn:x:1.0:y",
            ".a:b",
            "..a",
        ] {
            check(dialect, &flat(rest), &word, None);
        }
        check(dialect, ENTERPRISE, &word, None);
        check(
            dialect,
            "urn:ietf:params:scim:schemas:core:2.0:User:title",
            &word,
            Some(json!({ "title": "Tools" })),
        );
        check(
            dialect,
            "urn:ietf:params:scim:schemas:core:2.0:User:a:b",
            &word,
            None,
        );
        // What no schema knows.
        let nested = json!({ foreign: { "a": "Tools" } });
        check(
            dialect,
            &format!("{foreign}:a"),
            &word,
            Some(nested.clone()),
        );
        check(
            dialect,
            foreign,
            &json!({ "a": "Tools" }),
            Some(nested.clone()),
        );
        check(
            dialect,
            &format!("{foreign}:a.b"),
            &word,
            Some(json!({ foreign: { "a": { "b": "Tools" } } })),
        );
        for verbatim in [
            foreign,
            "urn:x:z",
            "urn:x",
            "urn:x:2.0:User:a:b",
            "urn:x:2.0:User:odd name",
        ] {
            check(dialect, verbatim, &word, Some(json!({ verbatim: "Tools" })));
            check(
                dialect,
                verbatim,
                &json!({ "a": 1 }),
                Some(json!({ verbatim: { "a": 1 } })),
            );
            check(dialect, verbatim, &Value::Null, Some(json!({})));
        }
    }
    for key in [ENTERPRISE, foreign, "urn:x"].map(|urn| format!("{urn}:department")) {
        check(&STRICT, &key, &word, None);
    }
}

#[test]
fn urns_that_lead_past_a_known_schema_are_refused_as_paths() {
    let before = post(&ENTRA, json!({})).expect("accepted");
    for path in [":mrueva:lue", ":mrueva:lue.x", ".a:b"].map(|rest| format!("{ENTERPRISE}{rest}")) {
        for op in ["add", "remove"] {
            let request = json!({ "Operations": [{ "op": op, "path": path, "value": "x" }] });
            let outcome = patch::apply(profile().user(), &before, request, ID, &read_as(&ENTRA));
            let error = outcome.expect_err(&path);
            assert_eq!(error.scim_type, Some(ScimType::InvalidPath), "{error}");
        }
    }
}

#[test]
fn parts_of_an_unknown_extension_come_together() {
    let whole = json!({ "urn:x:y:2.0:User": { "a": 1, "b": 2 } });
    let parts = json!({ "urn:x:y:2.0:User:a": 1, "urn:x:y:2.0:User": { "b": 2 } });
    assert_eq!(post(&ENTRA, parts), post(&ENTRA, whole));
    for clash in [
        json!({ "urn:x:y:2.0:User:a": 1, "urn:x:y:2.0:User": 5 }),
        json!({ "urn:x:y:2.0:User": 5, "urn:x:y:2.0:User:a": 1 }),
        json!({ "urn:x:y:2.0:User:a": 1, "urn:x:y:2.0:User:a.b": 1 }),
    ] {
        let error = post(&ENTRA, clash.clone()).expect_err("two meanings");
        assert_eq!(error.scim_type, Some(ScimType::InvalidValue), "{clash}");
    }
}

fn key() -> impl Strategy<Value = String> {
    let start = prop::sample::select(vec![
        ENTERPRISE,
        VENDOR,
        "urn:x:y:2.0:User",
        "urn:x",
        "urn:",
    ]);
    let rest = "([:.](department|level|odd|User|2\\.0|a|schemas|x y)){0,3}";
    (start, rest).prop_map(|(start, rest)| format!("{start}{rest}"))
}

fn value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!("x"),
        json!(5),
        json!([1]),
        json!({ "a": 1 }),
        json!({ "schemas": ["urn:x"] }),
        json!({}),
        Value::Null,
    ])
}

proptest! {
    /// A key that both take comes to the same by POST and by PATCH, and what PATCH leaves POST takes
    /// as it is.
    #[test]
    fn post_and_patch_agree(first in (key(), value()), second in (key(), value())) {
        for dialect in [&ENTRA, &OKTA] {
            let before = post(dialect, json!({})).expect("accepted");
            let by_patch = patched(dialect, &before, json!({ &first.0: first.1 }));
            if let (Ok(by_patch), Ok(by_post)) = (&by_patch, post(dialect, json!({ &first.0: first.1 }))) {
                prop_assert_eq!(by_patch, &by_post, "{}", dialect.name);
            }
            let again = by_patch.and_then(|before| patched(dialect, &before, json!({ &second.0: second.1 })));
            if let Ok(after) = again {
                let document = after.clone().into_document();
                prop_assert_eq!(post(dialect, document), Ok(after), "{}", dialect.name);
            }
        }
    }
}
