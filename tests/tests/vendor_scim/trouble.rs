//! The rate limit, faults, the log, and what the vendor's own console does.

use std::time::Duration;

use gateway_tests::vendors::scim::{Fault, LoggedRequest, Switches, When};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{USER, Vendor};

#[tokio::test]
async fn trouble_comes_when_it_was_promised_and_the_log_tells_all() {
    let vendor = Vendor::start(Switches {
        requests_per_second_max: Some(3),
        ..Switches::default()
    });
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let request = vendor.request(Method::GET, "/Users?filter=userName+eq+%22a+b%22", None);
        let answer = request.send().await.expect("an answer");
        let again = answer.headers().get("retry-after").cloned();
        statuses.push((answer.status().as_u16(), again.is_some()));
    }
    let (good, refused) = ((200, false), (429, true));
    assert_eq!(statuses, [good, good, good, refused, refused]);
    let log = vendor.simulator.drain_log();
    assert_eq!(log.len(), 5);
    let first = LoggedRequest {
        sequence: 1,
        operation: "GET /Users".to_owned(),
        id: None,
        query: "filter=userName eq \"a b\"".to_owned(),
        body: Value::Null,
        status: Some(200),
    };
    assert_eq!(log[0], first);

    vendor.simulator.switch(|it| it.instant = true);
    let body = json!({ "schemas": [USER], "userName": "ann" });
    let simulator = &vendor.simulator;
    simulator.fail_next_of("POST /Users", 1, Fault::Drop, When::Before);
    simulator.fail_next_of("POST /Users", 1, Fault::Drop, When::After);
    for held in [0, 1] {
        let request = vendor.request(Method::POST, "/Users", Some(&body));
        let answer = request.send().await;
        let broken = match answer {
            Err(_) => true,
            Ok(answer) => answer.text().await.is_err(),
        };
        assert!(broken, "no whole answer");
        assert_eq!(simulator.users().len(), held);
    }
    simulator.fail_next(1, Fault::Status(502), When::Before);
    simulator.fail_next(1, Fault::Slow(30), When::Before);
    simulator.fail_next(1, Fault::Junk, When::Before);
    simulator.fail_next(9, Fault::Hang, When::Before);
    let path = format!(
        "/Users/{}",
        simulator.users()[0]["id"].as_str().expect("an id")
    );
    let get = async || {
        let request = vendor.request(Method::GET, &path, None);
        request.send().await.expect("an answer")
    };
    assert_eq!(get().await.status(), 502);
    let started = std::time::Instant::now();
    assert_eq!(get().await.status(), 200);
    assert!(started.elapsed() >= Duration::from_millis(30));
    let junk = get().await.text().await.expect("a body");
    assert!(serde_json::from_str::<Value>(&junk).is_err());
    let hanging = vendor.request(Method::GET, &path, None).send();
    tokio::select! {
        _ = hanging => panic!("it hangs"),
        () = simulator.requests_reached(11) => {}
    }
    simulator.heal();
    assert_eq!(get().await.status(), 200);
    let log = simulator.drain_log();
    let told: Vec<_> = log
        .iter()
        .map(|it| (it.operation.as_str(), it.status))
        .collect();
    let read = "GET /Users/{id}";
    assert_eq!(
        told,
        [
            ("POST /Users", None),
            ("POST /Users", None),
            (read, Some(502)),
            (read, Some(200)),
            (read, Some(200)),
            (read, None),
            (read, Some(200)),
        ]
    );
    assert_eq!(log[0].body, body);
}

#[tokio::test]
async fn the_console_goes_past_the_rules_and_names_can_be_given_twice_if_that_is_switched() {
    let vendor = Vendor::instant();
    let attributes = |name: &str, value: &str| {
        let attributes = json!({ name: value });
        attributes.as_object().cloned().unwrap_or_default()
    };
    let simulator = &vendor.simulator;
    let ann = simulator.plant_user(attributes("userName", "ann"));
    let team = simulator.plant_group(attributes("displayName", "Team"));
    assert_eq!(
        vendor.get(&format!("/Users/{ann}")).await["userName"],
        "ann"
    );
    let body = json!({ "schemas": [USER], "userName": "ANN" });
    assert_eq!(
        vendor.send(Method::POST, "/Users", Some(&body)).await.0,
        409
    );
    simulator.switch(|it| it.unique_names = false);
    let other = vendor.made("/Users", &body).await;
    assert_eq!(simulator.users_named("Ann").len(), 2);
    assert!(simulator.purge(&ann) && simulator.purge(&team) && !simulator.purge(&ann));
    assert_eq!(simulator.users_named("ann")[0]["id"], json!(other));
    assert_eq!(simulator.groups(), []);
    assert!(
        simulator
            .log()
            .iter()
            .all(|it| it.operation != "DELETE /Users/{id}")
    );
    assert_eq!(simulator.requests_total(), 3);
}
