//! The demo as a person or a script starts it: it ends with exit code 0, tells where everything is,
//! and the simulated vendors, asked over their own APIs, hold exactly the sample directory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gateway_tests::corridor::SCIM;
use gateway_tests::directory::{
    Person, after, events, group_events, groups, groups_after, people, without_removed,
};
use gateway_tests::gateway_process::gateway_binary;
use gateway_tests::held::{
    differences, group_differences, knowbe4_accounts, scim_users_and_groups,
};
use gateway_tests::vendors::scim;
use serde_json::Value;

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
    assert!(stdout.contains("All departments"), "{stdout}");
    assert_eq!(ready["tenants"][1]["app"], "scim", "{ready}");
    for pointer in [
        "/tenants/0/scim_url",
        "/tenants/0/token",
        "/tenants/0/vendor_url",
        "/tenants/1/scim_url",
        "/tenants/1/token",
        "/tenants/1/vendor_url",
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
fn the_vendors_hold_exactly_the_sample_directory_and_ctrl_c_leaves_nothing_running() {
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
    let vendor_url = |tenant: usize| {
        let url = ready["tenants"][tenant]["vendor_url"].as_str();
        url.expect("a URL").to_owned()
    };

    let everybody = people(20);
    let events = events(&everybody);
    let settled = after(everybody.clone(), &events);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let accounts = runtime.block_on(knowbe4_accounts(&vendor_url(0)));
    let wanted: Vec<Value> = settled.iter().map(Person::at_knowbe4).collect();
    same(&differences(&wanted, &accounts.expect("accounts"), "email"));

    let token = format!("{}-{}", scim::TOKEN, SCIM.name);
    let held = runtime.block_on(scim_users_and_groups(&vendor_url(1), &token));
    let (users, held) = held.expect("users and groups");
    let staying = without_removed(settled, &events);
    let wanted: Vec<Value> = staying.iter().map(Person::at_scim).collect();
    same(&differences(&wanted, &users, "userName"));
    let wanted = groups_after(groups(&everybody), &events, &group_events(&everybody));
    same(&group_differences(&wanted, &held));

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

fn same(differences: &[String]) {
    assert!(differences.is_empty(), "{}", differences.join("\n"));
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
