//! Where each value was written: the text of the file and the environment variables.
//!
//! Invariant: what a [`Problem`] shows of a line never includes a secret. The parsed document is
//! made only when there is a problem to locate: a valid configuration with thousands of tenants is
//! not parsed for positions that nobody asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use toml_edit::{Document, Item};

use super::problem::{Place, Problem};
use super::secret::SecretRef;

/// What every overriding variable's name starts with.
const PREFIX: &str = "gateway__";

/// The written configuration. Cheap to clone.
#[derive(Clone)]
pub struct Source(Arc<Written>);

struct Written {
    file: String,
    text: String,
    /// By the path of the key that they override.
    variables: BTreeMap<Vec<String>, Variable>,
    document: OnceLock<Option<Document<String>>>,
    /// Where each line starts, bytes.
    line_starts: OnceLock<Vec<usize>>,
}

#[derive(Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("file", &self.0.file)
            .finish_non_exhaustive()
    }
}

/// The variables of this process. One that is not UTF-8 cannot be meant for the gateway.
pub(super) fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl Source {
    pub(super) fn new(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let variables = environment
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, value)| {
                let keys = name.to_lowercase().strip_prefix(PREFIX)?.to_owned();
                let path = keys.split("__").map(str::to_owned).collect();
                Some((path, Variable { name, value }))
            })
            .collect();
        Self(Arc::new(Written {
            file: file.display().to_string(),
            text: text.to_owned(),
            variables,
            document: OnceLock::new(),
            line_starts: OnceLock::new(),
        }))
    }

    /// A problem of the value at `path`, as in `["tenants", "acme", "settings", "region"]`. What
    /// is not written is located at the nearest table around it.
    pub fn problem(
        &self,
        path: &[&str],
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Problem {
        let place = self.place(path, Wanted::Value);
        Problem {
            place,
            message: message.into(),
            suggestion,
        }
    }

    /// A problem of the key itself. Its value is not shown: it may be a secret in a wrong place.
    pub fn key_problem(
        &self,
        path: &[&str],
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Problem {
        let place = self.place(path, Wanted::Key);
        Problem {
            place,
            message: message.into(),
            suggestion,
        }
    }

    /// The syntax error in the text, if it has one.
    pub(super) fn syntax_problem(&self) -> Option<Problem> {
        let error = Document::parse(self.0.text.as_str()).err()?;
        let at = error.span().unwrap_or(0..0);
        let message = error.message().trim().replace('\n', "; ");
        Some(Problem {
            place: self.line(at, Wanted::Value),
            message,
            suggestion: None,
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.0.text
    }

    pub(super) fn file(&self) -> &Path {
        Path::new(&self.0.file)
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&[String], &Variable)> {
        self.0
            .variables
            .iter()
            .map(|(path, variable)| (path.as_slice(), variable))
    }

    /// The variable that overrides the value at this path.
    pub(super) fn variable(&self, path: &[String]) -> Option<&Variable> {
        self.0.variables.get(path)
    }

    fn place(&self, path: &[&str], wanted: Wanted) -> Place {
        let whole = || Place::File {
            file: self.0.file.clone(),
        };
        if path.is_empty() {
            return whole();
        }
        let owned: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        let set = (1..=owned.len())
            .rev()
            .find_map(|depth| self.variable(&owned[..depth]));
        if let Some(variable) = set {
            return Place::Variable {
                name: variable.name.clone(),
            };
        }
        let document = self
            .0
            .document
            .get_or_init(|| Document::parse(self.0.text.clone()).ok());
        let found = document
            .as_ref()
            .and_then(|document| span(document.as_item(), path, wanted));
        match found {
            Some((at, depth)) if depth == path.len() => return self.line(at, wanted),
            _ => {}
        }
        // Not written itself: in a table that a variable made, or in one of the file.
        let below = self
            .0
            .variables
            .iter()
            .find(|(set, _)| set.starts_with(&owned));
        match (below, found) {
            (Some((_, variable)), _) => Place::Variable {
                name: variable.name.clone(),
            },
            (None, Some((at, _))) => self.line(at, Wanted::Key),
            (None, None) => whole(),
        }
    }

    fn line(&self, at: Range<usize>, wanted: Wanted) -> Place {
        let text = &self.0.text;
        let start = floor(text, at.start.min(text.len()));
        let line_starts = self.0.line_starts.get_or_init(|| {
            let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(breaks).collect()
        });
        let line = line_starts.partition_point(|line_start| *line_start <= start);
        let line_start = line_starts[line - 1];
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let end = floor(text, at.end.clamp(start, line_end));
        let written = text[line_start..line_end].trim_end();
        let column = text[line_start..start].chars().count() + 1;
        let shown = self.shown(written, line_start, wanted);
        let room = (shown.chars().count() + 1).saturating_sub(column).max(1);
        Place::Line {
            file: self.0.file.clone(),
            line,
            column,
            width: text[start..end].chars().count().clamp(1, room),
            text: shown,
        }
    }

    /// The line as it may be shown.
    fn shown(&self, line: &str, line_start: usize, wanted: Wanted) -> String {
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, value.trim_start()),
            None => ("", line),
        };
        let is_header = line.trim_start().starts_with('[');
        let hidden = match wanted {
            Wanted::Key => !key.is_empty() && !is_header,
            Wanted::Value => !is_header && self.may_be_secret(line, value, line_start),
        };
        match hidden {
            true => format!("{}{HIDDEN}", &line[..line.len() - value.len()]),
            false => line.to_owned(),
        }
    }

    fn may_be_secret(&self, line: &str, value: &str, line_start: usize) -> bool {
        const TELLING: [&str; 6] = ["secret", "password", "token", "key", "credential", "auth"];
        let is_reference = value
            .strip_prefix(['"', '\''])
            .and_then(|rest| rest.split(['"', '\'']).next())
            .is_some_and(|text| SecretRef::parse(text).is_ok());
        // What stands outside quotes: the keys, of inline tables too.
        let keys: String = line.split(['"', '\'']).step_by(2).collect();
        let keys = keys.to_lowercase();
        let in_url = value.contains("://") && value.contains('@');
        let in_secrets = || {
            let header = self.0.text[..line_start]
                .lines()
                .rev()
                .find(|line| line.trim_start().starts_with('['));
            header.is_some_and(|header| header.contains("secrets"))
        };
        !is_reference && (in_url || TELLING.iter().any(|word| keys.contains(word)) || in_secrets())
    }
}

const HIDDEN: &str = "(not shown)";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Key,
    Value,
}

/// The stretch of text of the deepest part of `path` that is written, and how deep that is.
fn span(root: &Item, path: &[&str], wanted: Wanted) -> Option<(Range<usize>, usize)> {
    let mut item = root;
    let mut found = None;
    for (index, key) in path.iter().enumerate() {
        let (written, next) = match item {
            Item::Value(toml_edit::Value::Array(array)) => {
                let value = key.parse().ok().and_then(|place: usize| array.get(place));
                let Some(value) = value else { return found };
                return Some((value.span()?, index + 1));
            }
            Item::Value(toml_edit::Value::InlineTable(table)) => {
                let Some((name, value)) = table.get_key_value(key) else {
                    return found;
                };
                (name.span(), value)
            }
            _ => {
                let table = item.as_table_like();
                let Some((name, value)) = table.and_then(|table| table.get_key_value(key)) else {
                    return found;
                };
                (name.span(), value)
            }
        };
        let own = match next {
            Item::Value(_) if wanted == Wanted::Value => next.span().or(written),
            _ => written.or_else(|| next.span()),
        };
        found = own.map(|own| (own, index + 1)).or(found);
        item = next;
    }
    found
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
