//! Lists: queries, searches, order, choice, and the bodies that ask for them.

use serde_json::{Map, Value, json};

use super::{VENDOR, groups, meta, profile, read_as, reading};
use crate::scim::{
    ListQuery, Projection, STRICT, ScimError, ScimLimits, ScimType, Sort, SortKey, projection_of,
    render,
};

fn from_query(raw: &str) -> Result<ListQuery, ScimError> {
    ListQuery::from_query(raw, profile().user(), &reading())
}

fn from_search(body: Value) -> Result<ListQuery, ScimError> {
    let (profile, groups) = (profile(), groups());
    ListQuery::from_search(body, &[profile.user(), &groups], &reading())
}

#[test]
fn queries_are_decoded_and_bounded() {
    // Entra fact 2.9: pluses for spaces, raw quotes, an encoded at sign, the parameters in any order.
    let raw = "excludedAttributes=members&filter=userName+eq+\"noemie.hoppe%40schaefer.us\"";
    let query = from_query(raw).expect("understood");
    assert_eq!(
        query.filter_text,
        "userName eq \"noemie.hoppe@schaefer.us\""
    );
    assert!(matches!(query.shown, Projection::Except(_)));
    let query = from_query("aadOptscim062020&x=%zz&%ff=1&").expect("ignored");
    assert_eq!(
        (query.filter, query.start_index, query.count, query.cursor),
        (None, 1, 100, None)
    );
    for (raw, start_index, count) in [
        ("startIndex=0&count=0", 1, 0),
        ("startIndex=-5&count=-1", 1, 0),
        ("startIndex=7&count=5", 7, 5),
        ("StartIndex=7&COUNT=201", 7, 200),
        (
            "startIndex=99999999999999999999999&count=99999999999999999999999",
            usize::try_from(i64::MAX).expect("64 bits"),
            200,
        ),
        ("count=-99999999999999999999999", 1, 0),
    ] {
        let query = from_query(raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
        assert_eq!(
            (query.start_index, query.count),
            (start_index, count),
            "{raw}"
        );
    }
    for (raw, cursor) in [
        ("cursor", ""),
        ("cursor=", ""),
        ("cursor=a-b_c&count=2", "a-b_c"),
    ] {
        let query = from_query(raw).expect("understood");
        assert_eq!(query.cursor.as_deref(), Some(cursor), "{raw}");
    }
    let query = from_query("sortBy=name.familyName&sortOrder=Descending").expect("understood");
    let sort = query.sort.expect("sorted");
    assert_eq!(sort.text(), "name.familyname descending");
    assert_eq!(
        from_query("sortOrder=descending").expect("ignored").sort,
        None
    );
    let both = from_query("attributes=a,b&attributes=c").expect("one list");
    assert!(matches!(both.shown, Projection::Only(paths) if paths.len() == 3));
}

#[test]
fn queries_that_cannot_be_served_are_refused() {
    use ScimType::{InvalidCount, InvalidCursor, InvalidFilter, InvalidPath, InvalidValue};
    for (raw, keyword) in [
        ("filter", InvalidFilter),
        ("filter=", InvalidFilter),
        ("filter=userName+eq+%22a", InvalidFilter),
        ("filter=userName+eq+%2", InvalidFilter),
        ("filter=userName+eq+%zz", InvalidFilter),
        ("filter=userName+eq+%22%ff%22", InvalidFilter),
        ("filter=userName+eq+%22%c3%22", InvalidFilter),
        ("filter=userName+regex+%22a%22", InvalidFilter),
        ("filter=password+pr", InvalidFilter),
        ("FILTER=nonsense", InvalidFilter),
        ("%66ilter=nonsense", InvalidFilter),
        ("filter=userName+pr&filter=title+pr", InvalidFilter),
        ("count=many", InvalidCount),
        ("count=", InvalidCount),
        ("count=1.5", InvalidCount),
        ("count=1&count=1", InvalidCount),
        ("cursor=%ff", InvalidCursor),
        ("startIndex=first", InvalidValue),
        ("cursor=&startIndex=1", InvalidValue),
        ("sortBy=userName&sortOrder=up", InvalidValue),
        ("sortBy=a%20b", InvalidPath),
        ("sortBy=name", InvalidPath),
        ("sortBy=password", InvalidPath),
        ("sortBy=groups", InvalidPath),
        ("sortBy=groups.display", InvalidPath),
        (
            "sortBy=urn:ietf:params:scim:schemas:core:2.0:User",
            InvalidPath,
        ),
        ("attributes=a%20b", InvalidPath),
        ("excludedAttributes=%f", InvalidPath),
    ] {
        let error = from_query(raw).expect_err(raw);
        assert_eq!(
            (error.status, error.scim_type),
            (400, Some(keyword)),
            "{raw}"
        );
    }
    let strict = read_as(&STRICT);
    let error = ListQuery::from_query("sortBy=shoeSize", profile().user(), &strict);
    assert_eq!(error.expect_err("unknown").scim_type, Some(InvalidPath));
    assert!(from_query("sortBy=shoeSize").is_ok());
    // A request for one resource has no filter and no page; what is said of them is ignored.
    let shown = projection_of("filter=nonsense&count=x&attributes=userName", &strict);
    assert!(matches!(shown, Ok(Projection::Only(_))));
    assert!(projection_of("attributes=%f", &strict).is_err());
}

#[test]
fn searches_are_queries_in_a_body() {
    let urn = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
    let query = from_search(json!({
        "schemas": [urn],
        "attributes": ["displayName", "emails[type eq \"a,b\"].value"],
        "filter": "displayName sw \"smith\"",
        "sortBy": "displayName", "sortOrder": "descending",
        "StartIndex": 2, "count": "10", "cursor": null, "more": true,
    }))
    .expect("understood");
    assert_eq!(
        (query.start_index, query.count, query.cursor),
        (2, 10, None)
    );
    assert_eq!(query.filter_text, "displayName sw \"smith\"");
    assert!(matches!(query.shown, Projection::Only(paths) if paths.len() == 2));
    assert!(query.sort.is_some());
    let query = from_search(json!({ "cursor": "", "count": 3 })).expect("understood");
    assert_eq!((query.cursor.as_deref(), query.count), (Some(""), 3));
    let query = from_search(json!({ "count": -3 })).expect("understood");
    assert_eq!((query.cursor, query.count), (None, 0));
    for (body, keyword) in [
        (json!([]), ScimType::InvalidSyntax),
        (json!({ "attributes": "userName" }), ScimType::InvalidSyntax),
        (json!({ "attributes": [1] }), ScimType::InvalidSyntax),
        (json!({ "filter": 5 }), ScimType::InvalidSyntax),
        (json!({ "count": true }), ScimType::InvalidSyntax),
        (json!({ "count": 1.5 }), ScimType::InvalidCount),
        (json!({ "cursor": "", "count": 0 }), ScimType::InvalidCount),
        (json!({ "filter": "" }), ScimType::InvalidFilter),
        (
            json!({ "filter": "active gt true" }),
            ScimType::InvalidFilter,
        ),
        (
            json!({ "cursor": "a", "startIndex": 1 }),
            ScimType::InvalidValue,
        ),
        (json!({ "sortBy": "members" }), ScimType::InvalidPath),
    ] {
        let error = from_search(body.clone()).expect_err("refused");
        assert_eq!(error.scim_type, Some(keyword), "{body}");
    }
    let strict = read_as(&STRICT);
    let refused = ListQuery::from_search(json!({}), &[&groups()], &strict);
    assert!(refused.expect_err("no schemas").detail.contains(urn));
}

#[test]
fn resources_come_in_order() {
    let profile = profile();
    let keys = |by: &str, bodies: &[Value]| {
        let sort = Sort::new(by, None, &reading()).expect("well-formed");
        let keys = bodies.iter().map(|body| {
            let map = body.as_object().expect("an object");
            sort.key(profile.user(), map)
        });
        keys.collect::<Vec<SortKey>>()
    };
    let rises = |by: &str, bodies: &[Value]| {
        let keys = keys(by, bodies);
        for pair in keys.windows(2) {
            assert!(pair[0] < pair[1], "{by}: {pair:?}");
        }
        for key in keys {
            let text = serde_json::to_string(&key).expect("a key is JSON");
            let back: SortKey = serde_json::from_str(&text).expect("and comes back");
            assert_eq!(back, key);
        }
    };
    rises(
        "userName",
        &[
            json!({ "userName": "a" }),
            json!({ "userName": "B" }),
            json!({ "userName": "c" }),
            json!({}),
        ],
    );
    rises(
        "externalId",
        &[json!({ "externalId": "B" }), json!({ "externalId": "a" })],
    );
    rises(
        "emails",
        &[
            json!({ "emails": [{ "value": "z" }, { "value": "a", "primary": true }] }),
            json!({ "emails": [{ "value": "b" }, { "value": "a" }] }),
            json!({ "emails": [] }),
        ],
    );
    rises(
        "emails[type eq \"work\"].value",
        &[
            json!({ "emails": [{ "value": "z" }, { "value": "a", "type": "work" }] }),
            json!({ "emails": [{ "value": "b", "type": "work" }] }),
        ],
    );
    let vendor = |name: &str, value: Value| json!({ VENDOR: { name: value } });
    rises(
        "level",
        &[
            vendor("level", json!(-3)),
            vendor("level", json!(5)),
            json!({}),
        ],
    );
    rises(
        "score",
        &[
            vendor("score", json!(-2.5)),
            vendor("score", json!(-2)),
            vendor("score", json!(0.1)),
            vendor("score", json!(10)),
        ],
    );
    rises(
        "customDate1",
        &[
            vendor("customDate1", json!("2024-05-01T10:00:00+02:00")),
            vendor("customDate1", json!("2024-05-01T09:00:00Z")),
            vendor("customDate1", json!("no date")),
        ],
    );
    rises(
        "active",
        &[json!({ "active": false }), json!({ "active": true })],
    );
    rises(
        "meta.created",
        &[
            json!({ "meta": { "created": "2024-05-01T09:00:00Z" } }),
            json!({ "meta": { "created": "2024-05-01T09:00:01Z" } }),
        ],
    );
    let sort = Sort::new("title", Some("descending"), &reading());
    let sort = sort.expect("well-formed");
    let (there, none) = (json!({ "title": "x" }), Map::new());
    let there = sort.key(profile.user(), there.as_object().expect("an object"));
    assert!(
        sort.compare(&sort.key(profile.user(), &none), &there)
            .is_lt()
    );
    let long = json!({ "title": "x".repeat(100_000) });
    let key = sort.key(profile.user(), long.as_object().expect("an object"));
    assert!(serde_json::to_string(&key).expect("JSON").len() < 200);
}

#[test]
fn members_are_read_only_if_they_are_shown() {
    let groups = groups();
    let reading = reading();
    for (raw, expected) in [
        ("", true),
        ("excludedAttributes=members", false),
        ("excludedAttributes=MEMBERS,displayName", false),
        (
            "excludedAttributes=urn:ietf:params:scim:schemas:core:2.0:Group:members",
            false,
        ),
        ("excludedAttributes=members.display", true),
        ("excludedAttributes=displayName", true),
        ("attributes=members", true),
        ("attributes=members.value", true),
        ("attributes=members[type eq \"User\"].value", true),
        ("attributes=displayName", false),
        (
            "attributes=urn:ietf:params:scim:schemas:core:2.0:Group",
            true,
        ),
        ("attributes=id", false),
    ] {
        let shown = projection_of(raw, &reading).expect("well-formed");
        assert_eq!(shown.shows(&groups, "members"), expected, "{raw}");
        assert!(shown.shows(&groups, "id"), "{raw}");
        assert!(!shown.shows(profile().user(), "password"), "{raw}");
        let map = json!({ "schemas": [groups.schema.id], "displayName": "g" });
        let group = crate::scim::Resource::from_document(map).expect("an object");
        let member = json!({ "value": "u", "type": "User", "display": "Ann" });
        let body = render(&groups, group, &meta(), Some(vec![member]), &shown);
        assert_eq!(body.get("members").is_some(), expected, "{raw}: {body}");
    }
}

#[test]
fn memberships_stand_before_meta_unless_there_are_none() {
    let groups = groups();
    let group = || {
        let map = json!({ "schemas": [groups.schema.id], "displayName": "g" });
        crate::scim::Resource::from_document(map).expect("an object")
    };
    let member = vec![json!({ "value": "u" })];
    let shown = Projection::Default;
    let body = render(&groups, group(), &meta(), Some(member), &shown);
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["schemas", "id", "displayName", "members", "meta"]);
    for none in [None, Some(Vec::new())] {
        let body = render(&groups, group(), &meta(), none, &shown);
        assert!(body.get("members").is_none());
    }
}

#[test]
fn bodies_are_surveyed_before_they_are_read() {
    let limits = ScimLimits {
        json_keys_max: 3,
        json_items_max: 3,
        string_bytes_max: 5,
        json_depth_max: 3,
        ..ScimLimits::default()
    };
    let parse = |body: &str| crate::scim::parse_body(body.as_bytes(), &limits);
    for body in [
        r#"{"a":1,"b":2,"c":"x:y,z"}"#,
        "[1,2,3]",
        r#"[{"a":1},{"b":[]}]"#,
        r#"["\"\\x"]"#,
    ] {
        assert!(parse(body).is_ok(), "{body}: {:?}", parse(body));
    }
    for (body, status, name) in [
        (r#"{"a":1,"b":2,"c":3,"d":4}"#, 413, "json_keys_max"),
        (r#"[{"a":{}},{"b":1},{"c":1,"d":1}]"#, 413, "json_keys_max"),
        ("[0,0,0,0]", 413, "json_items_max"),
        ("[[],[],[]]", 413, "json_items_max"),
        (r#"{"a":[0,0],"b":[0,0]}"#, 413, "json_items_max"),
        (r#"{"a":"123456"}"#, 413, "string_bytes_max"),
        (r#"{"123456":1}"#, 413, "string_bytes_max"),
        ("[[[[]]]]", 400, "json_depth_max"),
        ("", 400, "empty"),
        ("{\"a", 400, "not valid JSON"),
        ("{\"a\":\"\\", 400, "not valid JSON"),
        ("]]]]", 400, "not valid JSON"),
    ] {
        let error = parse(body).expect_err(body);
        assert_eq!(error.status, status, "{body}: {error}");
        assert!(error.detail.contains(name), "{body}: {error}");
    }
}
