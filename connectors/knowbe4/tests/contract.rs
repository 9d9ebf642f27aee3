//! What the connector asks for and what it makes of the answers, with a vendor that follows a
//! script: every attribute, every refusal. Absent: what the vendor's rules are; `simulator.rs`.

use std::cell::RefCell;
use std::rc::Rc;

use connector_sdk::{Error, ErrorKind, native};
use knowbe4::KnowBe4;
use serde_json::{Value, json};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const KMSAT: &str = "urn:ietf:params:scim:schemas:extension:knowbe4:kmsat:2.0:User";

type Asked = Rc<RefCell<Vec<(String, Value)>>>;

struct Scripted {
    host: native::Host<KnowBe4>,
    asked: Asked,
}

/// A vendor that gives this answer to whatever it is asked.
fn answering(status: u16, headers: &'static [(&str, &str)], body: impl ToString) -> Scripted {
    let asked = Asked::default();
    let log = Rc::clone(&asked);
    let body = body.to_string();
    let host = native::Host::new(r#"{"region": "us"}"#, move |request| {
        let sent: Value = serde_json::from_str(request.body.as_deref().unwrap()).unwrap();
        log.borrow_mut()
            .push((request.url, sent["variables"].clone()));
        Ok(native::response(status, headers, body.clone()))
    });
    Scripted { host, asked }
}

fn refusing(body: Value) -> Scripted {
    answering(200, &[], body)
}

impl Scripted {
    fn edit(&self, deltas: Value) -> Result<(), Error> {
        let desired = json!({"userName": "ann@example.com"}).to_string();
        self.host
            .update("7", &desired, &deltas.to_string())
            .map(drop)
    }

    fn variables(&self) -> Vec<Value> {
        let asked = self.asked.borrow();
        asked
            .iter()
            .map(|(_, variables)| variables.clone())
            .collect()
    }
}

fn edited() -> Scripted {
    refusing(json!({"data": {"userEdit": {"node": {"id": 7}, "errors": []}}}))
}

#[test]
fn every_attribute_of_the_profile_is_written_under_the_vendors_name() {
    for (path, value, vendor, written) in [
        ("userName", "a@b.example", "email", "a@b.example"),
        ("name.givenName", "Ann", "firstName", "Ann"),
        ("name.familyName", "Lee", "lastName", "Lee"),
        ("title", "Engineer", "jobTitle", "Engineer"),
        (
            r#"phoneNumbers[type eq "mobile"].value"#,
            "1",
            "mobilePhoneNumber",
            "1",
        ),
        (
            r#"phoneNumbers[type eq "work"].value"#,
            "2",
            "phoneNumber",
            "2",
        ),
        (
            r#"addresses[type eq "work"].formatted"#,
            "Oslo",
            "location",
            "Oslo",
        ),
        (
            &format!("{ENTERPRISE}:employeeNumber"),
            "7",
            "employeeNumber",
            "7",
        ),
        (
            &format!("{ENTERPRISE}:department"),
            "R&D",
            "department",
            "R&D",
        ),
        (&format!("{ENTERPRISE}:division"), "D", "division", "D"),
        (
            &format!("{ENTERPRISE}:organization"),
            "O",
            "organization",
            "O",
        ),
        (
            &format!("{ENTERPRISE}:manager.value"),
            "bo@b.example",
            "managerEmail",
            "bo@b.example",
        ),
        (
            &format!("{ENTERPRISE}:manager.displayName"),
            "Bo",
            "managerName",
            "Bo",
        ),
        (&format!("{KMSAT}:customField1"), "1", "customField1", "1"),
        (&format!("{KMSAT}:customField2"), "2", "customField2", "2"),
        (&format!("{KMSAT}:customField3"), "3", "customField3", "3"),
        (&format!("{KMSAT}:customField4"), "4", "customField4", "4"),
        (
            &format!("{KMSAT}:customDate1"),
            "2026-01-31T10:00:00Z",
            "customDate1",
            "2026-01-31",
        ),
        (
            &format!("{KMSAT}:customDate2"),
            "2026-01-31",
            "customDate2",
            "2026-01-31",
        ),
        (
            &format!("{KMSAT}:outOfOfficeEnd"),
            "2026-01-31T00:00:00Z",
            "outOfOfficeEnd",
            "2026-01-31",
        ),
        (&format!("{KMSAT}:userRole"), "student", "role", "STUDENT"),
    ] {
        let vendor_side = edited();
        vendor_side
            .edit(json!([{"path": path, "value": value}]))
            .unwrap();
        let expected = json!({"userId": 7, "attributes": {vendor: written}});
        assert_eq!(vendor_side.variables(), [expected], "{path}");
    }
}

#[test]
fn what_lost_its_value_is_cleared() {
    let vendor = edited();
    let paths = ["title", "name.givenName", &format!("{KMSAT}:userRole")];
    let deltas: Vec<Value> = paths
        .map(|path| json!({"path": path, "value": null}))
        .into();
    vendor.edit(deltas.into()).unwrap();
    let cleared = json!({"firstName": "ann", "jobTitle": null, "role": "USER"});
    assert_eq!(vendor.variables()[0]["attributes"], cleared);
}

#[test]
fn the_vendor_is_not_asked_for_what_does_not_concern_it() {
    for deltas in [
        json!([]),
        json!([{"path": "displayName", "value": "Ann Lee"}]),
        json!([{"path": format!("{ENTERPRISE}:manager.value"), "value": "0a21f0f2-8d2a"}]),
        json!([{"path": "userName", "value": "0a21f0f28d2a4f8ebf987363c4aed4efann@example.com"}]),
    ] {
        let vendor = edited();
        vendor.edit(deltas).unwrap();
        assert_eq!(vendor.variables(), Vec::<Value>::new());
    }
}

#[test]
fn data_that_the_vendor_cannot_take_is_refused_before_it_is_asked() {
    for (path, value) in [
        (format!("{KMSAT}:customDate1"), json!("tomorrow")),
        (format!("{KMSAT}:userRole"), json!("owner")),
        ("title".to_owned(), json!({"value": "x"})),
    ] {
        let vendor = edited();
        let error = vendor
            .edit(json!([{"path": path, "value": value}]))
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.path, Some(path));
        assert_eq!(vendor.variables(), Vec::<Value>::new());
    }
}

#[test]
fn a_uid_that_is_no_id_names_no_account() {
    let vendor = answering(500, &[], "");
    assert_eq!(vendor.host.get("x"), Ok(None));
    assert_eq!(vendor.host.delete("99999999999"), Ok(()));
    let error = vendor
        .host
        .update("x", r#"{"userName":"a"}"#, "[]")
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let error = vendor.host.find("externalId", "x").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(vendor.variables(), Vec::<Value>::new());
}

#[test]
fn statuses() {
    for (status, headers, kind, retry_after_ms) in [
        (401, &[][..], ErrorKind::Unauthorized, None),
        (403, &[], ErrorKind::Forbidden, None),
        // Not-found would say that the account is gone, and a delete would be taken as done.
        (404, &[], ErrorKind::Forbidden, None),
        (429, &[], ErrorKind::RateLimited, Some(60_000)),
        (
            429,
            &[("Retry-After", "7")],
            ErrorKind::RateLimited,
            Some(7_000),
        ),
        (
            429,
            &[("Retry-After", "86400")],
            ErrorKind::RateLimited,
            Some(300_000),
        ),
        (500, &[], ErrorKind::Unavailable, None),
        (502, &[], ErrorKind::Unavailable, None),
        (503, &[], ErrorKind::Unavailable, None),
        (504, &[], ErrorKind::Unavailable, None),
    ] {
        let error = answering(status, headers, "").host.delete("7").unwrap_err();
        assert_eq!(
            (error.kind, error.retry_after_ms),
            (kind, retry_after_ms),
            "{status}"
        );
        assert_eq!(error.vendor_status, Some(status));
    }
}

#[test]
fn bodies_that_are_not_as_documented() {
    for body in [
        "<html>maintenance</html>",
        r#"{"data":{"userArc"#,
        "",
        "[]",
        "{}",
        r#"{"data":null}"#,
        r#"{"data":{"userArchive":null}}"#,
    ] {
        let error = answering(200, &[], body).host.delete("7").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal, "{body}");
    }
}

#[test]
fn top_level_errors() {
    let sent = json!([{"path": format!("{ENTERPRISE}:department"), "value": "R&D"}]);
    for (answer, kind, path) in [
        (
            json!({"data": null, "errors": [{"message": "Boom"}]}),
            ErrorKind::Unavailable,
            None,
        ),
        (
            json!({"errors": [{"message": "Complexity 151"}]}),
            ErrorKind::Internal,
            None,
        ),
        (
            json!({"errors": [{"message": "Too many requests"}]}),
            ErrorKind::RateLimited,
            None,
        ),
        (
            json!({"errors": [{"message": "Not authorized"}]}),
            ErrorKind::Forbidden,
            None,
        ),
        (
            json!({"data": null, "errors": [{"message": "User not found", "path": ["userEdit"]}]}),
            ErrorKind::NotFound,
            None,
        ),
        (
            json!({"errors": [{"message": "Field 'x' not found", "path": ["query", "x"]}]}),
            ErrorKind::Internal,
            None,
        ),
        (
            json!({"errors": [{"message": "$attributes: invalid value for department (unknown)"}]}),
            ErrorKind::Unsupported,
            Some(format!("{ENTERPRISE}:department")),
        ),
    ] {
        let error = refusing(answer.clone()).edit(sent.clone()).unwrap_err();
        assert_eq!((error.kind, error.path), (kind, path), "{answer}");
    }
}

#[test]
fn payload_errors() {
    for (field, reason, kind, path) in [
        (
            "customField1",
            "too_long",
            ErrorKind::Invalid,
            Some(format!("{KMSAT}:customField1")),
        ),
        (
            "custom_field_1",
            "too_long",
            ErrorKind::Invalid,
            Some(format!("{KMSAT}:customField1")),
        ),
        (
            "email",
            "taken",
            ErrorKind::AlreadyExists,
            Some("userName".to_owned()),
        ),
        ("id", "not_found", ErrorKind::NotFound, None),
        (
            "managerEmail",
            "not_found",
            ErrorKind::Invalid,
            Some(format!("{ENTERPRISE}:manager.value")),
        ),
        ("base", "archived", ErrorKind::Conflict, None),
        ("base", "not_authorized", ErrorKind::Forbidden, None),
        ("shoeSize", "odd", ErrorKind::Invalid, None),
    ] {
        let refusal = json!({"field": field, "reason": reason});
        let answer = json!({"data": {"userEdit": {"node": null, "errors": [refusal]}}});
        let error = refusing(answer)
            .edit(json!([{"path": "title", "value": "x"}]))
            .unwrap_err();
        assert_eq!((error.kind, &error.path), (kind, &path), "{field} {reason}");
        assert_eq!(error.code.as_deref(), Some(reason));
        assert!(error.message.contains(field) && error.message.contains(reason));
    }
}

#[test]
fn regions_and_base_urls() {
    for (settings, url) in [
        (r#"{"region":"us"}"#, "https://training.knowbe4.com/graphql"),
        (r#"{"region":"eu"}"#, "https://eu.knowbe4.com/graphql"),
        (
            r#"{"base_url":"http://127.0.0.1:1/"}"#,
            "http://127.0.0.1:1/graphql",
        ),
        (
            r#"{"region":"eu","base_url":"https://x.example/kb4"}"#,
            "https://x.example/kb4/graphql",
        ),
    ] {
        let host = native::Host::<KnowBe4>::new(settings, move |request| {
            assert_eq!(
                (request.method.as_str(), request.url.as_str()),
                ("POST", url)
            );
            Ok(native::response(200, &[], r#"{"data":{"user":null}}"#))
        });
        assert_eq!(host.get("7"), Ok(None));
    }
}

#[test]
fn an_account_is_shown_in_scims_terms() {
    let held = json!({
        "id": 7, "email": "ann@example.com", "archived": true, "firstName": "Ann", "lastName": "",
        "jobTitle": null, "role": "ADMIN", "customDate1": "2026-01-31",
        "outOfOfficeUntil": "2026-02-01", "managerEmail": "bo@example.com",
        "managerName": "Bo", "mobilePhoneNumber": "1", "location": "Oslo",
    });
    let vendor = refusing(json!({"data": {"user": held}}));
    let account = vendor.host.get("7").unwrap().unwrap();
    assert_eq!(account.uid(), "7");
    let shown: Value = serde_json::from_str(&account.to_json().unwrap()).unwrap();
    assert_eq!(
        shown,
        json!({
            "userName": "ann@example.com", "active": false, "name": {"givenName": "Ann"},
            "phoneNumbers": [{"type": "mobile", "value": "1"}],
            "addresses": [{"type": "work", "formatted": "Oslo"}],
            ENTERPRISE: {"manager": {"value": "bo@example.com", "displayName": "Bo"}},
            KMSAT: {
                "customDate1": "2026-01-31T00:00:00Z", "outOfOfficeEnd": "2026-02-01T00:00:00Z",
                "userRole": "ADMIN",
            },
        })
    );
}
