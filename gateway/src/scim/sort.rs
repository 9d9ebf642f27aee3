//! The order of a list (RFC 7644 section 3.4.2.3).
//!
//! Invariant: keys of one sort are totally ordered, whatever values they were made of, and a key that
//! was written into a cursor and read back is the same key. Absent: ties, which the caller breaks by
//! the order of creation.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::dialect::{Form, Reading};
use super::error::ScimError;
use super::filter::instant;
use super::grammar::parse_path;
use super::schema::{Attribute, AttributeType, ResourceType, Returned};
use super::syntax::Path;
use super::value::{fold, is_primary, member};

/// So many characters of a text decide its place; texts that begin alike beyond that keep the order of
/// their creation. A key has to fit into a cursor, and a cursor into a URL.
const KEY_CHARS_MAX: usize = 128;

/// What a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    path: Path,
    descending: bool,
}

/// The place of a resource in a sorted list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortKey {
    /// A boolean.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any number, as `decimal` writes it.
    Decimal(u64),
    /// A date.
    Instant(Timestamp),
    /// A text, folded unless the attribute is caseExact.
    Text(String),
    /// No value: behind all others (RFC 7644 section 3.4.2.3).
    Missing,
}

impl Sort {
    /// Reads `sortBy` and `sortOrder`.
    ///
    /// # Errors
    /// 400 invalidPath if `sort_by` is no attribute, 400 invalidValue if `sort_order` is neither
    /// `ascending` nor `descending`.
    pub fn new(
        sort_by: &str,
        sort_order: Option<&str>,
        reading: &Reading<'_>,
    ) -> Result<Self, ScimError> {
        let path = parse_path(sort_by, reading)?;
        if path.name.is_none() {
            let detail = format!("sortBy must name an attribute; {path} is a schema.");
            return Err(ScimError::invalid_path(detail));
        }
        let descending = match sort_order.map(str::trim) {
            None | Some("") => false,
            Some(order) if order.eq_ignore_ascii_case("ascending") => false,
            Some(order) if order.eq_ignore_ascii_case("descending") => true,
            Some(_) => {
                let detail = "sortOrder must be ascending or descending.";
                return Err(ScimError::invalid_value(detail));
            }
        };
        Ok(Self { path, descending })
    }

    /// Refuses what has no order: a complex attribute without a `value`, membership, the password. An
    /// attribute that no schema knows is no error unless the dialect is strict: no resource has a value
    /// for it.
    ///
    /// # Errors
    /// 400 invalidPath that names the attribute.
    pub(super) fn check(
        &self,
        resource_types: &[&ResourceType],
        reading: &Reading<'_>,
    ) -> Result<(), ScimError> {
        let name = self.path.name.as_deref().unwrap_or_default();
        let mut known = false;
        for resource_type in resource_types {
            let Some(leaf) = self.leaf(resource_type) else {
                continue;
            };
            known = true;
            let problem = if leaf.returned == Returned::Never {
                "which is never shown"
            } else if name.eq_ignore_ascii_case(resource_type.kind.relation()) {
                "which has no place in an order"
            } else if leaf.is_complex() {
                "which is complex; name one of its sub-attributes"
            } else {
                continue;
            };
            let detail = format!("sortBy names {}, {problem}.", self.path);
            return Err(ScimError::invalid_path(detail));
        }
        if known || reading.tolerates(Form::UnknownKept) {
            return Ok(());
        }
        let detail = format!("sortBy names {}, which no schema knows.", self.path);
        Err(ScimError::invalid_path(detail))
    }

    /// The place of this resource: by its value, of several by the primary one or else the first.
    #[must_use]
    pub fn key(&self, resource_type: &ResourceType, resource: &Map<String, Value>) -> SortKey {
        let leaf = self.leaf(resource_type);
        let whole = Path {
            filter: None,
            sub: None,
            ..self.path.clone()
        };
        let value = whole.value_in(resource_type, resource);
        let value = match value {
            Some(Value::Array(items)) => {
                let attribute = resource_type.resolve(&self.path).attribute;
                let mut picked = items
                    .iter()
                    .filter(|item| self.path.picks(item, attribute))
                    .peekable();
                let first = picked.peek().copied();
                picked.find(|item| is_primary(item)).or(first)
            }
            single => single,
        };
        let sub = self.path.sub.as_deref().unwrap_or("value");
        let value = match value {
            Some(Value::Object(map)) => member(map, sub),
            plain if self.path.sub.is_none() => plain,
            _ => None,
        };
        value.map_or(SortKey::Missing, |value| key_of(value, leaf))
    }

    /// Which of two keys comes first.
    #[must_use]
    pub fn compare(&self, one: &SortKey, other: &SortKey) -> Ordering {
        if self.descending {
            other.cmp(one)
        } else {
            one.cmp(other)
        }
    }

    /// The sort as text, the same for all its spellings that differ in letter case.
    #[must_use]
    pub fn text(&self) -> String {
        let order = if self.descending {
            "descending"
        } else {
            "ascending"
        };
        let folded = match self.path.filter {
            None => self.path.to_string().to_ascii_lowercase(),
            Some(_) => self.path.to_string(),
        };
        format!("{folded} {order}")
    }

    /// The row that decides how values compare.
    fn leaf<'t>(&'t self, resource_type: &'t ResourceType) -> Option<&'t Attribute> {
        let resolved = resource_type.resolve(&self.path);
        let attribute = resolved.attribute?;
        match self.path.sub {
            Some(_) => resolved.sub,
            None => Some(attribute.sub("value").unwrap_or(attribute)),
        }
    }
}

fn key_of(value: &Value, leaf: Option<&Attribute>) -> SortKey {
    match value {
        Value::Bool(boolean) => SortKey::Boolean(*boolean),
        Value::Number(number) => {
            let whole = leaf.is_some_and(|leaf| leaf.ty == AttributeType::Integer);
            match number.as_i64().filter(|_| whole) {
                Some(number) => SortKey::Integer(number),
                None => decimal(number),
            }
        }
        Value::String(text) if !text.is_empty() => {
            let dated = leaf.is_some_and(|leaf| leaf.ty == AttributeType::DateTime);
            if let Some(at) = dated.then(|| instant(text)).flatten() {
                return SortKey::Instant(at);
            }
            // Cut before it is folded: a text may be long.
            let text: String = text.chars().take(KEY_CHARS_MAX).collect();
            let exact = leaf.is_some_and(|leaf| leaf.case_exact);
            SortKey::Text(if exact { text } else { fold(&text) })
        }
        _ => SortKey::Missing,
    }
}

/// A double as a whole number that sorts as it does: JSON would not bring every double back exactly.
fn decimal(number: &Number) -> SortKey {
    let bits = number.as_f64().unwrap_or_default().to_bits();
    let negative = bits >> 63 == 1;
    SortKey::Decimal(if negative { !bits } else { bits | 1 << 63 })
}
