//! What a list is asked for: the parameters of a GET and the body of a POST to `/.search` (RFC 7644
//! sections 3.4.2 and 3.4.3, RFC 9865).
//!
//! Invariant: a parameter that has a meaning is understood or refused, never passed over: a filter that
//! cannot be read must not become a list of everybody. Others are ignored, whatever they hold (RFC 7644
//! section 3.4.2; Entra's flag `?aadOptscim062020` has no value). Absent: cursors, which are opaque
//! here, and the resources.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::dialect::{Form, Reading};
use super::error::{ScimError, ScimType};
use super::grammar::parse_filter;
use super::render::Projection;
use super::schema::ResourceType;
use super::sort::Sort;
use super::syntax::Filter;
use super::value::member;

/// The URN that marks a search (RFC 7644 section 3.4.3).
const SEARCH_URN: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// A list, asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Which resources; all if there is none.
    pub filter: Option<Filter>,
    /// The filter in its canonical form, empty if there is none: what a cursor is bound to.
    pub filter_text: String,
    /// The place of the first resource wanted, from 1.
    pub start_index: usize,
    /// How many resources at most: within `page_size_max`, and 0 if only the number is wanted.
    pub count: usize,
    /// The cursor, if the client pages by cursors; empty to begin.
    pub cursor: Option<String>,
    /// In which order; of creation if there is none.
    pub sort: Option<Sort>,
    /// Which attributes of each.
    pub shown: Projection,
}

/// The parameters as texts, before anything is made of them.
#[derive(Default)]
struct Parameters {
    filter: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    start_index: Option<Whole>,
    count: Option<Whole>,
    cursor: Option<String>,
    attributes: Option<String>,
    excluded: Option<String>,
}

/// A whole number, cut to what fits.
#[derive(Clone, Copy)]
struct Whole(i64);

impl ListQuery {
    /// Reads the query of a GET.
    ///
    /// # Errors
    /// 400 with the keyword of the parameter that cannot be read or served: invalidFilter,
    /// invalidCount, invalidCursor, invalidPath or invalidValue.
    pub fn from_query(
        raw: &str,
        resource_type: &ResourceType,
        reading: &Reading<'_>,
    ) -> Result<Self, ScimError> {
        let parameters = Parameters::from_query(raw, &Parameter::ALL)?;
        Self::build(parameters, &[resource_type], reading)
    }

    /// Reads the body of a POST to `/.search`: below a type, or at the root for several.
    ///
    /// # Errors
    /// As for a GET; 400 invalidSyntax if the body is no search or a member of it has the wrong type.
    pub fn from_search(
        body: Value,
        resource_types: &[&ResourceType],
        reading: &Reading<'_>,
    ) -> Result<Self, ScimError> {
        Self::build(
            Parameters::from_search(&body, reading)?,
            resource_types,
            reading,
        )
    }

    fn build(
        parameters: Parameters,
        resource_types: &[&ResourceType],
        reading: &Reading<'_>,
    ) -> Result<Self, ScimError> {
        let limits = reading.limits();
        let filter = match &parameters.filter {
            None => None,
            Some(text) => {
                let filter = parse_filter(text, reading)?;
                filter.check(resource_types, reading)?;
                Some(filter)
            }
        };
        let sort = match parameters.sort_by.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(by) => {
                let sort = Sort::new(by, parameters.sort_order.as_deref(), reading)?;
                sort.check(resource_types, reading)?;
                Some(sort)
            }
        };
        if parameters.cursor.is_some() && parameters.start_index.is_some() {
            return Err(ScimError::invalid_value(
                "cursor and startIndex exclude each other; page by one of them.",
            ));
        }
        if let (Some(_), Some(Whole(count))) = (&parameters.cursor, &parameters.count)
            && *count < 1
        {
            // A page of nothing would lead to itself for ever.
            return Err(Parameter::Count.refuse("must be 1 or more where a cursor is used"));
        }
        let count = match parameters.count {
            None => limits.page_size_default,
            // RFC 7644 section 3.4.2.4: a negative count means 0.
            Some(Whole(count)) => usize::try_from(count.max(0)).unwrap_or(usize::MAX),
        };
        let start_index = parameters
            .start_index
            .map_or(1, |Whole(start)| start.max(1));
        Ok(Self {
            filter_text: filter.as_ref().map(Filter::to_string).unwrap_or_default(),
            filter,
            start_index: usize::try_from(start_index).unwrap_or(usize::MAX),
            count: count.min(limits.page_size_max),
            cursor: parameters.cursor,
            sort,
            shown: Projection::parse(
                parameters.attributes.as_deref(),
                parameters.excluded.as_deref(),
                reading,
            )?,
        })
    }
}

/// Reads `attributes` and `excludedAttributes` of a request for one resource (RFC 7644 section 3.9).
///
/// # Errors
/// 400 invalidPath if a name cannot be read or a list is too long, 400 invalidValue if its escapes are
/// wrong.
pub fn projection_of(raw_query: &str, reading: &Reading<'_>) -> Result<Projection, ScimError> {
    let known = [Parameter::Attributes, Parameter::Excluded];
    let parameters = Parameters::from_query(raw_query, &known)?;
    let (attributes, excluded) = (&parameters.attributes, &parameters.excluded);
    Projection::parse(attributes.as_deref(), excluded.as_deref(), reading)
}

/// The parameters that have a meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parameter {
    Filter,
    SortBy,
    SortOrder,
    StartIndex,
    Count,
    Cursor,
    Attributes,
    Excluded,
}

impl Parameter {
    const ALL: [Self; 8] = [
        Self::Filter,
        Self::SortBy,
        Self::SortOrder,
        Self::StartIndex,
        Self::Count,
        Self::Cursor,
        Self::Attributes,
        Self::Excluded,
    ];

    /// The name on the wire, and the keyword of the refusal if the value cannot be read.
    const fn row(self) -> (&'static str, ScimType) {
        match self {
            Self::Filter => ("filter", ScimType::InvalidFilter),
            Self::SortBy => ("sortBy", ScimType::InvalidPath),
            Self::SortOrder => ("sortOrder", ScimType::InvalidValue),
            Self::StartIndex => ("startIndex", ScimType::InvalidValue),
            Self::Count => ("count", ScimType::InvalidCount),
            Self::Cursor => ("cursor", ScimType::InvalidCursor),
            Self::Attributes => ("attributes", ScimType::InvalidPath),
            Self::Excluded => ("excludedAttributes", ScimType::InvalidPath),
        }
    }

    fn refuse(self, problem: &str) -> ScimError {
        let (name, keyword) = self.row();
        ScimError::with(keyword, format!("{name} {problem}."))
    }

    fn whole(self, text: &str) -> Result<Whole, ScimError> {
        let text = text.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.refuse("must be a whole number"));
        }
        let farthest = if digits.len() < text.len() {
            i64::MIN
        } else {
            i64::MAX
        };
        Ok(Whole(text.parse().unwrap_or(farthest)))
    }
}

impl Parameters {
    /// The known ones among the parameters of a query. Their names are found in any letter case: a
    /// `Filter` that were ignored would list everybody.
    fn from_query(raw: &str, known: &[Parameter]) -> Result<Self, ScimError> {
        let mut parameters = Self::default();
        for pair in raw.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = decode(name) else { continue };
            let Some(parameter) = known
                .iter()
                .find(|known| known.row().0.eq_ignore_ascii_case(&name))
            else {
                continue;
            };
            let value = decode(value).ok_or_else(|| {
                parameter.refuse(
                    "is not encoded as a URL asks: a % must stand before two hexadecimal digits, \
                     and the bytes must be UTF-8",
                )
            })?;
            parameters.put(*parameter, value.into_owned())?;
        }
        Ok(parameters)
    }

    /// The members of a search. `null` is as good as none (RFC 7643 section 2.5).
    fn from_search(body: &Value, reading: &Reading<'_>) -> Result<Self, ScimError> {
        let Value::Object(body) = body else {
            return Err(ScimError::invalid_syntax("The body is not a JSON object."));
        };
        let named = member(body, "schemas")
            .and_then(Value::as_array)
            .is_some_and(|schemas| schemas.iter().any(is_search));
        if !named && !reading.tolerates(Form::SchemasMissing) {
            return Err(ScimError::invalid_syntax(format!(
                "`schemas` must name {SEARCH_URN}."
            )));
        }
        let mut parameters = Self::default();
        for parameter in Parameter::ALL {
            if let Some(text) = search_text(body, parameter, reading)? {
                parameters.put(parameter, text)?;
            }
        }
        Ok(parameters)
    }

    fn put(&mut self, parameter: Parameter, text: String) -> Result<(), ScimError> {
        let twice = || parameter.refuse("is given twice");
        let place = match parameter {
            Parameter::StartIndex | Parameter::Count => {
                let place = match parameter {
                    Parameter::Count => &mut self.count,
                    _ => &mut self.start_index,
                };
                return match place.replace(parameter.whole(&text)?) {
                    None => Ok(()),
                    Some(_) => Err(twice()),
                };
            }
            // Several lists are one.
            Parameter::Attributes | Parameter::Excluded => {
                let place = match parameter {
                    Parameter::Attributes => &mut self.attributes,
                    _ => &mut self.excluded,
                };
                let list = place.get_or_insert_default();
                if !list.is_empty() {
                    list.push(',');
                }
                list.push_str(&text);
                return Ok(());
            }
            Parameter::Filter => &mut self.filter,
            Parameter::SortBy => &mut self.sort_by,
            Parameter::SortOrder => &mut self.sort_order,
            Parameter::Cursor => &mut self.cursor,
        };
        match place.replace(text) {
            None => Ok(()),
            Some(_) => Err(twice()),
        }
    }
}

fn is_search(schema: &Value) -> bool {
    schema
        .as_str()
        .is_some_and(|urn| urn.eq_ignore_ascii_case(SEARCH_URN))
}

/// One member of a search as the text that a GET would carry.
fn search_text(
    body: &Map<String, Value>,
    parameter: Parameter,
    reading: &Reading<'_>,
) -> Result<Option<String>, ScimError> {
    let name = parameter.row().0;
    let value = match member(body, name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let wrong = |expected: &str| ScimError::invalid_syntax(format!("{name} must be {expected}."));
    match parameter {
        Parameter::StartIndex | Parameter::Count => match value {
            Value::Number(number) => Ok(Some(number.to_string())),
            Value::String(text) if reading.tolerates(Form::NumberAsString) => {
                Ok(Some(text.clone()))
            }
            _ => Err(wrong("a whole number")),
        },
        Parameter::Attributes | Parameter::Excluded => {
            let names = value.as_array().ok_or_else(|| wrong("a list of strings"))?;
            let names = names.iter().map(Value::as_str);
            let names = names.collect::<Option<Vec<_>>>();
            let names = names.ok_or_else(|| wrong("a list of strings"))?;
            Ok(Some(names.join(",")))
        }
        _ => {
            let text = value.as_str().ok_or_else(|| wrong("a string"))?;
            Ok(Some(text.to_owned()))
        }
    }
}

/// A part of a query without its escapes, `+` being a space; `None` if an escape is broken or the bytes
/// are not UTF-8. Nothing is replaced or left out: a filter by a mended name would find somebody else.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(raw));
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}
