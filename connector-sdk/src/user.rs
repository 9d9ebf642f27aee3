//! The account that the gateway wants: a typed view over a SCIM User in JSON.
//!
//! Absent: a struct with the schema's attributes. SCIM resources are open-ended, and the manifest's
//! profile says which paths can occur.

use serde_json::{Map, Value};

use crate::{Error, path};

/// A SCIM User as the gateway wants it at the vendor.
///
/// It holds the attributes of the manifest's profile, and may hold others that the client sent.
#[derive(Debug, Clone)]
pub struct User {
    attributes: Map<String, Value>,
}

impl User {
    /// Reads a User from JSON text.
    ///
    /// # Errors
    /// [`Error::invalid`] if the text is no JSON object with a `userName`.
    pub fn parse(json: &str) -> Result<User, Error> {
        let attributes: Map<String, Value> = serde_json::from_str(json)
            .map_err(|error| Error::invalid(format!("the user is no JSON object: {error}")))?;
        if !attributes.get("userName").is_some_and(Value::is_string) {
            return Err(Error::invalid("the user has no userName").path("userName"));
        }
        Ok(User { attributes })
    }

    /// The one attribute that every User has (RFC 7643 section 4.1.1).
    pub fn user_name(&self) -> &str {
        self.text("userName").unwrap_or_default()
    }

    /// Whether the account may be used. A User that does not say so is active.
    pub fn active(&self) -> bool {
        self.value("active").and_then(Value::as_bool) != Some(false)
    }

    /// The text at a profile path; none if it is absent, empty or not text.
    pub fn text(&self, path: &str) -> Option<&str> {
        let text = self.value(path)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// The value at a profile path; none if it is absent or null.
    pub fn value(&self, path: &str) -> Option<&Value> {
        path::get(&self.attributes, path)
    }

    pub(crate) fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_needs_a_user_name() {
        for (text, message) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            ("{}", "no userName"),
            (r#"{"userName": 7}"#, "no userName"),
        ] {
            let error = User::parse(text).unwrap_err();
            assert_eq!(error.kind, crate::ErrorKind::Invalid);
            assert!(error.message.contains(message), "{error}");
        }
    }

    #[test]
    fn absent_means_active() {
        let active = |rest: &str| User::parse(&format!(r#"{{"userName":"a"{rest}}}"#));
        assert!(active("").unwrap().active());
        assert!(active(r#","active":true"#).unwrap().active());
        assert!(!active(r#","active":false"#).unwrap().active());
    }

    #[test]
    fn empty_text_is_no_text() {
        let user = User::parse(r#"{"userName":"a","title":"","age":3}"#).unwrap();
        assert_eq!(user.text("title"), None);
        assert_eq!(user.text("age"), None);
        assert_eq!(user.value("age"), Some(&Value::from(3)));
    }
}
