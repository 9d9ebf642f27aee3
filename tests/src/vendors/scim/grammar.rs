//! Paths and filters of the simulated SCIM service: RFC 7644 figures 1 and 7, as far as it knows them.
//!
//! Absent: all comparisons but `eq`, `not`, parentheses, and any knowledge of attributes.

use serde_json::{Map, Value};

use super::schema::Refusal;

/// Where a PATCH operation aims.
#[derive(Debug, PartialEq)]
pub(super) struct Path {
    pub(super) urn: Option<String>,
    pub(super) attribute: String,
    pub(super) filter: Option<Filter>,
    pub(super) part: Option<String>,
}

/// Which resources or elements are meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    Equal(String, Value),
    All(Vec<Filter>),
    Any(Vec<Filter>),
}

impl Path {
    /// Reads `[URN:]attribute[.part]` and `[URN:]attribute[filter][.part]`.
    pub(super) fn read(text: &str) -> Result<Path, Refusal> {
        let wrong = || Refusal::bad("invalidPath", format!("not a path: {text}"));
        let (head, filter, tail) = match text.split_once('[') {
            None => (text, None, ""),
            Some((head, rest)) => {
                let end = closing(rest).ok_or_else(wrong)?;
                let filter = Filter::read(&rest[..end])
                    .map_err(|refusal| Refusal::bad("invalidPath", refusal.detail))?;
                (head, Some(filter), &rest[end + 1..])
            }
        };
        let (urn, head) = match head.get(..4) {
            Some(scheme) if scheme.eq_ignore_ascii_case("urn:") => {
                let (urn, head) = head.rsplit_once(':').ok_or_else(wrong)?;
                (Some(urn.to_owned()), head)
            }
            _ => (None, head),
        };
        let (attribute, part) = match (head.split_once('.'), tail.strip_prefix('.')) {
            (None, None) if tail.is_empty() => (head, None),
            (None, Some(part)) => (head, Some(part)),
            (Some((attribute, part)), None) if tail.is_empty() && filter.is_none() => {
                (attribute, Some(part))
            }
            _ => return Err(wrong()),
        };
        if !is_name(attribute) || !part.is_none_or(is_name) {
            return Err(wrong());
        }
        Ok(Path {
            urn,
            attribute: attribute.to_owned(),
            filter,
            part: part.map(str::to_owned),
        })
    }
}

impl Filter {
    /// Reads comparisons joined by `and`, which binds tighter, and `or`.
    pub(super) fn read(text: &str) -> Result<Filter, Refusal> {
        let wrong = || {
            let detail = format!("not a filter of this service, which knows `eq`: {text}");
            Refusal::bad("invalidFilter", detail)
        };
        let words = words(text).ok_or_else(wrong)?;
        let mut any = Vec::new();
        let mut all = Vec::new();
        let mut rest = words.as_slice();
        loop {
            let [attribute, operator, literal, more @ ..] = rest else {
                return Err(wrong());
            };
            let literal: Value = serde_json::from_str(literal).map_err(|_| wrong())?;
            if !operator.eq_ignore_ascii_case("eq")
                || attribute.starts_with('"')
                || literal.is_array()
                || literal.is_object()
            {
                return Err(wrong());
            }
            all.push(Filter::Equal((*attribute).to_owned(), literal));
            rest = match more {
                [] => break,
                [joint, more @ ..] if joint.eq_ignore_ascii_case("and") => more,
                [joint, more @ ..] if joint.eq_ignore_ascii_case("or") => {
                    any.push(one_or(std::mem::take(&mut all), Filter::All));
                    more
                }
                _ => return Err(wrong()),
            };
        }
        any.push(one_or(all, Filter::All));
        Ok(one_or(any, Filter::Any))
    }

    /// Whether an element of a multi-valued attribute is meant.
    pub(super) fn selects(&self, element: &Map<String, Value>) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|it| it.selects(element)),
            Filter::Any(parts) => parts.iter().any(|it| it.selects(element)),
            Filter::Equal(name, wanted) => {
                let held = element
                    .iter()
                    .find(|(held, _)| held.eq_ignore_ascii_case(name));
                match (held.map(|(_, held)| held), wanted) {
                    // No part of the core schemas' elements is case-exact (RFC 7643 section 8.7.1).
                    (Some(Value::String(held)), Value::String(wanted)) => {
                        held.to_lowercase() == wanted.to_lowercase()
                    }
                    (held, wanted) => held.unwrap_or(&Value::Null) == wanted,
                }
            }
        }
    }
}

fn one_or(mut filters: Vec<Filter>, join: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    match filters.len() {
        1 => filters.remove(0),
        _ => join(filters),
    }
}

/// Splits at single spaces outside of strings; none if a string does not end.
fn words(text: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let (mut start, mut inside, mut escaped) = (0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            ' ' if !inside => {
                words.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(&text[start..]);
    (!inside).then_some(words)
}

/// Where the bracket closes that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let (mut inside, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            ']' if !inside => return Some(at),
            _ => {}
        }
    }
    None
}

/// RFC 7643 section 2.1; `$ref` is the one name with another beginning.
fn is_name(name: &str) -> bool {
    let plain = name.strip_prefix('$').unwrap_or(name);
    plain.starts_with(|first: char| first.is_ascii_alphabetic())
        && plain
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_'))
}
