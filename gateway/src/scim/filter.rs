//! What a filter means for a resource (RFC 7644 section 3.4.2.2).
//!
//! Invariant: the schema decides how values compare: `caseExact`, booleans, numbers, dates. A complex
//! value compares by its `value` sub-attribute, a multi-valued attribute matches if any value does. A
//! filter that [`Filter::check`] lets pass can be answered; no other is. Absent: finding the resources
//! to ask; the caller walks them, with [`Filter::lookups`] as its short cut.

mod compare;
mod lookup;

use std::slice;

use serde_json::{Map, Value};

use super::dialect::{Form, Reading};
use super::error::ScimError;
use super::schema::{Attribute, AttributeType, Container, Resolved, ResourceType, Returned};
use super::syntax::{Comparison, Filter, Literal, Path, Test};
use super::value::{is_unassigned, member, parse_boolean};

pub(super) use compare::instant;
use compare::{Asked, compare};
pub use lookup::{Indexed, Lookup, Relations};

impl Filter {
    /// Whether a resource matches. `resource` is the whole of it, with `id` and `meta`: what
    /// [`super::render()`] gives without a projection. Call [`Filter::check`] once before.
    #[must_use]
    pub fn matches(&self, resource: &Map<String, Value>, resource_type: &ResourceType) -> bool {
        self.holds(&|path, test| {
            let resolved = resource_type.resolve(path);
            holds_for(stored(resource, path, &resolved), path, &resolved, test)
        })
    }

    /// Refuses what can never be answered: an order of booleans or binaries, text sought in a number, a
    /// boolean compared with a word, and the password, which must not be found out by asking (RFC 7643
    /// section 7). An attribute that none of the types has is one without a value (RFC 7644 section
    /// 3.4.2.1); a strict dialect refuses to ask for it.
    ///
    /// # Errors
    /// 400 invalidFilter that names the attribute.
    pub fn check(
        &self,
        resource_types: &[&ResourceType],
        reading: &Reading<'_>,
    ) -> Result<(), ScimError> {
        self.each_term(&mut |path, test| {
            let mut known = false;
            for resource_type in resource_types {
                known |= check_term(path, test, resource_type, reading)?;
            }
            if !known && !reading.tolerates(Form::UnknownKept) {
                return Err(ScimError::invalid_filter(format!(
                    "No schema knows {path}; see /Schemas for the attributes there are."
                )));
            }
            Ok(())
        })
    }

    /// Whether one value of a multi-valued attribute is meant, as `type eq "work"` in
    /// `emails[type eq "work"]`.
    pub(super) fn selects(&self, element: &Value, attribute: Option<&Attribute>) -> bool {
        self.holds(&|path, test| {
            let name = path.name.as_deref().unwrap_or_default();
            let value = match element {
                Value::Object(map) => member(map, name),
                // A plain list, `["a", "b"]`, is asked as if each were `{"value": …}`.
                plain => name.eq_ignore_ascii_case("value").then_some(plain),
            };
            holds_for(value, path, &element_resolved(path, attribute), test)
        })
    }

    fn holds(&self, term: &dyn Fn(&Path, &Test) -> bool) -> bool {
        match self {
            Self::Term { path, test } => term(path, test),
            Self::And(parts) => parts.iter().all(|part| part.holds(term)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(term)),
            Self::Not(inner) => !inner.holds(term),
        }
    }

    /// Visits every term, not those within value filters.
    fn each_term<'f>(
        &'f self,
        visit: &mut dyn FnMut(&'f Path, &'f Test) -> Result<(), ScimError>,
    ) -> Result<(), ScimError> {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().try_for_each(|part| part.each_term(visit))
            }
            Self::Not(inner) => inner.each_term(visit),
            Self::Term { path, test } => visit(path, test),
        }
    }
}

/// Whether the type knows all that the term names; an error if it cannot be asked for so.
fn check_term(
    path: &Path,
    test: &Test,
    resource_type: &ResourceType,
    reading: &Reading<'_>,
) -> Result<bool, ScimError> {
    let resolved = resource_type.resolve(path);
    let foreign = matches!(resolved.container, Container::Extension(_));
    if path.urn.is_none() && foreign && !reading.tolerates(Form::ExtensionUnprefixed) {
        return Err(ScimError::invalid_filter(format!(
            "{path} belongs to an extension; write its URN and a colon in front."
        )));
    }
    let mut known = check_leaf(path, test, &resolved, reading)?;
    if let Some(filter) = &path.filter {
        filter.each_term(&mut |inner, test| {
            if inner.urn.is_some() {
                return Err(ScimError::invalid_filter(format!(
                    "{inner} cannot stand in a value filter; name a sub-attribute of {}.",
                    path.name.as_deref().unwrap_or_default()
                )));
            }
            let resolved = element_resolved(inner, resolved.attribute);
            known &= check_leaf(inner, test, &resolved, reading)?;
            Ok(())
        })?;
    }
    Ok(known)
}

fn check_leaf(
    path: &Path,
    test: &Test,
    resolved: &Resolved<'_>,
    reading: &Reading<'_>,
) -> Result<bool, ScimError> {
    let Some(leaf) = leaf_attribute(path, resolved) else {
        return Ok(false);
    };
    if leaf.returned == Returned::Never {
        return Err(ScimError::invalid_filter(format!(
            "{path} cannot be used in a filter."
        )));
    }
    let problem = match test {
        Test::Present => None,
        Test::Compare(comparison, literal) => problem_with(leaf, *comparison, literal, reading),
    };
    match problem {
        None => Ok(true),
        Some(problem) => Err(ScimError::invalid_filter(format!(
            "{path} is of type {}: {problem}.",
            leaf.ty.as_str()
        ))),
    }
}

/// Why a value of this type cannot be compared so.
fn problem_with(
    leaf: &Attribute,
    comparison: Comparison,
    literal: &Literal,
    reading: &Reading<'_>,
) -> Option<String> {
    let word = comparison.as_str();
    if literal.is_null() {
        let equality = matches!(comparison, Comparison::Eq | Comparison::Ne);
        return (!equality).then(|| "null can be compared with eq and ne only".to_owned());
    }
    let (order, text) = (comparison.is_order(), comparison.is_text());
    match leaf.ty {
        AttributeType::Complex => Some("name one of its sub-attributes".to_owned()),
        AttributeType::Boolean | AttributeType::Binary if order => {
            Some(format!("it has no order, {word} cannot be used with it"))
        }
        AttributeType::Boolean | AttributeType::Integer | AttributeType::Decimal if text => {
            Some(format!("it is no text, {word} cannot be used with it"))
        }
        AttributeType::Boolean => {
            let quoted = matches!(literal, Literal::Quoted(_));
            let read = parse_boolean(literal.text()).is_some()
                && (!quoted || reading.tolerates(Form::BooleanAsString));
            (!read).then(|| "compare it with true or false".to_owned())
        }
        AttributeType::Integer | AttributeType::Decimal => {
            let quoted = matches!(literal, Literal::Quoted(_));
            let finite = |number: f64| number.is_finite();
            let read = literal.text().parse().is_ok_and(finite)
                && (!quoted || reading.tolerates(Form::NumberAsString));
            (!read).then(|| "compare it with a number".to_owned())
        }
        // `eq` and `ne` still work on text: the form of a date is not checked when it is stored.
        AttributeType::DateTime if order && instant(literal.text()).is_none() => Some(
            "compare it with a date such as 2011-05-13T04:42:34Z; a + in a URL is written %2B"
                .to_owned(),
        ),
        _ => None,
    }
}

impl Path {
    /// The value that stands at this path of a resource: the first one, if a value filter or the
    /// sub-attribute of a list leaves several. `None` if there is none or it is empty.
    #[must_use]
    pub fn value_in<'v>(
        &self,
        resource_type: &ResourceType,
        resource: &'v Map<String, Value>,
    ) -> Option<&'v Value> {
        let resolved = resource_type.resolve(self);
        let value = match (&self.name, resolved.container) {
            (None, Container::Extension(urn)) => member(resource, urn),
            _ => stored(resource, self, &resolved),
        }?;
        if self.filter.is_none() && self.sub.is_none() {
            return Some(value).filter(|value| !is_unassigned(value));
        }
        elements(Some(value))
            .iter()
            .filter(|element| self.picks(element, resolved.attribute))
            .filter_map(|element| self.part(element))
            .find(|value| !is_unassigned(value))
    }

    /// Whether the value filter, if there is one, picks this value.
    pub(super) fn picks(&self, element: &Value, attribute: Option<&Attribute>) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.selects(element, attribute))
    }

    /// The sub-attribute of a value, or the value itself if the path names none.
    fn part<'v>(&self, element: &'v Value) -> Option<&'v Value> {
        match &self.sub {
            None => Some(element),
            Some(sub) => member(element.as_object()?, sub),
        }
    }
}

/// The value that a resource holds under the path's attribute.
fn stored<'v>(
    resource: &'v Map<String, Value>,
    path: &Path,
    resolved: &Resolved<'_>,
) -> Option<&'v Value> {
    let map = match resolved.container {
        Container::Core => resource,
        Container::Extension(urn) => member(resource, urn)?.as_object()?,
    };
    member(
        map,
        resolved
            .attribute
            .map_or(path.name.as_deref()?, |attribute| &attribute.name),
    )
}

/// What a path within a value filter means: a sub-attribute of the filtered attribute.
fn element_resolved<'p>(path: &Path, attribute: Option<&'p Attribute>) -> Resolved<'p> {
    let own = attribute.and_then(|attribute| attribute.sub(path.name.as_deref()?));
    Resolved {
        container: Container::Core,
        schema: None,
        attribute: own,
        sub: None,
    }
}

fn elements(value: Option<&Value>) -> &[Value] {
    match value {
        None => &[],
        Some(Value::Array(items)) => items,
        Some(single) => slice::from_ref(single),
    }
}

/// The row that decides how the path's values compare.
fn leaf_attribute<'p>(path: &Path, resolved: &Resolved<'p>) -> Option<&'p Attribute> {
    match path.sub {
        Some(_) => resolved.sub,
        None => resolved
            .attribute
            .map(|attribute| attribute.sub("value").unwrap_or(attribute)),
    }
}

fn holds_for(value: Option<&Value>, path: &Path, resolved: &Resolved<'_>, test: &Test) -> bool {
    let mut leaves = elements(value)
        .iter()
        .filter(|element| path.picks(element, resolved.attribute))
        .filter_map(|element| path.part(element))
        .filter(|leaf| has_value(leaf));
    let Test::Compare(comparison, literal) = test else {
        return leaves.next().is_some();
    };
    if literal.is_null() {
        return match comparison {
            Comparison::Eq => leaves.next().is_none(),
            Comparison::Ne => leaves.next().is_some(),
            _ => false,
        };
    }
    let attribute = leaf_attribute(path, resolved);
    let mut leaves = leaves
        .filter_map(|leaf| match leaf {
            Value::Object(map) => member(map, "value"),
            plain => Some(plain),
        })
        .peekable();
    // What is absent differs from every value: `title ne "x"` holds for somebody without a title.
    if leaves.peek().is_none() {
        return *comparison == Comparison::Ne;
    }
    let asked = Asked::new(literal.text());
    leaves.any(|leaf| compare(leaf, *comparison, &asked, attribute))
}

/// Whether there is anything in a value: `pr` asks for "a non-empty node" (RFC 7644 table 3).
fn has_value(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_value),
        Value::Object(map) => map.values().any(has_value),
        plain => !is_unassigned(plain),
    }
}
