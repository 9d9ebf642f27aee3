//! Configurations as people write them, and what the gateway says to each.
//!
//! Every `cases/settings/NAME.toml` is read, with the environment that its `# env: NAME=value`
//! lines give, and the outcome compared with `NAME.txt`. `UPDATE_EXPECT=1` rewrites those.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gateway::egress::{Credential, Egress, EgressLimits, EgressPolicy};
use gateway::settings::{SecretRef, Settings};

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is in every case that holds an inline secret, and may be in no outcome.
const CANARY: &str = "CANARY";

#[test]
fn cases() {
    let folder = package().join("cases/settings");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .collect();
    files.sort();
    let (cases, expectations): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| file.extension().is_some_and(|kind| kind == "toml"));
    let mut wrong = String::new();
    for case in &cases {
        let outcome = outcome(case);
        assert!(
            !outcome.contains(CANARY),
            "{} shows a secret:\n{outcome}",
            case.display()
        );
        let expected = case.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &outcome).expect("the expectation can be written");
        } else if fs::read_to_string(&expected).ok().as_ref() != Some(&outcome) {
            let _ = writeln!(wrong, "{}:\n{outcome}\n", expected.display());
        }
    }
    assert!(
        wrong.is_empty(),
        "not as expected (UPDATE_EXPECT=1 rewrites):\n{wrong}"
    );
    for expected in expectations {
        let case = expected.with_extension("toml");
        assert!(case.exists(), "{} belongs to no case", expected.display());
    }
}

fn outcome(case: &Path) -> String {
    let text = fs::read_to_string(case).expect("a case is text");
    let environment = text
        .lines()
        .filter_map(|line| line.strip_prefix("# env: ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let name = Path::new(case.file_name().expect("a case has a name"));
    match Settings::parse(name, &text, environment) {
        Err(problems) => format!("{problems}\n"),
        Ok(settings) => summary(&settings),
    }
}

fn summary(settings: &Settings) -> String {
    let mut out = String::from("ok\n");
    let gateway = &settings.gateway;
    let _ = writeln!(
        out,
        "listen {}\nadmin_listen {}\npublic_url {}\nstore {}\nconnectors {}",
        gateway.listen,
        gateway.admin_listen,
        gateway.public_url,
        gateway.store,
        gateway.connectors.display()
    );
    let limits = &gateway.limits;
    let _ = writeln!(
        out,
        "request_ms {} page_size_max {} cpu_ms {}",
        limits.egress.request_ms, limits.scim.page_size_max, limits.connector.cpu_ms
    );
    for (name, tenant) in &settings.tenants {
        let _ = writeln!(
            out,
            "{name}: {} settings {} secrets {:?} allow_private {:?}",
            tenant.connector,
            serde_json::Value::Object(tenant.settings.clone()),
            tenant.secrets,
            tenant.egress.allow_private
        );
    }
    if !settings.warnings.is_empty() {
        let _ = writeln!(out, "\nwarnings:\n{}", settings.warnings);
    }
    out
}

#[test]
fn the_example_is_valid_and_draws_no_warning() {
    let file = package().join("../tenants.example.toml");
    let text = fs::read_to_string(&file).expect("the example");
    let settings = Settings::parse(&file, &text, []).expect("the example is valid");
    assert!(settings.warnings.is_empty(), "{}", settings.warnings);
    assert_eq!(settings.tenants.len(), 1);
    assert!(
        settings
            .tenants
            .values()
            .all(|tenant| tenant.connector == "knowbe4")
    );
}

#[test]
fn a_missing_file_is_a_problem_with_a_way_out() {
    let problems = Settings::load(Path::new("no/such/tenants.toml")).expect_err("no file");
    let text = problems.to_string();
    assert!(
        text.starts_with("no/such/tenants.toml: cannot be read: "),
        "{text}"
    );
    assert!(text.contains("--config"), "{text}");
}

#[test]
fn other_rooms_locate_their_problems() {
    let text = "[tenants.a]\nconnector = \"knowbe4\"\n\n[tenants.a.settings]\nregion = \"su\"\n";
    let settings = Settings::parse(Path::new("t.toml"), text, []).expect("valid");
    let written = settings.source.problem(
        &["tenants", "a", "settings", "region"],
        "there is no region \"su\"",
        Some("did you mean `us`?".to_owned()),
    );
    assert_eq!(
        written.to_string(),
        "t.toml:5:10: there is no region \"su\"\n  5 | region = \"su\"\n    |          ^^^^\n  \
         help: did you mean `us`?"
    );
    let missing = settings
        .source
        .problem(&["tenants", "a", "secrets", "api_key"], "missing", None);
    assert_eq!(
        missing.to_string(),
        "t.toml:1:10: missing\n  1 | [tenants.a]\n    |          ^"
    );
}

#[test]
fn problems_are_data_for_machines() {
    let text = "[gateway]\nlisten = 5\n";
    let problems = Settings::parse(Path::new("t.toml"), text, []).expect_err("a number");
    let json = serde_json::to_value(&problems).expect("JSON");
    assert_eq!(json[0]["place"]["line"]["line"], 2);
    assert_eq!(json[0]["place"]["line"]["column"], 10);
    assert_eq!(json[0]["message"], "`listen` must be text in quotes");
}

#[test]
fn a_secret_file_is_read_without_the_line_break_at_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    fs::write(&file, "s3cret-value\n").expect("written");
    let settings = |reference: &str| {
        let text = format!("[tenants.a]\nconnector = \"x\"\nsecrets.k = \"{reference}\"\n");
        Settings::parse(Path::new("t.toml"), &text, [])
            .expect("valid")
            .tenants["a"]
            .secrets["k"]
            .clone()
    };
    let reference = settings(&format!("file:{}", file.display()));
    assert_eq!(reference, SecretRef::File(file.clone()));
    let secret = reference.resolve().expect("readable");
    assert!(!format!("{secret:?}").contains("s3cret"));
    // No header can carry a line break, so a credential with one would be refused.
    let policy = EgressPolicy {
        origins: vec![],
        allow_private: vec![],
        credential: Some(Credential::Bearer(secret)),
    };
    assert!(Egress::new(policy, &EgressLimits::default()).is_ok());
    for (content, complaint) in [("", "is empty"), ("\n", "is empty")] {
        fs::write(&file, content).expect("written");
        assert!(reference.resolve().expect_err("empty").contains(complaint));
    }
    fs::write(&file, vec![b'x'; 70_000]).expect("written");
    assert!(reference.resolve().expect_err("large").contains("larger"));
    fs::remove_file(&file).expect("removed");
    assert!(
        reference
            .resolve()
            .expect_err("missing")
            .contains("cannot be read")
    );
    let unset = settings("env:NO_SUCH_VARIABLE_OF_THE_GATEWAY")
        .resolve()
        .expect_err("unset");
    assert_eq!(
        unset,
        "the environment variable NO_SUCH_VARIABLE_OF_THE_GATEWAY is not set"
    );
}

#[test]
fn ten_thousand_tenants_are_read_quickly() {
    let mut text = String::from("[gateway]\nlisten = \"127.0.0.1:8080\"\n");
    for index in 0..10_000 {
        let _ = writeln!(
            text,
            "[tenants.customer-{index}]\nconnector = \"knowbe4\"\ntest_mode = false\n\
             [tenants.customer-{index}.settings]\nregion = \"us\"\n\
             [tenants.customer-{index}.secrets]\napi_key = \"env:CUSTOMER_{index}_KEY\"\n\
             [tenants.customer-{index}.egress]\nallow_private = [\"127.0.0.1/32\"]\n"
        );
    }
    let started = Instant::now();
    let settings = Settings::parse(Path::new("t.toml"), &text, []).expect("valid");
    let valid = started.elapsed();
    assert_eq!(settings.tenants.len(), 10_000);
    let broken = text.replace("connector =", "conector =");
    let started = Instant::now();
    let problems = Settings::parse(Path::new("t.toml"), &broken, []).expect_err("broken");
    let invalid = started.elapsed();
    assert_eq!(problems.iter().count(), 10_000);
    println!("10,000 tenants: {valid:?}; 10,000 problems in them: {invalid:?}");
    // The far side is wide because a busy machine is slow; see the printed figures.
    assert!(valid.max(invalid) < Duration::from_secs(10));
}
