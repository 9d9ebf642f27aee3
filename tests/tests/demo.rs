//! The demo as a person or a script starts it: it ends with exit code 0, tells where everything is,
//! and the simulated vendor, asked over its own GraphQL API, holds exactly the sample directory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gateway_tests::directory::{after, events, people};
use gateway_tests::gateway_process::gateway_binary;
use gateway_tests::vendors::knowbe4::API_KEY;
use serde_json::{Value, json};

fn demo(args: &[&str], ready: &Path) -> Child {
    let binary = gateway_binary().with_file_name("demo");
    Command::new(&binary)
        .args(args)
        .arg("--ready-file")
        .arg(ready)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; build it with `make build`", binary.display()))
}

#[test]
fn once_ends_with_exit_code_0_under_the_vendors_real_limits() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ready = dir.path().join("ready.json");
    let output = demo(&["--once"], &ready)
        .wait_with_output()
        .expect("it ends");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("ada.okafor@example.com"), "{stdout}");
    let ready = read(&ready);
    for pointer in [
        "/tenants/0/scim_url",
        "/tenants/0/token",
        "/tenants/0/vendor_url",
        "/admin_url",
        "/admin_token",
    ] {
        assert!(
            ready.pointer(pointer).is_some_and(Value::is_string),
            "{pointer}: {ready}"
        );
    }
}

#[test]
fn the_vendor_holds_exactly_the_sample_directory_and_ctrl_c_leaves_nothing_running() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ready: PathBuf = dir.path().join("ready.json");
    let mut child = demo(&["--instant"], &ready);
    let stdout = child.stdout.take().expect("standard output");
    // "Ctrl-C ends it." is the last line: by then all is provisioned.
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.starts_with("Ctrl-C")),
        "the demo stays up"
    );
    let ready = read(&ready);
    let vendor_url = ready["tenants"][0]["vendor_url"]
        .as_str()
        .expect("a URL")
        .to_owned();

    let people = people(20);
    let events = events(&people);
    let mut wanted: Vec<Value> = after(people, &events)
        .iter()
        .map(|it| it.at_knowbe4())
        .collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut held = runtime.block_on(accounts(&vendor_url));
    let by_email = |a: &Value, b: &Value| a["email"].as_str().cmp(&b["email"].as_str());
    wanted.sort_by(by_email);
    held.sort_by(by_email);
    assert_eq!(held, wanted);

    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill runs").success());
    assert!(child.wait().expect("it ends").success());
    let admin = ready["admin_url"]
        .as_str()
        .expect("a URL")
        .trim_start_matches("http://")
        .to_owned();
    let gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        std::net::TcpStream::connect(&admin).is_err()
    });
    assert!(gone, "the gateway went with the demo");
}

async fn accounts(url: &str) -> Vec<Value> {
    let query = "query { users(per: 1000, page: 1, status: ALL) { nodes { email firstName lastName \
                 jobTitle department employeeNumber mobilePhoneNumber managerEmail archived } } }";
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let request = client.post(format!("{url}/graphql")).bearer_auth(API_KEY);
    let response = request
        .json(&json!({ "query": query }))
        .send()
        .await
        .expect("an answer");
    let answer: Value = response.json().await.expect("JSON");
    answer["data"]["users"]["nodes"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
        .clone()
}

fn read(file: &Path) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !file.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let text = std::fs::read_to_string(file).expect("the ready file");
    serde_json::from_str(&text).expect("JSON")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
