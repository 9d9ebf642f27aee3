//! Rust as tokens: which paths a file names, which modules it declares, and what of it is compiled
//! for unit tests only. Not a parser: macros are read as they are written, and nothing is resolved.

/// What the rules want to know of a Rust file.
#[derive(Default)]
pub(crate) struct Source {
    pub(crate) names: Vec<Name>,
    pub(crate) modules: Vec<Declared>,
}

/// A path as the code writes it, `use` groups taken apart: `std::{fs, io}` is two.
pub(crate) struct Name {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// How many inline `mod x { … }` are around it.
    pub(crate) inline_depth: usize,
    pub(crate) in_tests: bool,
    pub(crate) is_macro: bool,
    pub(crate) is_attribute: bool,
    pub(crate) is_use: bool,
}

/// A `mod name;`, in the inline modules around it.
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) inside: Vec<String>,
    pub(crate) in_tests: bool,
}

impl Name {
    /// Whether this is the crate, module, item or macro, or something in it. A lone word is a
    /// variable or a field unless a `use` or a `!` says otherwise, and a module that the file
    /// declares hides a crate of its name.
    pub(crate) fn names(&self, what: &str, source: &Source) -> bool {
        let is_named = what
            .split("::")
            .enumerate()
            .all(|(at, segment)| self.path.get(at).is_some_and(|written| written == segment));
        is_named
            && (self.path.len() > 1 || self.is_use || self.is_macro)
            && !source
                .modules
                .iter()
                .any(|module| module.name == self.path[0])
    }
}

impl Source {
    pub(crate) fn read(text: &str) -> Source {
        let code = code_only(text);
        let tokens = tokens(&code);
        let word = |at: usize| tokens.get(at).map_or("", |token| token.0);
        let mut source = Source::default();
        // The inline modules around the token: name, braces open before it, and whether it or one
        // around it is for tests.
        let mut around: Vec<(String, usize, bool)> = Vec::new();
        let (mut at, mut braces) = (0, 0usize);
        while at < tokens.len() {
            let (text, line) = tokens[at];
            let in_tests = around.last().is_some_and(|module| module.2);
            match text {
                "{" => braces += 1,
                "}" => {
                    braces = braces.saturating_sub(1);
                    around.pop_if(|module| module.1 == braces);
                }
                "mod" if word(at + 2) == "{" || word(at + 2) == ";" => {
                    let name = word(at + 1).to_owned();
                    let in_tests = in_tests || for_tests(&tokens[..at]);
                    if word(at + 2) == "{" {
                        around.push((name, braces, in_tests));
                    } else {
                        let inside = around.iter().map(|module| module.0.clone()).collect();
                        source.modules.push(Declared {
                            name,
                            inside,
                            in_tests,
                        });
                    }
                    at += 2;
                    continue;
                }
                _ if is_word(text) && (at == 0 || word(at - 1) != ".") => {
                    let is_use = at > 0 && word(at - 1) == "use";
                    let is_attribute = at > 1 && word(at - 1) == "[" && word(at - 2) == "#";
                    let mut paths = Vec::new();
                    let after = read_path(&tokens, at, &[], &mut paths);
                    for (path, line) in paths {
                        source.names.push(Name {
                            path,
                            line,
                            inline_depth: around.len(),
                            in_tests,
                            is_macro: word(after) == "!" && word(after + 1) != "=",
                            is_attribute,
                            is_use,
                        });
                    }
                    at = after.max(at + 1);
                    continue;
                }
                _ => {}
            }
            let _ = line;
            at += 1;
        }
        source
    }
}

/// Reads `a::b::{c, d::e}` from `at`; gives every path in it with its line, and the token after it.
fn read_path(
    tokens: &[(&str, usize)],
    mut at: usize,
    prefix: &[String],
    paths: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.0);
    let line = tokens[at].1;
    let mut path = prefix.to_vec();
    loop {
        if word(at) == "{" {
            at += 1;
            while at < tokens.len() && word(at) != "}" {
                at = if is_word(word(at)) {
                    read_path(tokens, at, &path, paths)
                } else {
                    at + 1
                };
            }
            return at + 1;
        }
        // `use a::b as c` names a::b; `self` in a group names the group.
        if is_word(word(at)) {
            if word(at) != "self" || path.is_empty() {
                path.push(word(at).to_owned());
            }
            at += 1;
        }
        if word(at) != "::" || !(is_word(word(at + 1)) || word(at + 1) == "{") {
            break;
        }
        at += 1;
    }
    paths.push((path, line));
    at
}

/// Whether the attributes at the end of these tokens say `#[cfg(test)]`.
fn for_tests(before: &[(&str, usize)]) -> bool {
    let item = before
        .iter()
        .rposition(|token| matches!(token.0, ";" | "}" | "{"))
        .map_or(0, |at| at + 1);
    let words: Vec<&str> = before[item..].iter().map(|token| token.0).collect();
    words
        .windows(4)
        .any(|window| window == ["cfg", "(", "test", ")"])
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::` and single signs, each with its line.
fn tokens(code: &str) -> Vec<(&str, usize)> {
    let mut tokens = Vec::new();
    let (mut line, mut rest) = (1, code);
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            _ if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        if !first.is_whitespace() {
            tokens.push((&rest[..length], line));
        }
        line += usize::from(first == '\n');
        rest = &rest[length..];
    }
    tokens
}

/// The text with comments and the insides of strings and characters blanked, line by line the same.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let starts = |at: usize, what: &str| bytes[at..].starts_with(what.as_bytes());
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let prefix = bytes[at..]
            .iter()
            .take_while(|byte| b"rbc".contains(byte))
            .count()
            .min(2);
        let hashes = bytes[at + prefix..]
            .iter()
            .take_while(|byte| **byte == b'#')
            .count();
        let is_raw = !in_word
            && bytes[at..at + prefix].contains(&b'r')
            && bytes.get(at + prefix + hashes) == Some(&b'"');
        let end = if starts(at, "//") {
            text[at..].find('\n').map_or(bytes.len(), |end| at + end)
        } else if starts(at, "/*") {
            end_of_block_comment(bytes, at)
        } else if is_raw {
            let close = format!("\"{}", "#".repeat(hashes));
            let inside = at + prefix + hashes + 1;
            text[inside..]
                .find(&close)
                .map_or(bytes.len(), |end| inside + end + close.len())
        } else if bytes[at] == b'"' {
            end_of_quoted(bytes, at, b'"')
        } else if bytes[at] == b'\'' && is_character(&text[at..]) {
            end_of_quoted(bytes, at, b'\'')
        } else {
            let length = text[at..].chars().next().map_or(1, char::len_utf8);
            code.push_str(&text[at..at + length]);
            at += length;
            continue;
        };
        code.extend(
            text[at..end]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        at = end;
    }
    code
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_character(text: &str) -> bool {
    let mut inside = text.chars().skip(1);
    matches!(
        (inside.next(), inside.next()),
        (Some('\\'), _) | (Some(_), Some('\''))
    )
}

fn end_of_quoted(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn end_of_block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(bytes.len())
}
