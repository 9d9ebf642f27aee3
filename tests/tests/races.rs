//! Requests that race: uniqueness is decided once, inside the commit, before the vendor hears of it;
//! changes of one resource take turns.

use gateway_tests::corridor::{Corridor, Setup};
use gateway_tests::directory::people;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_creates_one_wins_and_the_vendor_is_told_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut setup = Setup::instant();
    setup.switches.instant = false;
    setup.switches.requests_per_second_max = u32::MAX;
    // Long enough that all of them are under way while the first waits for the vendor.
    setup.switches.latency_ms = 20;
    let corridor = Corridor::start(dir.path(), setup).expect("the corridor is up");
    for round in 0..5 {
        let mut person = people(1).remove(0);
        person.given = format!("racer{round}");
        let racers = (0..16).map(|racer| {
            let mut person = person.clone();
            // One user name in two spellings, sixteen external ids.
            person.employee_number = format!("{round}{racer:03}");
            let mut body = person.as_scim();
            if racer % 2 == 1 {
                body["userName"] = json!(person.user_name().to_uppercase());
            }
            let entra = corridor.entra.clone();
            tokio::spawn(async move { entra.send(Method::POST, "Users", Some(&body)).await })
        });
        let mut statuses = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            let answer = racer.await.expect("no panic").expect("an answer");
            statuses.push((answer.status, answer.body["scimType"].clone()));
        }
        let won = statuses.iter().filter(|(status, _)| *status == 201).count();
        let lost = statuses
            .iter()
            .filter(|it| **it == (409, json!("uniqueness")))
            .count();
        assert_eq!((won, lost), (1, 15), "{statuses:?}");
    }
    let creates = corridor.vendor.log();
    let creates = creates
        .iter()
        .filter(|it| it.operation == "userCreate")
        .count();
    assert_eq!(creates, 5, "one create per round reaches the vendor");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_user_take_turns_and_if_match_has_one_winner() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let corridor = Corridor::start(dir.path(), Setup::instant()).expect("the corridor is up");
    let body = people(1)[0].as_scim();
    let id = corridor.entra.create(&body).await.expect("a user");
    let changes = (0..20).map(|n| {
        let (entra, id) = (corridor.entra.clone(), id.clone());
        tokio::spawn(async move {
            let operation = json!([{ "op": "Replace", "path": "title", "value": format!("T{n}") }]);
            entra.patch(&id, operation).await
        })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.expect("no panic").expect("patched");
    }
    let read = corridor.entra.read(&id).await.expect("a user");
    assert_eq!(
        read["meta"]["version"],
        json!("W/\"21\""),
        "no change is lost"
    );

    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("{}/Users/{id}", corridor.gateway.scim_url("acme-knowbe4"));
    let attempts =
        (0..8).map(|n| {
            let request = client
            .patch(&url)
            .bearer_auth(&corridor.token)
            .header("if-match", "W/\"21\"")
            .body(json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [{ "op": "replace", "path": "title", "value": format!("M{n}") }],
            }).to_string());
            tokio::spawn(request.send())
        });
    let mut statuses = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        let answer = attempt.await.expect("no panic").expect("an answer");
        statuses.push(answer.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}
