//! Tokens through the real command and the real listeners: one 401 for every failure, revocation at
//! once, the command with and without a running gateway.

use gateway_tests::corridor::{Corridor, Setup, TENANT};
use gateway_tests::gateway_process::issue_token;
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::Value;

#[tokio::test]
async fn every_failure_is_the_same_401() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut setup = Setup::instant();
    setup.tables = "[tenants.other]\nconnector = \"knowbe4\"\n\
         settings = { region = \"us\" }\nsecrets = { api_key = \"env:ACME_KNOWBE4_API_KEY\" }\n"
        .to_owned();
    let corridor = Corridor::start(dir.path(), setup).expect("the corridor is up");
    let (gateway, good) = (&corridor.gateway, corridor.token.clone());
    let other = gateway.token("other").expect("a token");
    let revoked = issue(&corridor, &[]);
    gateway
        .command(&[
            "token",
            "revoke",
            TENANT,
            revoked["id"].as_str().expect("an id"),
        ])
        .expect("the command runs");
    let expired = issue(&corridor, &["--expires", "1s"]);
    // The only way to an expired token is to wait for it.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;

    let mut changed = good.clone();
    changed.pop();
    let url = gateway.scim_url(TENANT);
    let secret =
        |issued: &Value| format!("Bearer {}", issued["token"].as_str().unwrap_or_default());
    let refused = [
        ("no token", url.clone(), None),
        ("no bearer", url.clone(), Some("non-token".to_owned())),
        ("empty", url.clone(), Some("Bearer ".to_owned())),
        ("garbage", url.clone(), Some("Bearer garbage".to_owned())),
        (
            "one character short",
            url.clone(),
            Some(format!("Bearer {changed}")),
        ),
        ("revoked", url.clone(), Some(secret(&revoked))),
        ("expired", url.clone(), Some(secret(&expired))),
        (
            "another tenant's",
            url.clone(),
            Some(format!("Bearer {other}")),
        ),
        (
            "unknown tenant",
            gateway.scim_url("nobody"),
            Some(format!("Bearer {good}")),
        ),
        (
            "odd tenant",
            gateway.scim_url("Acme%2Fx"),
            Some(format!("Bearer {good}")),
        ),
    ];
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let mut bodies = Vec::new();
    for (name, url, header) in refused {
        for path in ["/Users", "/ServiceProviderConfig", "/nonsense"] {
            let mut request = client.get(format!("{url}{path}"));
            if let Some(header) = &header {
                request = request.header(AUTHORIZATION, header);
            }
            let response = request.send().await.expect("an answer");
            assert_eq!(response.status(), 401, "{name} {path}");
            assert_eq!(
                response.headers()[WWW_AUTHENTICATE],
                "Bearer",
                "{name} {path}"
            );
            bodies.push(response.text().await.expect("a body"));
        }
    }
    bodies.dedup();
    assert_eq!(
        bodies.len(),
        1,
        "the bodies tell failures apart: {bodies:?}"
    );

    let twice = client
        .get(format!("{url}/Users"))
        .header(AUTHORIZATION, format!("Bearer {good}"))
        .header(AUTHORIZATION, format!("Bearer {good}"));
    assert_eq!(twice.send().await.expect("an answer").status(), 401);
    let admitted = client.get(format!("{url}/Users")).bearer_auth(&good);
    assert_eq!(admitted.send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn the_command_works_with_and_without_a_running_gateway() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut corridor = Corridor::start(dir.path(), Setup::instant()).expect("the corridor is up");
    let count = |corridor: &Corridor| {
        let listed = corridor
            .gateway
            .command(&["--output", "json", "token", "list", TENANT]);
        let listed = listed.expect("the command runs");
        let tokens: Value = serde_json::from_str(&listed.stdout).expect("JSON");
        assert!(
            !listed.stdout.contains(&corridor.token),
            "a list never shows a secret"
        );
        tokens["tokens"].as_array().expect("a list").len()
    };
    assert_eq!(count(&corridor), 1);
    let file = corridor.gateway.data_dir().join("admin-token");
    let rights = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&file)
            .expect("the admin token's file")
            .permissions(),
    );
    assert_eq!(rights & 0o777, 0o600);

    assert!(
        corridor.gateway.stop().expect("it stops"),
        "{}",
        corridor.gateway.log()
    );
    assert!(!file.exists(), "the admin token goes with the gateway");
    let offline = issue_token(corridor.gateway.config(), TENANT).expect("a token");
    assert_eq!(count(&corridor), 2);

    // A killed gateway leaves its file behind; the command finds out that nobody listens.
    corridor.gateway.restart().expect("it starts again");
    corridor.gateway.kill();
    assert!(file.exists());
    assert_eq!(count(&corridor), 2);

    corridor.gateway.restart().expect("it starts again");
    let url = format!("{}/Users", corridor.gateway.scim_url(TENANT));
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let admitted = client
        .get(url)
        .bearer_auth(offline)
        .send()
        .await
        .expect("an answer");
    assert_eq!(admitted.status(), 200);

    let unknown = corridor
        .gateway
        .command(&["token", "issue", "acme-knowbe5"])
        .expect("runs");
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains(TENANT), "{}", unknown.stderr);
}

#[tokio::test]
async fn the_admin_listener_wants_its_token() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let corridor = Corridor::start(dir.path(), Setup::instant()).expect("the corridor is up");
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!(
        "{}/api/v1/tenants/{TENANT}/tokens",
        corridor.gateway.admin_url()
    );
    for token in ["", "wrong", corridor.token.as_str()] {
        let answer = client
            .get(&url)
            .bearer_auth(token)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 401);
        let kind = answer.headers()["content-type"].to_str().expect("text");
        assert!(kind.starts_with("application/problem+json"), "{kind}");
    }
    let token = corridor.gateway.admin_token().expect("the admin token");
    let answer = client
        .get(&url)
        .bearer_auth(token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
}

fn issue(corridor: &Corridor, more: &[&str]) -> Value {
    let mut args = vec!["--output", "json", "token", "issue", TENANT];
    args.extend(more);
    let ran = corridor.gateway.command(&args).expect("the command runs");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}
