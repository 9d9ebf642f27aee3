//! Holds the rules of `docs/style.md` that a program can hold: which module may name which, what
//! every file begins with, what no file may contain, and that docs, links, cases and folders fit
//! together.
//!
//! The tables are here, the rules in `rules.rs`. Each rule is a function from the tree of files to
//! findings, so that `every_rule_bites` can show it a file that breaks it. A finding names the file
//! and line, what is wrong and the cure.
//!
//! Absent on purpose: exceptions by file name. A rule that needs one is the wrong rule. Nothing is
//! built, no network is touched, and Rust is read as tokens, not parsed: cheap, and enough.

mod markdown;
mod rules;
mod rust;
mod tree;

use std::collections::BTreeMap;

use tree::{Finding, Tree};

/// Module of `gateway/src` -> the modules that it may name. Imports go down: a row names rows
/// below it only. `lib.rs` and `main.rs` stand above.
const LAYERS: &[(&str, &str)] = &[
    (
        "cli",
        "telemetry http pipeline dispatch auth tenant \
         settings connector egress store plan manifest scim",
    ),
    ("telemetry", ""),
    (
        "http",
        "pipeline dispatch auth tenant settings connector egress store plan manifest scim",
    ),
    (
        "pipeline",
        "dispatch auth tenant settings connector egress store plan manifest scim",
    ),
    (
        "dispatch",
        "auth tenant settings connector egress store plan manifest scim",
    ),
    (
        "auth",
        "tenant settings connector egress store plan manifest scim",
    ),
    (
        "tenant",
        "settings connector egress store plan manifest scim",
    ),
    ("settings", "connector egress store scim"),
    ("connector", "egress manifest scim"),
    ("egress", ""),
    ("store", ""),
    ("plan", "scim"),
    ("manifest", "scim"),
    ("scim", ""),
];

/// Below a folder, only these places may name these crates, items and macros. A place is a module:
/// its file and its folder.
const ONLY: &[(&str, &str, &str)] = &[
    ("gateway/src", "actix_web actix_rt", "http"),
    ("gateway/src", "wasmtime", "connector"),
    ("gateway/src", "sled", "store/sled"),
    ("gateway/src", "TenantStore", "store auth"),
    ("gateway/src", "reqwest", "egress cli"),
    ("gateway/src", "clap comfy_table indicatif", "cli"),
    ("gateway/src", "tracing_subscriber", "telemetry"),
    ("gateway/src", "println print std::process::exit", "cli"),
    ("gateway/src", "std::env", "cli settings connector/build"),
];

/// These places name none of these, their unit tests aside; and the cure.
const NEVER: &[(&str, &str, &str)] = &[
    (
        "gateway/src/scim gateway/src/plan gateway/src/manifest",
        "tokio futures async_trait rand tracing jiff::Timestamp::now std::fs std::net \
         std::process std::thread std::time::SystemTime std::time::Instant",
        "this module is pure: take bytes, time and randomness as arguments",
    ),
    (
        "gateway/src",
        "reqwest::get reqwest::Client::new",
        "it follows redirects and obeys HTTP_PROXY: build a client that does neither",
    ),
    (
        "gateway/src/store",
        "tokio::net std::net",
        "the store knows its folder and nothing else: do this in the caller",
    ),
    (
        "connectors",
        "std::fs std::net std::env std::process std::thread std::time tokio reqwest",
        "a connector owns nothing: its only way out is the SDK's `Request::send`",
    ),
];

const BANNED_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

/// Names that say nothing about what is inside.
const BANNED_NAMES: &str = "utils util common helpers helper models misc mod";

/// Written in pieces, so that this file does not break its own rules.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];
const DIARY_WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

const LINES_MAX: usize = 900;

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[(&str, Rule)] = &[
    ("layers", rules::layers),
    ("names", rules::names),
    ("purpose", rules::purpose),
    ("banned-code", rules::banned_code),
    ("file-names", rules::file_names),
    ("plain-text", rules::plain_text),
    ("dead-files", rules::dead_files),
    ("json", rules::json),
    ("connectors", rules::connectors),
    ("packages", rules::packages),
    ("links", rules::links),
    ("make-targets", rules::make_targets),
];

/// rule | file | findings | text of the file, in a tree that is sound without it. A `^` in the text
/// is put together again from two pieces, for the same reason as above.
const BITES: &str = r##"
layers       | gateway/src/scim.rs | 1 | //! x\nuse crate::store::Kind;
layers       | gateway/src/scim.rs | 3 | //! x\nuse crate::{plan, store::{Kind, Store}};
layers       | gateway/src/scim.rs | 1 | //! x\nmod a {\n    use super::super::plan;\n}
layers       | gateway/src/scim.rs | 0 | //! x\nmod a {\n    use super::filter;\n}
layers       | gateway/src/scim.rs | 0 | //! crate::store\nconst A: &str = "crate::store"; // crate::store
layers       | gateway/src/scim.rs | 1 | //! x\nconst A: char = '"'; const B: &'static str = crate::store::X; // "
layers       | gateway/src/scim/filter.rs | 1 | //! x\nfn f() { super::super::plan::diff() }
layers       | gateway/src/scim/filter.rs | 0 | //! x\nuse super::{Path, parse};
layers       | gateway/src/plan.rs  | 0 | //! x\nuse crate::scim::Resource;
layers       | gateway/src/plan.rs  | 1 | //! x\nuse crate::Limits;
layers       | gateway/src/stray.rs | 1 | //! x
layers       | gateway/src/lib.rs   | 13 | //! x\nmod cli;
names        | gateway/src/plan.rs  | 2 | //! x\n#[actix_web::main]\nasync fn f(client: reqwest::Client) {}
names        | gateway/src/store.rs | 1 | //! x\nuse sled;
names        | gateway/src/store.rs | 0 | //! x\nmod sled;\nuse sled::Engine;\nfn f(sled: u8) -> u8 { sled }
names        | gateway/src/store/sled.rs | 0 | //! x\nuse sled::Db;
names        | gateway/src/store.rs | 1 | //! x\nfn f() { println!("x") }
names        | gateway/src/scim.rs  | 2 | //! x\nuse std::{fs::File, time::{Duration, Instant}};
names        | gateway/src/scim.rs  | 0 | //! x\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}
names        | gateway/src/scim.rs  | 1 | //! x\n#[cfg(test)]\nmod tests {}\nuse std::fs;
names        | connectors/knowbe4/src/lib.rs | 1 | //! x\nuse std::time::SystemTime;
purpose      | gateway/src/plan.rs  | 1 | // x
banned-code  | gateway/src/plan.rs  | 2 | //! x\nfn f() { todo!() }\nfn g() { dbg!(1); }
banned-code  | gateway/src/plan.rs  | 1 | //! x\n#[test]\n#[ignore = "slow"]\nfn f() {}
banned-code  | gateway/src/plan.rs  | 0 | //! x\nfn f() { let todo = r#"dbg!() "x" todo!()"#; /* todo!() */ }
file-names   | gateway/src/scim/utils.rs | 1 | //! x
file-names   | gateway/src/scim/mod.rs   | 1 | //! x
file-names   | gateway/src/scim.rs.orig  | 1 | //! x
file-names   | tests/src/helpers/entra.rs | 1 | //! x
plain-text   | docs/a.md | 1 | trailing \nnext
plain-text   | docs/a.md | 1 | a\tb
plain-text   | docs/a.md | 2 | in `/wo^rk/here`\nand cd /ho^me/x,\nnot at https://example.com/wo^rk/
plain-text   | docs/a.md | 1 | TO^DO: more
plain-text   | tests/cases/crlf.toml | 0 | a = 1\t \n
dead-files   | gateway/src/scim/orphan.rs | 1 | //! x
dead-files   | tests/tests/crash.rs       | 0 | //! x
dead-files   | tests/tests/crash/child.rs | 1 | //! x
json         | tests/cases/entra/create.json | 1 | {"a": }
connectors   | connectors/acme/connector.toml    | 3 | name = "acme"
connectors   | connectors/knowbe4/connector.toml | 1 | name = "other"
names        | gateway/src/egress.rs | 1 | //! x\nfn f() { reqwest::Client::new(); }
packages     | tests/fixtures/a/Cargo.toml | 0 | [package]
packages     | gateway/Cargo.toml | 1 | [package]\nname = "gateway"
links        | docs/a.md | 1 | [gone](gone.md), [here](../README.md#start), [web](https://x.y)
links        | docs/a.md | 1 | [no such heading](../README.md#end)\n```\n[code](x.md)\n```
make-targets | docs/a.md | 1 | Run `make demo`, then `make coffee`; make sure it is hot.
make-targets | docs/a.md | 1 | ```\n$ make tea  # earl grey\nmake demo ARGS="--once"\n```
"##;

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::of_this_project();
    let findings: Vec<String> = RULES
        .iter()
        .flat_map(|(name, rule)| {
            let label = move |finding| format!("{finding} [{name}]");
            rule(&tree).into_iter().map(label)
        })
        .collect();
    assert!(
        findings.is_empty(),
        "{} findings; docs/style.md has the reasons:\n\n{}\n",
        findings.len(),
        findings.join("\n")
    );
}

/// A rule that never fires proves nothing.
#[test]
fn every_rule_bites() {
    let cases: Vec<(&str, &str, usize, String)> = BITES
        .trim()
        .lines()
        .map(|line| {
            let columns: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
            let [rule, path, count, text] = columns[..] else {
                panic!("four columns: {line}")
            };
            let text = text.replace("\\n", "\n").replace("\\t", "\t");
            let text = format!("{}\n", text.replace('^', ""));
            (rule, path, count.parse().expect("a number"), text)
        })
        .collect();
    for (name, rule) in RULES {
        let bites = cases.iter().any(|case| case.0 == *name && case.2 > 0);
        assert!(bites, "no case shows that `{name}` bites");
        let sound = rule(&Tree::new(sound_files()));
        assert!(
            sound.is_empty(),
            "`{name}` dislikes a sound tree: {}",
            sound[0]
        );
    }
    for (name, path, expected, text) in cases {
        let (_, rule) = RULES
            .iter()
            .find(|row| row.0 == name)
            .expect("a rule of this name");
        let mut files = sound_files();
        files.insert(path.to_owned(), Some(text.clone()));
        let mut findings = rule(&Tree::new(files));
        findings.retain(|finding| finding.file == path);
        let shown: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(findings.len(), expected, "{name}: {path}\n{text}{shown:#?}");
    }
}

/// The smallest project that breaks no rule.
fn sound_files() -> BTreeMap<String, Option<String>> {
    let package = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n";
    let modules: String = LAYERS
        .iter()
        .map(|row| format!("mod {};\n", row.0))
        .collect();
    let mut files = BTreeMap::new();
    let mut add = |path: &str, text: &str| {
        files.insert(path.to_owned(), Some(text.to_owned()));
    };
    for (module, _) in LAYERS {
        add(&format!("gateway/src/{module}.rs"), "//! x\n");
    }
    add("Makefile", "demo: ## start\n");
    add("README.md", "# Start\n");
    add("gateway/Cargo.toml", package);
    add("gateway/src/lib.rs", &format!("//! x\n{modules}"));
    add("gateway/src/scim.rs", "//! x\nmod filter;\n");
    add("gateway/src/scim/filter.rs", "//! x\n");
    add("gateway/src/store.rs", "//! x\nmod sled;\n");
    add("gateway/src/store/sled.rs", "//! x\n");
    add("tests/Cargo.toml", package);
    add("connectors/knowbe4/connector.toml", "name = \"knowbe4\"\n");
    add("connectors/knowbe4/Cargo.toml", package);
    add("connectors/knowbe4/README.md", "x\n");
    add("connectors/knowbe4/src/lib.rs", "//! x\n");
    files
}
