//! The syntax trees of filters and paths (RFC 7644 sections 3.4.2.2 and 3.5.2).
//!
//! Invariant: every tree prints back ([`std::fmt::Display`]) to text that reads as the same tree. Absent:
//! the schema. What a literal means depends on the attribute, so [`Literal`] stays text.

use std::fmt;

/// The comparison operators of RFC 7644 table 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `eq`
    Eq,
    /// `ne`
    Ne,
    /// `co`: contains
    Co,
    /// `sw`: starts with
    Sw,
    /// `ew`: ends with
    Ew,
    /// `gt`
    Gt,
    /// `ge`
    Ge,
    /// `lt`
    Lt,
    /// `le`
    Le,
}

impl Comparison {
    /// Every operator with its keyword.
    pub(super) const TABLE: [(&'static str, Self); 9] = [
        ("eq", Self::Eq),
        ("ne", Self::Ne),
        ("co", Self::Co),
        ("sw", Self::Sw),
        ("ew", Self::Ew),
        ("gt", Self::Gt),
        ("ge", Self::Ge),
        ("lt", Self::Lt),
        ("le", Self::Le),
    ];

    /// The keyword.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::TABLE
            .iter()
            .find(|(_, comparison)| *comparison == self)
            .map_or("eq", |(word, _)| word)
    }

    /// Whether the operator asks for an order: RFC 7644 section 3.4.2.2 forbids that for booleans and
    /// binaries.
    #[must_use]
    pub fn is_order(self) -> bool {
        matches!(self, Self::Gt | Self::Ge | Self::Lt | Self::Le)
    }

    /// Whether the operator looks into the text of a value.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Co | Self::Sw | Self::Ew)
    }
}

/// A value to compare with. It stays text until the attribute's type is known: `"True"` is a boolean
/// for `primary` and a word for `userName`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Literal {
    /// A JSON string, unescaped.
    Quoted(String),
    /// `true`, `5`, `null`, or any word without quotes.
    Bare(String),
}

impl Literal {
    /// The text, without quotes.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Quoted(text) | Self::Bare(text) => text,
        }
    }

    /// Whether this is the unquoted word `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Bare(text) if text.eq_ignore_ascii_case("null"))
    }
}

/// What is asked of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// It has a value (`pr`; also a value path that stands alone).
    Present,
    /// A value of it compares so.
    Compare(Comparison, Literal),
}

/// A filter (RFC 7644 section 3.4.2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// One test.
    Term {
        /// What is tested.
        path: Path,
        /// How.
        test: Test,
    },
    /// All of them; at least two.
    And(Vec<Filter>),
    /// Any of them; at least two.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
}

/// A path: `name.givenName`, `emails[type eq "work"].value`, `urn:…:2.0:User:manager.value`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The schema's URN, if the path begins with one.
    pub urn: Option<String>,
    /// The attribute; `None` if the path is a URN alone.
    pub name: Option<String>,
    /// Which values of a multi-valued attribute.
    pub filter: Option<Box<Filter>>,
    /// The sub-attribute.
    pub sub: Option<String>,
}

impl Filter {
    /// How many comparisons it holds, those within value paths among them.
    pub(super) fn terms(&self) -> usize {
        self.size().0
    }

    /// How many comparisons it holds, and how many bytes they compare with.
    pub(super) fn size(&self) -> (usize, usize) {
        let sum = |(terms, bytes): (usize, usize), part: &Self| {
            let own = part.size();
            (terms + own.0, bytes + own.1)
        };
        match self {
            Self::Term { path, test } => {
                let bytes = match test {
                    Test::Present => 0,
                    Test::Compare(_, literal) => literal.text().len(),
                };
                path.filter.as_deref().into_iter().fold((1, bytes), sum)
            }
            Self::And(parts) | Self::Or(parts) => parts.iter().fold((0, 0), sum),
            Self::Not(inner) => inner.size(),
        }
    }

    /// The sub-attributes and values that a value must have to match, if the filter is nothing but
    /// `eq` joined by `and`: then an element can be made from it.
    pub(super) fn equalities(&self) -> Option<Vec<(&str, &Literal)>> {
        match self {
            Self::Term {
                path:
                    Path {
                        urn: None,
                        name: Some(name),
                        filter: None,
                        sub: None,
                    },
                test,
            } => match test {
                Test::Compare(Comparison::Eq, literal) if !literal.is_null() => {
                    Some(vec![(name, literal)])
                }
                _ => None,
            },
            Self::And(parts) => {
                let parts = parts
                    .iter()
                    .map(Self::equalities)
                    .collect::<Option<Vec<_>>>()?;
                Some(parts.into_iter().flatten().collect())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.urn {
            f.write_str(urn)?;
            if self.name.is_some() {
                f.write_str(":")?;
            }
        }
        f.write_str(self.name.as_deref().unwrap_or_default())?;
        if let Some(filter) = &self.filter {
            write!(f, "[{filter}]")?;
        }
        if let Some(sub) = &self.sub {
            write!(f, ".{sub}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(word) => f.write_str(word),
            Self::Quoted(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term {
                path,
                test: Test::Present,
            } if path.filter.is_some() && path.sub.is_none() => {
                write!(f, "{path}")
            }
            Self::Term {
                path,
                test: Test::Present,
            } => write!(f, "{path} pr"),
            Self::Term {
                path,
                test: Test::Compare(comparison, literal),
            } => {
                write!(f, "{path} {} {literal}", comparison.as_str())
            }
            Self::And(parts) => join(f, parts, "and", |part| {
                matches!(part, Self::And(_) | Self::Or(_))
            }),
            Self::Or(parts) => join(f, parts, "or", |part| matches!(part, Self::Or(_))),
            Self::Not(inner) => write!(f, "not ({inner})"),
        }
    }
}

/// Writes the parts with `word` between them, those in parentheses that would read otherwise.
fn join(
    f: &mut fmt::Formatter<'_>,
    parts: &[Filter],
    word: &str,
    wrap: fn(&Filter) -> bool,
) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            write!(f, " {word} ")?;
        }
        if wrap(part) {
            write!(f, "({part})")?;
        } else {
            write!(f, "{part}")?;
        }
    }
    Ok(())
}
