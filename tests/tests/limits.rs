//! The far side of the limits that only a whole gateway can show: slow and large bodies, slow heads,
//! scans. The limits of connectors, egress, store and the SCIM grammar have tests of their own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gateway_tests::corridor::{Corridor, SCIM, Setup, TENANT};
use gateway_tests::directory::people;
use reqwest::Method;
use serde_json::json;

fn corridor(dir: &std::path::Path, tables: &str) -> Corridor {
    let mut setup = Setup::instant();
    setup.tables = tables.to_owned();
    Corridor::start(dir, setup).expect("the corridor is up")
}

/// Sends these bytes, nothing more, and returns what comes back until the gateway hangs up.
fn talk(corridor: &Corridor, bytes: &str) -> (String, Duration) {
    let url = corridor.gateway.scim_url(TENANT);
    let address = url.trim_start_matches("http://").split('/').next();
    let mut socket = TcpStream::connect(address.expect("an address")).expect("a connection");
    let patience = Some(Duration::from_secs(20));
    socket.set_read_timeout(patience).expect("a deadline");
    let started = Instant::now();
    socket.write_all(bytes.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // A reset after the answer is as good an end as a close.
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer, started.elapsed())
}

#[test]
fn a_body_that_does_not_arrive_is_408_and_a_head_too() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let limits = "[gateway.limits.http]\nbody_deadline_ms = 300\nhead_deadline_ms = 1000\n";
    let corridor = corridor(dir.path(), limits);
    let head = format!(
        "POST /tenants/{TENANT}/scim/v2/Users HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {}\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{{\"userName\":",
        corridor.token
    );
    let (answer, after) = talk(&corridor, &head);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_deadline_ms"), "{answer}");
    assert!(after < Duration::from_secs(10), "{after:?}");

    let (answer, after) = talk(&corridor, "GET /livez HTTP/1.1\r\nHost: local");
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert!(after < Duration::from_secs(10), "{after:?}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_a_scan_over_the_limit_too_many() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let limits = "[gateway.limits.http]\nbody_bytes_max = 2000\n\
         [gateway.limits.scim]\nscan_resources_max = 2\npage_size_max = 2\n";
    let corridor = corridor(dir.path(), limits);
    for person in people(3) {
        corridor
            .entra
            .create(&person.as_scim())
            .await
            .expect("a user");
    }
    let mut large = people(4).remove(3).as_scim();
    large["title"] = json!("x".repeat(2000));
    let answer = corridor
        .entra
        .send(Method::POST, "Users", Some(&large))
        .await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 413, "{}", answer.body);

    let scan = corridor
        .entra
        .send(Method::GET, "Users?filter=title+pr", None)
        .await;
    let scan = scan.expect("an answer");
    assert_eq!(
        (scan.status, &scan.body["scimType"]),
        (400, &json!("tooMany"))
    );
    let page = corridor
        .entra
        .send(Method::GET, "Users?count=50", None)
        .await;
    let page = page.expect("an answer");
    assert_eq!(page.body["totalResults"], json!(3));
    assert_eq!(page.body["itemsPerPage"], json!(2));
}

#[tokio::test]
async fn members_beyond_one_answer_are_refused_whole_and_cursors_expire() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut setup = Setup::instant().with(&[SCIM]);
    setup.tables = "[gateway.limits.scim]\nmembers_shown_max = 3\nmembers_changed_max = 4\n\
         cursor_ttl_s = 0\nscan_resources_max = 4\n"
        .to_owned();
    let corridor = Corridor::start(dir.path(), setup).expect("the corridor is up");
    let entra = &corridor.scim(SCIM.name).expect("the tenant is there").entra;
    let mut ids = Vec::new();
    for person in people(4) {
        ids.push(entra.create(&person.as_scim()).await.expect("a user"));
    }
    let group = |name: &str, members: &[String]| {
        let members: Vec<_> = members.iter().map(|id| json!({ "value": id })).collect();
        json!({ "displayName": name, "members": members })
    };
    let first = entra.create_group(&group("first", &ids[..2])).await;
    let first = first.expect("a group");
    let second = entra.create_group(&group("second", &ids[2..])).await;
    second.expect("a group");

    let get = async |path: &str| {
        let answer = entra.send(Method::GET, path, None).await;
        let answer = answer.expect("an answer");
        (answer.status, answer.body)
    };
    let refused = |(status, body): (u16, serde_json::Value), keyword: &str, limit: &str| {
        assert_eq!((status, &body["scimType"]), (400, &json!(keyword)));
        assert!(body["detail"].to_string().contains(limit), "{body}");
    };
    // Two of two are shown, four of two groups are not: the limit is that of the answer.
    let one = get(&format!("Groups/{first}")).await;
    assert_eq!(one.1["members"].as_array().map(Vec::len), Some(2));
    refused(get("Groups").await, "tooMany", "members_shown_max");
    let without = get("Groups?excludedAttributes=members").await;
    assert_eq!(without.1["totalResults"], json!(2));
    // What a filter has to look at one by one counts as resources do.
    let all = get("Groups?filter=members.type+eq+\"Group\"").await;
    assert_eq!(all.1["totalResults"], json!(0));
    let added = entra.add_members(&first, &ids[2..3]).await;
    added.expect("one more");
    let all = get("Groups?filter=members.type+eq+\"Group\"&excludedAttributes=members").await;
    refused(all, "tooMany", "scan_resources_max");

    let begun = get("Users?cursor&count=1").await;
    let next = begun.1["nextCursor"].as_str().expect("a cursor");
    let expired = get(&format!("Users?cursor={next}&count=1")).await;
    refused(expired, "expiredCursor", "cursor_ttl_s");

    let many: Vec<String> = (0..5).map(|n| format!("{n}")).collect();
    let named = entra
        .send(Method::POST, "Groups", Some(&group("third", &many)))
        .await;
    let named = named.expect("an answer");
    assert_eq!(named.status, 413, "{}", named.body);
    assert!(
        named.body.to_string().contains("members_changed_max"),
        "{}",
        named.body
    );
}
