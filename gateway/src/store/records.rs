//! What is kept: resources, members, intents, log entries, tokens, forms, and the keys by which
//! resources are found.
//!
//! Plain data; their JSON is what the embedded store writes and what a backup carries. Invariant: a
//! new field has a default for records without it, or the format version goes up.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The resource types that the store tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A SCIM User.
    User,
    /// A SCIM Group.
    Group,
}

/// A value of an attribute, by which resources of a kind are found: one that at most one of them
/// may hold within a tenant, or an entry of a plain index.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttributeKey {
    /// The resource type.
    pub kind: Kind,
    /// The attribute, as the schema writes it: `userName`. No NUL, at most 255 bytes.
    pub attribute: String,
    /// The value in the form in which it is compared: the caller has folded its case if the
    /// attribute is not caseExact. Any length.
    pub value: String,
}

/// A resource as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The id that we issued.
    pub id: Uuid,
    /// The resource type.
    pub kind: Kind,
    /// Counts the changes, from 1; the caller raises it.
    pub version: u64,
    /// When the resource was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub modified: Timestamp,
    /// The vendor's key: the other half of the link.
    pub uid: Option<String>,
    /// The unique values that the resource holds. [`Write::PutResource`](super::Write::PutResource)
    /// takes these and releases the others.
    pub unique: Vec<AttributeKey>,
    /// The values that [`Store::indexed`](super::Store::indexed) finds the resource by. Others may
    /// have the same. Replaced by each put.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexed: Vec<AttributeKey>,
    /// The place in creation order, given by the store at the first put; a put ignores what it says
    /// here.
    #[serde(skip)]
    pub position: u64,
    /// The attributes, opaque to the store. Comes back with the keys in the same order.
    pub document: Value,
}

/// A user or group that is in a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its resource type.
    pub kind: Kind,
    /// The id that we issued.
    pub id: Uuid,
    /// The vendor's key of the member, where somebody has to know it: in an intent, and as
    /// [`Store::identify`](super::Store::identify) answers. Memberships are kept without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// How the members of one group change. Sets: the order within a list means nothing, and what is in
/// both lists is a member afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// Who comes in, or stays.
    pub add: Vec<Member>,
    /// Who goes, or stays away.
    pub remove: Vec<Member>,
}

impl MemberChange {
    /// Whether nobody is named.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// A form of request that departs from the RFC, and when a tenant's client was seen to use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormUse {
    /// The form's name, given by the caller.
    pub form: String,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

/// What an intent does to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The resource does not exist yet.
    Create,
    /// The resource changes.
    Update,
    /// The resource goes.
    Delete,
}

/// What we are about to ask of the vendor, durable before the vendor hears of it.
///
/// At most one is open per resource. While it is open its claims are taken, so a second create of
/// the same userName is refused before it reaches the vendor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The operation id, a version 7 UUID. It stays the same over all attempts.
    pub id: Uuid,
    /// The tenant; must be the write set's.
    pub tenant: String,
    /// The resource that the operation is about.
    pub resource: Uuid,
    /// Its resource type.
    pub kind: Kind,
    /// What is to be done.
    pub operation: Operation,
    /// The state that the resource is to have; `None` for a delete.
    pub desired: Option<Value>,
    /// The vendor's key, as far as it is known.
    pub uid: Option<String>,
    /// The version that the plan was made from; `None` for a create.
    pub base_version: Option<u64>,
    /// How the members of the resource are to change, if it is a group.
    #[serde(default, skip_serializing_if = "MemberChange::is_empty")]
    pub members: MemberChange,
    /// The unique values that the resource will hold afterwards.
    pub claims: Vec<AttributeKey>,
    /// Counts the attempts, from 1. Fences: an attempt that was superseded cannot commit its
    /// outcome.
    pub attempt: u32,
    /// When this attempt was opened.
    pub opened: Timestamp,
}

/// A line of the log: one operation and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// A version 7 UUID: the log is kept in the order of these.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// The tenant; must be the write set's.
    pub tenant: String,
    /// The resource, if the entry is about one.
    pub resource: Option<Uuid>,
    /// The resource type, if the entry is about a resource.
    pub kind: Option<Kind>,
    /// What was to be done, if the entry is about a resource.
    pub operation: Option<Operation>,
    /// How it ended, one word: `done`, `refused`, `unknown`, …
    pub outcome: String,
    /// What the operator should read.
    pub detail: String,
    /// The vendor's key, if it is known.
    pub vendor_uid: Option<String>,
    /// How long the operation took.
    pub duration_ms: u64,
    /// The request that asked for it.
    pub request_id: String,
}

/// A credential that a client shows us. The secret itself is never stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// What the operator calls it by.
    pub id: Uuid,
    /// The tenant; must be the write set's.
    pub tenant: String,
    /// SHA-256 of the secret; hexadecimal in JSON.
    #[serde(with = "hex_hash")]
    pub hash: [u8; 32],
    /// What the operator calls it.
    pub name: Option<String>,
    /// When it was issued.
    pub created: Timestamp,
    /// From when on it is refused.
    pub expires: Option<Timestamp>,
    /// When it was last used, to the minute or so.
    pub last_used: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// SHA-256 values as 64 hexadecimal digits.
mod hex_hash {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], out: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        for byte in hash {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        out.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(input)?;
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect();
        match digits {
            Some(digits) if digits.len() == 64 => Ok(std::array::from_fn(|i| {
                digits[2 * i] << 4 | digits[2 * i + 1]
            })),
            _ => Err(D::Error::custom("a SHA-256 has 64 hexadecimal digits")),
        }
    }
}
