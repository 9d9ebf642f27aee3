//! How one value compares with what a filter asks.
//!
//! Invariant: the type of the attribute decides; without one, the type of the value does. What cannot
//! be compared differs.

use std::cell::OnceCell;
use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::{Number, Value};

use crate::scim::schema::{Attribute, AttributeType};
use crate::scim::syntax::Comparison;
use crate::scim::value::{fold, parse_boolean, same_text};

/// The text of a literal; what is made of it is made once, however many values it meets.
pub(super) struct Asked<'l> {
    text: &'l str,
    folded: OnceCell<String>,
    instant: OnceCell<Option<Timestamp>>,
}

impl<'l> Asked<'l> {
    pub(super) fn new(text: &'l str) -> Self {
        Self {
            text,
            folded: OnceCell::new(),
            instant: OnceCell::new(),
        }
    }

    fn folded(&self) -> &str {
        self.folded.get_or_init(|| fold(self.text))
    }

    fn instant(&self) -> Option<Timestamp> {
        *self.instant.get_or_init(|| instant(self.text))
    }
}

/// Whether a value compares so with what is asked.
pub(super) fn compare(
    value: &Value,
    comparison: Comparison,
    asked: &Asked<'_>,
    attribute: Option<&Attribute>,
) -> bool {
    let ordering = match value {
        Value::Bool(boolean) => {
            let equal = parse_boolean(asked.text) == Some(*boolean);
            return match comparison {
                Comparison::Eq => equal,
                Comparison::Ne => !equal,
                _ => false,
            };
        }
        Value::Number(number) => compare_numbers(number, asked.text),
        Value::String(string) => {
            let dated = attribute.is_some_and(|attribute| attribute.ty == AttributeType::DateTime);
            // `co`, `sw` and `ew` ask for text even of a date.
            if !dated || comparison.is_text() {
                return compare_text(string, comparison, asked, attribute);
            }
            match asked.instant().zip(instant(string)) {
                Some((asked, own)) => Some(own.cmp(&asked)),
                // Text that is no date is neither earlier nor later, but it can be the same text.
                None if comparison.is_order() => None,
                None => return compare_text(string, comparison, asked, attribute),
            }
        }
        _ => None,
    };
    match ordering {
        Some(ordering) => ordered(comparison, ordering),
        None => comparison == Comparison::Ne,
    }
}

fn ordered(comparison: Comparison, ordering: Ordering) -> bool {
    match comparison {
        Comparison::Eq => ordering.is_eq(),
        Comparison::Ne => ordering.is_ne(),
        Comparison::Gt => ordering.is_gt(),
        Comparison::Ge => ordering.is_ge(),
        Comparison::Lt => ordering.is_lt(),
        Comparison::Le => ordering.is_le(),
        Comparison::Co | Comparison::Sw | Comparison::Ew => false,
    }
}

fn compare_numbers(number: &Number, text: &str) -> Option<Ordering> {
    // Whole numbers first: a double would round long identifiers.
    if let (Some(own), Ok(asked)) = (number.as_i64(), text.parse::<i64>()) {
        return Some(own.cmp(&asked));
    }
    number.as_f64()?.partial_cmp(&text.parse().ok()?)
}

fn compare_text(
    own: &str,
    comparison: Comparison,
    asked: &Asked<'_>,
    attribute: Option<&Attribute>,
) -> bool {
    let exact = attribute.is_some_and(|attribute| attribute.case_exact);
    match comparison {
        Comparison::Eq => same_text(own, asked.text, exact),
        Comparison::Ne => !same_text(own, asked.text, exact),
        _ if exact => compare_exact(own, comparison, asked.text),
        _ => compare_exact(&fold(own), comparison, asked.folded()),
    }
}

fn compare_exact(own: &str, comparison: Comparison, asked: &str) -> bool {
    match comparison {
        Comparison::Co => own.contains(asked),
        Comparison::Sw => own.starts_with(asked),
        Comparison::Ew => own.ends_with(asked),
        _ => ordered(comparison, own.cmp(asked)),
    }
}

/// A date with or without a time; without an offset it is taken as UTC.
pub(in crate::scim) fn instant(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let at = text.parse::<civil::DateTime>().ok()?;
        at.to_zoned(TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp())
    })
}
