//! The group that the gateway wants, and who is in it.
//!
//! Absent: a list of a group's members. The gateway says who joins and who leaves; a group may have
//! more members than one call can carry.

use serde_json::{Map, Value};

use crate::{Error, path};

/// A SCIM Group as the gateway wants it at the vendor, without its members.
#[derive(Debug, Clone)]
pub struct Group {
    attributes: Map<String, Value>,
}

impl Group {
    /// Reads a Group from JSON text.
    ///
    /// # Errors
    /// [`Error::invalid`] if the text is no JSON object with a `displayName`.
    pub fn parse(json: &str) -> Result<Group, Error> {
        let attributes: Map<String, Value> = serde_json::from_str(json)
            .map_err(|error| Error::invalid(format!("the group is no JSON object: {error}")))?;
        if !attributes.get("displayName").is_some_and(Value::is_string) {
            return Err(Error::invalid("the group has no displayName").path("displayName"));
        }
        Ok(Group { attributes })
    }

    /// The one attribute that every Group has (RFC 7643 section 4.2).
    pub fn display_name(&self) -> &str {
        self.text("displayName").unwrap_or_default()
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

/// What a member of a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// An account.
    User,
    /// A group inside the group.
    Group,
}

/// Someone in a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Whether the uid is an account's or a group's.
    pub kind: MemberKind,
    /// The vendor's key.
    pub uid: String,
}

impl Member {
    /// The account with this key as a member.
    pub fn user(uid: impl ToString) -> Member {
        Member {
            kind: MemberKind::User,
            uid: uid.to_string(),
        }
    }

    /// The group with this key as a member.
    pub fn group(uid: impl ToString) -> Member {
        Member {
            kind: MemberKind::Group,
            uid: uid.to_string(),
        }
    }
}

/// Who joins a group and who leaves it; nobody is in both lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberChange {
    /// Who joins. To add who is in already succeeds.
    pub add: Vec<Member>,
    /// Who leaves. To remove who is not in succeeds.
    pub remove: Vec<Member>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_needs_a_display_name() {
        for (text, message) in [
            ("", "no JSON object"),
            ("{}", "no displayName"),
            (r#"{"displayName": 7}"#, "no displayName"),
        ] {
            let error = Group::parse(text).unwrap_err();
            assert_eq!(error.kind, crate::ErrorKind::Invalid);
            assert!(error.message.contains(message), "{error}");
        }
        let group = Group::parse(r#"{"displayName": "Sales", "externalId": "7"}"#).unwrap();
        assert_eq!(group.display_name(), "Sales");
        assert_eq!(group.text("externalId"), Some("7"));
    }
}
