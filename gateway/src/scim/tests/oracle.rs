//! Filters against two oracles: here an evaluator that is too simple to be wrong, over a tree of its
//! own; in `parser` the parser of the crate `scim_v2`.

mod making;
mod parser;

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Map, Value, json};

use self::making::{node, thing, written};
use super::{VENDOR, groups, profile, reading};
use crate::scim::{Comparison, Filter, Lookup, Relations, ResourceType, Unique, parse_filter};

/// The type of an attribute, as far as it decides how values compare.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Exact,
    Folded,
    Boolean,
    Number,
    Date,
}

/// An attribute: its name, and its type or those of its sub-attributes, `value` first.
#[derive(Clone, Copy, Debug)]
enum Row {
    Single(&'static str, Type),
    Many(&'static str, &'static [(&'static str, Type)]),
}

const USER: &[Row] = &[
    Row::Single("id", Type::Exact),
    Row::Single("userName", Type::Folded),
    Row::Single("externalId", Type::Exact),
    Row::Single("displayName", Type::Folded),
    Row::Single("title", Type::Folded),
    Row::Single("name.givenName", Type::Folded),
    Row::Single("active", Type::Boolean),
    Row::Single("level", Type::Number),
    Row::Single("customDate1", Type::Date),
    Row::Single("unheardOf", Type::Folded),
    Row::Many(
        "emails",
        &[
            ("value", Type::Folded),
            ("type", Type::Folded),
            ("primary", Type::Boolean),
        ],
    ),
    Row::Many(
        "groups",
        &[("value", Type::Exact), ("display", Type::Folded)],
    ),
];

const GROUP: &[Row] = &[
    Row::Single("id", Type::Exact),
    Row::Single("displayName", Type::Folded),
    Row::Single("externalId", Type::Exact),
    Row::Many("members", &[("value", Type::Exact), ("type", Type::Folded)]),
];

/// Few and alike, so that filters match often.
const WORDS: &[&str] = &["a", "A", "ab", "aB", "b", "bä", "BÄ", "5"];
const DATES: &[&str] = &[
    "2024-05-01T10:00:00+02:00",
    "2024-05-01T08:00:00Z",
    "2024-05-01",
    "2011-05-13T04:42:34.5Z",
];

#[derive(Clone, Debug)]
enum Atom {
    Text(String),
    Boolean(bool),
    Number(i32),
}

type Atoms = BTreeMap<&'static str, Atom>;

/// A resource in the oracle's own form.
#[derive(Clone, Debug)]
struct Thing {
    singles: Atoms,
    lists: BTreeMap<&'static str, Vec<Atoms>>,
}

/// What a term asks about.
#[derive(Clone, Debug)]
enum Asked {
    Single(&'static str, Type),
    Many {
        name: &'static str,
        picks: Option<Box<Node>>,
        sub: Option<&'static str>,
        value: Type,
    },
}

#[derive(Clone, Debug)]
enum Question {
    Present,
    Null { differs: bool },
    Compare(Comparison, String),
}

#[derive(Clone, Debug)]
enum Node {
    Term(Asked, Question),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

// The evaluator.

fn holds(node: &Node, singles: &Atoms, lists: &BTreeMap<&'static str, Vec<Atoms>>) -> bool {
    match node {
        Node::And(parts) => parts.iter().all(|part| holds(part, singles, lists)),
        Node::Or(parts) => parts.iter().any(|part| holds(part, singles, lists)),
        Node::Not(inner) => !holds(inner, singles, lists),
        Node::Term(Asked::Single(name, ty), question) => answers(
            &singles.get(name).into_iter().collect::<Vec<_>>(),
            *ty,
            question,
        ),
        Node::Term(
            Asked::Many {
                name,
                picks,
                sub,
                value,
            },
            question,
        ) => {
            let empty = Vec::new();
            let elements = lists.get(name).unwrap_or(&empty).iter().filter(|element| {
                picks
                    .as_ref()
                    .is_none_or(|node| holds(node, element, &BTreeMap::new()))
            });
            let elements: Vec<&Atoms> = elements.collect();
            if matches!(question, Question::Present | Question::Null { .. }) && sub.is_none() {
                let there = !elements.is_empty();
                return match question {
                    Question::Null { differs } => there == *differs,
                    _ => there,
                };
            }
            let sub = sub.unwrap_or("value");
            let atoms = elements.iter().filter_map(|element| element.get(sub));
            answers(&atoms.collect::<Vec<_>>(), *value, question)
        }
    }
}

fn answers(atoms: &[&Atom], ty: Type, question: &Question) -> bool {
    match question {
        Question::Present => !atoms.is_empty(),
        Question::Null { differs } => atoms.is_empty() != *differs,
        Question::Compare(comparison, _) if atoms.is_empty() => *comparison == Comparison::Ne,
        Question::Compare(comparison, literal) => atoms
            .iter()
            .any(|atom| compares(atom, ty, *comparison, literal)),
    }
}

fn compares(atom: &Atom, ty: Type, comparison: Comparison, literal: &str) -> bool {
    fn by<T: PartialOrd>(one: &T, comparison: Comparison, other: &T) -> bool {
        match comparison {
            Comparison::Eq => one == other,
            Comparison::Ne => one != other,
            Comparison::Gt => one > other,
            Comparison::Ge => one >= other,
            Comparison::Lt => one < other,
            Comparison::Le => one <= other,
            Comparison::Co | Comparison::Sw | Comparison::Ew => panic!("no order"),
        }
    }
    match (atom, ty) {
        (Atom::Boolean(own), _) => by(own, comparison, &(literal == "true")),
        (Atom::Number(own), _) => by(
            &f64::from(*own),
            comparison,
            &literal.parse::<f64>().expect("a number"),
        ),
        (Atom::Text(own), Type::Date) if !comparison.is_text() => {
            by(&instant(own), comparison, &instant(literal))
        }
        (Atom::Text(own), ty) => {
            let (own, literal) = match ty {
                Type::Exact => (own.clone(), literal.to_owned()),
                _ => (own.to_lowercase(), literal.to_lowercase()),
            };
            match comparison {
                Comparison::Co => own.contains(&literal),
                Comparison::Sw => own.starts_with(&literal),
                Comparison::Ew => own.ends_with(&literal),
                comparison => by(&own, comparison, &literal),
            }
        }
    }
}

fn instant(text: &str) -> Timestamp {
    let whole = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    whole.parse().expect("a date")
}

fn json_of(atom: &Atom) -> Value {
    match atom {
        Atom::Text(text) => json!(text),
        Atom::Boolean(boolean) => json!(boolean),
        Atom::Number(number) => json!(number),
    }
}

/// The thing as the gateway would render it, without `meta`.
fn document(thing: &Thing) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, atom) in &thing.singles {
        let value = json_of(atom);
        let path: Vec<&str> = match *name {
            "level" | "customDate1" => vec![VENDOR, name],
            name => name.split('.').collect(),
        };
        match path.as_slice() {
            [outer, inner] => {
                let outer = map.entry(*outer).or_insert_with(|| json!({}));
                outer[*inner] = value;
            }
            _ => {
                map.insert((*name).to_owned(), value);
            }
        }
    }
    for (name, elements) in &thing.lists {
        let elements = elements.iter().map(|element| {
            let members = element
                .iter()
                .map(|(name, atom)| ((*name).to_owned(), json_of(atom)));
            Value::Object(members.collect())
        });
        let elements: Vec<Value> = elements.collect();
        if !elements.is_empty() {
            map.insert((*name).to_owned(), Value::Array(elements));
        }
    }
    map
}

fn parsed(text: &str) -> Filter {
    parse_filter(text, &reading()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Everything that is said of one filter and one resource.
fn agree(
    resource_type: &ResourceType,
    node: &Node,
    thing: &Thing,
    text: &str,
) -> Result<(), TestCaseError> {
    let filter = parsed(text);
    let checked = filter.check(&[resource_type], &reading());
    prop_assert_eq!(checked, Ok(()), "{}", text);
    let map = document(thing);
    let expected = holds(node, &thing.singles, &thing.lists);
    prop_assert_eq!(filter.matches(&map, resource_type), expected, "{}", text);
    if let (true, Some(lookups)) = (expected, filter.lookups(resource_type)) {
        let found = lookups
            .iter()
            .any(|lookup| leads_to(lookup, resource_type, &map));
        prop_assert!(found, "{text}: {lookups:?} miss {map:?}");
    }
    let relation = resource_type.kind.relation();
    let wanted = filter.relations(resource_type);
    let mut seen = map.clone();
    let keep = |element: &Value| match &wanted {
        Relations::None => false,
        Relations::Named(ids) => ids.iter().any(|id| element["value"] == json!(id)),
        Relations::All => true,
    };
    if let Some(Value::Array(elements)) = seen.get_mut(relation) {
        elements.retain(keep);
    }
    let partly = filter.matches(&seen, resource_type);
    prop_assert_eq!(partly, expected, "{} with {:?} only", text, wanted);
    if let Some(id) = filter.only_relation(resource_type) {
        let elements = map.get(relation).and_then(Value::as_array);
        let there = elements.is_some_and(|all| all.iter().any(|one| one["value"] == json!(id)));
        prop_assert_eq!(there, expected, "{} is not only about {}", text, id);
    }
    Ok(())
}

/// Whether the index would give this resource.
fn leads_to(lookup: &Lookup, resource_type: &ResourceType, map: &Map<String, Value>) -> bool {
    let mut stored = map.clone();
    let relation = stored.shift_remove(resource_type.kind.relation());
    let resource = crate::scim::Resource::from_document(Value::Object(stored)).expect("an object");
    match lookup {
        Lookup::Id(id) => map["id"] == json!(id),
        Lookup::Unique(unique, value) => {
            let values = resource.unique_values(resource_type.kind);
            values.contains(&(*unique, value.clone()))
        }
        Lookup::Indexed(indexed, value) => {
            let values = resource.indexed_values(resource_type.kind);
            values.contains(&(*indexed, value.clone()))
        }
        Lookup::Relation(id) => relation
            .as_ref()
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|one| one["value"] == json!(id))),
    }
}

proptest! {
    #![proptest_config(Config::with_cases(1000))]

    #[test]
    fn filters_of_users_hold_for_whom_they_say(
        node in node(USER),
        thing in thing(USER),
        noise in prop::collection::vec(any::<u8>(), 16..64),
    ) {
        let profile = profile();
        agree(profile.user(), &node, &thing, &written(&node, &noise, false))?;
    }

    #[test]
    fn filters_of_groups_hold_for_which_they_say(
        node in node(GROUP),
        thing in thing(GROUP),
        noise in prop::collection::vec(any::<u8>(), 16..64),
    ) {
        agree(&groups(), &node, &thing, &written(&node, &noise, false))?;
    }
}

/// The unique attributes are looked up in the form in which they are kept.
#[test]
fn lookups_fold_as_the_index_does() {
    let profile = profile();
    let lookup = |text: &str| parsed(text).lookups(profile.user());
    assert_eq!(
        lookup("userName eq \"BÄ\""),
        Some(vec![Lookup::Unique(Unique::UserName, "bä".to_owned())])
    );
}
