//! Making things, questions and texts for the oracles.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Asked, Atom, Atoms, DATES, Node, Question, Row, Thing, Type, WORDS};
use crate::scim::Comparison;
use crate::scim::tests::VENDOR;

fn atom(ty: Type) -> BoxedStrategy<Atom> {
    match ty {
        Type::Boolean => any::<bool>().prop_map(Atom::Boolean).boxed(),
        Type::Number => (-1..7).prop_map(Atom::Number).boxed(),
        Type::Date => prop::sample::select(DATES)
            .prop_map(|text| Atom::Text(text.to_owned()))
            .boxed(),
        _ => prop::sample::select(WORDS)
            .prop_map(|text| Atom::Text(text.to_owned()))
            .boxed(),
    }
}

fn atoms(rows: &[(&'static str, Type)]) -> BoxedStrategy<Atoms> {
    let parts: Vec<_> = rows
        .iter()
        .copied()
        .map(|(name, ty)| prop::option::weighted(0.8, atom(ty)).prop_map(move |atom| (name, atom)))
        .collect();
    parts
        .prop_map(|parts| {
            let there = parts.into_iter();
            there
                .filter_map(|(name, atom)| Some((name, atom?)))
                .collect()
        })
        .boxed()
}

pub(super) fn thing(rows: &'static [Row]) -> BoxedStrategy<Thing> {
    let single = rows.iter().filter_map(|row| match row {
        Row::Single(name, ty) => Some((*name, *ty)),
        Row::Many(..) => None,
    });
    let lists: Vec<_> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Many(name, subs) => Some((*name, *subs)),
            Row::Single(..) => None,
        })
        .map(|(name, subs)| {
            prop::collection::vec(atoms(subs), 0..4).prop_map(move |elements| {
                let full = elements.into_iter().filter(|element| !element.is_empty());
                (name, full.collect::<Vec<Atoms>>())
            })
        })
        .collect();
    (atoms(&single.collect::<Vec<_>>()), lists)
        .prop_map(|(mut singles, lists)| {
            // What no resource is without.
            for name in ["id", "userName", "displayName"] {
                singles.entry(name).or_insert(Atom::Text("ab".to_owned()));
            }
            singles.remove("unheardOf");
            let mut lists: BTreeMap<_, _> = lists.into_iter().collect();
            // One primary value at most (RFC 7643 section 2.4).
            for elements in lists.values_mut() {
                for element in elements.iter_mut().skip(1) {
                    element.remove("primary");
                }
                elements.retain(|element| !element.is_empty());
            }
            Thing { singles, lists }
        })
        .boxed()
}

fn question(ty: Type) -> BoxedStrategy<Question> {
    use Comparison::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
    let operators = match ty {
        Type::Boolean => vec![Eq, Ne],
        Type::Number | Type::Date => vec![Eq, Ne, Gt, Ge, Lt, Le],
        _ => vec![Eq, Eq, Eq, Ne, Co, Sw, Ew, Gt, Ge, Lt, Le],
    };
    let literal = match ty {
        Type::Boolean => prop::sample::select(vec!["true", "false"]).boxed(),
        Type::Number => prop::sample::select(vec!["-1", "0", "3", "4.5", "5"]).boxed(),
        Type::Date => prop::sample::select(DATES).boxed(),
        _ => prop::sample::select(WORDS).boxed(),
    };
    let compare = (prop::sample::select(operators), literal)
        .prop_map(|(comparison, text)| Question::Compare(comparison, text.to_owned()));
    prop_oneof![
        1 => Just(Question::Present),
        1 => any::<bool>().prop_map(|differs| Question::Null { differs }),
        6 => compare,
    ]
    .boxed()
}

fn joined(leaf: BoxedStrategy<Node>, depth: u32) -> BoxedStrategy<Node> {
    leaf.prop_recursive(depth, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Node::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Node::Or),
            inner.prop_map(|inner| Node::Not(Box::new(inner))),
        ]
    })
    .boxed()
}

fn single(name: &'static str, ty: Type) -> BoxedStrategy<Node> {
    question(ty)
        .prop_map(move |question| Node::Term(Asked::Single(name, ty), question))
        .boxed()
}

pub(super) fn node(rows: &'static [Row]) -> BoxedStrategy<Node> {
    let leaves: Vec<BoxedStrategy<Node>> = rows
        .iter()
        .map(|row| match *row {
            Row::Single(name, ty) => single(name, ty),
            Row::Many(name, subs) => {
                let inner: Vec<_> = subs.iter().map(|(sub, ty)| single(sub, *ty)).collect();
                let picks = joined(prop::strategy::Union::new(inner).boxed(), 2);
                let sub = prop::option::of(prop::sample::select(subs));
                (prop::option::of(picks), sub)
                    .prop_flat_map(move |(picks, sub)| {
                        let value = sub.map_or(subs[0].1, |(_, ty)| ty);
                        question(value).prop_map(move |question| {
                            let asked = Asked::Many {
                                name,
                                picks: picks.clone().map(Box::new),
                                sub: sub.map(|(sub, _)| sub),
                                value,
                            };
                            Node::Term(asked, question)
                        })
                    })
                    .boxed()
            }
        })
        .collect();
    joined(prop::strategy::Union::new(leaves).boxed(), 3)
}

/// Writes a tree as somebody might: letter case, space, parentheses and quotes by chance.
struct Writer<'n> {
    noise: &'n [u8],
    at: usize,
    /// Only what the RFC's grammar has.
    plain: bool,
    out: String,
}

impl Writer<'_> {
    fn chance(&mut self, of: u8) -> bool {
        self.at += 1;
        let noise = self.noise.get(self.at % self.noise.len().max(1));
        noise.is_some_and(|noise| noise % of == 0)
    }

    fn word(&mut self, word: &str) {
        for c in word.chars() {
            let c = if self.chance(4) {
                c.to_ascii_uppercase()
            } else {
                c
            };
            self.out.push(c);
        }
    }

    fn space(&mut self, needed: bool) {
        if needed {
            self.out.push(' ');
        }
        while !self.plain && self.chance(5) {
            self.out.push(' ');
        }
    }

    fn node(&mut self, node: &Node, bare: bool) {
        let wrapped = match node {
            Node::And(_) | Node::Or(_) => !bare,
            _ => false,
        } || self.chance(6);
        if wrapped {
            self.out.push('(');
            self.space(false);
        }
        match node {
            Node::Term(asked, question) => self.term(asked, question),
            Node::Not(inner) => {
                self.word("not");
                self.space(self.plain);
                self.out.push('(');
                self.space(false);
                self.node(inner, true);
                self.space(false);
                self.out.push(')');
            }
            Node::And(parts) => self.parts("and", parts, |_| false),
            Node::Or(parts) => self.parts("or", parts, |part| matches!(part, Node::And(_))),
        }
        if wrapped {
            self.space(false);
            self.out.push(')');
        }
    }

    fn parts(&mut self, word: &str, parts: &[Node], bare: fn(&Node) -> bool) {
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.space(true);
                self.word(word);
                self.space(true);
            }
            self.node(part, bare(part));
        }
    }

    fn term(&mut self, asked: &Asked, question: &Question) {
        match asked {
            Asked::Single(name, ty) => {
                match *name {
                    "title" if self.chance(2) => {
                        self.word("urn:ietf:params:scim:schemas:core:2.0:User:");
                    }
                    "level" | "customDate1" if self.plain || self.chance(2) => {
                        self.word(VENDOR);
                        self.out.push(':');
                    }
                    _ => {}
                }
                self.word(name);
                self.question(*ty, question, true);
            }
            Asked::Many {
                name,
                picks,
                sub,
                value,
            } => {
                self.word(name);
                if let Some(picks) = picks {
                    self.out.push('[');
                    self.space(false);
                    self.node(picks, true);
                    self.space(false);
                    self.out.push(']');
                }
                if let Some(sub) = sub {
                    self.out.push('.');
                    self.word(sub);
                }
                let alone = picks.is_some() && sub.is_none();
                self.question(*value, question, !alone);
            }
        }
    }

    fn question(&mut self, ty: Type, question: &Question, needed: bool) {
        match question {
            Question::Present if !needed => {}
            Question::Present => {
                self.space(true);
                self.word("pr");
            }
            Question::Null { differs } => {
                self.space(true);
                self.word(if *differs { "ne" } else { "eq" });
                self.space(true);
                self.out.push_str("null");
            }
            Question::Compare(comparison, text) => {
                self.space(true);
                self.word(comparison.as_str());
                self.space(true);
                let quoted = match ty {
                    Type::Boolean | Type::Number => !self.plain && self.chance(3),
                    _ => self.plain || !self.chance(3),
                };
                if quoted && self.chance(4) {
                    let first = text.chars().next().expect("not empty");
                    let rest: String = text.chars().skip(1).collect();
                    self.out
                        .push_str(&format!("\"\\u{:04x}{rest}\"", u32::from(first)));
                } else if quoted {
                    self.out.push_str(&format!("\"{text}\""));
                } else {
                    self.out.push_str(text);
                }
            }
        }
    }
}

pub(super) fn written(node: &Node, noise: &[u8], plain: bool) -> String {
    let mut writer = Writer {
        noise,
        at: 0,
        plain,
        out: String::new(),
    };
    writer.node(node, true);
    writer.out
}
