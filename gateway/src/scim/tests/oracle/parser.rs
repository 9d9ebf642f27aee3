//! The grammar against the parser of the crate `scim_v2`: what both read is the same tree.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use scim_v2::filter as other;

use super::making::{node, written};
use super::{GROUP, USER, parsed};
use crate::scim::tests::{ENTERPRISE, read_as};
use crate::scim::{Comparison, Filter, Literal, Path, STRICT, Test, parse_filter};

/// The same tree in our own form. Literals are brought to one spelling, and what is joined by one word
/// is one list: whether `(a and b) and c` is remembered as written is a matter of taste.
fn translated(filter: &other::Filter) -> Filter {
    match filter {
        other::Filter::Attr(exp) => attribute(exp),
        other::Filter::ValuePath(path) => Filter::Term {
            path: Path {
                filter: Some(Box::new(translated_inner(&path.filter))),
                ..path_of(&path.attr)
            },
            test: Test::Present,
        },
        other::Filter::Not(inner) => Filter::Not(Box::new(translated(inner))),
        other::Filter::And(parts) => Filter::And(parts.into_iter().map(translated).collect()),
        other::Filter::Or(parts) => Filter::Or(parts.into_iter().map(translated).collect()),
    }
}

fn translated_inner(filter: &other::ValFilter) -> Filter {
    match filter {
        other::ValFilter::Attr(exp) => attribute(exp),
        other::ValFilter::Not(inner) => Filter::Not(Box::new(translated_inner(inner))),
        other::ValFilter::And(parts) => {
            Filter::And(parts.into_iter().map(translated_inner).collect())
        }
        other::ValFilter::Or(parts) => {
            Filter::Or(parts.into_iter().map(translated_inner).collect())
        }
    }
}

fn path_of(path: &other::AttrPath) -> Path {
    Path {
        urn: path.uri.clone(),
        name: Some(path.name.clone()),
        filter: None,
        sub: path.sub_attr.clone(),
    }
}

fn attribute(exp: &other::AttrExp) -> Filter {
    let (path, test) = match exp {
        other::AttrExp::Present(path) => (path, Test::Present),
        other::AttrExp::Comparison(path, comparison, value) => {
            let comparison = match comparison {
                other::CompareOp::Eq => Comparison::Eq,
                other::CompareOp::Ne => Comparison::Ne,
                other::CompareOp::Co => Comparison::Co,
                other::CompareOp::Sw => Comparison::Sw,
                other::CompareOp::Ew => Comparison::Ew,
                other::CompareOp::Gt => Comparison::Gt,
                other::CompareOp::Lt => Comparison::Lt,
                other::CompareOp::Ge => Comparison::Ge,
                other::CompareOp::Le => Comparison::Le,
            };
            let literal = match value {
                other::CompValue::Str(text) => Literal::Quoted(text.clone()),
                plain => Literal::Bare(plain.to_string()),
            };
            (path, Test::Compare(comparison, literal))
        }
    };
    Filter::Term {
        path: path_of(path),
        test,
    }
}

fn normal(filter: Filter) -> Filter {
    fn flat(parts: Vec<Filter>, open: fn(Filter) -> Result<Vec<Filter>, Filter>) -> Vec<Filter> {
        let parts = parts.into_iter().map(normal);
        parts
            .flat_map(|part| open(part).unwrap_or_else(|part| vec![part]))
            .collect()
    }
    match filter {
        Filter::And(parts) => Filter::And(flat(parts, |part| match part {
            Filter::And(parts) => Ok(parts),
            part => Err(part),
        })),
        Filter::Or(parts) => Filter::Or(flat(parts, |part| match part {
            Filter::Or(parts) => Ok(parts),
            part => Err(part),
        })),
        Filter::Not(inner) => Filter::Not(Box::new(normal(*inner))),
        Filter::Term { mut path, test } => {
            path.filter = path.filter.map(|filter| Box::new(normal(*filter)));
            let test = match test {
                Test::Compare(comparison, Literal::Bare(word)) => {
                    let number = serde_json::from_str::<serde_json::Number>(&word);
                    let word = number.map_or(word, |number| number.to_string());
                    Test::Compare(comparison, Literal::Bare(word))
                }
                test => test,
            };
            Filter::Term { path, test }
        }
    }
}

/// What `scim_v2` reads, we read as the same tree. It does not read a path behind a value path, which
/// Entra sends, nor `$ref`; both are left out of what is written here.
#[test]
fn what_another_parser_reads_means_the_same_here() {
    let (read, all) = (Cell::new(0_u32), Cell::new(0_u32));
    let texts = prop_oneof![
        (node(USER), prop::collection::vec(any::<u8>(), 16..64))
            .prop_map(|(node, noise)| written(&node, &noise, true)),
        (node(GROUP), prop::collection::vec(any::<u8>(), 16..64))
            .prop_map(|(node, noise)| written(&node, &noise, true)),
    ];
    TestRunner::new(Config::with_cases(2000))
        .run(&texts, |text| {
            all.set(all.get() + 1);
            if let Ok(theirs) = text.parse::<other::Filter>() {
                read.set(read.get() + 1);
                prop_assert_eq!(
                    normal(parsed(&text)),
                    normal(translated(&theirs)),
                    "{}",
                    text
                );
            }
            Ok(())
        })
        .expect("the same tree");
    // Value paths with something behind them are the rest.
    assert!(
        read.get() * 2 > all.get(),
        "{} of {}",
        read.get(),
        all.get()
    );
}

/// Words thrown together: the strict dialect reads what the other parser reads, as the same tree, but
/// for four differences. We take `true`, `not`, `and` and their like for the names of attributes where one must
/// stand, as RFC 7644 figure 1 does, and ask for no space behind a closing quote. They take any URI for
/// a schema's, not only one that begins with `urn:`, and let a space stand before `[`.
#[test]
fn what_another_parser_refuses_is_refused_here() {
    let words = prop::sample::select(vec![
        "userName",
        "emails",
        "emails.type",
        "[",
        "]",
        "(",
        ")",
        "and",
        "or",
        "not",
        "eq",
        "co",
        "pr",
        "\"x\"",
        "5",
        "-1.5e3",
        "true",
        "null",
        "a.b.c",
        "é",
        "\"",
        "==",
        "userName eq \"x\"",
        "title pr",
        "ENTERPRISE pr",
        "type ne null",
    ]);
    let texts =
        prop::collection::vec((words, prop::bool::weighted(0.15)), 1..9).prop_map(|words| {
            let mut text = String::new();
            for (word, close) in words {
                if !text.is_empty() && !close {
                    text.push(' ');
                }
                text.push_str(&word.replace("ENTERPRISE", &format!("{ENTERPRISE}:department")));
            }
            text
        });
    let read = Cell::new(0_u32);
    TestRunner::new(Config::with_cases(20_000))
        .run(&texts, |text| {
            let strict = read_as(&STRICT);
            match (parse_filter(&text, &strict), text.parse::<other::Filter>()) {
                (Ok(ours), Ok(theirs)) => {
                    read.set(read.get() + 1);
                    prop_assert_eq!(normal(ours), normal(translated(&theirs)), "{}", text);
                }
                (Err(_), Err(_)) => {}
                (Ok(_), Err(_)) => {
                    let names_keyword = text.split(['(', ')', '[', ']', ' ']).any(is_keyword);
                    let quoted = text.contains("\"and") || text.contains("\"or");
                    prop_assert!(names_keyword || quoted, "only we read {text}");
                }
                (Err(error), Ok(theirs)) => {
                    let mut uris = Vec::new();
                    collect_uris(&translated(&theirs), &mut uris);
                    let foreign = uris.iter().any(|uri| !uri.starts_with("urn:"));
                    let apart = text.contains(" [");
                    prop_assert!(foreign || apart, "only they read {text}: {error}");
                }
            }
            Ok(())
        })
        .expect("the same answer");
    assert!(read.get() > 200, "{} filters were read", read.get());
}

fn is_keyword(word: &str) -> bool {
    ["true", "null", "not", "and", "or"].contains(&word)
}

fn collect_uris(filter: &Filter, uris: &mut Vec<String>) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().for_each(|part| collect_uris(part, uris));
        }
        Filter::Not(inner) => collect_uris(inner, uris),
        Filter::Term { path, .. } => {
            uris.extend(path.urn.clone());
            if let Some(filter) = &path.filter {
                collect_uris(filter, uris);
            }
        }
    }
}
