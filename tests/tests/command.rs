//! The `gateway` command as a person types it: exit codes, and messages that say what to do.

use std::path::Path;

use gateway_tests::corridor::tables;
use gateway_tests::gateway_process::{Config, Gateway, Ran, run};

fn ran(config: &Config, args: &[&str]) -> Ran {
    run(config, args).expect("the command runs")
}

/// A configuration that no gateway has been started with.
fn written(dir: &Path, text: &str) -> Config {
    std::fs::write(dir.join("tenants.toml"), text).expect("a file");
    Config::new(dir, String::new())
}

#[test]
fn usage_errors_are_2_and_help_is_0() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = written(dir.path(), "");
    assert_eq!(ran(&config, &["serv"]).code, 2);
    assert_eq!(ran(&config, &["token", "issue"]).code, 2);
    assert_eq!(
        ran(&config, &["token", "issue", "a", "--expires", "soon"]).code,
        2
    );
    let help = ran(&config, &["--help"]);
    assert_eq!(help.code, 0);
    for command in [
        "serve",
        "check",
        "tenant",
        "token",
        "log",
        "connector",
        "version",
    ] {
        assert!(help.stdout.contains(command), "{command}: {}", help.stdout);
    }
    let version = ran(&config, &["version"]);
    assert_eq!(
        version.stdout.trim(),
        format!("gateway {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn check_reports_everything_at_once_and_serve_refuses_the_same() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let connectors = gateway_tests::gateway_process::connectors_dir();
    let text = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nconnectors = \"{}\"\n\
         [tenants.one]\nconnector = \"knowbe5\"\n\
         [tenants.two]\nconnector = \"knowbe4\"\nsettings = {{ regoin = \"us\" }}\n\
         [tenants.three]\nconnector = \"knowbe4\"\nsettings = {{ region = \"mars\" }}\n\
         secrets = {{ api_key = \"env:NOT_SET_ANYWHERE\" }}\n",
        connectors.display()
    );
    let config = written(dir.path(), &text);
    for command in ["check", "serve"] {
        let ran = ran(&config, &[command]);
        assert_eq!(ran.code, 1, "{command}: {}", ran.stderr);
        for wanted in [
            "tenants.toml:5:",
            "knowbe5",
            "gateway connector build",
            "regoin",
            "api_key",
            "mars",
            "NOT_SET_ANYWHERE",
        ] {
            assert!(
                ran.stderr.contains(wanted),
                "{command}: {wanted} is missing in:\n{}",
                ran.stderr
            );
        }
    }
}

#[test]
fn a_store_that_lost_writes_is_refused_and_says_what_to_restore() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let tables = tables("http://127.0.0.1:9");
    let mut config = Config::new(dir.path(), tables);
    config.env = vec![(
        "ACME_KNOWBE4_API_KEY".to_owned(),
        "0123456789abcdef".to_owned(),
    )];
    let mut gateway = Gateway::start(config.clone()).expect("it starts");
    gateway.token("acme-knowbe4").expect("a token");
    assert!(gateway.stop().expect("it stops"), "{}", gateway.log());
    std::fs::remove_dir_all(gateway.data_dir().join("sled")).expect("sled's folder");
    let refused = ran(&config, &["serve"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("refusing to open the store"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("backup"), "{}", refused.stderr);
}

#[test]
fn two_gateways_on_one_store_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut config = Config::new(dir.path(), tables("http://127.0.0.1:9"));
    config.env = vec![(
        "ACME_KNOWBE4_API_KEY".to_owned(),
        "0123456789abcdef".to_owned(),
    )];
    let gateway = Gateway::start(config.clone()).expect("it starts");
    let other = tempfile::tempdir().expect("a temporary folder");
    let text = std::fs::read_to_string(dir.path().join("tenants.toml")).expect("its file");
    let moved: String = text
        .lines()
        .map(
            |line| match line.starts_with("listen") || line.starts_with("admin_listen") {
                true => String::new(),
                false => format!("{line}\n"),
            },
        )
        .collect();
    let free = |name: &str| {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!(
            "{name} = \"{}\"\n",
            socket.local_addr().expect("an address")
        )
    };
    let ports = format!("[gateway]\n{}{}", free("listen"), free("admin_listen"));
    let mut second = written(other.path(), &moved.replacen("[gateway]\n", &ports, 1));
    second.env = config.env.clone();
    let refused = ran(&second, &["serve"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("another gateway runs on the store"),
        "{}",
        refused.stderr
    );
    drop(gateway);
}
