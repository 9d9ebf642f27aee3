//! A vendor in trouble: it hangs, drops the connection, answers 500, 429 or junk, before or after it
//! has acted. The client reads 429 or 503 with `Retry-After`, never 400, 401 or 404; and what the
//! vendor did is found by looking it up, so that nothing is done twice.

use gateway_tests::corridor::{Corridor, Setup};
use gateway_tests::directory::{Person, people};
use gateway_tests::vendors::knowbe4::{Fault, When};
use reqwest::Method;
use serde_json::json;

fn corridor(dir: &std::path::Path, tables: &str) -> Corridor {
    let mut setup = Setup::instant();
    setup.tables = tables.to_owned();
    Corridor::start(dir, setup).expect("the corridor is up")
}

fn person(given: &str) -> Person {
    let mut person = people(1).remove(0);
    person.given = given.to_owned();
    // Also the externalId, which is the tenant's to use once.
    person.employee_number = given.to_owned();
    person
}

#[tokio::test]
async fn a_write_that_the_vendor_has_not_seen_fails_with_retry_after_and_succeeds_when_repeated() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let corridor = corridor(dir.path(), "[gateway.limits.egress]\nrequest_ms = 500\n");
    let faults = [
        ("hang", Fault::Hang, 503),
        ("drop", Fault::Drop, 503),
        ("status500", Fault::Status(500), 503),
        ("status502", Fault::Status(502), 503),
        ("status504", Fault::Status(504), 503),
        ("status429", Fault::Status(429), 429),
        ("junk", Fault::Junk, 500),
    ];
    for (name, fault, status) in faults.clone() {
        let body = person(name).as_scim();
        // Each request of the operation meets the fault, the lookup that settles it included.
        corridor.vendor.fail_next(10, fault, When::Before);
        let answer = corridor
            .entra
            .send(Method::POST, "Users", Some(&body))
            .await;
        let answer = answer.expect("the gateway answers");
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        if status != 500 {
            assert!(answer.retry_after_s.is_some(), "{name}: no Retry-After");
        }
        assert_eq!(answer.body["status"], json!(status.to_string()), "{name}");

        corridor.vendor.heal();
        let id = corridor.entra.create(&body).await;
        let id = id.unwrap_or_else(|error| panic!("{name}, repeated: {error}"));
        let read = corridor.entra.read(&id).await.expect("a user");
        assert_eq!(read["userName"], body["userName"], "{name}");
    }
    assert_eq!(corridor.vendor.users().len(), faults.len());
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_found_by_lookup_and_not_done_twice() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let corridor = corridor(dir.path(), "[gateway.limits.egress]\nrequest_ms = 500\n");
    let faults = [
        ("afterdrop", Fault::Drop),
        ("afterhang", Fault::Hang),
        ("after504", Fault::Status(504)),
        ("afterjunk", Fault::Junk),
    ];
    for (name, fault) in faults {
        corridor
            .vendor
            .switch(|switches| switches.unique_addresses = false);
        corridor
            .vendor
            .fail_next_of("userCreate", 1, fault, When::After);
        let body = person(name).as_scim();
        let id = corridor.entra.create(&body).await;
        id.unwrap_or_else(|error| panic!("{name}: {error}"));
        let wanted = person(name);
        let held: Vec<_> = corridor
            .vendor
            .users()
            .into_iter()
            .filter(|account| account.email == wanted.user_name())
            .collect();
        assert_eq!(
            held.len(),
            1,
            "{name} is at the vendor {} times",
            held.len()
        );
        // What the lost create had not got to, the settling sent.
        assert_eq!(
            held[0].department.as_deref(),
            Some(wanted.department.as_str()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_ends_as_the_client_wanted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let corridor = corridor(dir.path(), "[gateway.limits.egress]\nrequest_ms = 500\n");
    let body = person("changed").as_scim();
    let id = corridor.entra.create(&body).await.expect("a user");
    corridor
        .vendor
        .fail_next_of("userEdit", 1, Fault::Drop, When::After);
    let operations = json!([{ "op": "Replace", "path": "title", "value": "Director" }]);
    let patched = corridor
        .entra
        .patch(&id, operations)
        .await
        .expect("patched");
    assert_eq!(patched["title"], json!("Director"));
    corridor
        .vendor
        .fail_next_of("userArchive", 1, Fault::Status(504), When::After);
    let disabled = corridor.entra.disable(&id).await.expect("disabled");
    assert_eq!(disabled["active"], json!(false));
    corridor
        .vendor
        .fail_next_of("userArchive", 1, Fault::Drop, When::Before);
    corridor.entra.delete(&id).await.expect("deleted");
    let account = corridor
        .vendor
        .user_by_email(&person("changed").user_name());
    let account = account.expect("KnowBe4 archives and does not delete");
    assert!(account.archived);
    assert_eq!(account.job_title.as_deref(), Some("Director"));
}

#[tokio::test]
async fn a_refused_credential_is_503_and_says_whose_task_it_is() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let corridor = corridor(dir.path(), "");
    corridor
        .vendor
        .switch(|switches| switches.api_key = "another".to_owned());
    let body = person("refused").as_scim();
    let answer = corridor
        .entra
        .send(Method::POST, "Users", Some(&body))
        .await;
    let answer = answer.expect("the gateway answers");
    assert_eq!(answer.status, 503, "{}", answer.body);
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("credential"), "{detail}");
    assert!(
        !detail.contains("simulated-knowbe4-product-key"),
        "{detail}"
    );
}
