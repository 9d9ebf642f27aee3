//! What goes out: resources, lists, errors, versions, discovery.

use serde_json::{Value, json};

use super::{ENTERPRISE, VENDOR, accept, meta, profile, reading};
use crate::scim::{
    Page, Profile, ProfileSpec, Projection, ResourceKind, ScimError, ScimLimits, ScimType, etag,
    if_match_holds, if_none_match_holds, render, resource_type, resource_types, schema, schemas,
    service_provider_config,
};

fn projection(attributes: Option<&str>, excluded: Option<&str>) -> Result<Projection, ScimError> {
    Projection::parse(attributes, excluded, &reading())
}

fn rendered(attributes: Option<&str>, excluded: Option<&str>) -> Value {
    let profile = profile();
    let body = json!({
        "userName": "ann", "displayName": "Ann", "password": "secret", "odd": 1,
        "name": { "givenName": "A", "familyName": "B" },
        "emails": [{ "type": "work", "value": "w", "primary": true }, { "type": "home", "value": "h" }],
        ENTERPRISE: { "department": "IT", "manager": "271" },
    });
    let resource = accept(&profile, body).expect("accepted");
    let projection = projection(attributes, excluded).expect("well-formed");
    render(profile.user(), resource, &meta(), None, &projection)
}

#[test]
fn a_resource_is_rendered_whole() {
    let body = rendered(None, None);
    let keys: Vec<&str> = body
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "schemas",
            "id",
            "userName",
            "displayName",
            "odd",
            "name",
            "emails",
            ENTERPRISE,
            "meta"
        ]
    );
    assert_eq!(
        body["meta"],
        json!({
            "resourceType": "User",
            "created": "2026-11-21T10:00:00.123Z",
            "lastModified": "2026-11-21T11:00:00.000Z",
            "location": meta().location,
            "version": "W/\"3\"",
        })
    );
}

#[test]
fn clients_choose_attributes() {
    let check = |attributes: Option<&str>, excluded: Option<&str>, expected: Value| {
        let mut body = rendered(attributes, excluded);
        let map = body.as_object_mut().expect("an object");
        assert!(map.shift_remove("schemas").is_some() && map.shift_remove("id").is_some());
        if attributes.is_none() {
            map.shift_remove("meta");
        }
        assert_eq!(body, expected, "{attributes:?} {excluded:?}");
    };
    check(Some("id"), None, json!({}));
    check(
        Some("USERNAME, nothing"),
        None,
        json!({ "userName": "ann" }),
    );
    check(
        Some("name.givenName,odd"),
        None,
        json!({ "odd": 1, "name": { "givenName": "A" } }),
    );
    check(
        Some("emails.value"),
        None,
        json!({ "emails": [{ "value": "w" }, { "value": "h" }] }),
    );
    check(
        Some("emails[type eq \"work\"]"),
        None,
        json!({ "emails": [{ "type": "work", "value": "w", "primary": true }] }),
    );
    check(Some("emails[type eq \"a,b\"].value"), None, json!({}));
    check(
        Some("manager"),
        None,
        json!({ ENTERPRISE: { "manager": { "value": "271" } } }),
    );
    check(
        Some(&format!("{ENTERPRISE}:department")),
        None,
        json!({ ENTERPRISE: { "department": "IT" } }),
    );
    check(
        Some(ENTERPRISE),
        None,
        json!({ ENTERPRISE: { "department": "IT", "manager": { "value": "271" } } }),
    );
    check(Some("password"), None, json!({}));
    check(
        Some("meta.version"),
        None,
        json!({ "meta": { "version": "W/\"3\"" } }),
    );
    check(
        None,
        Some(&format!(
            "id,schemas,emails,name.familyName,odd,displayName,{ENTERPRISE}:manager"
        )),
        json!({ "userName": "ann", "name": { "givenName": "A" }, ENTERPRISE: { "department": "IT" } }),
    );
    let all = rendered(None, Some("members"));
    assert_eq!(all, rendered(None, None));
    assert_eq!(rendered(Some(""), None), all);
    let many = "a,".repeat(257);
    let error = projection(Some(&many), None).expect_err("too many");
    assert!(error.detail.contains("filter_terms_max"), "{error}");
    let error = projection(Some("a b"), None).expect_err("refused");
    assert_eq!(error.scim_type, Some(ScimType::InvalidPath));
}

#[test]
fn lists_count_their_resources() {
    assert_eq!(
        Page::whole(Vec::new()).body(),
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": [],
        })
    );
    let page = Page {
        total: None,
        start_index: None,
        next_cursor: Some("abc".to_owned()),
        resources: vec![json!({ "id": "1" })],
    };
    assert_eq!(
        page.body(),
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "itemsPerPage": 1, "nextCursor": "abc", "Resources": [{ "id": "1" }],
        })
    );
}

#[test]
fn errors_follow_one_table() {
    let error = ScimError::uniqueness("userName is taken.");
    assert_eq!(error.status, 409);
    assert_eq!(
        error.body(),
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "scimType": "uniqueness", "detail": "userName is taken.", "status": "409",
        })
    );
    assert_eq!(ScimError::status(404).body()["status"], json!("404"));
    assert!(ScimError::status(404).body().get("scimType").is_none());
    assert_eq!(ScimError::of(ScimType::TooMany).status, 400);
    for (keyword, word) in [
        (ScimType::InvalidCursor, "invalidCursor"),
        (ScimType::ExpiredCursor, "expiredCursor"),
        (ScimType::InvalidCount, "invalidCount"),
    ] {
        assert_eq!(
            (ScimError::of(keyword).status, keyword.as_str()),
            (400, word)
        );
    }
}

#[test]
fn conditions_compare_weakly() {
    assert_eq!(etag(3), "W/\"3\"");
    for (header, matches) in [
        ("W/\"3\"", true),
        ("\"3\"", true),
        ("*", true),
        ("W/\"1\", W/\"3\"", true),
        ("W/\"4\"", false),
        ("3", false),
        ("", false),
        ("W/\"x\"", false),
    ] {
        assert_eq!(if_match_holds(header, Some(3)), matches, "{header}");
        assert_eq!(if_none_match_holds(header, Some(3)), !matches, "{header}");
    }
    assert!(!if_match_holds("*", None));
    assert!(if_none_match_holds("*", None));
}

/// Every object of a JSON value.
fn each_object(value: &Value, see: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            see(map);
            map.values().for_each(|value| each_object(value, see));
        }
        Value::Array(items) => items.iter().for_each(|value| each_object(value, see)),
        _ => {}
    }
}

#[test]
fn schemas_show_the_profile() {
    let profile = profile();
    let base = "https://x/scim/v2";
    let list = schemas(&profile, base);
    assert_eq!(list["totalResults"], 3);
    assert!(list.to_string().contains("User Account"));
    each_object(&list, &mut |map| {
        assert!(map.values().all(|value| !value.is_null()), "{map:?}");
        if map.contains_key("multiValued") {
            for key in [
                "name",
                "type",
                "description",
                "required",
                "caseExact",
                "mutability",
                "returned",
                "uniqueness",
            ] {
                assert!(map.contains_key(key), "{map:?} lacks {key}");
            }
        }
    });
    let names = |urn: &str| -> Vec<String> {
        let schema = schema(&profile, base, urn).expect("published");
        let attributes = schema["attributes"].as_array().expect("a list").iter();
        attributes
            .map(|attribute| attribute["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let core = "urn:ietf:params:scim:schemas:core:2.0:User";
    assert_eq!(
        names(core),
        [
            "userName",
            "name",
            "displayName",
            "active",
            "emails",
            "addresses",
            "roles",
            "externalId"
        ]
    );
    assert_eq!(names(ENTERPRISE), ["department", "manager"]);
    assert_eq!(
        names(&VENDOR.to_uppercase()),
        ["customDate1", "level", "vip", "score"]
    );
    assert!(schema(&profile, base, "urn:none").is_none());
    let user = schema(&profile, base, core).expect("published");
    let emails = &user["attributes"][4];
    let parts: Vec<&Value> = emails["subAttributes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|sub| &sub["name"])
        .collect();
    assert_eq!(parts, ["value", "type"]);
    assert_eq!(
        emails["subAttributes"][1]["canonicalValues"],
        json!(["work", "alternate"])
    );
    assert_eq!(
        user["attributes"][5]["subAttributes"][6]["canonicalValues"],
        json!(["work", "home", "other"])
    );
    assert_eq!(user["meta"]["location"], format!("{base}/Schemas/{core}"));
}

#[test]
fn discovery_describes_the_service() {
    let profile = profile();
    let list = resource_types(&profile, "https://x");
    assert_eq!(list["Resources"][0]["endpoint"], "/Users");
    assert_eq!(
        list["Resources"][0]["schemaExtensions"],
        json!([{ "schema": ENTERPRISE, "required": false }, { "schema": VENDOR, "required": false }])
    );
    assert_eq!(
        resource_type(&profile, "https://x", "User").as_ref(),
        Some(&list["Resources"][0])
    );
    assert!(resource_type(&profile, "https://x", "Group").is_none());
    let config = service_provider_config(&ScimLimits::default(), 4_194_304, "https://x");
    assert_eq!(
        config["bulk"],
        json!({ "supported": true, "maxOperations": 1000, "maxPayloadSize": 4_194_304 })
    );
    assert_eq!(
        config["pagination"],
        json!({
            "cursor": true, "index": true, "defaultPaginationMethod": "index",
            "defaultPageSize": 100, "maxPageSize": 200, "cursorTimeout": 3600,
        })
    );
    for feature in ["patch", "sort", "etag"] {
        assert_eq!(config[feature], json!({ "supported": true }));
    }
    assert_eq!(config["changePassword"], json!({ "supported": false }));
    assert_eq!(
        config["filter"],
        json!({ "supported": true, "maxResults": 200 })
    );
    assert_eq!(
        config["authenticationSchemes"][0]["type"],
        "oauthbearertoken"
    );
}

#[test]
fn apps_with_groups_publish_them() {
    let spec = json!({
        "matching": "userName",
        "user": [
            { "path": "userName" },
            { "path": format!("{ENTERPRISE}:department") },
        ],
        "group": [{ "path": "displayName" }, { "path": "members" }],
    });
    let spec: ProfileSpec = serde_json::from_value(spec).expect("well-formed");
    let profile = Profile::build(&spec).expect("valid");
    let base = "https://x";
    let list = schemas(&profile, base);
    let of = |list: &Value, pointer: &str| -> Vec<String> {
        let all = list["Resources"].as_array().expect("a list").iter();
        all.map(|one| one.pointer(pointer).expect("there").to_string())
            .collect()
    };
    let urns = of(&list, "/id");
    assert_eq!(urns.len(), 3, "{urns:?}");
    let types = resource_types(&profile, base);
    assert_eq!(of(&types, "/endpoint"), ["\"/Users\"", "\"/Groups\""]);
    // The one's extensions are not the other's, and neither's core schema extends the other.
    assert_eq!(
        types["Resources"][0]["schemaExtensions"],
        json!([{ "schema": ENTERPRISE, "required": false }])
    );
    assert_eq!(types["Resources"][1]["schemaExtensions"], json!([]));
    for known in types["Resources"].as_array().expect("a list") {
        let urn = known["schema"].as_str().expect("a URN");
        assert!(schema(&profile, base, urn).is_some());
        let name = known["name"].as_str().expect("a name");
        assert_eq!(resource_type(&profile, base, name).as_ref(), Some(known));
    }
    let attribute = |urn: &str, name: &str| {
        let schema = schema(&profile, base, urn).expect("published");
        let attributes = schema["attributes"].as_array().expect("a list").clone();
        let found = attributes
            .into_iter()
            .find(|attribute| attribute["name"] == name);
        found.unwrap_or_else(|| panic!("{urn} has no {name}"))
    };
    for (urn, name, subs) in [
        (
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "groups",
            vec!["value", "$ref", "display", "type"],
        ),
        (
            "urn:ietf:params:scim:schemas:core:2.0:Group",
            "members",
            vec!["value", "$ref", "type", "display"],
        ),
    ] {
        let attribute = attribute(urn, name);
        let own = attribute["subAttributes"].as_array().expect("a list");
        for sub in &subs {
            assert!(own.iter().any(|one| one["name"] == *sub), "{name}.{sub}");
        }
        assert_eq!(own.len(), subs.len());
    }
}

#[test]
fn profiles_are_checked_as_a_whole() {
    let build = |matching: &str, user: Value| {
        let spec: ProfileSpec =
            serde_json::from_value(json!({ "matching": matching, "user": user }))
                .expect("well-formed");
        Profile::build(&spec)
    };
    let problems = build(
        "emails",
        json!([
            { "path": "displayName" },
            { "path": "DISPLAYNAME" },
            { "path": "nonsense" },
            { "path": "name.shoeSize" },
            { "path": "id" },
            { "path": "password" },
            { "path": "title", "type": "string" },
            { "path": "name[x eq 1].givenName" },
            { "path": "emails[type ne \"work\"].value" },
            { "path": "emails[" },
            { "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:shoeSize" },
            { "path": "urn:x:y:2.0:User:a.b" },
            { "path": "urn:x:y:2.0:User:c", "type": "complex" },
            { "path": "emails" },
        ]),
    )
    .expect_err("refused");
    assert_eq!(problems.len(), 14, "{problems:#?}");
    for (problem, words) in problems.iter().zip([
        "listed twice",
        "no schema defines",
        "no sub-attribute",
        "cannot be provisioned",
        "cannot be provisioned",
        "`type` is only",
        "single value",
        "`eq` only",
        "character",
        "no schema defines",
        "must be simple",
        "must be simple",
        "`userName` must be listed",
        "not a single string",
    ]) {
        assert!(problem.contains(words), "{problem} / {words}");
    }
    let profile = build(
        "userName",
        json!([{ "path": "userName" }, { "path": "emails[type eq \"work\"].value", "required": true }]),
    )
    .expect("valid");
    assert_eq!(
        profile.matching(ResourceKind::User).expect("one").text,
        "userName"
    );
    assert_eq!(profile.paths(ResourceKind::User).len(), 2);
    let error = accept(
        &profile,
        json!({ "userName": "a", "emails": [{ "type": "home", "value": "x" }] }),
    )
    .expect_err("refused");
    assert!(
        error
            .detail
            .contains("emails[type eq \"work\"].value is required"),
        "{error}"
    );
}
