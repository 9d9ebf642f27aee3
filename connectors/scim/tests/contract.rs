//! What the connector asks for and what it makes of the answers, with a service that follows a
//! script: every operation, every refusal. Absent: how a real service behaves; the gateway's tests
//! have a simulated and a foreign one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use connector_sdk::native::{Host, response};
use connector_sdk::{Error, ErrorKind, HttpError, Member, MemberChange, Response};
use scim::Scim;
use serde_json::{Value, json};

const ANN: &str = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"ours",
    "meta":{"version":"1"},"userName":"ann@example.com","title":"Boss",
    "name":{"givenName":"Ann","familyName":null},"emails":[{"type":"work","value":"w@x"}],
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"IT"}}"#;

type Answer = Result<Response, HttpError>;

/// One request: method, path with query, and the body; the paths and values of a PATCH's operations.
type Asked = Rc<RefCell<Vec<(String, Value)>>>;

struct Scripted {
    host: Host<Scim>,
    asked: Asked,
}

/// A service that gives these answers, one for each request.
fn service_with(settings: Value, answers: Vec<Answer>) -> Scripted {
    let asked = Asked::default();
    let log = Rc::clone(&asked);
    let mut answers = VecDeque::from(answers);
    let mut all = json!({
        "base_url": "https://x.example/scim/v2", "update": "patch", "on_delete": "delete",
    });
    for (name, value) in settings.as_object().unwrap() {
        all[name] = value.clone();
    }
    let host = Host::new(all.to_string(), move |request| {
        let path = request
            .url
            .strip_prefix("https://x.example/scim/v2")
            .unwrap();
        let body: Value = request.body.map_or(Value::Null, |body| {
            let scim = (
                "content-type".to_owned(),
                "application/scim+json".to_owned(),
            );
            assert!(request.headers.contains(&scim));
            serde_json::from_str(&body).unwrap()
        });
        log.borrow_mut()
            .push((format!("{} {path}", request.method), body));
        answers.pop_front().expect("a request beyond the script")
    });
    Scripted { host, asked }
}

fn service(answers: Vec<Answer>) -> Scripted {
    service_with(json!({}), answers)
}

impl Scripted {
    /// The requests' first lines.
    fn lines(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        asked.iter().map(|(line, _)| line.clone()).collect()
    }

    /// The body of the request at this place; of a PATCH its operations.
    fn body(&self, at: usize) -> Value {
        let (_, body) = &self.asked.borrow()[at];
        body.get("Operations").unwrap_or(body).clone()
    }

    fn update(&self, deltas: Value) -> Result<(), Error> {
        let updated = self.host.update("7", ANN, &deltas.to_string());
        updated.map(|account| assert_eq!(account.uid(), "7"))
    }
}

fn ok(status: u16, body: Value) -> Answer {
    Ok(response(status, &[], body.to_string()))
}

fn done() -> Answer {
    Ok(response(204, &[], ""))
}

fn list(resources: Value) -> Answer {
    let total = resources.as_array().unwrap().len();
    ok(200, json!({"totalResults": total, "Resources": resources}))
}

fn refusal(status: u16, scim_type: &str, detail: &str) -> Answer {
    let error = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.to_string(), "scimType": scim_type, "detail": detail,
    });
    ok(status, error)
}

const BY_NAME: &str = "GET /Users?filter=userName%20eq%20%22ann%40example.com%22";
const BY_GROUP_NAME: &str =
    "GET /Groups?filter=displayName%20eq%20%22Sales%22&excludedAttributes=members";
const PATCH_GROUP: &str = "PATCH /Groups/7?excludedAttributes=members";
const SALES: &str = r#"{"displayName":"Sales"}"#;

#[test]
fn create_posts_what_the_gateway_hands_over() {
    let made = json!({"id": "7", "userName": "ann@example.com", "meta": {}, "groups": []});
    let vendor = service(vec![ok(201, made)]);
    let account = vendor.host.create(ANN).unwrap();
    assert_eq!(account.uid(), "7");
    assert_eq!(
        account.to_json().unwrap(),
        r#"{"userName":"ann@example.com"}"#
    );
    assert_eq!(vendor.lines(), ["POST /Users"]);
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    assert_eq!(
        vendor.body(0),
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", enterprise],
            "userName": "ann@example.com", "title": "Boss",
            "name": {"givenName": "Ann", "familyName": null},
            "emails": [{"type": "work", "value": "w@x"}],
            enterprise: {"department": "IT"},
        })
    );
}

#[test]
fn the_id_of_what_was_made() {
    let location = [("Location", "https://x.example/scim/v2/Users/a%2F7")];
    let vendor = service(vec![Ok(response(201, &location, ""))]);
    assert_eq!(vendor.host.create(ANN).unwrap().uid(), "a/7");
    // Numbers, as some services have them.
    let vendor = service(vec![ok(200, json!({"id": 7}))]);
    assert_eq!(vendor.host.create(ANN).unwrap().uid(), "7");
    // It does not say: looked up.
    let found = json!([{"id": "7", "userName": "ann@example.com", "title": "Boss",
        "name": {"givenName": "Ann"}, "emails": [{"type": "work", "value": "w@x"}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "IT"}}]);
    let vendor = service(vec![Ok(response(201, &[], "")), list(found)]);
    assert_eq!(vendor.host.create(ANN).unwrap().uid(), "7");
    assert_eq!(vendor.lines(), ["POST /Users", BY_NAME]);
}

#[test]
fn what_is_there_already_is_adopted() {
    let held = json!({
        "id": "7", "userName": "Ann@Example.com", "title": "Boss", "nickName": "A", "active": false,
        "emails": [{"type": "work", "value": "old@x"}, {"type": "home", "value": "h@x"}],
    });
    let taken = || refusal(409, "uniqueness", "userName is taken");
    let vendor = service(vec![taken(), list(json!([held])), done()]);
    assert_eq!(vendor.host.create(ANN).unwrap().uid(), "7");
    assert_eq!(vendor.lines(), ["POST /Users", BY_NAME, "PATCH /Users/7"]);
    let department = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
    assert_eq!(
        vendor.body(2),
        json!([
            {"op": "replace", "path": "name.givenName", "value": "Ann"},
            {"op": "replace", "path": department, "value": "IT"},
            {"op": "replace", "path": "active", "value": true},
            {"op": "replace", "path": r#"emails[type eq "work"].value"#, "value": "w@x"},
        ])
    );
    // Taken is something else, by someone else.
    let others = json!([{"id": "8", "userName": "bo@example.com"}]);
    let vendor = service(vec![
        refusal(400, "uniqueness", "email is taken"),
        list(others),
    ]);
    let error = vendor.host.create(ANN).unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
    assert_eq!(error.uid, None);
    let two = json!([{"id": "7", "userName": "ann@example.com"}, {"id": "8", "userName": "ANN@example.com"}]);
    let vendor = service(vec![taken(), list(two)]);
    assert_eq!(
        vendor.host.create(ANN).unwrap_err().kind,
        ErrorKind::Conflict
    );
}

#[test]
fn update_sends_what_changed() {
    let vendor = service(vec![done()]);
    let deltas = json!([{"path": "title", "value": "CEO"}, {"path": "nickName", "value": null}]);
    vendor.update(deltas).unwrap();
    assert_eq!(vendor.lines(), ["PATCH /Users/7"]);
    assert_eq!(
        vendor.body(0),
        json!([
            {"op": "replace", "path": "title", "value": "CEO"},
            {"op": "remove", "path": "nickName"},
        ])
    );
    let vendor = service(vec![]);
    vendor.update(json!([])).unwrap();
    // The answer may hold the account.
    let vendor = service(vec![ok(200, json!({"id": "7", "title": "CEO"}))]);
    vendor
        .update(json!([{"path": "title", "value": "CEO"}]))
        .unwrap();
}

#[test]
fn a_value_path_is_written_to_what_is_there() {
    let path = r#"phoneNumbers[type eq "work"].value"#;
    let deltas = || json!([{"path": path, "value": "2"}, {"path": "title", "value": "CEO"}]);
    let title = json!({"op": "replace", "path": "title", "value": "CEO"});
    let numbers = json!([{"type": "work", "value": "1"}]);
    let vendor = service(vec![
        ok(200, json!({"id": "7", "phoneNumbers": numbers})),
        done(),
    ]);
    vendor.update(deltas()).unwrap();
    assert_eq!(vendor.lines(), ["GET /Users/7", "PATCH /Users/7"]);
    let replace = json!({"op": "replace", "path": path, "value": "2"});
    assert_eq!(vendor.body(1), json!([title, replace]));
    let vendor = service(vec![ok(200, json!({"id": "7"})), done()]);
    vendor.update(deltas()).unwrap();
    let numbers = json!([{"type": "work", "value": "2"}]);
    let add = json!({"op": "add", "path": "phoneNumbers", "value": numbers});
    assert_eq!(vendor.body(1), json!([title, add]));
}

#[test]
fn what_a_strict_service_cannot_remove_is_not_removed_again() {
    let deltas = || json!([{"path": "title", "value": null}, {"path": "nickName", "value": null}]);
    let no_target = || refusal(400, "noTarget", "nickName has no value");
    let held = || ok(200, json!({"id": "7", "title": "Boss"}));
    let vendor = service(vec![no_target(), held(), done()]);
    vendor.update(deltas()).unwrap();
    assert_eq!(vendor.body(2), json!([{"op": "remove", "path": "title"}]));
    // Once.
    let vendor = service(vec![no_target(), held(), no_target()]);
    assert_eq!(
        vendor.update(deltas()).unwrap_err().kind,
        ErrorKind::Invalid
    );
}

#[test]
fn without_patch_the_whole_account_is_put() {
    let held = json!({
        "schemas": ["s"], "id": "7", "meta": {}, "userName": "ann@example.com", "title": "Boss",
        "groups": [{"value": "g"}],
    });
    let put = json!({"update": "put"});
    let vendor = service_with(put.clone(), vec![ok(200, held), done()]);
    let deltas =
        json!([{"path": "title", "value": null}, {"path": "name.givenName", "value": "Ann"}]);
    vendor.update(deltas).unwrap();
    assert_eq!(vendor.lines(), ["GET /Users/7", "PUT /Users/7"]);
    assert_eq!(
        vendor.body(1),
        json!({
            "schemas": ["s"], "id": "7", "userName": "ann@example.com", "name": {"givenName": "Ann"},
        })
    );
    let held =
        json!({"id": "7", "displayName": "Sales", "members": [{"value": "a"}, {"value": "b"}]});
    let vendor = service_with(put, vec![ok(200, held), done()]);
    let change = MemberChange {
        add: vec![Member::user("b"), Member::group("g")],
        remove: vec![Member::user("a"), Member::user("z")],
    };
    vendor.host.update_group("7", SALES, "[]", &change).unwrap();
    let members = json!([{"value": "b"}, {"value": "g", "type": "Group"}]);
    assert_eq!(vendor.body(1)["members"], members);
}

#[test]
fn delete_and_deactivate() {
    let gone = || refusal(404, "", "no such user");
    for answer in [done(), ok(200, json!({})), gone()] {
        let vendor = service(vec![answer]);
        assert_eq!(vendor.host.delete("7"), Ok(()));
        assert_eq!(vendor.lines(), ["DELETE /Users/7"]);
    }
    for answer in [done(), gone()] {
        let vendor = service_with(json!({"on_delete": "deactivate"}), vec![answer]);
        assert_eq!(vendor.host.delete("7"), Ok(()));
        let inactive = json!([{"op": "replace", "path": "active", "value": false}]);
        assert_eq!(vendor.body(0), inactive);
    }
}

#[test]
fn only_a_scim_service_says_that_an_account_is_gone() {
    // A bare 404: the collection tells whether this is the service.
    let nobody = ok(200, json!({"totalResults": 0}));
    let vendor = service(vec![Ok(response(404, &[], "")), nobody]);
    assert_eq!(vendor.host.get("7"), Ok(None));
    assert_eq!(
        vendor.lines()[1],
        "GET /Users?filter=userName%20eq%20%227%22"
    );
    let page = || Ok(response(404, &[], "<html>not here</html>"));
    let check = |outcome: Option<Error>| {
        let error = outcome.unwrap();
        assert_eq!(error.kind, ErrorKind::Forbidden);
        assert!(error.message.contains("base_url"), "{error}");
    };
    check(service(vec![page(), page()]).host.get("7").err());
    check(service(vec![page(), page()]).host.delete("7").err());
    check(
        service(vec![page(), page()])
            .update(json!([{"path": "title", "value": "x"}]))
            .err(),
    );
    check(service(vec![page()]).host.create(ANN).err());
    check(service(vec![page()]).host.find("userName", "ann").err());
    let vendor = service(vec![refusal(404, "", "no such user")]);
    let error = vendor
        .update(json!([{"path": "title", "value": "x"}]))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[test]
fn find_asks_by_filter_and_reads_pages() {
    let found = |outcome: Result<Vec<connector_sdk::Account>, Error>| -> Vec<String> {
        let accounts = outcome.unwrap();
        accounts
            .iter()
            .map(|account| account.uid().to_owned())
            .collect()
    };
    let ann = |id: &str| json!({"id": id, "userName": "ann@example.com"});
    let vendor = service(vec![list(json!([ann("7")]))]);
    assert_eq!(
        found(vendor.host.find("userName", "ann@example.com")),
        ["7"]
    );
    assert_eq!(vendor.lines(), [BY_NAME]);
    // `Resources` may be absent where there is nothing.
    let vendor = service(vec![ok(200, json!({"totalResults": 0}))]);
    assert_eq!(
        found(vendor.host.find("externalId", "a\"b")),
        Vec::<String>::new()
    );
    assert_eq!(
        vendor.lines(),
        ["GET /Users?filter=externalId%20eq%20%22a%5C%22b%22"]
    );
    let page = |resources: Value| ok(200, json!({"totalResults": 3, "Resources": resources}));
    let vendor = service(vec![
        page(json!([ann("1"), ann("2")])),
        page(json!([ann("3")])),
    ]);
    assert_eq!(
        found(vendor.host.find("userName", "ann@example.com")),
        ["1", "2", "3"]
    );
    assert_eq!(
        vendor.lines()[1],
        format!("{BY_NAME}&startIndex=3&count=100")
    );
    // A service that ignores the filter answers with everybody, page after page.
    let everybody = || {
        ok(
            200,
            json!({"totalResults": 999, "Resources": [{"id": "1", "userName": "bo"}]}),
        )
    };
    let vendor = service((0..10).map(|_| everybody()).collect());
    let error = vendor.host.find("userName", "ann@example.com").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    let vendor = service(vec![refusal(
        400,
        "invalidFilter",
        "title is not searchable",
    )]);
    let error = vendor.host.find("title", "x").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[test]
fn groups_are_looked_up_made_and_adopted() {
    let members: Vec<Member> = (0..250).map(Member::user).collect();
    let made = json!({"id": "7", "displayName": "Sales", "members": [{"value": "0"}]});
    let vendor = service(vec![list(json!([])), ok(201, made), done(), done()]);
    let group = vendor.host.create_group(SALES, &members).unwrap();
    assert_eq!(group.to_json().unwrap(), r#"{"displayName":"Sales"}"#);
    assert_eq!(
        vendor.lines(),
        [BY_GROUP_NAME, "POST /Groups", PATCH_GROUP, PATCH_GROUP]
    );
    let count = |list: &Value| list.as_array().unwrap().len();
    assert_eq!(count(&vendor.body(1)["members"]), 100);
    assert_eq!(count(&vendor.body(2)[0]["value"]), 100);
    assert_eq!(vendor.body(3)[0]["value"][49], json!({"value": "249"}));
    assert_eq!(count(&vendor.body(3)[0]["value"]), 50);

    let found = || list(json!([{"id": "7", "displayName": "SALES"}]));
    let vendor = service(vec![found(), done()]);
    let account = vendor.host.create_group(SALES, &members[..1]).unwrap();
    assert_eq!(account.uid(), "7");
    let add = json!([{"op": "add", "path": "members", "value": [{"value": "0"}]}]);
    assert_eq!(vendor.body(1), add);

    // Half done: a group that was made is named, one that was there is not the gateway's to undo.
    let vendor = service(vec![
        list(json!([])),
        ok(201, json!({"id": "7"})),
        ok(500, json!({})),
    ]);
    let error = vendor.host.create_group(SALES, &members).unwrap_err();
    assert_eq!(
        (error.kind, error.uid.as_deref()),
        (ErrorKind::Unavailable, Some("7"))
    );
    let vendor = service(vec![found(), done(), ok(500, json!({}))]);
    assert_eq!(
        vendor.host.create_group(SALES, &members).unwrap_err().uid,
        None
    );
}

#[test]
fn members_leave_and_join_in_batches() {
    let change = MemberChange {
        add: (0..101).map(Member::user).collect(),
        remove: vec![Member::user("a\"b"), Member::group("g")],
    };
    let vendor = service(vec![done(), done(), done(), done()]);
    let deltas = r#"[{"path":"displayName","value":"Sales"}]"#;
    vendor
        .host
        .update_group("7", SALES, deltas, &change)
        .unwrap();
    assert_eq!(vendor.lines(), [PATCH_GROUP; 4]);
    let renamed = json!([{"op": "replace", "path": "displayName", "value": "Sales"}]);
    assert_eq!(vendor.body(0), renamed);
    assert_eq!(
        vendor.body(1),
        json!([
            {"op": "remove", "path": r#"members[value eq "a\"b"]"#},
            {"op": "remove", "path": r#"members[value eq "g"]"#},
        ])
    );
    assert_eq!(vendor.body(3)[0]["value"], json!([{"value": "100"}]));
    let vendor = service(vec![done(), ok(429, json!({}))]);
    let error = vendor
        .host
        .update_group("7", SALES, "[]", &change)
        .unwrap_err();
    assert_eq!(
        (error.kind, error.uid.as_deref()),
        (ErrorKind::RateLimited, Some("7"))
    );
    // Nothing to do, nothing asked.
    let vendor = service(vec![]);
    let nobody = MemberChange::default();
    vendor.host.update_group("7", SALES, "[]", &nobody).unwrap();
    // Who is not in cannot leave: a strict service refuses, without saying who it is.
    let leave = MemberChange {
        remove: vec![Member::user("a"), Member::user("b")],
        ..MemberChange::default()
    };
    let held = ok(200, json!({"id": "7", "members": [{"value": "b"}]}));
    let vendor = service(vec![
        refusal(400, "noTarget", "no such member"),
        held,
        done(),
    ]);
    vendor.host.update_group("7", SALES, "[]", &leave).unwrap();
    assert_eq!(vendor.lines()[1], "GET /Groups/7");
    let remaining = json!([{"op": "remove", "path": r#"members[value eq "b"]"#}]);
    assert_eq!(vendor.body(2), remaining);
    // One alone needs no look, and a group that is too large to be read is not.
    let no_target = || refusal(400, "noTarget", "no such member");
    let alone = MemberChange {
        remove: vec![Member::user("a")],
        ..MemberChange::default()
    };
    let vendor = service(vec![no_target()]);
    vendor.host.update_group("7", SALES, "[]", &alone).unwrap();
    let too_large = Err(HttpError::TooLarge(1));
    let vendor = service(vec![no_target(), too_large, no_target(), done()]);
    vendor.host.update_group("7", SALES, "[]", &leave).unwrap();
    assert_eq!(
        vendor.lines(),
        [PATCH_GROUP, "GET /Groups/7", PATCH_GROUP, PATCH_GROUP]
    );
    assert_eq!(vendor.body(3), remaining);
}

#[test]
fn an_unknown_member_does_not_make_the_group_unknown() {
    let change = |add: &[&str], remove: &[&str]| MemberChange {
        add: add.iter().map(Member::user).collect(),
        remove: remove.iter().map(Member::user).collect(),
    };
    let unknown = || refusal(404, "", "not found");
    let here = || ok(200, json!({"id": "7", "displayName": "Sales"}));
    let told = |answers: Vec<Answer>, change: &MemberChange| {
        let vendor = service(answers);
        let told = vendor.host.update_group("7", SALES, "[]", change);
        told.map(drop).map_err(|error| error.kind)
    };
    let (join, leave) = (change(&["a"], &[]), change(&[], &["a"]));
    assert_eq!(
        told(vec![unknown(), here()], &join),
        Err(ErrorKind::Invalid)
    );
    assert_eq!(told(vec![unknown(), here()], &leave), Ok(()));
    for change in [&join, &leave] {
        let gone = told(vec![unknown(), unknown()], change);
        assert_eq!(gone, Err(ErrorKind::NotFound));
    }
    // The same where the group is sent whole, and where it is made.
    let vendor = service_with(json!({"update": "put"}), vec![here(), unknown()]);
    let error = vendor.host.update_group("7", SALES, "[]", &join);
    assert_eq!(error.unwrap_err().kind, ErrorKind::Invalid);
    let vendor = service(vec![list(json!([])), unknown()]);
    let error = vendor.host.create_group(SALES, &join.add);
    assert_eq!(error.unwrap_err().kind, ErrorKind::Invalid);
    let vendor = service(vec![list(json!([])), unknown()]);
    let error = vendor.host.create_group(SALES, &[]);
    assert_eq!(error.unwrap_err().kind, ErrorKind::Forbidden);
}

#[test]
fn groups_are_read_found_and_deleted() {
    let sales = || json!({"id": "7", "displayName": "Sales", "members": [{"value": "a"}]});
    let vendor = service(vec![ok(200, sales()), list(json!([sales()])), done()]);
    let group = vendor.host.get_group("7").unwrap().unwrap();
    assert_eq!(group.to_json().unwrap(), r#"{"displayName":"Sales"}"#);
    assert_eq!(
        vendor
            .host
            .find_groups("displayName", "Sales")
            .unwrap()
            .len(),
        1
    );
    vendor.host.delete_group("7").unwrap();
    assert_eq!(
        vendor.lines(),
        [
            "GET /Groups/7?excludedAttributes=members",
            BY_GROUP_NAME,
            "DELETE /Groups/7"
        ]
    );
}

#[test]
fn each_refusal_is_the_kind_that_it_is() {
    let department = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
    let deltas = || json!([{"path": department, "value": "X"}, {"path": "title", "value": "Y"}]);
    let check = |answer: Answer, kind: ErrorKind, path: Option<&str>, part: &str| {
        let error = service(vec![answer]).update(deltas()).unwrap_err();
        assert_eq!(
            (error.kind, error.path.as_deref()),
            (kind, path),
            "{part}: {error}"
        );
        assert!(error.message.contains(part), "{part}: {error}");
    };
    let plain = |status, body: &str| Ok(response(status, &[], body));
    check(
        refusal(400, "invalidValue", "Department 'X' does not exist"),
        ErrorKind::Invalid,
        Some(department),
        "400 invalidValue: Department 'X' does not exist",
    );
    check(
        refusal(400, "mutability", "read-only"),
        ErrorKind::Invalid,
        None,
        "mutability",
    );
    check(
        plain(400, "bad title"),
        ErrorKind::Invalid,
        None,
        "400: bad title",
    );
    check(
        refusal(409, "uniqueness", "title"),
        ErrorKind::AlreadyExists,
        Some("title"),
        "409",
    );
    check(plain(409, ""), ErrorKind::AlreadyExists, None, "409");
    check(
        refusal(409, "mutability", "locked"),
        ErrorKind::Conflict,
        None,
        "locked",
    );
    check(plain(412, ""), ErrorKind::Conflict, None, "412");
    check(plain(413, ""), ErrorKind::Invalid, None, "413");
    check(
        plain(401, ""),
        ErrorKind::Unauthorized,
        None,
        "the token is wrong",
    );
    check(plain(403, ""), ErrorKind::Forbidden, None, "lacks a right");
    check(plain(501, ""), ErrorKind::Unsupported, None, "501");
    for status in [500, 502, 503, 504] {
        check(
            plain(status, "<html>"),
            ErrorKind::Unavailable,
            None,
            "the vendor answered 50",
        );
    }
    let login = response(302, &[("Location", "https://login.example/")], "");
    check(
        Ok(login),
        ErrorKind::Forbidden,
        None,
        "redirects to \"https://login.example/\"",
    );
    check(
        Err(HttpError::Timeout),
        ErrorKind::Unavailable,
        None,
        "in time",
    );
    let broken = HttpError::Protocol("reset".to_owned());
    check(Err(broken), ErrorKind::Unavailable, None, "broke off");
    let denied = HttpError::Denied("not granted".to_owned());
    check(Err(denied), ErrorKind::Forbidden, None, "not granted");

    for (headers, retry_after_ms) in [
        (&[("Retry-After", "7")][..], Some(7_000)),
        (
            &[
                ("Date", "Sun, 01 Mar 2026 00:00:00 GMT"),
                ("Retry-After", "Sun, 01 Mar 2026 00:01:00 GMT"),
            ],
            Some(60_000),
        ),
        (&[], None),
    ] {
        let vendor = service(vec![Ok(response(429, headers, "slow down"))]);
        let error = vendor.update(deltas()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::RateLimited);
        assert_eq!(error.retry_after_ms, retry_after_ms);
    }
    // Of a page that is no SCIM the connector makes nothing, least of all an account.
    for body in ["<html>", "[]", r#"{"Resources": []}"#, ""] {
        let vendor = service(vec![plain(200, body)]);
        assert_eq!(
            vendor.host.get("7").unwrap_err().kind,
            ErrorKind::Internal,
            "{body}"
        );
    }
}
