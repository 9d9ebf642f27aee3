//! Dialects: each form that a tolerant client may send is noted where it is, and refused where the
//! dialect is strict.

use std::path::Path;

use serde_json::{Value, json};

use super::{ENTERPRISE, VENDOR, accept, groups, profile, read_as};
use crate::scim::{
    Dialect, ENTRA, Form, Forms, OKTA, STRICT, ScimError, ScimType, parse_filter, patch,
};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Something a client sends.
enum Sent {
    /// Laid over a user's body that no dialect minds.
    Body(Value),
    /// One operation on a user.
    Operation(Value),
    /// One operation on a group.
    OnGroup(Value),
    /// A whole PATCH.
    Patch(Value),
    /// A filter.
    Filter(&'static str),
}

fn send(sent: &Sent, dialect: &'static Dialect) -> (Result<(), ScimError>, Forms) {
    let reading = read_as(dialect);
    let profile = profile();
    let before = accept(
        &profile,
        json!({ "userName": "u", "title": "T", "emails": [{ "value": "a" }] }),
    );
    let before = before.expect("accepted");
    let patch =
        |body: Value| patch::apply(profile.user(), &before, body, "1", &reading).map(|_| ());
    let outcome = match sent {
        Sent::Body(over) => {
            let mut body = json!({ "schemas": [USER, ENTERPRISE, VENDOR], "userName": "u" });
            let map = body.as_object_mut().expect("an object");
            map.extend(over.as_object().expect("an object").clone());
            profile.user().accept(body, &reading).map(|_| ())
        }
        Sent::Operation(operation) => {
            patch(json!({ "schemas": [PATCH], "Operations": [operation] }))
        }
        Sent::OnGroup(operation) => {
            let body = json!({ "schemas": [PATCH], "Operations": [operation] });
            patch::apply(&groups(), &before, body, "1", &reading).map(|_| ())
        }
        Sent::Patch(body) => patch(body.clone()),
        Sent::Filter(text) => parse_filter(text, &reading).map(|_| ()),
    };
    (outcome, reading.forms())
}

fn set(path: &str, value: Value) -> Sent {
    Sent::Operation(json!({ "op": "replace", "path": path, "value": value }))
}

fn keyed(key: &str, value: Value) -> Sent {
    Sent::Operation(json!({ "op": "add", "value": { key: value } }))
}

fn remove(path: &str) -> Sent {
    Sent::Operation(json!({ "op": "remove", "path": path }))
}

/// Each form as it is sent, with the keyword that the strict dialect answers.
fn sent() -> Vec<(Form, Sent, ScimType)> {
    let manager = format!("{ENTERPRISE}:manager");
    let member = |op: &str, path: &str, value: Value| {
        Sent::OnGroup(json!({ "op": op, "path": path, "value": value }))
    };
    vec![
        (
            Form::OpCapitalised,
            Sent::Operation(json!({ "op": "Add", "path": "title", "value": "x" })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::OperationsEmpty,
            Sent::Patch(json!({ "schemas": [PATCH], "Operations": [] })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::PathEmpty,
            Sent::Operation(json!({ "op": "add", "path": "", "value": { "title": "x" } })),
            ScimType::InvalidPath,
        ),
        (
            Form::KeyValuePath,
            keyed("emails[value eq \"a\"].display", json!("x")),
            ScimType::InvalidSyntax,
        ),
        (
            Form::KeyDotted,
            keyed("name.givenName", json!("x")),
            ScimType::InvalidSyntax,
        ),
        (
            Form::KeyUrn,
            keyed(&format!("{ENTERPRISE}:department"), json!("x")),
            ScimType::InvalidSyntax,
        ),
        (
            Form::KeyUrn,
            keyed(USER, json!({ "title": "x" })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::KeyUrn,
            Sent::Body(json!({ format!("{ENTERPRISE}:department"): "x" })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::KeyUrn,
            Sent::Body(json!({ USER: { "title": "x" } })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::DotAfterUrn,
            set(&format!("{ENTERPRISE}.department"), json!("x")),
            ScimType::InvalidPath,
        ),
        (
            Form::ExtensionUnprefixed,
            set("department", json!("x")),
            ScimType::InvalidPath,
        ),
        (
            Form::ExtensionUnprefixed,
            Sent::Body(json!({ "department": "x" })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::ElementMade,
            set("emails[type eq \"work\"].value", json!("x")),
            ScimType::NoTarget,
        ),
        (
            Form::ElementMade,
            set("emails[type eq \"work\"]", json!({ "value": "x" })),
            ScimType::NoTarget,
        ),
        (
            Form::ElementMade,
            member("add", "members[value eq \"a\"]", json!({ "value": "a" })),
            ScimType::NoTarget,
        ),
        (
            Form::RemoveWithValue,
            Sent::Operation(
                json!({ "op": "remove", "path": "emails", "value": [{ "value": "a" }] }),
            ),
            ScimType::InvalidSyntax,
        ),
        (
            Form::RemoveWithValue,
            member("remove", "members", json!([{ "value": "a" }])),
            ScimType::InvalidSyntax,
        ),
        (
            Form::RemoveHitsNothing,
            remove("emails[type eq \"work\"]"),
            ScimType::NoTarget,
        ),
        (
            Form::RemoveHitsNothing,
            remove("emails[type eq \"work\"].value"),
            ScimType::NoTarget,
        ),
        (
            Form::BooleanAsString,
            set("active", json!("True")),
            ScimType::InvalidValue,
        ),
        (
            Form::BooleanAsString,
            Sent::Body(json!({ "active": "false" })),
            ScimType::InvalidValue,
        ),
        (
            Form::NumberAsString,
            Sent::Body(json!({ VENDOR: { "level": "5" } })),
            ScimType::InvalidValue,
        ),
        (
            Form::NumberAsString,
            Sent::Body(json!({ VENDOR: { "score": "5.5" } })),
            ScimType::InvalidValue,
        ),
        (
            Form::WordForObject,
            set(&manager, json!("271")),
            ScimType::InvalidValue,
        ),
        (
            Form::WordForObject,
            Sent::Body(json!({ "emails": ["a"] })),
            ScimType::InvalidValue,
        ),
        (
            Form::ListForObject,
            set(&manager, json!([{ "value": "271" }])),
            ScimType::InvalidValue,
        ),
        (
            Form::ListForObject,
            set("emails[value eq \"a\"]", json!([{ "display": "x" }])),
            ScimType::InvalidValue,
        ),
        (
            Form::ObjectForList,
            set("emails", json!({ "value": "b" })),
            ScimType::InvalidValue,
        ),
        (
            Form::ObjectForList,
            Sent::Body(json!({ "emails": { "value": "b" } })),
            ScimType::InvalidValue,
        ),
        (
            Form::ObjectForList,
            member("replace", "members", json!({ "value": "b" })),
            ScimType::InvalidValue,
        ),
        (
            Form::MemberBare,
            member("add", "members", json!(["b"])),
            ScimType::InvalidValue,
        ),
        (
            Form::MemberValueRemoved,
            Sent::OnGroup(json!({ "op": "remove", "path": "members[value eq \"a\"].value" })),
            ScimType::Mutability,
        ),
        (
            Form::EmptyUnassigns,
            set("title", json!("")),
            ScimType::InvalidValue,
        ),
        (
            Form::EmptyUnassigns,
            Sent::Body(json!({ "title": "" })),
            ScimType::InvalidValue,
        ),
        (
            Form::EmptyUnassigns,
            Sent::Body(json!({ "emails": "" })),
            ScimType::InvalidValue,
        ),
        (
            Form::PrimaryTwice,
            Sent::Body(
                json!({ "emails": [{ "value": "a", "primary": true }, { "value": "b", "primary": true }] }),
            ),
            ScimType::InvalidValue,
        ),
        (Form::OwnId, keyed("id", json!("1")), ScimType::Mutability),
        (
            Form::PasswordDropped,
            Sent::Body(json!({ "password": "secret" })),
            ScimType::InvalidValue,
        ),
        (
            Form::PasswordDropped,
            set("password", json!("secret")),
            ScimType::InvalidValue,
        ),
        (
            Form::UnknownKept,
            Sent::Body(json!({ "colour": "red" })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::UnknownKept,
            Sent::Body(json!({ "urn:x:y:2.0:User": { "a": 1 } })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::UnknownKept,
            Sent::Body(json!({ ENTERPRISE: { "colour": "red" } })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::UnknownKept,
            Sent::Body(json!({ "name": { "petName": "x" } })),
            ScimType::InvalidValue,
        ),
        (
            Form::UnknownKept,
            set("colour", json!("red")),
            ScimType::InvalidPath,
        ),
        (
            Form::UnknownKept,
            set("name.petName", json!("red")),
            ScimType::InvalidPath,
        ),
        (
            Form::UnknownKept,
            set("name", json!({ "petName": "red" })),
            ScimType::InvalidValue,
        ),
        (
            Form::UnknownKept,
            set("urn:x:y:2.0:User:a", json!("red")),
            ScimType::InvalidPath,
        ),
        (Form::UnknownKept, remove("colour"), ScimType::InvalidPath),
        (
            Form::UnknownKept,
            keyed("colour", json!("red")),
            ScimType::InvalidSyntax,
        ),
        (
            Form::UnknownKept,
            keyed("urn:x:y:2.0:User", json!({ "a": 1 })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::SchemasMissing,
            Sent::Patch(json!({ "Operations": [{ "op": "add", "path": "title", "value": "x" }] })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::SchemasMissing,
            Sent::Body(json!({ "schemas": null })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::SchemasMistaken,
            Sent::Body(json!({ "schemas": [USER, "urn:x:2.0User"] })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::SchemasMistaken,
            Sent::Body(json!({ "schemas": [USER], ENTERPRISE: { "department": "x" } })),
            ScimType::InvalidSyntax,
        ),
        (
            Form::WordUnquoted,
            Sent::Filter("userName eq ann"),
            ScimType::InvalidFilter,
        ),
        (
            Form::WordUnquoted,
            Sent::Filter("active eq True"),
            ScimType::InvalidFilter,
        ),
        (
            Form::WordUnquoted,
            remove("emails[value eq a]"),
            ScimType::InvalidPath,
        ),
        (
            Form::ValuePathCompared,
            Sent::Filter("emails[type eq \"work\"].value eq \"a\""),
            ScimType::InvalidFilter,
        ),
    ]
}

#[test]
fn each_form_is_noted_or_refused() {
    let mut seen = Forms::default();
    for (form, sent, scim_type) in sent() {
        let name = form.row().name;
        let (outcome, met) = send(&sent, &ENTRA);
        assert_eq!(outcome, Ok(()), "{name}");
        let mut only = Forms::default();
        only.insert(form);
        assert_eq!(
            met.iter().collect::<Vec<_>>(),
            only.iter().collect::<Vec<_>>()
        );
        let (outcome, met) = send(&sent, &STRICT);
        let error = outcome.expect_err(name);
        assert_eq!(error.scim_type, Some(scim_type), "{name}: {error}");
        assert!(met.is_empty());
        // Okta's dialect takes it as Entra's does, or refuses it as the strict one.
        let (outcome, met) = send(&sent, &OKTA);
        match OKTA.tolerated().contains(form) {
            true => assert_eq!((outcome, met), (Ok(()), only), "{name}"),
            false => assert_eq!(outcome, Err(error), "{name}"),
        }
        seen.insert(form);
    }
    assert_eq!(seen, ENTRA.tolerated(), "every form is sent");
}

#[test]
fn what_the_rfc_says_is_no_form() {
    let rfc = [
        Sent::Body(
            json!({ "title": null, "roles": [], "id": "x", "groups": [{ "value": "g" }], "emails": [{ "value": "a", "primary": true, "display": null }] }),
        ),
        Sent::Body(
            json!({ "USERNAME": "u", ENTERPRISE.to_uppercase(): { "Manager": { "value": "1", "$ref": "x" } } }),
        ),
        Sent::Body(json!({ ENTERPRISE: { "schemas": [ENTERPRISE], "department": "x" } })),
        Sent::Operation(
            json!({ "op": "add", "value": { "title": "x", "name": { "givenName": "g" }, ENTERPRISE: { "department": "x", "schemas": [] } } }),
        ),
        Sent::Operation(
            json!({ "op": "add", "path": "emails", "value": { "value": "b", "primary": true } }),
        ),
        Sent::Operation(
            json!({ "op": "replace", "path": ENTERPRISE, "value": { "department": "x" } }),
        ),
        set(&format!("{ENTERPRISE}:manager.value"), json!("5")),
        set("emails[value eq \"a\"].primary", json!(true)),
        set("name", json!({ "givenName": "g" })),
        set("title", Value::Null),
        remove("nickName"),
        remove(ENTERPRISE),
        remove("emails[value eq \"a\" and not (primary eq true)]"),
        Sent::OnGroup(
            json!({ "op": "add", "path": "members", "value": [{ "value": "a", "$ref": null, "type": "User" }] }),
        ),
        Sent::OnGroup(json!({ "op": "remove", "path": "members[value eq \"a\"]" })),
        Sent::OnGroup(json!({ "op": "remove", "path": "members" })),
        Sent::Filter(
            "USERNAME EQ \"a\" AND (active eq true or level gt 5 or title eq null) and emails[type eq \"work\"]",
        ),
    ];
    for (at, sent) in rfc.iter().enumerate() {
        for dialect in [&ENTRA, &OKTA, &STRICT] {
            let (outcome, met) = send(sent, dialect);
            assert_eq!(outcome, Ok(()), "{at} {}", dialect.name);
            assert!(met.is_empty(), "{at} {:?}", met.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_refused_request_notes_what_it_met_before() {
    let operations = json!([{ "op": "Add", "path": "title", "value": "x" }, { "op": "add", "path": "active", "value": 5 }]);
    let (outcome, met) = send(
        &Sent::Patch(json!({ "schemas": [PATCH], "Operations": operations })),
        &ENTRA,
    );
    assert!(outcome.is_err());
    assert!(met.contains(Form::OpCapitalised));
}

#[test]
fn the_rows_are_whole() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    for (at, row) in Form::ROWS.iter().enumerate() {
        assert_eq!(row.form as usize, at, "{}", row.name);
        assert_eq!(row.form.row().name, row.name);
        let alike = Form::ROWS.iter().filter(|other| other.name == row.name);
        assert_eq!(alike.count(), 1, "{}", row.name);
        assert!(
            cases.join(row.case).is_file(),
            "{}: {} is missing",
            row.name,
            row.case
        );
    }
    assert_eq!(Forms::ALL.iter().count(), Form::ROWS.len());
    for name in Dialect::NAMES {
        assert_eq!(
            Dialect::named(name).map(|dialect| dialect.name),
            Some(*name)
        );
    }
    assert_eq!(Dialect::named("Entra"), None);
}

#[test]
fn sets_of_forms() {
    let mut one = Forms::default();
    assert!(one.is_empty());
    one.insert(Form::OwnId);
    let all = Forms::ALL;
    assert_eq!(all.minus(one).union(one), all);
    assert!(!all.minus(one).contains(Form::OwnId));
    assert_eq!(one.iter().collect::<Vec<_>>(), [Form::OwnId]);
}
