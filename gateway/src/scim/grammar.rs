//! The grammar of filters and PATCH paths (RFC 7644 figures 1 and 7), once, for both.
//!
//! Invariant: reading is linear in the length of the text and recurses no deeper than
//! `filter_depth_max`; no choice is ever taken back after an attribute was read, so no input makes it
//! slow. Absent: the schema, which says what the names and literals mean.
//!
//! Wider than the RFC where the dialect is: unquoted words as values (Entra: `id eq 54D382A4-…`), a
//! value path followed by a comparison (`emails[type eq "work"].value eq "x"`), and a dot between URN
//! and attribute (`urn:…:2.0:User.department`, sent by old Entra jobs).

use std::borrow::Cow;

use serde_json::Number;
use winnow::ascii::{Caseless, multispace0, multispace1};
use winnow::combinator::{alt, eof, opt, peek, preceded, terminated};
use winnow::error::ParserError;
use winnow::prelude::*;
use winnow::stream::{Stateful, Stream};
use winnow::token::take_while;

use super::dialect::{Form, Reading};
use super::error::ScimError;
use super::syntax::{Comparison, Filter, Literal, Path, Test};

/// Reads a filter.
///
/// # Errors
/// 400 invalidFilter that says where the text goes wrong, or which limit it exceeds; also for a form
/// that the dialect does not tolerate.
pub fn parse_filter(text: &str, reading: &Reading<'_>) -> Result<Filter, ScimError> {
    read(
        text,
        "filter",
        reading,
        terminated(disjunction, multispace0),
    )
    .map_err(ScimError::invalid_filter)
}

/// Reads the path of a PATCH operation.
///
/// # Errors
/// 400 invalidPath that says where the text goes wrong, or which limit it exceeds; also for a form
/// that the dialect does not tolerate.
pub fn parse_path(text: &str, reading: &Reading<'_>) -> Result<Path, ScimError> {
    read(text, "path", reading, terminated(path, multispace0)).map_err(ScimError::invalid_path)
}

type Input<'i> = Stateful<&'i str, Budget<'i>>;
type Parsed<T> = Result<T, Fault>;

/// What may still be spent on this text.
#[derive(Clone, Debug)]
struct Budget<'r> {
    reading: &'r Reading<'r>,
    depth: usize,
    depth_max: usize,
    terms: usize,
    terms_max: usize,
    /// Inside the brackets of a value filter.
    in_values: bool,
}

/// Why reading stopped, and how many bytes were left then.
#[derive(Debug)]
struct Fault {
    left: usize,
    what: Cow<'static, str>,
}

impl ParserError<Input<'_>> for Fault {
    type Inner = Self;

    fn from_input(input: &Input<'_>) -> Self {
        Self::at(input, "this cannot be read")
    }

    fn into_inner(self) -> Result<Self::Inner, Self> {
        Ok(self)
    }
}

impl Fault {
    fn at(input: &Input<'_>, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            left: input.eof_offset(),
            what: what.into(),
        }
    }
}

fn read<'i, T>(
    text: &'i str,
    noun: &str,
    reading: &'i Reading<'_>,
    mut parser: impl Parser<Input<'i>, T, Fault>,
) -> Result<T, String> {
    let limits = reading.limits();
    if text.len() > limits.filter_bytes_max {
        return Err(format!(
            "The {noun} is {} bytes long; at most {} (filter_bytes_max) are allowed.",
            text.len(),
            limits.filter_bytes_max
        ));
    }
    let mut input = Stateful {
        input: text,
        state: Budget {
            reading,
            depth: 0,
            depth_max: limits.filter_depth(),
            terms: 0,
            in_values: false,
            terms_max: limits.filter_terms_max,
        },
    };
    let outcome = preceded(multispace0, parser.by_ref())
        .parse_next(&mut input)
        .and_then(|tree| {
            if input.input.is_empty() {
                Ok(tree)
            } else {
                Err(Fault::at(&input, "nothing more was expected here"))
            }
        });
    outcome.map_err(|fault| {
        // Characters, not bytes: the number is for somebody who counts in an editor.
        let read = text.get(..text.len() - fault.left).unwrap_or(text);
        format!(
            "The {noun} is wrong at character {}: {}.",
            read.chars().count() + 1,
            fault.what
        )
    })
}

fn disjunction(input: &mut Input<'_>) -> Parsed<Filter> {
    joined(input, "or", conjunction, Filter::Or)
}

fn conjunction(input: &mut Input<'_>) -> Parsed<Filter> {
    joined(input, "and", factor, Filter::And)
}

/// `part word part word part …`; a single part stays what it is.
fn joined(
    input: &mut Input<'_>,
    word: &'static str,
    mut part: impl FnMut(&mut Input<'_>) -> Parsed<Filter>,
    join: impl FnOnce(Vec<Filter>) -> Filter,
) -> Parsed<Filter> {
    let first = part(input)?;
    let mut parts = vec![first];
    while opt(keyword(word)).parse_next(input)?.is_some() {
        parts.push(part(input)?);
    }
    Ok(match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    })
}

/// A word of its own, with the space around it. It may touch a parenthesis.
fn keyword<'i>(word: &'static str) -> impl Parser<Input<'i>, (), Fault> {
    (
        multispace0,
        Caseless(word),
        alt((multispace1.void(), peek("(").void(), eof.void())),
    )
        .void()
}

fn factor(input: &mut Input<'_>) -> Parsed<Filter> {
    multispace0.parse_next(input)?;
    if opt((Caseless("not"), multispace0, peek("(")))
        .parse_next(input)?
        .is_some()
    {
        return Ok(Filter::Not(Box::new(group(input)?)));
    }
    if input.input.starts_with('(') {
        group(input)
    } else {
        term(input)
    }
}

fn group(input: &mut Input<'_>) -> Parsed<Filter> {
    nested(input, '(', ')')
}

/// A filter between brackets of either kind: the only place that recurses.
fn nested(input: &mut Input<'_>, open: char, close: char) -> Parsed<Filter> {
    preceded(open, multispace0).parse_next(input)?;
    if input.state.depth >= input.state.depth_max {
        let what = format!(
            "it is nested deeper than {} (filter_depth_max)",
            input.state.depth_max
        );
        return Err(Fault::at(input, what));
    }
    input.state.depth += 1;
    let inner = terminated(disjunction, multispace0).parse_next(input)?;
    if opt(close).parse_next(input)?.is_none() {
        return Err(Fault::at(
            input,
            format!("`{close}`, `and` or `or` was expected"),
        ));
    }
    input.state.depth -= 1;
    Ok(inner)
}

fn term(input: &mut Input<'_>) -> Parsed<Filter> {
    if input.state.terms >= input.state.terms_max {
        let what = format!(
            "it has more than {} comparisons (filter_terms_max)",
            input.state.terms_max
        );
        return Err(Fault::at(input, what));
    }
    input.state.terms += 1;
    let path = path(input)?;
    if path.name.is_none() {
        return Err(Fault::at(
            input,
            "an attribute was expected after the schema URN",
        ));
    }
    let test = if path.filter.is_some() && path.sub.is_none() && at_end_of_term(input) {
        Test::Present
    } else {
        if path.filter.is_some() && !input.state.reading.tolerates(Form::ValuePathCompared) {
            return Err(Fault::at(
                input,
                "nothing may follow a value filter; compare inside the brackets",
            ));
        }
        test(input)?
    };
    Ok(Filter::Term { path, test })
}

/// Whether a value path stands alone, with no operator behind it.
fn at_end_of_term(input: &Input<'_>) -> bool {
    let rest = input.input.trim_start();
    let word = rest
        .split(|c: char| c.is_whitespace() || c == '(')
        .next()
        .unwrap_or_default();
    rest.is_empty()
        || rest.starts_with([')', ']'])
        || word.eq_ignore_ascii_case("and")
        || word.eq_ignore_ascii_case("or")
}

fn test(input: &mut Input<'_>) -> Parsed<Test> {
    multispace0.parse_next(input)?;
    let start = input.clone();
    let word: &str = take_while(0.., |c: char| c.is_ascii_alphabetic()).parse_next(input)?;
    if word.eq_ignore_ascii_case("pr") {
        return Ok(Test::Present);
    }
    let Some((_, comparison)) = Comparison::TABLE
        .iter()
        .find(|(known, _)| word.eq_ignore_ascii_case(known))
    else {
        return Err(Fault::at(
            &start,
            "one of eq, ne, co, sw, ew, gt, ge, lt, le, pr was expected",
        ));
    };
    if opt(multispace1).parse_next(input)?.is_none() {
        return Err(Fault::at(
            input,
            "a space and a value were expected after the operator",
        ));
    }
    Ok(Test::Compare(*comparison, literal(input)?))
}

fn literal(input: &mut Input<'_>) -> Parsed<Literal> {
    if input.input.starts_with('"') {
        return quoted(input).map(Literal::Quoted);
    }
    let start = input.clone();
    let word: &str = take_while(0.., is_bare).parse_next(input)?;
    if word.is_empty() {
        return Err(Fault::at(input, "a value was expected"));
    }
    if !is_json_literal(word) && !start.state.reading.tolerates(Form::WordUnquoted) {
        return Err(Fault::at(&start, format!("`{word}` must stand in quotes")));
    }
    Ok(Literal::Bare(word.to_owned()))
}

/// The values that RFC 7644 figure 1 takes without quotes.
fn is_json_literal(word: &str) -> bool {
    matches!(word, "true" | "false" | "null") || serde_json::from_str::<Number>(word).is_ok()
}

/// What an unquoted word may consist of: whatever does not end it.
fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '(' | ')' | '[' | ']' | '"')
}

/// A JSON string (RFC 7644 section 3.4.2.2 takes the rule from RFC 8259).
fn quoted(input: &mut Input<'_>) -> Parsed<String> {
    let text = input.input;
    let mut escaped = false;
    let mut escapes = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => {
                escaped = true;
                escapes = true;
            }
            b'"' => {
                let (whole, inner) = (&text[..=at], &text[1..at]);
                let value = if escapes {
                    serde_json::from_str(whole).map_err(|_| {
                        Fault::at(input, "the escapes in this string are not those of JSON")
                    })?
                } else {
                    inner.to_owned()
                };
                input.input = &text[at + 1..];
                return Ok(value);
            }
            _ => {}
        }
    }
    Err(Fault::at(input, "this string has no closing quote"))
}

fn path(input: &mut Input<'_>) -> Parsed<Path> {
    let start = input.clone();
    let token: &str = take_while(0.., is_attribute).parse_next(input)?;
    if token.is_empty() {
        return Err(Fault::at(&start, "an attribute name was expected"));
    }
    let Some(Parts {
        urn,
        name,
        mut sub,
        dotted,
    }) = split_attribute(token)
    else {
        return Err(Fault::at(
            &start,
            format!("`{token}` is not an attribute name"),
        ));
    };
    if dotted && !input.state.reading.tolerates(Form::DotAfterUrn) {
        return Err(Fault::at(
            &start,
            "a colon must stand between the schema URN and the attribute",
        ));
    }
    let mut filter = None;
    if input.input.starts_with('[') {
        if name.is_none() || sub.is_some() {
            return Err(Fault::at(
                input,
                "a value filter must follow the name of an attribute",
            ));
        }
        if std::mem::replace(&mut input.state.in_values, true) {
            return Err(Fault::at(
                input,
                "a value filter cannot stand within another",
            ));
        }
        filter = Some(Box::new(nested(input, '[', ']')?));
        input.state.in_values = false;
        if opt('.').parse_next(input)?.is_some() {
            let word: &str = take_while(0.., is_name_part).parse_next(input)?;
            if !is_name(word) {
                return Err(Fault::at(input, "a sub-attribute was expected after `].`"));
            }
            sub = Some(word);
        }
    }
    Ok(Path {
        urn: urn.map(str::to_owned),
        name: name.map(str::to_owned),
        filter,
        sub: sub.map(str::to_owned),
    })
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$')
}

/// RFC 7643 section 2.1, plus the dollar of `$ref`.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$'))
        && word.chars().all(is_name_part)
}

/// What an attribute with its URN may consist of (RFC 8141, without the characters that end it).
fn is_attribute(c: char) -> bool {
    is_name_part(c) || matches!(c, ':' | '.' | '/' | '%' | '+' | '@' | '~' | '#')
}

/// What an attribute with its URN consists of.
#[derive(Clone, Copy, Debug, Default)]
struct Parts<'i> {
    urn: Option<&'i str>,
    name: Option<&'i str>,
    sub: Option<&'i str>,
    /// Whether a dot stands between URN and attribute.
    dotted: bool,
}

/// Takes `urn:…:2.0:User:name.givenName` apart. The URN ends after the word that follows the version;
/// a URN without a version ends at the last colon. `None` if a part is not a name.
fn split_attribute(token: &str) -> Option<Parts<'_>> {
    if !token
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
    {
        let (name, sub) = split_name(token)?;
        return Some(Parts {
            name: Some(name),
            sub,
            ..Parts::default()
        });
    }
    let end = versioned_urn(token)
        .filter(|end| !token[*end..].trim_start_matches(':').contains(':'))
        .or_else(|| {
            token
                .rfind(':')
                .filter(|end| split_name(&token[end + 1..]).is_some())
        })
        .unwrap_or(token.len());
    let (urn, rest) = token.split_at(end);
    if rest.is_empty() {
        return Some(Parts {
            urn: Some(urn),
            ..Parts::default()
        });
    }
    // The rest begins with the colon, or the dot of old Entra jobs.
    let (name, sub) = split_name(&rest[1..])?;
    Some(Parts {
        urn: Some(urn),
        name: Some(name),
        sub,
        dotted: rest.starts_with('.'),
    })
}

/// Takes `urn:…:2.0:User:attribute`, of which no schema knows, apart where a path would. Only after a
/// version it can be told from the URN of a schema: `None` is one, or no attribute.
pub(super) fn split_flat(key: &str, reading: &Reading<'_>) -> Option<Path> {
    let parts = split_attribute(key)?;
    let urn = parts.urn?;
    let name = parts.name?;
    if versioned_urn(key) != Some(urn.len())
        || (parts.dotted && !reading.tolerates(Form::DotAfterUrn))
    {
        return None;
    }
    Some(Path {
        urn: Some(urn.to_owned()),
        name: Some(name.to_owned()),
        filter: None,
        sub: parts.sub.map(str::to_owned),
    })
}

/// Where the URN ends, if one of its segments is a version such as `2.0`.
fn versioned_urn(token: &str) -> Option<usize> {
    let mut start = 0;
    let mut after_version = false;
    for segment in token.split(':') {
        if after_version {
            return Some(start + segment.find('.').unwrap_or(segment.len()));
        }
        after_version = segment.contains('.')
            && segment
                .split('.')
                .all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        start += segment.len() + 1;
    }
    None
}

pub(super) fn split_name(text: &str) -> Option<(&str, Option<&str>)> {
    match text.split_once('.') {
        None => is_name(text).then_some((text, None)),
        Some((name, sub)) => (is_name(name) && is_name(sub)).then_some((name, Some(sub))),
    }
}
