//! The rules: each a function from the tree to what breaks it. Their tables are in `main.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::markdown::{headings, link_targets, prose_lines, without_code_spans};
use crate::rust::Source;
use crate::tree::{Finding, Tree, extension, is_in, joined, module_path, names_path};
use crate::{
    BANNED_MACROS, BANNED_NAMES, DIARY_WORDS, LAYERS, LINES_MAX, MACHINE_PATHS, NEVER, ONLY,
};

/// The words of a table's cell.
fn words(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split_whitespace()
}

fn contains(cell: &str, word: &str) -> bool {
    cell.split_whitespace().any(|other| other == word)
}

pub(crate) fn layers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let known: BTreeMap<&str, &str> = LAYERS.iter().copied().collect();
    for (path, source) in tree.rust("gateway/src/") {
        let inside = module_path(path, "gateway/src/");
        let Some(&module) = inside.first() else {
            for row in LAYERS.iter().filter(|_| path == "gateway/src/lib.rs") {
                if !source.modules.iter().any(|declared| declared.name == row.0) {
                    let what = format!(
                        "the layer table has a row for `{}`, which is no module",
                        row.0
                    );
                    findings.push(Finding::new(path, 1, what, "remove the row from LAYERS"));
                }
            }
            continue;
        };
        let Some(&allowed) = known.get(module) else {
            let what = format!("the module `{module}` has no row in the layer table");
            findings.push(Finding::new(
                path,
                1,
                what,
                "add it to LAYERS, at the height that it imports from",
            ));
            continue;
        };
        for name in &source.names {
            // `super` as often as the file is deep leads to the root of the crate.
            let ups = name
                .path
                .iter()
                .take_while(|segment| *segment == "super")
                .count();
            let at_root = match name.path[0].as_str() {
                "crate" => 1,
                _ if ups > 0 && ups == inside.len() + name.inline_depth => ups,
                _ => continue,
            };
            let Some(other) = name.path.get(at_root) else {
                continue;
            };
            if other == module || contains(allowed, other) {
                continue;
            }
            let what = if known.contains_key(other.as_str()) {
                format!("`{module}` names `{other}`, which is not below it")
            } else {
                format!("`{module}` names `crate::{other}`; the crate's root holds modules only")
            };
            let cure = "hand the value in as an argument, or move the type to the lower module";
            findings.push(Finding::new(path, name.line, what, cure));
        }
    }
    findings
}

pub(crate) fn names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.rust("") {
        let elsewhere = ONLY.iter().filter(|(folder, _, places)| {
            let is_place = |place| is_in(path, &format!("{folder}/{place}"));
            is_in(path, folder) && !words(places).any(is_place)
        });
        for (_, names, places) in elsewhere {
            let cure = format!(
                "only {} may: ask it for what you need",
                places.replace(' ', ", ")
            );
            findings.extend(named(path, source, names, false, &cure));
        }
        let here = |places| !tree.is_test(path) && words(places).any(|place| is_in(path, place));
        for (_, names, cure) in NEVER.iter().filter(|row| here(row.0)) {
            findings.extend(named(path, source, names, true, cure));
        }
    }
    findings
}

/// Where the file names one of these; unit tests may be left out.
fn named(
    path: &str,
    source: &Source,
    names: &'static str,
    tests_may: bool,
    cure: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for what in words(names) {
        let hits = source.names.iter().filter(|name| name.names(what, source));
        for hit in hits.filter(|name| !(tests_may && name.in_tests)) {
            findings.push(Finding::new(
                path,
                hit.line,
                format!("names `{what}`"),
                cure,
            ));
        }
    }
    findings
}

pub(crate) fn purpose(tree: &Tree) -> Vec<Finding> {
    let cure = "begin with what the file is for, its invariant, and what is absent from it";
    let opens = |text: &str| {
        text.lines()
            .next()
            .is_some_and(|line| line.starts_with("//! "))
    };
    tree.texts(&["rs"])
        .filter(|(_, text)| !opens(text))
        .map(|(path, _)| Finding::new(path, 1, "the first line is not a `//!` comment", cure))
        .collect()
}

pub(crate) fn banned_code(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.rust("") {
        for name in source.names.iter().filter(|name| name.is_macro) {
            if let Some(banned) = BANNED_MACROS.iter().find(|banned| name.path == [**banned]) {
                let cure = "finish it, or leave it out and say so where the reader looks";
                findings.push(Finding::new(path, name.line, format!("`{banned}!`"), cure));
            }
        }
        for name in source
            .names
            .iter()
            .filter(|name| name.is_attribute && name.path == ["ignore"])
        {
            let cure = "make the test fast and sure, put it behind `make soak`, or remove it";
            findings.push(Finding::new(path, name.line, "an ignored test", cure));
        }
    }
    findings
}

pub(crate) fn file_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree.files.keys() {
        let stems = path
            .split('/')
            .map(|part| part.split('.').next().unwrap_or(part));
        if let Some(banned) = stems.into_iter().find(|stem| contains(BANNED_NAMES, stem)) {
            let cure =
                "name it after what is inside (and `foo.rs` beside `foo/`, not `foo/mod.rs`)";
            findings.push(Finding::new(
                path,
                1,
                format!("the name `{banned}` says nothing"),
                cure,
            ));
        }
        if [".orig", ".rej", ".bak", ".backup", ".swp", "~"]
            .iter()
            .any(|end| path.ends_with(end))
        {
            findings.push(Finding::new(
                path,
                1,
                "a left-over copy",
                "remove it: git is the backup",
            ));
        }
    }
    findings
}

pub(crate) fn plain_text(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts(&[]) {
        if matches!(path, "Cargo.lock" | "LICENSE") {
            continue;
        }
        // Cases are what clients and people write, odd white space included.
        let ours = !path.starts_with("tests/cases/");
        let strict = ours && ["rs", "toml", "md", "wit"].contains(&extension(path));
        for (line, content) in (1..).zip(text.split('\n')) {
            if strict && content.trim_end() != content {
                findings.push(Finding::new(
                    path,
                    line,
                    "white space at the end",
                    "remove it",
                ));
            }
            if strict && content.contains('\t') {
                findings.push(Finding::new(
                    path,
                    line,
                    "a tab",
                    "use spaces (in a string: `\\t`)",
                ));
            }
            if MACHINE_PATHS
                .iter()
                .any(|machine| names_path(content, machine))
            {
                let cure = "use a path relative to the project, or a made-up one such as /srv";
                findings.push(Finding::new(
                    path,
                    line,
                    "a path of somebody's machine",
                    cure,
                ));
            }
            if DIARY_WORDS.iter().any(|word| content.contains(word)) {
                findings.push(Finding::new(
                    path,
                    line,
                    "a note to oneself",
                    "do it, or open an issue",
                ));
            }
        }
        if strict && !text.is_empty() && !text.ends_with('\n') {
            findings.push(Finding::new(
                path,
                1,
                "no newline at the end of the file",
                "add it",
            ));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX && ["rs", "md", "toml", ""].contains(&extension(path)) {
            let what = format!("{lines} lines, and {LINES_MAX} is the limit");
            findings.push(Finding::new(
                path,
                lines,
                what,
                "split it where the reasons differ",
            ));
        }
    }
    findings
}

/// A file that no `mod` reaches is not compiled, however right it looks.
pub(crate) fn dead_files(tree: &Tree) -> Vec<Finding> {
    tree.texts(&["rs"])
        .filter(|(path, _)| !tree.is_reached(path))
        .map(|(path, _)| {
            Finding::new(
                path,
                1,
                "no `mod` leads here, so it is not compiled",
                "declare it or remove it",
            )
        })
        .collect()
}

pub(crate) fn json(tree: &Tree) -> Vec<Finding> {
    let read_by_tests =
        |path: &str| path.starts_with("tests/cases/") || path.contains("/exchanges/");
    tree.texts(&["json"])
        .filter(|(path, _)| read_by_tests(path))
        .filter_map(|(path, text)| {
            let problem = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
            Some(Finding::new(
                path,
                problem.line(),
                problem.to_string(),
                "correct the JSON",
            ))
        })
        .collect()
}

pub(crate) fn connectors(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let inside = |path: &str| -> Option<String> {
        let (folder, _) = path.strip_prefix("connectors/")?.split_once('/')?;
        Some(folder.to_owned())
    };
    let folders: BTreeSet<String> = tree.files.keys().filter_map(|path| inside(path)).collect();
    for folder in folders {
        let manifest = format!("connectors/{folder}/connector.toml");
        for needed in ["connector.toml", "Cargo.toml", "README.md", "src/lib.rs"] {
            if !tree
                .files
                .contains_key(&format!("connectors/{folder}/{needed}"))
            {
                let cure = "`gateway connector new` shows what a connector's folder holds";
                findings.push(Finding::new(
                    &manifest,
                    1,
                    format!("the folder has no {needed}"),
                    cure,
                ));
            }
        }
        let named = tree.text(&manifest).map(|text| text.parse::<toml::Table>());
        match named {
            Some(Ok(table)) if table.get("name").and_then(toml::Value::as_str) != Some(&folder) => {
                let what = format!("the connector is not named after its folder, `{folder}`");
                findings.push(Finding::new(&manifest, 1, what, "give both the same name"));
            }
            Some(Err(problem)) => {
                findings.push(Finding::new(
                    &manifest,
                    1,
                    problem.message(),
                    "correct the TOML",
                ));
            }
            _ => {}
        }
    }
    findings
}

pub(crate) fn packages(tree: &Tree) -> Vec<Finding> {
    let shares = |text: &str| {
        let lints = text.parse::<toml::Table>().ok()?.remove("lints")?;
        lints.get("workspace")?.as_bool()
    };
    // A fixture is built alone, outside the workspace.
    tree.packages()
        .filter(|(path, _)| !path.contains("/fixtures/"))
        .filter(|(_, text)| shares(text) != Some(true))
        .map(|(path, _)| {
            Finding::new(
                path,
                1,
                "the package has lints of its own",
                "write `[lints]` and `workspace = true`",
            )
        })
        .collect()
}

pub(crate) fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts(&["md"]) {
        for (line, content) in prose_lines(text) {
            for target in link_targets(&without_code_spans(content)) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
                let file = if file.is_empty() {
                    path.to_owned()
                } else {
                    joined(path, file)
                };
                if !tree.has(&file) {
                    let what = format!("the link to `{target}` leads nowhere");
                    findings.push(Finding::new(
                        path,
                        line,
                        what,
                        "correct the path; it is relative to this file",
                    ));
                } else if !anchor.is_empty()
                    && tree
                        .text(&file)
                        .is_some_and(|text| !headings(text).contains(anchor))
                {
                    let what = format!("{file} has no heading for `#{anchor}`");
                    findings.push(Finding::new(path, line, what, "correct the anchor"));
                }
            }
        }
    }
    findings
}

pub(crate) fn make_targets(tree: &Tree) -> Vec<Finding> {
    let makefile = tree.text("Makefile").unwrap_or_default();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .collect();
    let mut findings = Vec::new();
    for (path, text) in tree.texts(&["md"]) {
        let mut fenced = false;
        for (line, content) in (1..).zip(text.lines()) {
            if content.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            // Commands: the lines of a fenced block, the `code spans` elsewhere.
            let commands: Vec<&str> = match fenced {
                true => vec![content.trim().trim_start_matches("$ ")],
                false => content.split('`').skip(1).step_by(2).collect(),
            };
            for command in commands {
                let Some(arguments) = command.strip_prefix("make ") else {
                    continue;
                };
                let arguments = arguments.split('#').next().unwrap_or_default();
                let target = arguments
                    .split_whitespace()
                    .find(|word| !word.contains('='));
                let is_name =
                    |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                if let Some(target) = target
                    .filter(is_name)
                    .filter(|target| !targets.contains(target))
                {
                    let what = format!("there is no `make {target}`");
                    findings.push(Finding::new(
                        path,
                        line,
                        what,
                        "a bare `make` lists the targets",
                    ));
                }
            }
        }
    }
    findings
}
