//! What is wrong with a configuration, told to the person who wrote it.
//!
//! Invariant: a problem never shows a secret; `source` decides which lines may be shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

/// One thing that is wrong, or, among warnings, doubtful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if that can be guessed.
    pub suggestion: Option<String>,
}

/// Where a value was written. Ordered as the configuration is read: file from top to bottom, then
/// the environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The file as a whole.
    File {
        /// Its path as it was given.
        file: String,
    },
    /// A stretch of one line.
    Line {
        /// The file's path as it was given.
        file: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// How many characters are meant.
        width: usize,
        /// The line as it may be shown.
        text: String,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
}

impl Problem {
    /// A problem of the whole file.
    pub(super) fn of_file(file: &Path, message: String, suggestion: Option<String>) -> Self {
        let place = Place::File {
            file: file.display().to_string(),
        };
        Self {
            place,
            message,
            suggestion,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { file } => write!(f, "{file}: {}", self.message)?,
            Place::Variable { name } => write!(f, "{name} (environment): {}", self.message)?,
            Place::Line {
                file,
                line,
                column,
                width,
                text,
            } => {
                let gutter = line.to_string().len();
                writeln!(f, "{file}:{line}:{column}: {}", self.message)?;
                writeln!(f, "  {line} | {text}")?;
                // Tabs before the caret are repeated, so that it stands where the text does.
                let indent: String = text
                    .chars()
                    .take(column - 1)
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                write!(
                    f,
                    "  {:gutter$} | {indent}{}",
                    "",
                    "^".repeat((*width).max(1))
                )?;
            }
        }
        match &self.suggestion {
            Some(suggestion) => write!(f, "\n  help: {suggestion}"),
            None => Ok(()),
        }
    }
}

/// All that is wrong, in the order in which it was written. Displays every problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(BTreeMap<Place, Vec<Problem>>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0
            .entry(problem.place.clone())
            .or_default()
            .push(problem);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.values().flatten()
    }

    /// The value if nothing is wrong, else the problems.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self::from_iter([problem])
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        let mut all = Self::default();
        all.extend(problems);
        all
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.iter())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.iter().count() {
            0 | 1 => Ok(()),
            count => write!(f, "\n\n{count} problems"),
        }
    }
}

impl std::error::Error for Problems {}
