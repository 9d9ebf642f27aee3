//! The project's files and what the rules ask about them: their text, their tokens, and which of
//! them cargo compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::rust::Source;

/// What is wrong where, and the cure.
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) cure: String,
}

impl Finding {
    pub(crate) fn new(file: &str, line: usize, what: impl Into<String>, cure: &str) -> Finding {
        Finding {
            file: file.to_owned(),
            line,
            what: what.into(),
            cure: cure.to_owned(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}:{}: {}. Cure: {}.",
            self.file, self.line, self.what, self.cure
        )
    }
}

/// The files of a project by their path below it, with `/`.
pub(crate) struct Tree {
    /// The text, or none if it is not UTF-8.
    pub(crate) files: BTreeMap<String, Option<String>>,
    rust: BTreeMap<String, Source>,
    reached: BTreeMap<String, bool>,
}

impl Tree {
    pub(crate) fn new(files: BTreeMap<String, Option<String>>) -> Tree {
        let mut tree = Tree {
            files,
            rust: BTreeMap::new(),
            reached: BTreeMap::new(),
        };
        tree.rust = tree
            .texts(&["rs"])
            .map(|(path, text)| (path.to_owned(), Source::read(text)))
            .collect();
        tree.reached = tree.reach();
        tree
    }

    /// Reads the project that the test runs in: cargo starts a test in its package's folder, and
    /// the workspace's manifest is in one of the folders above.
    pub(crate) fn of_this_project() -> Tree {
        let start = std::env::current_dir().expect("a working directory");
        let is_root = |folder: &&Path| {
            std::fs::read_to_string(folder.join("Cargo.toml"))
                .is_ok_and(|manifest| manifest.contains("[workspace]"))
        };
        let root = start
            .ancestors()
            .find(is_root)
            .expect("a Cargo.toml with [workspace] above");
        let mut files = BTreeMap::new();
        read(root, "", &mut files);
        Tree::new(files)
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// A file or a folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| file.starts_with(&folder))
    }

    /// The text files with one of the extensions; all for none.
    pub(crate) fn texts(&self, extensions: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |(path, _)| extensions.is_empty() || extensions.contains(&extension(path)))
            .filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    pub(crate) fn packages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts(&["toml"]).filter(|(path, text)| {
            Path::new(path)
                .file_name()
                .is_some_and(|name| name == "Cargo.toml")
                && text.contains("[package]")
        })
    }

    /// The Rust files below the prefix, as tokens.
    pub(crate) fn rust(&self, prefix: &str) -> impl Iterator<Item = (&str, &Source)> {
        self.rust
            .iter()
            .filter(move |(path, _)| path.starts_with(prefix))
            .map(|(path, source)| (path.as_str(), source))
    }

    /// Whether something leads cargo to this file.
    pub(crate) fn is_reached(&self, path: &str) -> bool {
        self.reached.contains_key(path)
    }

    /// Whether all of the file is compiled for tests only.
    pub(crate) fn is_test(&self, path: &str) -> bool {
        path.contains("/tests/") || self.reached.get(path) == Some(&true)
    }

    /// Every file that cargo and `mod` lead to, or that is included as text -> whether it is
    /// compiled for unit tests only.
    fn reach(&self) -> BTreeMap<String, bool> {
        let mut queue: Vec<(String, bool)> = Vec::new();
        let mut roots = BTreeSet::new();
        for (manifest, text) in self.packages() {
            let package = manifest.trim_end_matches("Cargo.toml");
            let mut root = |path: String| {
                roots.insert(path.clone());
                queue.push((path, false));
            };
            for fixed in ["src/lib.rs", "src/main.rs", "build.rs"] {
                root(format!("{package}{fixed}"));
            }
            for folder in ["src/bin/", "tests/", "benches/", "examples/"] {
                for (path, _) in self.texts(&["rs"]) {
                    let program = path.strip_prefix(&format!("{package}{folder}"));
                    if program.is_some_and(|name| !name.contains('/') || name.ends_with("/main.rs"))
                    {
                        root(path.to_owned());
                    }
                }
            }
            for line in text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("path = \""))
            {
                root(format!("{package}{}", line.trim_end_matches('"')));
            }
        }
        let mut reached = BTreeMap::new();
        while let Some((path, in_tests)) = queue.pop() {
            let Some(text) = self.text(&path) else {
                continue;
            };
            if reached.insert(path.clone(), in_tests).is_some() {
                continue;
            }
            let Some(source) = self.rust.get(&path) else {
                continue;
            };
            let folder = match roots.contains(&path) {
                true => path
                    .rsplit_once('/')
                    .map_or("", |(folder, _)| folder)
                    .to_owned(),
                false => path.trim_end_matches(".rs").to_owned(),
            };
            for module in &source.modules {
                let inside: String = module
                    .inside
                    .iter()
                    .map(|outer| format!("{outer}/"))
                    .collect();
                let child = format!("{folder}/{inside}{}.rs", module.name);
                queue.push((child, in_tests || module.in_tests));
            }
            for included in text.split("include_str!(\"").skip(1) {
                let target = included.split('"').next().unwrap_or_default();
                queue.push((joined(&path, target), false));
            }
        }
        reached
    }
}

pub(crate) fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Option<String>>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type().expect("a file type").is_dir() {
            // What git ignores, and git itself.
            let hidden = name.starts_with('.') && name != ".ci";
            if !hidden && !["target", "data", "connectors/dist"].contains(&path.as_str()) {
                read(&entry.path(), &format!("{path}/"), files);
            }
        } else {
            let bytes = std::fs::read(entry.path()).ok();
            files.insert(path, bytes.and_then(|bytes| String::from_utf8(bytes).ok()));
        }
    }
}

/// Whether the file is the module: `place.rs`, or something in `place/`.
pub(crate) fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// `gateway/src/scim/filter.rs` -> `scim`, `filter`; nothing for a crate's root.
pub(crate) fn module_path<'a>(path: &'a str, source: &str) -> Vec<&'a str> {
    let inside = path
        .strip_prefix(source)
        .unwrap_or(path)
        .trim_end_matches(".rs");
    match inside {
        "lib" | "main" => Vec::new(),
        _ => inside.split('/').collect(),
    }
}

/// The path that `target` names, seen from the file.
pub(crate) fn joined(file: &str, target: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether the line names the absolute path, not a longer one or a URL that it is the end of.
pub(crate) fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before
            .is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '}' | '/' | '*'))
    })
}
