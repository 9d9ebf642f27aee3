//! Groups: what a profile says of them, and their members, which are taken apart from the document.

use serde_json::{Value, json};

use super::{profile, reading};
use crate::scim::{
    Accepted, ENTRA, MemberNet, MemberOps, Profile, ProfileSpec, Reading, ResourceKind,
    ResourceType, ScimError, ScimLimits, ScimType, patch,
};

const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:Group";

fn build(groups: &[&str]) -> Result<Profile, Vec<String>> {
    let paths = |paths: &[&str]| -> Vec<Value> {
        paths.iter().map(|path| json!({ "path": path })).collect()
    };
    let spec: ProfileSpec = serde_json::from_value(json!({
        "matching": "userName",
        "user": paths(&["userName"]),
        "group": paths(groups),
    }))
    .expect("well-formed");
    Profile::build(&spec)
}

fn whole() -> Profile {
    build(&[
        "displayName",
        "externalId",
        "members",
        &format!("{ACME}:colour"),
    ])
    .expect("valid")
}

fn accept(body: Value) -> Result<Accepted, ScimError> {
    let profile = whole();
    let group = profile.group().expect("has groups");
    group.accept(body, &reading())
}

fn run(group: &ResourceType, operations: Value) -> Result<MemberOps, ScimError> {
    let before = group.accept(json!({ "displayName": "crew" }), &reading());
    let before = before.expect("accepted").resource;
    let body = json!({ "Operations": operations });
    let patched = patch::apply(group, &before, body, "g", &reading())?;
    assert_eq!(patched.resource, before, "the document holds no members");
    Ok(patched.members)
}

/// What one request comes to.
#[track_caller]
fn check(operations: Value, clear: bool, add: &[&str], remove: &[&str]) {
    let profile = whole();
    let ops = run(profile.group().expect("has groups"), operations);
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let wanted = MemberNet {
        clear,
        add: words(add),
        remove: words(remove),
    };
    assert_eq!(ops.expect("applied").net(), Some(wanted));
}

#[track_caller]
fn check_refused(operation: Value, scim_type: ScimType, words: &str) {
    let profile = whole();
    let error = run(profile.group().expect("has groups"), json!([operation])).expect_err("refused");
    assert_eq!(error.scim_type, Some(scim_type), "{error}");
    assert!(error.detail.contains(words), "{error}");
}

#[test]
fn a_profile_may_have_groups() {
    assert!(profile().group().is_none());
    assert!(profile().matching(ResourceKind::Group).is_none());
    assert!(profile().paths(ResourceKind::Group).is_empty());
    let profile = whole();
    assert!(profile.has_members());
    let texts = |kind| {
        let paths = profile.paths(kind).iter();
        paths.map(|path| path.text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        texts(ResourceKind::Group),
        ["displayName", "externalId", &format!("{ACME}:colour")]
    );
    let matching = profile.matching(ResourceKind::Group).expect("has groups");
    assert_eq!(matching.text, "displayName");
    let published: Vec<(&str, Vec<&str>)> = profile
        .published()
        .iter()
        .map(|schema| {
            let names = schema.attributes.iter().map(|own| &*own.name);
            (&*schema.name, names.collect())
        })
        .collect();
    assert_eq!(
        published,
        [
            ("User", vec!["userName", "groups"]),
            ("Group", vec!["displayName", "externalId", "members"]),
            ("AcmeGroup", vec!["colour"]),
        ]
    );
    // Without members nobody is in a group.
    let bare = build(&["displayName"]).expect("valid");
    assert!(!bare.has_members());
    assert_eq!(bare.published()[0].attributes.len(), 1);
}

#[test]
fn a_profile_of_groups_is_checked() {
    let check = |groups: &[&str], words: &str| {
        let problems = build(groups).expect_err(words);
        assert!(
            problems.iter().any(|one| one.contains(words)),
            "{problems:?}"
        );
    };
    check(&["members"], "`displayName` must be listed");
    check(&["displayName", "members.value"], "as a whole");
    check(&["displayName", "userName"], "no schema defines it");
    check(&["displayName", "displayname"], "listed twice");
    let clash = json!({
        "matching": "userName",
        "user": [{ "path": "userName" }, { "path": format!("{ACME}:a") }],
        "group": [{ "path": "displayName" }, { "path": format!("{ACME}:b") }],
    });
    let clash: ProfileSpec = serde_json::from_value(clash).expect("well-formed");
    let problems = Profile::build(&clash).expect_err("one URN, two types");
    assert!(
        problems[0].contains("both users and groups"),
        "{problems:?}"
    );
}

#[test]
fn bodies_give_their_members_away() {
    let members = |body: Value| {
        let accepted = accept(body).expect("accepted");
        assert_eq!(accepted.resource.get("members"), None);
        accepted.members
    };
    let ids = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    assert_eq!(members(json!({ "displayName": "g" })), None);
    assert_eq!(
        members(json!({ "displayName": "g", "members": [] })),
        ids(&[])
    );
    assert_eq!(
        members(json!({ "displayName": "g", "members": null })),
        ids(&[])
    );
    let forms = [
        json!([{ "value": "a", "$ref": null }, { "value": "b", "type": "User" }, { "VALUE": "a" }]),
        json!(["a", "b", { "value": "a" }]),
    ];
    for form in forms {
        let named = [
            json!({ "displayName": "g", "members": form }),
            json!({ "displayName": "g", "Members": form }),
            json!({ "displayName": "g", format!("{GROUP}:members"): form }),
            json!({ GROUP: { "displayName": "g", "members": form } }),
        ];
        for body in named {
            assert_eq!(members(body), ids(&["a", "b"]));
        }
    }
    for one in [json!({ "value": "a" }), json!("a")] {
        assert_eq!(
            members(json!({ "displayName": "g", "members": one })),
            ids(&["a"])
        );
    }
    // The rest of a group is a resource as any other.
    let accepted = accept(json!({
        "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
        "displayName": "g", "externalId": "e", "members": [{ "value": "a" }], "meta": { "resourceType": "Group" },
        ACME: { "colour": "red" },
    }));
    assert_eq!(
        accepted.expect("accepted").resource.into_document(),
        json!({ "schemas": [GROUP, ACME], "displayName": "g", "externalId": "e", ACME: { "colour": "red" } })
    );
    for (body, words) in [
        (json!({ "members": [] }), "displayName is required"),
        (
            json!({ "displayName": "g", "members": [{}] }),
            "needs a `value`",
        ),
        (
            json!({ "displayName": "g", "members": [{ "value": null }] }),
            "needs a `value`",
        ),
        (
            json!({ "displayName": "g", "members": [5] }),
            "needs a `value`",
        ),
        (
            json!({ "displayName": "g", "members": [["a"]] }),
            "needs a `value`",
        ),
        (
            json!({ "displayName": "g", "members": [{ "value": 5 }] }),
            "needs a `value`",
        ),
        (
            json!({ "displayName": "g", GROUP: "x" }),
            "must be an object",
        ),
    ] {
        let error = accept(body).expect_err(words);
        assert_eq!(error.scim_type, Some(ScimType::InvalidValue), "{error}");
        assert!(error.detail.contains(words), "{error}");
    }
}

#[test]
fn every_form_of_member_operation() {
    let value = |ids: &[&str]| -> Value {
        ids.iter()
            .map(|id| json!({ "$ref": null, "value": id }))
            .collect()
    };
    let op =
        |op: &str, path: &str, value: Value| json!([{ "op": op, "path": path, "value": value }]);
    for path in ["members", "Members", &format!("{GROUP}:members")] {
        check(
            op("Add", path, value(&["a", "b", "a"])),
            false,
            &["a", "b"],
            &[],
        );
        check(op("add", path, json!({ "value": "a" })), false, &["a"], &[]);
        check(op("add", path, json!("a")), false, &["a"], &[]);
        check(op("add", path, json!(["a"])), false, &["a"], &[]);
        check(op("replace", path, value(&["a"])), true, &["a"], &[]);
        check(op("Remove", path, value(&["a"])), false, &[], &["a"]);
        check(
            op("remove", path, json!({ "value": "a" })),
            false,
            &[],
            &["a"],
        );
        check(op("remove", path, json!("a")), false, &[], &["a"]);
        check(json!([{ "op": "remove", "path": path }]), true, &[], &[]);
        check(op("remove", path, Value::Null), true, &[], &[]);
        // Nobody is named, nobody goes.
        check(op("Remove", path, json!([])), false, &[], &[]);
        for nobody in [json!([]), Value::Null, json!("")] {
            check(op("replace", path, nobody.clone()), true, &[], &[]);
            check(op("add", path, nobody), false, &[], &[]);
        }
        for (filter, ids) in [
            ("value eq \"a\"", vec!["a"]),
            ("VALUE EQ a", vec!["a"]),
            ("value eq \"a\" or value eq \"b\"", vec!["a", "b"]),
        ] {
            let path = format!("{path}[{filter}]");
            check(json!([{ "op": "remove", "path": path }]), false, &[], &ids);
            check(
                json!([{ "op": "remove", "path": format!("{path}.value") }]),
                false,
                &[],
                &ids,
            );
            check(op("Remove", &path, value(&["z"])), false, &[], &ids);
            check(op("add", &path, json!({ "value": "a" })), false, &ids, &[]);
        }
    }
    // Without a path.
    for key in ["members", "MEMBERS", &format!("{GROUP}:members")] {
        let set =
            |verb: &str, value: Value| json!([{ "op": verb, "value": { key: value, "id": "g" } }]);
        check(set("add", value(&["a"])), false, &["a"], &[]);
        check(set("replace", value(&["a"])), true, &["a"], &[]);
        check(set("replace", json!([])), true, &[], &[]);
    }
    check(
        json!([{ "op": "add", "value": { GROUP: { "members": ["a"] } } }]),
        false,
        &["a"],
        &[],
    );
}

#[test]
fn later_operations_win() {
    let op = |op: &str, ids: &[&str]| json!({ "op": op, "path": "members", "value": ids });
    check(
        json!([op("add", &["a", "b"]), op("remove", &["a"])]),
        false,
        &["b"],
        &["a"],
    );
    check(
        json!([op("remove", &["a"]), op("add", &["a"])]),
        false,
        &["a"],
        &[],
    );
    check(
        json!([op("add", &["a"]), op("replace", &["b"]), op("add", &["c"])]),
        true,
        &["b", "c"],
        &[],
    );
    check(
        json!([op("replace", &["a", "b"]), op("remove", &["a", "z"])]),
        true,
        &["b"],
        &[],
    );
    check(
        json!([{ "op": "remove", "path": "members" }, op("add", &["a"])]),
        true,
        &["a"],
        &[],
    );
    let profile = whole();
    let none = run(
        profile.group().expect("has groups"),
        json!([{ "op": "remove", "path": "externalId" }]),
    );
    assert!(none.expect("applied").is_empty());
}

#[test]
fn filters_that_need_the_members() {
    let profile = whole();
    let group = profile.group().expect("has groups");
    let remove = |filter: &str| json!({ "op": "remove", "path": format!("members[{filter}]") });
    let add = |id: &str| json!({ "op": "add", "path": "members", "value": [{ "value": id }] });
    let check = |operations: Value, wanted: &[&str]| {
        let ops = run(group, operations).expect("applied");
        assert_eq!(ops.net(), None);
        let mut members = vec![
            json!({ "value": "a", "type": "User" }),
            json!({ "value": "b", "type": "Group" }),
        ];
        ops.apply_to(group, &mut members).expect("little work");
        let found: Vec<&str> = members
            .iter()
            .filter_map(|it| it["value"].as_str())
            .collect();
        assert_eq!(found, wanted);
    };
    check(json!([remove("type eq \"group\"")]), &["a"]);
    check(json!([remove("value ne \"a\"")]), &["a"]);
    check(
        json!([remove("value eq \"a\" and type eq \"Group\"")]),
        &["a", "b"],
    );
    check(json!([remove("value pr"), add("c")]), &["c"]);
    check(
        json!([add("c"), remove("value sw \"c\""), add("b"), add("d")]),
        &["a", "b", "d"],
    );
}

#[test]
fn filters_on_many_members_are_bounded() {
    let profile = whole();
    let group = profile.group().expect("has groups");
    let remove = |filter: &str| json!({ "op": "remove", "path": format!("members[{filter}]") });
    let many = |count: usize| -> Vec<Value> {
        let id = |n: usize| format!("2819c223-7f76-453a-919d-{n:012}");
        (0..count)
            .map(|n| json!({ "value": id(n), "type": "User" }))
            .collect()
    };
    let terms = vec!["value co \"x\""; 200].join(" or ");
    let add = json!({ "op": "add", "path": "members", "value": [{ "value": "a" }] });
    let turns: Vec<Value> = (0..60)
        .flat_map(|_| [add.clone(), remove("type eq \"Group\"")])
        .collect();
    for (operations, count, done) in [
        (json!([remove("type eq \"Group\"")]), 50_000, true),
        (json!([remove(&terms)]), 500, true),
        (json!([remove(&terms)]), 50_000, false),
        (json!(turns), 50_000, false),
        (json!([remove("value co \"x\"")]), 300_000, false),
    ] {
        let ops = run(group, operations).expect("applied");
        let outcome = ops.apply_to(group, &mut many(count));
        assert_eq!(outcome.is_ok(), done, "{count}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.status, 413);
            assert!(error.detail.contains("patch_work_max"), "{error}");
        }
    }
}

#[test]
fn members_do_not_change() {
    let op = |op: &str, path: &str, value: Value| json!({ "op": op, "path": path, "value": value });
    for (path, value) in [
        ("members[value eq \"a\"].value", json!("b")),
        ("members[value eq \"a\"]", json!({ "value": "b" })),
        ("members[value eq \"a\"].type", json!("Group")),
        ("members[value eq \"a\"].$ref", json!("x")),
        ("members[value eq \"a\"].display", json!("x")),
        ("members.value", json!("b")),
    ] {
        check_refused(op("replace", path, value), ScimType::Mutability, "members");
    }
    check_refused(
        json!({ "op": "remove", "path": "members.type" }),
        ScimType::Mutability,
        "members",
    );
    check_refused(
        op("add", "members[type eq \"User\"]", json!({ "value": "a" })),
        ScimType::NoTarget,
        "names no member",
    );
    check_refused(
        op("add", "members", json!([{}])),
        ScimType::InvalidValue,
        "needs a `value`",
    );
    check_refused(
        op("add", "members[value eq", json!("a")),
        ScimType::InvalidPath,
        "character",
    );
    check_refused(
        json!({ "op": "remove", "path": "displayName" }),
        ScimType::Mutability,
        "required",
    );
}

#[test]
fn the_ids_of_one_request_are_counted() {
    let limits = ScimLimits {
        members_changed_max: 3,
        filter_terms_max: 4,
        ..ScimLimits::default()
    };
    let profile = whole();
    let group = profile.group().expect("has groups");
    let before = group
        .accept(json!({ "displayName": "g" }), &reading())
        .expect("accepted")
        .resource;
    let apply = |operations: Value| {
        let body = json!({ "Operations": operations });
        patch::apply(group, &before, body, "g", &Reading::new(&ENTRA, &limits)).map(|_| ())
    };
    let add = |ids: Value| json!({ "op": "add", "path": "members", "value": ids });
    let remove = json!({ "op": "remove", "path": "members[type pr and value pr]" });
    assert_eq!(
        apply(json!([add(json!(["a", "b"])), add(json!(["c"]))])),
        Ok(())
    );
    assert_eq!(apply(json!([remove, remove])), Ok(()));
    for (operations, name) in [
        (
            json!([add(json!(["a", "b", "c", "d"]))]),
            "members_changed_max",
        ),
        (
            json!([add(json!(["a", "b"])), add(json!(["c", "d"]))]),
            "members_changed_max",
        ),
        (json!([remove, remove, remove]), "filter_terms_max"),
    ] {
        let error = apply(operations).expect_err(name);
        assert_eq!(error.status, 413);
        assert!(error.detail.contains(name), "{error}");
    }
    let body = json!({ "displayName": "g", "members": ["a", "b", "c", "d"] });
    let error = group
        .accept(body, &Reading::new(&ENTRA, &limits))
        .expect_err("too many");
    assert_eq!(error.status, 413);
}
