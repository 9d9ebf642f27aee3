//! PATCH bodies that are refused, and that nothing of them sticks.

use serde_json::{Value, json};

use super::super::{accept, profile, reading};
use super::{ID, check, check_refused, op, run};
use crate::scim::{ScimType, patch};

#[test]
fn what_is_wrong_is_refused() {
    let refused = |operation: Value, scim_type: ScimType, words: &str| {
        check_refused(
            json!({ "title": "x" }),
            json!([operation]),
            scim_type,
            words,
        );
    };
    refused(
        op("replace", "id", json!("x")),
        ScimType::Mutability,
        "id is readOnly",
    );
    refused(
        op("replace", "meta.version", json!("x")),
        ScimType::Mutability,
        "readOnly",
    );
    refused(
        op("add", "groups", json!([{ "value": "g" }])),
        ScimType::Mutability,
        "readOnly",
    );
    refused(
        op("add", "manager.displayName", json!("x")),
        ScimType::Mutability,
        "readOnly",
    );
    refused(
        json!({ "op": "replace", "value": { "id": "another" } }),
        ScimType::Mutability,
        "id is readOnly",
    );
    refused(
        json!({ "op": "remove", "path": "userName" }),
        ScimType::Mutability,
        "userName is required",
    );
    refused(
        op("replace", "userName", json!("")),
        ScimType::InvalidValue,
        "userName is required",
    );
    refused(
        json!({ "op": "add", "value": { "userName": null } }),
        ScimType::InvalidValue,
        "userName is required",
    );
    refused(
        op("move", "title", json!("x")),
        ScimType::InvalidSyntax,
        "add, replace or remove",
    );
    refused(json!({ "path": "title" }), ScimType::InvalidSyntax, "`op`");
    refused(
        json!({ "op": "add", "path": "title" }),
        ScimType::InvalidSyntax,
        "needs a `value`",
    );
    refused(json!("x"), ScimType::InvalidSyntax, "object");
    refused(
        json!({ "op": "remove" }),
        ScimType::NoTarget,
        "needs a `path`",
    );
    refused(
        json!({ "op": "add", "value": "x" }),
        ScimType::InvalidValue,
        "must be an object",
    );
    refused(
        op("add", "emails[type eq", json!("x")),
        ScimType::InvalidPath,
        "character",
    );
    refused(
        op("add", "a.b.c", json!("x")),
        ScimType::InvalidPath,
        "not an attribute name",
    );
    refused(
        op("add", "name[a eq 1]", json!("x")),
        ScimType::InvalidPath,
        "single value",
    );
    refused(
        op("add", "title.x", json!("x")),
        ScimType::InvalidPath,
        "no sub-attributes",
    );
    refused(
        op("add", "active", json!("maybe")),
        ScimType::InvalidValue,
        "active must be",
    );
    refused(
        op("add", "emails[type eq \"work\"].primary", json!("maybe")),
        ScimType::InvalidValue,
        "primary must be",
    );
    refused(
        json!({ "op": "add", "value": { "emails[": "x" } }),
        ScimType::InvalidPath,
        "character",
    );
}

#[test]
fn all_or_nothing_in_order() {
    check_refused(
        json!({}),
        json!([
            op("add", "title", json!("x")),
            op("add", "active", json!("maybe"))
        ]),
        ScimType::InvalidValue,
        "Operation 2 of 2: active",
    );
    check(
        json!({}),
        json!([
            op("add", "title", json!("x")),
            op("replace", "title", json!("y")),
            op("add", "title", json!("z"))
        ]),
        json!({ "title": "z" }),
    );
    // Taken and given back within one request.
    check(
        json!({}),
        json!([{ "op": "remove", "path": "userName" }, op("add", "userName", json!("b"))]),
        json!({ "userName": "b" }),
    );
    let many = vec![op("add", "title", json!("x")); 501];
    let error = run(json!({}), json!(many)).expect_err("too many");
    assert_eq!((error.status, error.scim_type), (413, None));
    assert!(error.detail.contains("500"), "{error}");
    let wide: serde_json::Map<String, Value> =
        (0..501).map(|n| (format!("a{n}"), json!(n))).collect();
    let error = run(json!({}), json!([{ "op": "add", "value": wide }])).expect_err("too many");
    assert_eq!(error.status, 413);
    let profile = profile();
    let resource = accept(&profile, json!({ "userName": "a" })).expect("accepted");
    for body in [json!([]), json!({}), json!({ "Operations": {} })] {
        let error =
            patch::apply(profile.user(), &resource, body, ID, &reading()).expect_err("refused");
        assert_eq!(error.scim_type, Some(ScimType::InvalidSyntax));
    }
}
