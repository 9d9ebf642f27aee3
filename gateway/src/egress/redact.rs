//! Takes a secret's bytes out of text that came from outside, before a guest or a log sees it.
//!
//! Invariant: the forms looked for are the secret itself, its JSON and percent escapes, and base64
//! at any alignment (as inside `user:secret`). A vendor that returns the secret in another shape
//! (reversed, hexadecimal, hashed) is not caught; nothing can catch every shape.

use std::fmt::Write;

use secrecy::{ExposeSecret, SecretString};

use super::EgressError;

const MARK: &str = "[redacted]";

/// Knows one secret in the shapes in which it may come back; none by default.
#[derive(Default)]
pub(super) struct Redactor {
    /// Longest first, so that no form is broken up by a shorter one inside it.
    forms: Vec<SecretString>,
}

impl Redactor {
    pub(super) fn new(secret: &str) -> Self {
        let mut forms = vec![
            secret.to_owned(),
            json_escaped(secret),
            percent_escaped(secret),
        ];
        for alphabet in [STANDARD, URL_SAFE] {
            forms.extend((0..3).map(|offset| base64_inside(secret.as_bytes(), offset, alphabet)));
        }
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self {
            forms: forms.into_iter().map(SecretString::from).collect(),
        }
    }

    pub(super) fn clean(&self, mut text: String) -> String {
        for form in &self.forms {
            let form = form.expose_secret();
            if text.contains(form) {
                text = text.replace(form, MARK);
            }
        }
        text
    }

    pub(super) fn clean_error(&self, error: EgressError) -> EgressError {
        match error {
            EgressError::Denied(text) => EgressError::Denied(self.clean(text)),
            EgressError::Dns(text) => EgressError::Dns(self.clean(text)),
            EgressError::Connect(text) => EgressError::Connect(self.clean(text)),
            EgressError::Tls(text) => EgressError::Tls(self.clean(text)),
            EgressError::Protocol(text) => EgressError::Protocol(self.clean(text)),
            EgressError::Timeout => EgressError::Timeout,
            EgressError::TooLarge(bytes) => EgressError::TooLarge(bytes),
        }
    }
}

fn json_escaped(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn percent_escaped(secret: &str) -> String {
    secret.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The base64 characters that the secret alone decides when `offset` bytes stand before it.
fn base64_inside(secret: &[u8], offset: usize, alphabet: &[u8; 64]) -> String {
    let bit = |at: usize| secret[at / 8] >> (7 - at % 8) & 1;
    let (first, last) = (offset * 8, (offset + secret.len()) * 8);
    (first.div_ceil(6)..last / 6)
        .map(|place| {
            let value = (place * 6..place * 6 + 6).fold(0, |acc, at| acc << 1 | bit(at - first));
            char::from(alphabet[usize::from(value)])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "k3y\"with/odd+parts?";

    #[test]
    fn every_known_form_is_taken_out() {
        let redactor = Redactor::new(SECRET);
        for (text, cleaned) in [
            ("no secret here", "no secret here"),
            ("key k3y\"with/odd+parts? key", "key [redacted] key"),
            (
                r#"{"key":"k3y\"with/odd+parts?"}"#,
                r#"{"key":"[redacted]"}"#,
            ),
            ("?key=k3y%22with%2Fodd%2Bparts%3F&x", "?key=[redacted]&x"),
            // base64 of the secret, of `a:` and of `ab:` in front of it
            ("azN5IndpdGgvb2RkK3BhcnRzPw==", "[redacted]w=="),
            ("YTprM3kid2l0aC9vZGQrcGFydHM/", "YTp[redacted]"),
            ("YWI6azN5IndpdGgvb2RkK3BhcnRzPw==", "YWI6[redacted]w=="),
        ] {
            assert_eq!(redactor.clean(text.to_owned()), cleaned);
        }
    }

    #[test]
    fn base64_agrees_with_known_values() {
        assert_eq!(base64_inside(b"Man", 0, STANDARD), "TWFu");
        assert_eq!(base64_inside(b"light work", 0, STANDARD), "bGlnaHQgd29ya");
        assert_eq!(base64_inside(&[0xfb, 0xff, 0xbf], 0, URL_SAFE), "-_-_");
        // "TWFu" is "Man"; with "M" in front of the secret "an", only the last two characters
        // are the secret's alone.
        assert_eq!(base64_inside(b"an", 1, STANDARD), "Fu");
    }

    #[test]
    fn errors_are_cleaned_and_nothing_is_looked_for_without_a_secret() {
        let redactor = Redactor::new("correct-horse");
        let error = redactor.clean_error(EgressError::Protocol("saw correct-horse".into()));
        assert_eq!(error, EgressError::Protocol("saw [redacted]".into()));
        assert_eq!(
            Redactor::default().clean("correct-horse".into()),
            "correct-horse"
        );
    }
}
