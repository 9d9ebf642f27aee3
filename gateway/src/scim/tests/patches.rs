//! PATCH bodies: what Entra, its validator, Okta and the RFC send.

mod refused;
mod urns;

use serde_json::{Value, json};

use super::{ENTERPRISE, VENDOR, accept, profile, reading};
use crate::scim::{Resource, ScimError, ScimType, patch};

const ID: &str = "2819c223-7f76-453a-919d-413861904646";

fn run(before: Value, operations: Value) -> Result<Resource, ScimError> {
    let profile = profile();
    let mut body = json!({ "userName": "ann@x.test" });
    body.as_object_mut()
        .expect("an object")
        .extend(before.as_object().expect("an object").clone());
    let resource = accept(&profile, body).expect("accepted");
    let request = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": operations,
    });
    let patched = patch::apply(profile.user(), &resource, request, ID, &reading())?;
    assert!(patched.members.is_empty(), "a user has none");
    Ok(patched.resource)
}

/// What the user comes to beside `schemas` and an unchanged `userName`.
#[track_caller]
fn check(before: Value, operations: Value, expected: Value) {
    let resource = run(before, operations).unwrap_or_else(|error| panic!("{error:?}"));
    let again = accept(&profile(), resource.clone().into_document()).expect("a valid resource");
    assert_eq!(again, resource, "the result would not be taken in as it is");
    let mut document = resource.into_document();
    let map = document.as_object_mut().expect("an object");
    map.shift_remove("schemas");
    if map.get("userName") == Some(&json!("ann@x.test")) {
        map.shift_remove("userName");
    }
    assert_eq!(document, expected);
}

#[track_caller]
fn check_refused(before: Value, operations: Value, scim_type: ScimType, words: &str) {
    let error = run(before, operations).expect_err("refused");
    assert_eq!(error.scim_type, Some(scim_type), "{error}");
    assert!(error.detail.contains(words), "{error}");
}

fn op(op: &str, path: &str, value: Value) -> Value {
    json!({ "op": op, "path": path, "value": value })
}

#[test]
fn simple_attributes() {
    check(
        json!({}),
        json!([op("Add", "nickName", json!("Babs"))]),
        json!({ "nickName": "Babs" }),
    );
    check(
        json!({ "active": true }),
        json!([op("Replace", "active", json!("False"))]),
        json!({ "active": false }),
    );
    check(
        json!({ "active": true }),
        json!([op("replace", "ACTIVE", json!(false))]),
        json!({ "active": false }),
    );
    check(
        json!({}),
        json!([op("RePlace", "userName", json!("b@x"))]),
        json!({ "userName": "b@x" }),
    );
    check(
        json!({}),
        json!([op("replace", "name.familyName", json!("N"))]),
        json!({ "name": { "familyName": "N" } }),
    );
    check(
        json!({ "name": { "givenName": "A", "familyName": "B" } }),
        json!([op("remove", "name.givenName", json!(null)), { "op": "remove", "path": "title" }]),
        json!({ "name": { "familyName": "B" } }),
    );
    check(
        json!({}),
        json!([
            op("replace", &format!("{VENDOR}:level"), json!("7")),
            op("add", "vip", json!("TRUE"))
        ]),
        json!({ VENDOR: { "level": 7, "vip": true } }),
    );
    check(json!({ "title": "x" }), json!([]), json!({ "title": "x" }));
    // The keys of the body and of an operation, in other letter case.
    let profile = profile();
    let resource = accept(&profile, json!({ "userName": "a" })).expect("accepted");
    let body = json!({ "operations": [{ "OP": "add", "Path": "title", "Value": "x" }] });
    let patched = patch::apply(profile.user(), &resource, body, ID, &reading()).expect("patched");
    assert_eq!(patched.resource.get("title"), Some(&json!("x")));
}

#[test]
fn empty_values_unassign() {
    for nothing in [json!(null), json!(""), json!([])] {
        for verb in ["add", "replace"] {
            check(
                json!({ "title": "x" }),
                json!([op(verb, "title", nothing.clone())]),
                json!({}),
            );
        }
        check(
            json!({ "emails": [{ "type": "work", "value": "a" }] }),
            json!([op("replace", "emails", nothing.clone())]),
            json!({}),
        );
        // Adding nothing to a list adds nothing.
        check(
            json!({ "emails": [{ "type": "work", "value": "a" }] }),
            json!([op("add", "emails", nothing.clone())]),
            json!({ "emails": [{ "type": "work", "value": "a" }] }),
        );
        check(
            json!({ "emails": [{ "type": "work", "value": "a" }, { "type": "home", "value": "b" }] }),
            json!([op(
                "replace",
                "emails[type eq \"work\"].value",
                nothing.clone()
            )]),
            json!({ "emails": [{ "type": "home", "value": "b" }] }),
        );
        check(
            json!({ ENTERPRISE: { "department": "IT" } }),
            json!([op(
                "replace",
                &format!("{ENTERPRISE}:department"),
                nothing.clone()
            )]),
            json!({}),
        );
        check(
            json!({ "name": { "givenName": "A", "familyName": "B" } }),
            json!([{ "op": "replace", "value": { "name": { "givenName": nothing } } }]),
            json!({ "name": { "familyName": "B" } }),
        );
    }
    // Emptied and filled again within one request: the value keeps what it was.
    check(
        json!({ "emails": [{ "type": "work", "value": "a", "primary": true }] }),
        json!([
            op("remove", "emails[type eq \"work\"].value", json!(null)),
            op("add", "emails[type eq \"work\"].value", json!("b"))
        ]),
        json!({ "emails": [{ "type": "work", "primary": true, "value": "b" }] }),
    );
}

#[test]
fn path_less_values() {
    check(
        json!({ "name": { "middleName": "M" } }),
        json!([{ "op": "replace", "value": {
            "displayName": "Bjfe",
            "name.givenName": "Kkom",
            "name.familyName": "Unua",
            "emails[type eq \"work\"].value": "w@x",
            "id": ID,
            "schemas": [],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber": "Aklq",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value": "271",
            "urn:ietf:params:scim:schemas:core:2.0:User:title": "T",
        } }]),
        json!({
            "name": { "middleName": "M", "givenName": "Kkom", "familyName": "Unua" },
            "displayName": "Bjfe",
            "emails": [{ "type": "work", "value": "w@x" }],
            ENTERPRISE: { "employeeNumber": "Aklq", "manager": { "value": "271" } },
            "title": "T",
        }),
    );
    check(
        json!({ ENTERPRISE: { "division": "D" } }),
        json!([{ "op": "add", "value": { ENTERPRISE: { "department": "IT", "manager": [{ "value": "5" }], "costCenter": "" } } }]),
        json!({ ENTERPRISE: { "division": "D", "department": "IT", "manager": { "value": "5" } } }),
    );
    check(
        json!({}),
        json!([{ "op": "add", "value": { "name": { "givenName": "A" }, "odd name": 1, "urn:x:y:1.0:User": { "a": 1 }, "urn:x:z": { "b": 2 } } }]),
        json!({ "name": { "givenName": "A" }, "odd name": 1, "urn:x:y:1.0:User": { "a": 1 }, "urn:x:z": { "b": 2 } }),
    );
}

#[test]
fn filters_that_match_nothing_make_the_value() {
    check(
        json!({}),
        json!([
            op(
                "Add",
                "addresses[type eq \"work\"].locality",
                json!("Berlin")
            ),
            op("Add", "addresses[Type EQ \"Work\"].country", json!("DE")),
            op(
                "Add",
                "addresses[type eq \"other\"].formatted",
                json!("Office 5")
            ),
        ]),
        json!({ "addresses": [
            { "type": "work", "locality": "Berlin", "country": "DE" },
            { "type": "other", "formatted": "Office 5" },
        ] }),
    );
    check(
        json!({}),
        json!([
            op("replace", "roles[primary eq \"True\"].display", json!("d")),
            op("replace", "roles[primary eq \"True\"].value", json!("v")),
            op("replace", "roles[primary eq \"True\"].type", json!("t")),
        ]),
        json!({ "roles": [{ "primary": true, "display": "d", "value": "v", "type": "t" }] }),
    );
    check(
        json!({}),
        json!([op(
            "add",
            "emails[type eq \"work\" and primary eq true]",
            json!({ "value": "a" })
        )]),
        json!({ "emails": [{ "type": "work", "primary": true, "value": "a" }] }),
    );
    check_refused(
        json!({}),
        json!([op("add", "emails[type ne \"work\"].value", json!("a"))]),
        ScimType::NoTarget,
        "does not describe one",
    );
}

/// "Add Attributes Verbose" of Microsoft's SCIM Validator (Entra fact 5.1), in its order.
#[test]
fn the_validators_verbose_run() {
    let paths = [
        "displayName",
        "title",
        "emails[type eq \"work\"].value",
        "emails[type eq \"work\"].primary",
        "name.givenName",
        "name.formatted",
        "addresses[type eq \"work\"].formatted",
        "addresses[type eq \"work\"].streetAddress",
        "addresses[type eq \"work\"].primary",
        "addresses[type eq \"work\"].country",
        "phoneNumbers[type eq \"work\"].value",
        "phoneNumbers[type eq \"work\"].primary",
        "phoneNumbers[type eq \"mobile\"].value",
        "phoneNumbers[type eq \"fax\"].value",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:division",
        "roles[primary eq \"True\"].display",
        "roles[primary eq \"True\"].value",
        "roles[primary eq \"True\"].type",
        "timezone",
        "profileUrl",
    ];
    let value = |path: &str| match path.ends_with("primary") {
        true => json!("True"),
        false => json!("GPOMMVNK"),
    };
    let expected = json!({
        "displayName": "GPOMMVNK",
        "title": "GPOMMVNK",
        "emails": [{ "type": "work", "value": "GPOMMVNK", "primary": true }],
        "name": { "givenName": "GPOMMVNK", "formatted": "GPOMMVNK" },
        "addresses": [{
            "type": "work", "formatted": "GPOMMVNK", "streetAddress": "GPOMMVNK", "primary": true,
            "country": "GPOMMVNK",
        }],
        "phoneNumbers": [
            { "type": "work", "value": "GPOMMVNK", "primary": true },
            { "type": "mobile", "value": "GPOMMVNK" },
            { "type": "fax", "value": "GPOMMVNK" },
        ],
        ENTERPRISE: { "employeeNumber": "GPOMMVNK", "division": "GPOMMVNK" },
        "roles": [{ "primary": true, "display": "GPOMMVNK", "value": "GPOMMVNK", "type": "GPOMMVNK" }],
        "timezone": "GPOMMVNK",
        "profileUrl": "GPOMMVNK",
    });
    for verb in ["add", "Replace"] {
        let operations: Vec<Value> = paths
            .iter()
            .map(|path| op(verb, path, value(path)))
            .collect();
        check(json!({}), json!(operations), expected.clone());
        // The same with the flag: one operation, the paths as its keys.
        let members: serde_json::Map<String, Value> = paths
            .iter()
            .map(|path| ((*path).to_owned(), value(path)))
            .collect();
        check(
            json!({}),
            json!([{ "op": verb, "value": members }]),
            expected.clone(),
        );
    }
}

#[test]
fn lists() {
    let two = json!({ "emails": [{ "type": "work", "value": "a@x" }, { "type": "home", "value": "b@x" }] });
    // Append without duplicates; what is new about a known value is taken over.
    check(
        two.clone(),
        json!([op(
            "add",
            "emails",
            json!([{ "value": "A@x", "type": "work", "primary": "True" }, "c@x", "c@x"])
        )]),
        json!({ "emails": [
            { "type": "work", "value": "A@x", "primary": true },
            { "type": "home", "value": "b@x" },
            { "value": "c@x" },
        ] }),
    );
    check(
        two.clone(),
        json!([op("replace", "emails", json!({ "value": "z" }))]),
        json!({ "emails": [{ "value": "z" }] }),
    );
    check(
        two.clone(),
        json!([{ "op": "remove", "path": "emails" }]),
        json!({}),
    );
    check(
        two.clone(),
        json!([op(
            "Remove",
            "emails",
            json!([{ "$ref": null, "value": "a@X" }])
        )]),
        json!({ "emails": [{ "type": "home", "value": "b@x" }] }),
    );
    check(
        two.clone(),
        json!([op("remove", "emails", json!([]))]),
        two.clone(),
    );
    check(
        two.clone(),
        json!([op("remove", "emails", json!("nobody"))]),
        two.clone(),
    );
    // A value beside the filter is not written (Entra sends both).
    check(
        two.clone(),
        json!([op("Remove", "emails[type eq \"work\"].value", json!("a@x"))]),
        json!({ "emails": [{ "type": "home", "value": "b@x" }] }),
    );
    check(
        two.clone(),
        json!([{ "op": "remove", "path": "emails[type eq \"fax\"]" }]),
        two.clone(),
    );
    check(
        two.clone(),
        json!([{ "op": "remove", "path": "emails[value eq \"B@X\"]" }]),
        json!({ "emails": [{ "type": "work", "value": "a@x" }] }),
    );
    check(
        two.clone(),
        json!([op(
            "replace",
            "emails[type eq \"work\"]",
            json!({ "value": "n", "display": "N" })
        )]),
        json!({ "emails": [{ "type": "work", "value": "n", "display": "N" }, { "type": "home", "value": "b@x" }] }),
    );
    check(
        two.clone(),
        json!([op(
            "add",
            "emails[type eq \"home\"]",
            json!([{ "display": "H" }])
        )]),
        json!({ "emails": [{ "type": "work", "value": "a@x" }, { "type": "home", "value": "b@x", "display": "H" }] }),
    );
    check(
        two.clone(),
        json!([op(
            "remove",
            "emails",
            json!([{ "type": "WORK" }, { "value": "b@x", "type": "work" }])
        )]),
        json!({ "emails": [{ "type": "home", "value": "b@x" }] }),
    );
    // Values that an operation makes equal are one, with all that either said.
    check(
        json!({ "emails": [{ "type": "work", "value": "a", "display": "A" }, { "type": "work", "value": "b" }] }),
        json!([op("replace", "emails[type eq \"work\"].value", json!("c"))]),
        json!({ "emails": [{ "type": "work", "value": "c", "display": "A" }] }),
    );
    check(
        json!({}),
        json!([op(
            "replace",
            "emails",
            json!([{ "value": "a", "type": "work" }, { "value": "a", "type": "work" }])
        )]),
        json!({ "emails": [{ "value": "a", "type": "work" }] }),
    );
    // Roles of one type stay apart, and keep the JSON that Entra packs into a string.
    check(
        json!({ "roles": [{ "type": "t", "value": "1" }] }),
        json!([op(
            "Add",
            "roles",
            json!([{ "type": "t", "value": "{\"id\":\"06\"}" }])
        )]),
        json!({ "roles": [{ "type": "t", "value": "1" }, { "type": "t", "value": "{\"id\":\"06\"}" }] }),
    );
    // A list that no schema knows.
    check(
        json!({ "tags": ["a"] }),
        json!([op("add", "TAGS", json!(["b", "a"]))]),
        json!({ "tags": ["a", "b"] }),
    );
    check(
        json!({ "tags": ["a", "b"] }),
        json!([{ "op": "remove", "path": "tags[value eq \"a\"]" }]),
        json!({ "tags": ["b"] }),
    );
}

#[test]
fn a_new_primary_value_replaces_the_old() {
    let two = json!({ "emails": [{ "value": "a", "primary": true, "type": "work" }, { "value": "b", "type": "home" }] });
    let expected = json!({ "emails": [
        { "value": "a", "primary": false, "type": "work" },
        { "value": "b", "type": "home", "primary": true },
    ] });
    check(
        two.clone(),
        json!([op(
            "replace",
            "emails[type eq \"home\"].primary",
            json!("True")
        )]),
        expected.clone(),
    );
    check(
        two.clone(),
        json!([op(
            "add",
            "emails",
            json!([{ "value": "b", "primary": true }])
        )]),
        expected.clone(),
    );
    check(
        two,
        json!([op(
            "add",
            "emails[type eq \"home\"]",
            json!({ "primary": true })
        )]),
        expected,
    );
}

#[test]
fn managers_of_every_shape() {
    // The parts of a manager in either order; a part without a value is no manager.
    let parts = json!([
        op("add", "manager.$ref", json!("../Users/2")),
        op("add", "manager.value", json!("2"))
    ]);
    check(
        json!({}),
        parts.clone(),
        json!({ ENTERPRISE: { "manager": { "$ref": "../Users/2", "value": "2" } } }),
    );
    check(json!({}), json!([parts[0]]), json!({}));
    let path = format!("{ENTERPRISE}:manager");
    let set = json!({ ENTERPRISE: { "manager": { "value": "271" } } });
    for before in [
        json!({}),
        json!({ ENTERPRISE: { "manager": { "value": "1", "$ref": "../Users/1" } } }),
    ] {
        for operation in [
            op("Add", &path, json!("271")),
            op("Replace", &path, json!({ "value": "271" })),
            op("Add", "manager", json!([{ "$ref": null, "value": "271" }])),
            op("replace", &format!("{path}.value"), json!("271")),
            op(
                "replace",
                "urn:ietf:params:scim:schemas:core:2.0:User:manager",
                json!("271"),
            ),
            op(
                "replace",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User.manager",
                json!("271"),
            ),
            json!({ "op": "replace", "value": { "manager": "271" } }),
            json!({ "op": "replace", "value": { path.clone(): "271" } }),
        ] {
            check(before.clone(), json!([operation]), set.clone());
        }
    }
    for operation in [
        op("replace", &path, json!({ "value": "" })),
        op("replace", &path, json!("")),
        op("replace", &path, json!(null)),
        op("replace", &path, json!([])),
        op("replace", &format!("{path}.value"), json!("")),
        json!({ "op": "remove", "path": path.clone() }),
        json!({ "op": "Remove", "path": "manager" }),
        json!({ "op": "remove", "path": format!("{path}.value") }),
        json!({ "op": "replace", "value": { ENTERPRISE: null } }),
    ] {
        check(set.clone(), json!([operation.clone()]), json!({}));
        check(json!({}), json!([operation]), json!({}));
    }
}

#[test]
fn unknown_attributes_are_kept() {
    let urn = "urn:ietf:params:scim:schemas:extension:CustomExtensionName:2.0:User";
    check(
        json!({}),
        json!([
            op("add", &format!("{urn}:CustomAttribute"), json!("x")),
            op("add", "colour", json!("red"))
        ]),
        json!({ urn: { "CustomAttribute": "x" }, "colour": "red" }),
    );
    let added = run(
        json!({}),
        json!([op("add", &format!("{urn}:CustomAttribute"), json!("x"))]),
    )
    .expect("patched");
    assert_eq!(
        added.get("schemas"),
        Some(&json!(["urn:ietf:params:scim:schemas:core:2.0:User", urn]))
    );
    check(
        json!({ urn: { "CustomAttribute": "x" } }),
        json!([{ "op": "remove", "path": format!("{urn}:customattribute") }]),
        json!({}),
    );
    check(
        json!({}),
        json!([op("add", "password", json!("secret"))]),
        json!({}),
    );
}

proptest::proptest! {
    #[test]
    fn no_operation_panics(
        verb in "(add|replace|remove|Add)",
        path in r#"(title|name|emails|addresses|manager|tags|urn:x:2\.0:User|active)(\[(type|value) eq "[ab]"\])?(\.(value|type|primary|givenName))?"#,
        value in r#"(null|""|"x"|true|5|\[\]|\["a"\]|\[\{"value":"a"\}\]|\{\}|\{"value":"b","type":"a"\}|\{"givenName":"g"\})"#,
        path_less in proptest::bool::ANY,
    ) {
        let value: Value = serde_json::from_str(&value).expect("JSON");
        let operation = if path_less { json!({ "op": verb, "value": { path: value } }) } else { op(&verb, &path, value) };
        let before = json!({ "tags": ["a"], "emails": [{ "type": "a", "value": "b" }], "name": { "givenName": "g" } });
        if let Ok(after) = run(before, json!([operation])) {
            let again = accept(&profile(), after.clone().into_document()).expect("a valid resource");
            proptest::prop_assert_eq!(again, after);
        }
    }
}
