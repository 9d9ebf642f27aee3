//! The account that the vendor holds: what a connector returns.

use serde_json::{Map, Value};

use crate::{log, path};

/// An account as the vendor holds it, built path by path.
///
/// ```
/// use connector_sdk::Account;
/// let account = Account::new("4711")
///     .set("userName", "ann@example.com")
///     .set("name.givenName", Some("Ann"))
///     .set("title", None::<String>)
///     .set(r#"emails[type eq "work"].value"#, "ann@example.com")
///     .set("active", true);
/// assert_eq!(account.uid(), "4711");
/// assert_eq!(account.value("name.givenName").unwrap(), "Ann");
/// assert!(account.value("title").is_none());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    uid: String,
    attributes: Map<String, Value>,
}

impl Account {
    /// An account with the vendor's key, of which nothing else is known yet.
    pub fn new(uid: impl ToString) -> Account {
        Account {
            uid: uid.to_string(),
            attributes: Map::new(),
        }
    }

    /// An account of which the vendor returned this SCIM resource.
    pub(crate) fn of_resource(uid: String, attributes: Map<String, Value>) -> Account {
        Account { uid, attributes }
    }

    /// Sets one attribute by its profile path. `None` and null leave it out. A text that is no
    /// profile path is a mistake in the connector: natively it panics in debug builds, so that a
    /// test finds it; in the gateway the attribute is left out and a warning logged.
    #[must_use]
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Account {
        let value = value.into();
        if !value.is_null() && !path::set(&mut self.attributes, path, value) {
            debug_assert!(false, "{path} is no profile path");
            log::warn(&format!("{path} is no profile path; attribute left out"));
        }
        self
    }

    /// The vendor's key.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The value at a profile path; none if it was not set.
    pub fn value(&self, path: &str) -> Option<&Value> {
        path::get(&self.attributes, path)
    }

    /// The SCIM resource as JSON text, as the gateway gets it; none where the vendor returned
    /// nothing but the uid.
    pub fn to_json(&self) -> Option<String> {
        if self.attributes.is_empty() {
            return None;
        }
        serde_json::to_string(&self.attributes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_attributes_has_no_text() {
        assert_eq!(Account::new(7).to_json(), None);
        let account = Account::new(7).set("active", false);
        assert_eq!(account.to_json().as_deref(), Some(r#"{"active":false}"#));
    }
}
