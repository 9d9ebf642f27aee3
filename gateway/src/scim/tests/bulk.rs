//! Bulk requests: the RFC's examples, references in every direction, and what is wrong with requests.
//! The calls are carried out by a table of answers.

use serde_json::{Value, json};

use crate::scim::{
    BulkAnswer, BulkCall, BulkJob, BulkMethod, ScimError, ScimLimits, etag, parse_bulk,
};

const BASE: &str = "https://scim.example.com/scim/v2";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn job(operations: &Value) -> BulkJob {
    job_of(json!({ "Operations": operations }))
}

fn job_of(request: Value) -> BulkJob {
    parse_bulk(request, &ScimLimits::default()).expect("a bulk request")
}

/// Carries a job out: the n-th resource that is created gets the id `idn`; what `refuse` says no to
/// fails. Returns the calls and the answer's operations.
fn carry_out(
    mut job: BulkJob,
    refuse: impl Fn(&BulkCall) -> Option<ScimError>,
) -> (Vec<BulkCall>, Vec<Value>) {
    let mut calls = Vec::new();
    let mut created = 0;
    while let Some(call) = job.next_call() {
        let answer = match (refuse(&call), call.method) {
            (Some(error), _) => BulkAnswer {
                status: error.status,
                error: Some(error.body()),
                ..BulkAnswer::default()
            },
            (None, BulkMethod::Post) => {
                created += 1;
                BulkAnswer {
                    status: 201,
                    id: Some(format!("id{created}")),
                    version: Some(etag(1)),
                    error: None,
                }
            }
            (None, BulkMethod::Delete) => BulkAnswer {
                status: 204,
                ..BulkAnswer::default()
            },
            (None, BulkMethod::Put | BulkMethod::Patch) => BulkAnswer {
                status: 200,
                version: Some(etag(2)),
                ..BulkAnswer::default()
            },
        };
        job.answered(answer);
        calls.push(call);
    }
    let mut response = job.into_response(BASE);
    let urn = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
    assert_eq!(response["schemas"], json!([urn]));
    match response["Operations"].take() {
        Value::Array(operations) => (calls, operations),
        other => panic!("Operations: {other}"),
    }
}

fn nothing(_: &BulkCall) -> Option<ScimError> {
    None
}

fn post(endpoint: &str, bulk_id: &str, data: Value) -> Value {
    json!({ "method": "POST", "path": endpoint, "bulkId": bulk_id, "data": data })
}

/// `METHOD endpoint/id data`, for tables.
fn shown(calls: &[BulkCall]) -> Vec<String> {
    let shown = |call: &BulkCall| {
        let id = call.id.as_deref().map(|id| format!("/{id}"));
        let data = call.data.as_ref().map(|data| format!(" {data}"));
        format!(
            "{} {}{}{}",
            call.method.as_str(),
            call.endpoint,
            id.unwrap_or_default(),
            data.unwrap_or_default()
        )
    };
    calls.iter().map(shown).collect()
}

#[test]
fn the_example_of_section_3_7_3() {
    let request = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "failOnErrors": 1,
        "Operations": [
            post("/Users", "qwerty", json!({ "userName": "Alice" })),
            {
                "method": "PUT",
                "path": "/Users/b7c14771-226c-4d05-8860-134711653041",
                "version": "W/\"3694e05e9dff591\"",
                "data": { "userName": "Bob" },
            },
            {
                "method": "PATCH",
                "path": "/Users/5d8d29d3-342c-4b5f-8683-a3cb6763ffcc",
                "version": "W/\"edac3253e2c0ef2\"",
                "data": { "Operations": [{ "op": "remove", "path": "nickName" }] },
            },
            {
                "method": "DELETE",
                "path": "/Users/e9025315-6bea-44e1-899c-1e07454e468b",
                "version": "W/\"0ee8add0a938e1a\"",
            },
        ],
    });
    let (calls, outcomes) = carry_out(job_of(request), nothing);
    let versions: Vec<_> = calls.iter().map(|call| call.version.as_deref()).collect();
    assert_eq!(
        versions,
        [
            None,
            Some("W/\"3694e05e9dff591\""),
            Some("W/\"edac3253e2c0ef2\""),
            Some("W/\"0ee8add0a938e1a\"")
        ]
    );
    assert_eq!(
        outcomes,
        [
            json!({
                "location": format!("{BASE}/Users/id1"),
                "method": "POST",
                "bulkId": "qwerty",
                "version": "W/\"1\"",
                "status": "201",
            }),
            json!({
                "location": format!("{BASE}/Users/b7c14771-226c-4d05-8860-134711653041"),
                "method": "PUT",
                "version": "W/\"2\"",
                "status": "200",
            }),
            json!({
                "location": format!("{BASE}/Users/5d8d29d3-342c-4b5f-8683-a3cb6763ffcc"),
                "method": "PATCH",
                "version": "W/\"2\"",
                "status": "200",
            }),
            json!({
                "location": format!("{BASE}/Users/e9025315-6bea-44e1-899c-1e07454e468b"),
                "method": "DELETE",
                "status": "204",
            }),
        ]
    );
}

/// Sections 3.7 and 3.7.2: what is referred to comes first, the rest stays where it is.
#[test]
fn references_are_resolved_in_every_direction_and_place() {
    let member = |bulk_id: &str| json!({ "value": format!("bulkId:{bulk_id}") });
    let alice = || post("/Users", "alice", json!({ "userName": "alice" }));
    let patch = |path: &str, data: Value| json!({ "method": "PATCH", "path": path, "data": data });
    let cases = [
        (
            "back",
            json!([
                alice(),
                post("/Groups", "g", json!({ "members": [member("alice")] }))
            ]),
            vec![
                r#"POST Users {"userName":"alice"}"#,
                r#"POST Groups {"members":[{"value":"id1"}]}"#,
            ],
        ),
        (
            "forward",
            json!([
                post("/Groups", "g", json!({ "members": [member("alice")] })),
                alice()
            ]),
            vec![
                r#"POST Users {"userName":"alice"}"#,
                r#"POST Groups {"members":[{"value":"id1"}]}"#,
            ],
        ),
        (
            "an extension",
            json!([
                post(
                    "/Users",
                    "bob",
                    json!({ ENTERPRISE: { "manager": member("alice") } })
                ),
                alice()
            ]),
            vec![
                r#"POST Users {"userName":"alice"}"#,
                r#"POST Users {"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"id1"}}}"#,
            ],
        ),
        (
            "the path",
            json!([
                { "method": "DELETE", "path": "/Users/bulkId:alice" },
                alice(),
                patch("/Users/bulkId:alice", json!({ "x": 1 })),
            ]),
            vec![
                r#"POST Users {"userName":"alice"}"#,
                "DELETE Users/id1",
                r#"PATCH Users/id1 {"x":1}"#,
            ],
        ),
        (
            "a filter, a URL and a key",
            json!([
                alice(),
                patch(
                    "/Groups/7",
                    json!({
                        "path": "members[value eq \"bulkId:alice\" or value eq \"bulkId:nobody\"]",
                        "value": { "$ref": "https://a.example/Users/bulkId:alice" },
                        "members[value eq \"bulkId:alice\"].display": "a bulkId: not at the start",
                    })
                ),
            ]),
            vec![
                r#"POST Users {"userName":"alice"}"#,
                r#"PATCH Groups/7 {"path":"members[value eq \"id1\" or value eq \"bulkId:nobody\"]","value":{"$ref":"https://a.example/Users/id1"},"members[value eq \"id1\"].display":"a bulkId: not at the start"}"#,
            ],
        ),
        (
            "others keep their place",
            json!([
                patch("/Groups/7", json!({ "v": "bulkId:alice" })),
                { "method": "DELETE", "path": "/Groups/7" },
                alice(),
            ]),
            vec![
                r#"POST Users {"userName":"alice"}"#,
                r#"PATCH Groups/7 {"v":"id1"}"#,
                "DELETE Groups/7",
            ],
        ),
    ];
    for (name, operations, expected) in cases {
        let (calls, outcomes) = carry_out(job(&operations), nothing);
        assert_eq!(shown(&calls), expected, "{name}");
        let fine = |outcome: &Value| outcome["status"].as_str().is_some_and(|it| it < "300");
        assert!(outcomes.iter().all(fine), "{name}: {outcomes:?}");
    }
}

/// Section 3.7.1: circles are closed by a PATCH.
#[test]
fn circles_are_closed() {
    let group = |bulk_id: &str, members: &[&str]| {
        let members: Vec<Value> = members
            .iter()
            .map(|id| json!({ "type": "Group", "value": id }))
            .collect();
        post(
            "/Groups",
            bulk_id,
            json!({ "displayName": bulk_id, "members": members }),
        )
    };
    let (calls, outcomes) = carry_out(
        job(&json!([
            group("a", &["bulkId:b"]),
            group("b", &["x", "bulkId:a"])
        ])),
        nothing,
    );
    assert_eq!(
        shown(&calls),
        [
            r#"POST Groups {"displayName":"b","members":[{"type":"Group","value":"x"}]}"#,
            r#"POST Groups {"displayName":"a","members":[{"type":"Group","value":"id1"}]}"#,
            r#"PATCH Groups/id1 {"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","value":{"members":[{"type":"Group","value":"id2"}]}}]}"#,
        ]
    );
    let facts = |outcome: &Value| {
        let fact = |name: &str| outcome[name].as_str().unwrap_or_default().to_owned();
        (fact("bulkId"), fact("status"), fact("version"))
    };
    let facts: Vec<_> = outcomes.iter().map(facts).collect();
    let fact = |id: &str, version: &str| (id.to_owned(), "201".to_owned(), version.to_owned());
    assert_eq!(facts, [fact("a", "W/\"1\""), fact("b", "W/\"2\"")]);

    // A group that is its own member, and managers who manage each other: in an extension one
    // attribute waits, not all of it.
    let manager = |id: &str| json!({ ENTERPRISE: { "department": "d", "manager": { "value": format!("bulkId:{id}") } } });
    let operations = json!([
        group("self", &["bulkId:self"]),
        post("/Users", "u", manager("v")),
        post("/Users", "v", manager("u")),
    ]);
    let (calls, _) = carry_out(job(&operations), nothing);
    let wrapped = |endpoint: &str, value: &str| {
        format!(
            r#"PATCH {endpoint} {{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{{"op":"add","value":{value}}}]}}"#
        )
    };
    assert_eq!(
        shown(&calls),
        [
            r#"POST Groups {"displayName":"self","members":[]}"#.to_owned(),
            wrapped(
                "Groups/id1",
                r#"{"members":[{"type":"Group","value":"id1"}]}"#
            ),
            format!(r#"POST Users {{"{ENTERPRISE}":{{"department":"d","manager":null}}}}"#),
            format!(
                r#"POST Users {{"{ENTERPRISE}":{{"department":"d","manager":{{"value":"id2"}}}}}}"#
            ),
            wrapped(
                "Users/id2",
                &format!(r#"{{"{ENTERPRISE}":{{"manager":{{"value":"id3"}}}}}}"#)
            ),
        ]
    );
}

#[test]
fn a_circle_that_cannot_be_closed_is_409_and_the_resource_is_named() {
    let group = |bulk_id: &str, other: &str| {
        post(
            "/Groups",
            bulk_id,
            json!({ "m": format!("bulkId:{other}"), "n": bulk_id }),
        )
    };
    let operations = json!([group("a", "b"), group("b", "a")]);
    let refused = |call: &BulkCall| call.data.as_ref().is_some_and(|data| data["n"] == "a");
    let refuse = |call: &BulkCall| refused(call).then(|| ScimError::invalid_value("no a"));
    let (calls, outcomes) = carry_out(job(&operations), refuse);
    assert_eq!(calls.len(), 2);
    assert_eq!(outcomes[0]["status"], "400");
    assert_eq!(outcomes[0].get("location"), None);
    assert_eq!(outcomes[1]["status"], "409");
    assert_eq!(outcomes[1]["location"], format!("{BASE}/Groups/id1"));
    assert_eq!(outcomes[1]["response"]["status"], "409");

    let refuse = |call: &BulkCall| {
        (call.method == BulkMethod::Patch).then(|| ScimError::invalid_value("not so"))
    };
    let (_, outcomes) = carry_out(job(&operations), refuse);
    let detail = outcomes[1]["response"]["detail"].as_str();
    assert!(
        detail.is_some_and(|it| it.ends_with("not so")),
        "{detail:?}"
    );

    // Stopped before the circle was closed: that is said, not hidden.
    let request = json!({ "failOnErrors": 1, "Operations": operations });
    let refuse = |call: &BulkCall| refused(call).then(|| ScimError::invalid_value("no a"));
    let (_, outcomes) = carry_out(job_of(request), refuse);
    assert_eq!(outcomes[1]["status"], "409");
}

#[test]
fn an_operation_whose_reference_failed_is_409_and_an_unknown_one_400() {
    let operations = json!([
        post("/Users", "u", json!({ "userName": "u" })),
        post("/Groups", "g", json!({ "members": [{ "value": "bulkId:u" }] })),
        { "method": "PATCH", "path": "/Groups/bulkId:g", "data": {} },
        { "method": "DELETE", "path": "/Users/bulkId:stranger" },
        { "method": "PUT", "path": "/Users/1", "data": { "title": "bulkId:stranger" } },
        { "method": "PUT", "path": "/Users/1", "data": { "title": "fine" } },
    ]);
    let refuse = |call: &BulkCall| {
        (call.method == BulkMethod::Post).then(|| ScimError::uniqueness("there is one"))
    };
    let (calls, outcomes) = carry_out(job(&operations), refuse);
    assert_eq!(calls.len(), 2);
    let facts: Vec<_> = outcomes
        .iter()
        .map(|outcome| (outcome["status"].as_str(), outcome["location"].as_str()))
        .collect();
    let at = |path: &str| format!("{BASE}/{path}");
    assert_eq!(
        facts,
        [
            (Some("409"), None),
            (Some("409"), None),
            (Some("409"), Some(&*at("Groups/bulkId:g"))),
            (Some("400"), Some(&*at("Users/bulkId:stranger"))),
            (Some("400"), Some(&*at("Users/1"))),
            (Some("200"), Some(&*at("Users/1"))),
        ]
    );
    for outcome in &outcomes[..5] {
        assert_eq!(outcome["response"]["status"], outcome["status"]);
    }
}

#[test]
fn fail_on_errors_stops_the_job() {
    let operations: Vec<Value> = (0..6)
        .map(|n| json!({ "method": "DELETE", "path": format!("/Users/{n}") }))
        .collect();
    let odd_fails = |call: &BulkCall| {
        let odd = ["1", "3", "5"].contains(&call.id.as_deref().unwrap_or_default());
        odd.then(|| ScimError::status(404))
    };
    let cases = [
        (json!(null), 6),
        (json!(0), 2),
        (json!(1), 2),
        (json!("2"), 4),
        (json!(3), 6),
        (json!(u64::MAX), 6),
    ];
    for (fail_on_errors, processed) in cases {
        let request = json!({ "failonerrors": fail_on_errors, "operations": operations });
        let (_, outcomes) = carry_out(job_of(request), odd_fails);
        assert_eq!(outcomes.len(), processed, "{fail_on_errors}");
    }
}

#[test]
fn a_malformed_operation_is_its_own_error() {
    let data = json!({ "userName": "u" });
    let cases = [
        (json!(5), "object"),
        (json!({}), "method"),
        (json!({ "method": "GET", "path": "/Users/1" }), "method"),
        (
            json!({ "method": "post", "path": "/Users", "bulkId": "b", "data": data }),
            "method",
        ),
        (json!({ "method": 1, "path": "/Users/1" }), "method"),
        (json!({ "method": "DELETE" }), "path"),
        (json!({ "method": "DELETE", "path": 7 }), "path"),
        (json!({ "method": "DELETE", "path": "/Users" }), "path"),
        (json!({ "method": "DELETE", "path": "" }), "path"),
        (
            json!({ "method": "POST", "path": "/Users/1", "bulkId": "b", "data": data }),
            "path",
        ),
        (
            json!({ "method": "POST", "path": "/Users", "data": data }),
            "bulkId",
        ),
        (
            json!({ "method": "POST", "path": "/Users", "bulkId": "", "data": data }),
            "bulkId",
        ),
        (
            json!({ "method": "POST", "path": "/Users", "bulkId": 3, "data": data }),
            "bulkId",
        ),
        (
            json!({ "method": "POST", "path": "/Users", "bulkId": "b" }),
            "data",
        ),
        (
            json!({ "method": "PUT", "path": "/Users/1", "data": null }),
            "data",
        ),
        (
            json!({ "method": "DELETE", "path": "/Users/1", "version": 1 }),
            "version",
        ),
    ];
    for (operation, named) in cases {
        let good = json!({ "method": "DELETE", "path": "/Users/9" });
        let (calls, outcomes) = carry_out(job(&json!([operation, good])), nothing);
        assert_eq!(calls.len(), 1, "{operation}");
        assert_eq!(outcomes[0]["status"], "400", "{operation}");
        assert_eq!(outcomes[0]["response"]["scimType"], "invalidSyntax");
        let detail = outcomes[0]["response"]["detail"].as_str();
        assert!(
            detail.is_some_and(|it| it.contains(named)),
            "{operation}: {detail:?}"
        );
        assert_eq!(outcomes[1]["status"], "204", "{operation}");
    }
    let twice = json!([
        post("/Users", "b", json!({ "n": 1 })),
        post("/Users", "b", json!({ "n": 2 })),
        { "method": "DELETE", "path": "/Users/bulkId:b" },
    ]);
    let (calls, outcomes) = carry_out(job(&twice), nothing);
    assert_eq!(shown(&calls), [r#"POST Users {"n":1}"#, "DELETE Users/id1"]);
    assert_eq!(outcomes[1]["status"], "400");
}

#[test]
fn a_body_that_is_no_bulk_request_is_refused_and_so_are_too_many_operations() {
    let limits = ScimLimits {
        bulk_operations_max: 2,
        ..ScimLimits::default()
    };
    let delete = json!({ "method": "DELETE", "path": "/Users/1" });
    let cases = [
        (json!([]), 400, "object"),
        (json!({}), 400, "Operations"),
        (json!({ "Operations": {} }), 400, "Operations"),
        (json!({ "Operations": null }), 400, "Operations"),
        (
            json!({ "Operations": [], "failOnErrors": -1 }),
            400,
            "failOnErrors",
        ),
        (
            json!({ "Operations": [], "failOnErrors": 1.5 }),
            400,
            "failOnErrors",
        ),
        (
            json!({ "Operations": [], "failOnErrors": "x" }),
            400,
            "failOnErrors",
        ),
        (
            json!({ "Operations": [delete, delete, delete] }),
            413,
            "2 (bulk_operations_max)",
        ),
    ];
    for (request, status, named) in cases {
        let error = parse_bulk(request.clone(), &limits).expect_err("an error");
        assert_eq!(error.status, status, "{request}");
        assert!(error.detail.contains(named), "{request}: {error}");
    }
    assert!(parse_bulk(json!({ "Operations": [delete, delete] }), &limits).is_ok());
    let (calls, outcomes) = carry_out(job(&json!([])), nothing);
    assert!(calls.is_empty() && outcomes.is_empty());
}

/// A chain as long as the limit allows must not need a stack as long.
#[test]
fn a_long_chain_of_references_is_walked() {
    let limits = ScimLimits {
        bulk_operations_max: 20_000,
        ..ScimLimits::default()
    };
    let operations: Vec<Value> = (0..20_000)
        .map(|n| {
            post(
                "/Groups",
                &n.to_string(),
                json!({ "v": format!("bulkId:{}", n + 1) }),
            )
        })
        .collect();
    let request = json!({ "Operations": operations, "failOnErrors": 1 });
    let mut job = parse_bulk(request, &limits).expect("a bulk request");
    // The last one refers to nothing that there is.
    assert_eq!(job.next_call(), None);
    let response = job.into_response(BASE);
    assert_eq!(response["Operations"][0]["bulkId"], "19999");
    assert_eq!(response["Operations"][0]["status"], "400");
}
