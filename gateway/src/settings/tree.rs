//! The merged configuration as a tree, and how it is read.
//!
//! File and environment are merged by the crate `config`. It keeps no positions and stops at the
//! first mistake, so reading is ours: a [`Table`] gives out its keys one by one, what is left over
//! is unknown, and every mistake goes to the [`Reader`] with its path.

use std::collections::HashMap;

use config::{Config, Environment, File, FileFormat, Value, ValueKind};
use serde_json::Value as Json;

use super::problem::{Problem, Problems};
use super::source::Source;

/// Merges the file and the environment; none if the file is not TOML.
pub(super) fn merge(source: &Source, problems: &mut Problems) -> Option<Table> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let mut variables = HashMap::new();
    for (path, variable) in source.variables() {
        if path
            .iter()
            .all(|key| !key.is_empty() && key.chars().all(fits))
        {
            variables.insert(variable.name.clone(), variable.value.clone());
        } else {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            let message = "names no key of the configuration; the parts of the key's path are \
                           joined by two underscores";
            problems.push(source.problem(&keys, message, None));
        }
    }
    let environment = Environment::with_prefix("GATEWAY")
        .separator("__")
        .source(Some(variables));
    let merged = Config::builder()
        .add_source(File::from_str(source.text(), FileFormat::Toml))
        .add_source(environment)
        .build()
        .and_then(|config| config.cache.into_table());
    match merged {
        Ok(keys) => Some(Table {
            path: Vec::new(),
            is_stand_in: false,
            keys,
        }),
        Err(error) => {
            let whole = || Problem::of_file(source.file(), error.to_string(), None);
            problems.push(source.syntax_problem().unwrap_or_else(whole));
            None
        }
    }
}

/// Collects what is wrong while the tree is read.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    pub(super) problems: Problems,
    pub(super) warnings: Problems,
}

/// The keys that lead to a value.
pub(super) type KeyPath = Vec<String>;

impl Reader<'_> {
    pub(super) fn problem(&mut self, path: &[&str], message: String, suggestion: Option<String>) {
        self.problems
            .push(self.source.problem(path, message, suggestion));
    }

    pub(super) fn problem_at(&mut self, path: &KeyPath, message: String, help: Option<String>) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.problem(&path, message, help);
    }

    pub(super) fn key_problem_at(&mut self, path: &KeyPath, message: String, help: Option<String>) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.problems
            .push(self.source.key_problem(&path, message, help));
    }

    pub(super) fn warning(&mut self, path: &[&str], message: String, suggestion: Option<String>) {
        self.warnings
            .push(self.source.problem(path, message, suggestion));
    }
}

/// A table of which keys are taken one by one.
pub(super) struct Table {
    pub(super) path: KeyPath,
    /// Whether something else stood where this table should be; that has been reported.
    pub(super) is_stand_in: bool,
    keys: HashMap<String, Value>,
}

impl Table {
    fn take(&mut self, key: &str) -> Option<(KeyPath, ValueKind)> {
        let value = self.keys.remove(key)?;
        Some((self.path_of(key), value.kind))
    }

    pub(super) fn path_of(&self, key: &str) -> KeyPath {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The names of the keys that are left, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.keys.keys().cloned().collect();
        names.sort();
        names
    }

    /// The table under a key; an empty one if there is none.
    pub(super) fn table(&mut self, key: &str, reader: &mut Reader<'_>) -> Table {
        let (keys, is_stand_in) = match self.take(key) {
            None => (HashMap::new(), false),
            Some((_, ValueKind::Table(keys))) => (keys, false),
            Some((path, _)) => {
                let header = path.join(".");
                let message = format!("`{key}` must be a table");
                reader.problem_at(&path, message, Some(format!("write [{header}]")));
                (HashMap::new(), true)
            }
        };
        Table {
            path: self.path_of(key),
            is_stand_in,
            keys,
        }
    }

    /// The text under a key, and what `parse` makes of it. `parse` fails with a message and a
    /// suggestion.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        reader: &mut Reader<'_>,
        parse: impl FnOnce(&str) -> Result<T, (String, Option<String>)>,
    ) -> Option<T> {
        match self.take(key)? {
            (path, ValueKind::String(text)) => match parse(&text) {
                Ok(value) => Some(value),
                Err((message, suggestion)) => {
                    reader.problem_at(&path, message, suggestion);
                    None
                }
            },
            (path, _) => {
                reader.problem_at(&path, format!("`{key}` must be text in quotes"), None);
                None
            }
        }
    }

    /// `true` or `false`; from the environment, the word.
    pub(super) fn boolean(&mut self, key: &str, reader: &mut Reader<'_>) -> Option<bool> {
        let (path, value) = self.take(key)?;
        let found = match value {
            ValueKind::Boolean(value) => Some(value),
            ValueKind::String(text) if reader.source.variable(&path).is_some() => text.parse().ok(),
            _ => None,
        };
        if found.is_none() {
            let message = format!("`{key}` must be true or false, without quotes");
            reader.problem_at(&path, message, None);
        }
        found
    }

    /// A list of texts, each with its path; from the environment, separated by commas.
    pub(super) fn texts(&mut self, key: &str, reader: &mut Reader<'_>) -> Vec<(KeyPath, String)> {
        let Some((path, value)) = self.take(key) else {
            return Vec::new();
        };
        let place = |index: usize| {
            let mut place = path.clone();
            place.push(index.to_string());
            place
        };
        match value {
            ValueKind::Array(values) => {
                let mut texts = Vec::new();
                for (index, value) in values.into_iter().enumerate() {
                    match value.kind {
                        ValueKind::String(text) => texts.push((place(index), text)),
                        _ => {
                            reader.problem_at(&place(index), "must be text in quotes".into(), None)
                        }
                    }
                }
                texts
            }
            ValueKind::String(text) if reader.source.variable(&path).is_some() => text
                .split(',')
                .enumerate()
                .map(|(index, part)| (place(index), part.trim().to_owned()))
                .collect(),
            _ => {
                let message = format!("`{key}` must be a list, in square brackets");
                reader.problem_at(&path, message, None);
                Vec::new()
            }
        }
    }

    /// The value under a key, whatever it is.
    pub(super) fn json(&mut self, key: &str, reader: &mut Reader<'_>) -> Option<(KeyPath, Json)> {
        let (path, value) = self.take(key)?;
        match json(value) {
            Some(json) => Some((path, json)),
            None => {
                let message = format!("`{key}` holds a number that is not finite");
                reader.problem_at(&path, message, None);
                None
            }
        }
    }

    /// Reports every key that is left.
    pub(super) fn refuse_unknown(self, known: &[&str], reader: &mut Reader<'_>) {
        for key in self.names() {
            let path = self.path_of(&key);
            let table = match self.path.is_empty() {
                true => String::new(),
                false => format!(" in [{}]", self.path.join(".")),
            };
            let message = format!("unknown key `{key}`{table}");
            let help = did_you_mean(&key, known)
                .unwrap_or_else(|| format!("the keys are {}", known.join(", ")));
            reader.key_problem_at(&path, message, Some(help));
        }
    }
}

fn json(value: ValueKind) -> Option<Json> {
    Some(match value {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(value) => value.into(),
        ValueKind::I64(value) => value.into(),
        ValueKind::U64(value) => value.into(),
        // TOML integers have 64 bits.
        ValueKind::I128(_) | ValueKind::U128(_) => return None,
        ValueKind::Float(value) => serde_json::Number::from_f64(value)?.into(),
        ValueKind::String(text) => text.into(),
        ValueKind::Array(values) => values
            .into_iter()
            .map(|value| json(value.kind))
            .collect::<Option<_>>()?,
        ValueKind::Table(keys) => {
            // The crate's tables have no order of their own.
            let mut keys: Vec<_> = keys.into_iter().collect();
            keys.sort_by(|a, b| a.0.cmp(&b.0));
            let pairs = keys
                .into_iter()
                .map(|(key, value)| Some((key, json(value.kind)?)));
            Json::Object(pairs.collect::<Option<_>>()?)
        }
    })
}

/// The known word that this one is probably meant to be.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    let (distance, nearest) = known
        .iter()
        .map(|known| {
            (
                strsim::damerau_levenshtein(&word.to_lowercase(), known),
                known,
            )
        })
        .min()?;
    let close = distance <= (nearest.chars().count() / 3).max(1);
    close.then(|| format!("did you mean `{nearest}`?"))
}
