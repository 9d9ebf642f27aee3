//! Each rule of a manifest, and what follows from a manifest and a tenant's settings.

use serde_json::{Map, Value, json};

use super::*;
use crate::scim::{self, ResourceKind};

const ACME: &str = r#"
name = "acme"
version = "1.2.0"
contract = "0.1"
description = "Acme's directory"
secrets = { api_key = "API key, made under Settings" }
require_one_of = [["region", "base_url"]]

[auth]
type = "bearer"
secret = "api_key"

[[host]]
origin = "https://us.acme.example"
when = { region = "us" }
[[host]]
origin = "https://eu.acme.example:8443"
when = { region = "eu" }
[[host]]
origin = "{base_url}"

[settings.region]
type = "string"
choices = ["us", "eu"]
[settings.base_url]
type = "url"
description = "in front of /users"
[settings.page_size]
type = "integer"
default = 50
[settings.verbose]
type = "boolean"

[profile]
matching = "userName"
[[profile.user]]
path = "userName"
required = true
vendor = "email"
"#;

fn acme() -> Manifest {
    Manifest::parse(ACME).expect("a whole manifest")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

#[test]
fn a_whole_manifest_is_read() {
    let manifest = acme();
    assert_eq!(manifest.name, "acme");
    assert_eq!(manifest.hosts.len(), 3);
    assert_eq!(
        manifest.hosts[0].when,
        Some(("region".to_owned(), "us".to_owned()))
    );
    assert_eq!(
        manifest.auth,
        Some(AuthRecipe::Bearer {
            secret: "api_key".to_owned()
        })
    );
    assert_eq!(manifest.settings["page_size"].default, Some(json!(50)));
    let matching = manifest.profile.matching(ResourceKind::User);
    assert_eq!(matching.expect("users").text, "userName");
    assert!(manifest.profile.group().is_none());
}

#[test]
fn each_mistake_has_its_sentence() {
    let check = |from: &str, to: &str, expected: &str| {
        assert!(ACME.contains(from), "{from}");
        let problems = Manifest::parse(&ACME.replace(from, to)).expect_err(to);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expected), "{problems:?}");
    };
    check("name = \"acme\"", "name = \"Acme\"", "name: must match");
    check("version = \"1.2.0\"", "", "version: is missing");
    check(
        "version = \"1.2.0\"",
        "version = 1",
        "version: must be a text",
    );
    check(
        "require_one_of",
        "require_oneof",
        "did you mean \"require_one_of\"",
    );
    check(
        "contract = \"0.1\"",
        "contract = \"0.9\"",
        "this gateway speaks 0.1",
    );
    check(
        "secret = \"api_key\"",
        "secret = \"apikey\"",
        "did you mean \"api_key\"",
    );
    check("\"bearer\"", "\"beaver\"", "did you mean \"bearer\"");
    check(
        "[auth]\ntype = \"bearer\"\nsecret = \"api_key\"",
        "",
        "no [auth] uses it",
    );
    check(
        "https://us.acme",
        "http://us.acme",
        "must start with https://",
    );
    check(
        "https://us.acme.example",
        "https://us.acme.example/v1",
        "host and port only",
    );
    check(
        "https://us.acme.example",
        "https://{region}.acme.example",
        "whole origin",
    );
    check("\"{base_url}\"", "\"{region}\"", "must be of type url");
    check(
        "\"{base_url}\"",
        "\"{base_uri}\"",
        "did you mean \"base_url\"",
    );
    check(
        "{ region = \"us\" }",
        "{ region = \"uk\" }",
        "none of its values",
    );
    check(
        "{ region = \"us\" }",
        "{ regoin = \"us\" }",
        "did you mean \"region\"",
    );
    check("{ region = \"us\" }", "\"us\"", "one setting and its value");
    check(
        "[[\"region\", \"base_url\"]]",
        "[[\"zone\"]]",
        "no setting \"zone\"",
    );
    check(
        "[[\"region\", \"base_url\"]]",
        "[\"region\"]",
        "list of lists",
    );
    check(
        "default = 50",
        "default = \"many\"",
        "must be a whole number",
    );
    check(
        "default = 50",
        "default = 50\nrequired = true",
        "never required",
    );
    check("type = \"boolean\"", "type = \"bool\"", "no type \"bool\"");
    check(
        "type = \"boolean\"",
        "type = \"boolean\"\nchioces = []",
        "did you mean \"choices\"",
    );
    check("matching = \"userName\"", "matching = \"email\"", "email");
}

#[test]
fn groups_are_a_table_of_their_own() {
    let with = |groups: &str| Manifest::parse(&format!("{ACME}{groups}"));
    let groups = "[[profile.group]]\npath = \"displayName\"\nvendor = \"title\"\n\n[[profile.group]]\npath = \"members\"\n";
    let profile = with(groups).expect("a whole manifest").profile;
    assert!(profile.has_members());
    let paths = profile.paths(ResourceKind::Group);
    assert_eq!(paths.len(), 1);
    assert_eq!(paths[0].vendor.as_deref(), Some("title"));
    let problems = with("[[profile.group]]\npath = \"members\"\n").expect_err("no name");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("`displayName` must be listed"),
        "{problems:?}"
    );
    let problems = with("[[profile.group]]\nname = \"x\"\n").expect_err("no such key");
    assert!(problems[0].contains("name"), "{problems:?}");
}

#[test]
fn values_are_suggested_and_not_enforced() {
    const ROLE: &str = "urn:x:acme:2.0:User:role";
    let with = |entry: &str| Manifest::parse(&format!("{ACME}[[profile.user]]\n{entry}\n"));
    let entry = format!("path = '{ROLE}'\ncanonical = [\"USER\", \"ADMIN\", \"USER\"]");
    let profile = with(&entry).expect("a whole manifest").profile;
    let published = scim::schema(&profile, "https://x", "urn:x:acme:2.0:User");
    assert_eq!(
        published.expect("published")["attributes"][0]["canonicalValues"],
        json!(["USER", "ADMIN"])
    );
    let limits = scim::ScimLimits::default();
    let body = json!({ "userName": "ann", ROLE: "OWNER" });
    let reading = scim::Reading::new(&scim::ENTRA, &limits);
    assert!(profile.user().accept(body, &reading).is_ok());
    // They stand where the path ends, in place of those of the RFC.
    let entry = "path = 'phoneNumbers[type eq \"desk\"].display'\ncanonical = [\"1\"]";
    let profile = with(entry).expect("a whole manifest").profile;
    let core = scim::schema(&profile, "https://x", scim::core_schema::USER_URN);
    let core = core.expect("published");
    let parts = core["attributes"][1]["subAttributes"].as_array();
    for part in parts.expect("a list") {
        let expected = match part["name"].as_str() {
            Some("display") => json!(["1"]),
            _ => json!(["desk"]),
        };
        assert_eq!(part["canonicalValues"], expected, "{part}");
    }
    for (entry, words) in [
        ("path = \"active\"\ncanonical = [\"true\"]", "type string"),
        ("path = \"emails\"\ncanonical = [\"a@x\"]", "type string"),
        ("path = \"title\"\ncanonical = \"Dr\"", "canonical"),
    ] {
        let problems = with(entry).expect_err(words);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(words), "{problems:?}");
    }
}

#[test]
fn every_problem_at_once() {
    let text = ACME
        .replace("name = \"acme\"", "")
        .replace("https://us.", "http://us.")
        .replace("type = \"boolean\"", "type = 1");
    assert_eq!(Manifest::parse(&text).unwrap_err().len(), 3);
}

#[test]
fn settings_are_checked_and_completed() {
    let check = |given: Value, expected: Value| {
        let checked = acme()
            .check_settings(&object(given))
            .expect("good settings");
        assert_eq!(Value::Object(checked), expected);
    };
    check(
        json!({"region": "us"}),
        json!({"region": "us", "page_size": 50}),
    );
    check(
        json!({"base_url": "https://acme.example/api/", "page_size": "7", "verbose": "true"}),
        json!({"base_url": "https://acme.example/api", "page_size": 7, "verbose": true}),
    );
}

#[test]
fn each_wrong_setting_has_its_sentence() {
    let check = |given: Value, setting: Option<&str>, expected: &str| {
        let problems = acme().check_settings(&object(given)).expect_err(expected);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].setting.as_deref(), setting);
        assert!(problems[0].message.contains(expected), "{problems:?}");
    };
    check(json!({}), None, "add one of: region");
    check(
        json!({"region": "uk"}),
        Some("region"),
        "none of its values; it knows: us, eu",
    );
    check(
        json!({"region": "us", "regoin": 1}),
        Some("regoin"),
        "did you mean \"region\"",
    );
    check(
        json!({"region": "us", "page_size": 1.5}),
        Some("page_size"),
        "a whole number",
    );
    check(
        json!({"region": "us", "verbose": 1}),
        Some("verbose"),
        "true or false",
    );
    for (url, expected) in [
        ("acme", "is no URL"),
        ("ftp://acme.example", "must start with https://"),
        ("https://u:p@acme.example", "credentials"),
        ("https://acme.example/?a=b", "without ? and #"),
    ] {
        check(json!({"base_url": url}), Some("base_url"), expected);
    }
}

#[test]
fn only_the_origins_of_rules_that_hold_are_granted() {
    let check = |settings: Value, expected: &[&str]| {
        let granted = acme().granted_origins(&object(settings)).expect("a host");
        let granted: Vec<&str> = granted.iter().map(Url::as_str).collect();
        assert_eq!(granted, expected);
    };
    check(json!({"region": "eu"}), &["https://eu.acme.example:8443/"]);
    check(
        json!({"base_url": "http://127.0.0.1:9000/api"}),
        &["http://127.0.0.1:9000/"],
    );
    check(
        json!({"region": "us", "base_url": "https://us.acme.example/graphql"}),
        &["https://us.acme.example/"],
    );
    let refused = acme().granted_origins(&Map::new()).unwrap_err();
    assert!(refused.contains("when region is \"us\""), "{refused}");
}

#[test]
fn the_manifest_travels_in_the_component() {
    use wasm_encoder::{Component, CustomSection, Module, ModuleSection};
    let section = CustomSection {
        name: SECTION.into(),
        data: ACME.as_bytes().into(),
    };
    let mut component = Component::new();
    component.section(&section);
    let read = Manifest::read_component(&component.clone().finish());
    assert_eq!(read.expect("a manifest").name, "acme");

    component.section(&section);
    let twice = Manifest::read_component(&component.finish()).unwrap_err();
    assert!(twice[0].contains("more than one"), "{twice:?}");

    // A module inside may be anyone's; only the outermost section speaks for the connector.
    let mut module = Module::new();
    module.section(&section);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    let nested = Manifest::read_component(&component.finish()).unwrap_err();
    assert!(nested[0].contains("carries no manifest"), "{nested:?}");
}
