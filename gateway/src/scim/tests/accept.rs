//! POST and PUT bodies.

use serde_json::{Value, json};

use super::{ENTERPRISE, VENDOR, accept, profile, reading};
use crate::scim::{
    ENTRA, Reading, Resource, ResourceKind, ScimLimits, ScimType, Unique, parse_body, patch,
};

/// What `input`, laid over a minimal user, comes to beside `schemas` and `userName`.
#[track_caller]
fn check(input: Value, expected: Value) {
    let profile = profile();
    let mut body = json!({ "userName": "ann@x.test" });
    body.as_object_mut()
        .expect("an object")
        .extend(input.as_object().expect("an object").clone());
    let mut document = accept(&profile, body).expect("accepted").into_document();
    let map = document.as_object_mut().expect("an object");
    map.shift_remove("schemas");
    map.shift_remove("userName");
    assert_eq!(document, expected);
}

#[track_caller]
fn check_refused(body: Value, scim_type: ScimType, words: &str) {
    let error = accept(&profile(), body).expect_err("refused");
    assert_eq!(error.scim_type, Some(scim_type), "{error}");
    assert_eq!(error.status, 400);
    assert!(error.detail.contains(words), "{error}");
}

#[test]
fn values_come_to_their_type() {
    check(json!({ "active": "True" }), json!({ "active": true }));
    check(json!({ "ACTIVE": "fALSE" }), json!({ "active": false }));
    check(
        json!({ "emails": [{ "type": "work", "value": "a@x", "Primary": "true" }] }),
        json!({ "emails": [{ "type": "work", "value": "a@x", "primary": true }] }),
    );
    check(
        json!({ VENDOR: { "level": "5", "vip": "TRUE", "score": "1.5" } }),
        json!({ VENDOR: { "level": 5, "vip": true, "score": 1.5 } }),
    );
    check(
        json!({ VENDOR: { "level": 5.0 } }),
        json!({ VENDOR: { "level": 5 } }),
    );
    // Dates, URIs, phones, languages are never judged (Entra fact 2.11).
    check(
        json!({ "profileUrl": "GPOMMVNK", "locale": "XY 17", VENDOR: { "customDate1": "soon" } }),
        json!({ "profileUrl": "GPOMMVNK", "locale": "XY 17", VENDOR: { "customDate1": "soon" } }),
    );
}

#[test]
fn names_are_found_in_any_letter_case() {
    check(
        json!({ "DISPLAYNAME": "Ann", "Name": { "GIVENNAME": "A" }, ENTERPRISE.to_uppercase(): { "Department": "IT" } }),
        json!({ "displayName": "Ann", "name": { "givenName": "A" }, ENTERPRISE: { "department": "IT" } }),
    );
}

#[test]
fn empty_values_unassign() {
    check(
        json!({
            "title": null, "nickName": "", "roles": [], "name": { "givenName": null, "familyName": "" },
            "emails": [null, "", { "value": null, "type": "work" }], ENTERPRISE: { "department": null }, "odd": null,
        }),
        json!({ "emails": [{ "type": "work" }] }),
    );
}

#[test]
fn managers_of_every_shape() {
    for shape in [
        json!("271"),
        json!({ "value": "271" }),
        json!([{ "value": "271", "$ref": null }]),
        json!(["271"]),
    ] {
        check(
            json!({ ENTERPRISE: { "manager": shape } }),
            json!({ ENTERPRISE: { "manager": { "value": "271" } } }),
        );
    }
    // Unprefixed, and flat.
    check(
        json!({ "manager": "271" }),
        json!({ ENTERPRISE: { "manager": { "value": "271" } } }),
    );
    check(
        json!({ format!("{ENTERPRISE}:manager"): "271", "urn:ietf:params:scim:schemas:core:2.0:User:title": "" }),
        json!({ ENTERPRISE: { "manager": { "value": "271" } } }),
    );
    for shape in [
        json!(""),
        json!({ "value": "" }),
        json!(null),
        json!([]),
        json!({}),
    ] {
        check(json!({ ENTERPRISE: { "manager": shape } }), json!({}));
    }
}

#[test]
fn single_values_stand_for_lists() {
    check(
        json!({ "emails": "a@x" }),
        json!({ "emails": [{ "value": "a@x" }] }),
    );
    check(
        json!({ "emails": { "value": "a@x" } }),
        json!({ "emails": [{ "value": "a@x" }] }),
    );
    check(
        json!({ "roles": ["{\"id\":\"06\"}", { "value": "b", "displayName": "B" }] }),
        json!({ "roles": [{ "value": "{\"id\":\"06\"}" }, { "value": "b", "displayName": "B" }] }),
    );
}

#[test]
fn what_the_gateway_owns_is_ignored() {
    check(
        json!({ "id": "mine", "meta": { "resourceType": "User" }, "groups": [{ "value": "g" }], "password": "secret" }),
        json!({}),
    );
}

#[test]
fn unknown_attributes_are_kept() {
    let body = json!({ "favourite colour": "red", "nested": { "a": [1, null] }, "urn:x:y:1.0:User": { "b": true } });
    check(body.clone(), body);
}

#[test]
fn schemas_are_computed() {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:extension:enterprise:2.0User", 5, null],
        "userName": "ann", ENTERPRISE: { "department": "IT" }, "urn:x:y:1.0:User": { "b": true },
        VENDOR: { "level": null },
    });
    let resource = accept(&profile(), body).expect("accepted");
    let core = "urn:ietf:params:scim:schemas:core:2.0:User";
    assert_eq!(
        resource.get("schemas"),
        Some(&json!([core, ENTERPRISE, "urn:x:y:1.0:User"]))
    );
    let none = accept(&profile(), json!({ "schemas": null, "userName": "ann" })).expect("accepted");
    assert_eq!(none.get("schemas"), Some(&json!([core])));
}

#[test]
fn only_one_value_is_primary() {
    check(
        json!({ "emails": [{ "value": "a", "primary": true }, { "value": "b", "primary": "True" }] }),
        json!({ "emails": [{ "value": "a", "primary": true }, { "value": "b", "primary": false }] }),
    );
}

#[test]
fn equal_values_are_one() {
    // No pair of type and value stands twice (RFC 7643 section 2.4); letter case does not count here.
    check(
        json!({ "emails": [
            { "value": "a@x", "type": "work" }, { "value": "A@x", "type": "Work", "display": "A" },
            { "value": "a@x", "type": "home" }, { "value": "a@x" }, "a@x",
        ] }),
        json!({ "emails": [
            { "value": "A@x", "type": "Work", "display": "A" },
            { "value": "a@x", "type": "home" }, { "value": "a@x" },
        ] }),
    );
    check(
        json!({ "emails": [{ "value": "a", "primary": true }, { "value": "a", "primary": true }] }),
        json!({ "emails": [{ "value": "a", "primary": true }] }),
    );
    // A photo's address is caseExact; an address has no value and is compared as a whole.
    check(
        json!({ "photos": ["https://x/A", "https://x/a"], "addresses": [
            { "type": "work", "region": "R" }, { "type": "work", "region": "S" }, { "type": "work", "region": "R" },
        ] }),
        json!({ "photos": [{ "value": "https://x/A" }, { "value": "https://x/a" }], "addresses": [
            { "type": "work", "region": "R" }, { "type": "work", "region": "S" },
        ] }),
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let user = |extra: Value| {
        let mut body = json!({ "userName": "ann" });
        body.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        body
    };
    let value = ScimType::InvalidValue;
    check_refused(
        json!({ "displayName": "Ann" }),
        value,
        "userName is required",
    );
    check_refused(json!({ "userName": "" }), value, "userName is required");
    check_refused(json!({ "userName": null }), value, "userName is required");
    check_refused(json!({ "userName": 5 }), value, "userName must be a string");
    check_refused(
        user(json!({ "active": "yes" })),
        value,
        "active must be true or false",
    );
    check_refused(user(json!({ "active": [true] })), value, "active must be");
    check_refused(
        user(json!({ "name": "Ann" })),
        value,
        "name must be an object",
    );
    check_refused(
        user(json!({ "name": { "givenName": {"a": 1} } })),
        value,
        "name.givenName must be a string",
    );
    check_refused(
        user(json!({ "emails": [{ "primary": "x" }] })),
        value,
        "emails.primary must be",
    );
    check_refused(
        user(json!({ "emails": [["a"]] })),
        value,
        "list within a list",
    );
    check_refused(user(json!({ ENTERPRISE: "x" })), value, "must be an object");
    for whole in [json!("x"), json!(5), json!([1])] {
        let body = user(json!({ "urn:ietf:params:scim:schemas:core:2.0:User": whole }));
        check_refused(body, value, "core:2.0:User must be an object");
    }
    check_refused(
        user(json!({ ENTERPRISE: { "manager": [{}, {}] } })),
        value,
        "User:manager must be a single object",
    );
    check_refused(
        user(json!({ VENDOR: { "level": "5.5" } })),
        value,
        "User:level must be a whole number",
    );
    check_refused(
        user(json!({ "password": 5 })),
        value,
        "password must be a string",
    );
    check_refused(
        user(json!({ "emails": vec!["a"; 501] })),
        value,
        "at most 500",
    );
    for body in [json!([]), json!("x"), json!(null)] {
        check_refused(body, ScimType::InvalidSyntax, "not a JSON object");
    }
}

#[test]
fn bodies_are_read_with_care() {
    let limits = ScimLimits::default();
    let detail = |body: &[u8]| {
        let error = parse_body(body, &limits).expect_err("refused");
        assert_eq!(error.scim_type, Some(ScimType::InvalidSyntax));
        error.detail
    };
    assert!(detail(b" \n").contains("empty"));
    assert!(detail(b"{\"a\": }").contains("line 1 column 7"));
    assert!(detail(b"{\"a\": \"\xff\"}").contains("line 1"));
    assert!(detail("[".repeat(1_000_000).as_bytes()).contains("json_depth_max"));
    assert!(detail(format!("{}1{}", "[".repeat(33), "]".repeat(33)).as_bytes()).contains("32"));
    assert!(
        parse_body(
            format!("{}1{}", "[".repeat(32), "]".repeat(32)).as_bytes(),
            &limits
        )
        .is_ok()
    );
    // Brackets within strings do not count.
    let text = format!("{{\"a\": \"\\\"{}\"}}", "[".repeat(100));
    assert!(parse_body(text.as_bytes(), &limits).is_ok());
}

#[test]
fn unique_values_are_folded() {
    let resource = accept(
        &profile(),
        json!({ "userName": "ÄNN@X.test", "externalId": "Ab" }),
    )
    .expect("accepted");
    assert_eq!(
        resource.unique_values(ResourceKind::User),
        [
            (Unique::UserName, "änn@x.test".to_owned()),
            (Unique::ExternalId, "Ab".to_owned())
        ]
    );
}

proptest::proptest! {
    #[test]
    fn no_body_panics(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let limits = ScimLimits::default();
        if let Ok(value) = parse_body(&body, &limits) {
            let _ = profile().user().accept(value, &reading());
        }
    }

    #[test]
    fn acceptance_is_idempotent(name in "[a-zA-Z ]{1,8}", value in "\\PC{0,12}") {
        let profile = profile();
        let body = json!({ "userName": "u", name: value, "emails": [{ "value": value }], ENTERPRISE: { "manager": value } });
        if let Ok(once) = accept(&profile, body) {
            let twice = accept(&profile, once.clone().into_document()).expect("accepted again");
            proptest::prop_assert_eq!(once, twice);
        }
    }
}

#[test]
fn a_resource_has_a_largest_size() {
    let profile = profile();
    let user = profile.user();
    let take = |bytes_max: usize, title: &str| {
        let limits = ScimLimits {
            resource_bytes_max: bytes_max,
            ..ScimLimits::default()
        };
        let body = json!({ "userName": "ann", "title": title });
        let accepted = user.accept(body, &Reading::new(&ENTRA, &limits));
        accepted.map(|accepted| accepted.resource)
    };
    let change = |bytes_max: usize, before: &Resource, operation: Value| {
        let limits = ScimLimits {
            resource_bytes_max: bytes_max,
            ..ScimLimits::default()
        };
        let body = json!({ "Operations": [operation] });
        let reading = Reading::new(&ENTRA, &limits);
        patch::apply(user, before, body, "1", &reading).map(|patched| patched.resource)
    };
    // Escapes count as they are written.
    let title = "\"".repeat(20);
    let resource = take(usize::MAX, &title).expect("no limit");
    let bytes = resource.clone().into_document().to_string().len();
    assert_eq!(take(bytes, &title), Ok(resource.clone()));
    let larger = json!({ "op": "replace", "path": "userName", "value": "anna" });
    assert!(change(bytes + 1, &resource, larger.clone()).is_ok());
    for error in [
        take(bytes - 1, &title).expect_err("too large"),
        change(bytes, &resource, larger.clone()).expect_err("too large"),
        // A limit that came later: what is there may not grow.
        change(bytes / 2, &resource, larger).expect_err("too large"),
    ] {
        assert_eq!(error.status, 413);
        assert!(error.detail.contains("resource_bytes_max"), "{error}");
    }
    for operation in [
        json!({ "op": "replace", "path": "userName", "value": "bob" }),
        json!({ "op": "remove", "path": "title" }),
    ] {
        assert!(change(bytes / 2, &resource, operation).is_ok());
    }
    // Many small requests come to the same end as a large one.
    let limits = ScimLimits::default();
    let mut grown = resource;
    let end = (0..100).find_map(|n| {
        let value = json!("x".repeat(10_000));
        let operation = json!({ "op": "add", "path": format!("unknown{n}"), "value": value });
        match change(limits.resource_bytes_max, &grown, operation) {
            Ok(more) => {
                grown = more;
                None
            }
            Err(error) => Some((n, error.status)),
        }
    });
    assert_eq!(end, Some((26, 413)));
}
