//! Cursors (RFC 9865): where the next page begins, signed and bound to what was asked.
//!
//! Invariant: a cursor is good for the tenant, the resource types, the filter and the sort order that
//! it was given out for, until it expires; anything else is 400 invalidCursor or expiredCursor. It
//! carries no secret, and authority is checked anew for each page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use crate::auth::Admission;
use crate::scim::{ListQuery, ScimError, ScimType, SortKey};
use crate::store::{Kind, Stored};

/// Bytes of the signature in front of a cursor's content.
const TAG_BYTES: usize = 16;

/// The end of a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Place {
    /// In the order of creation, and in the order of ids.
    #[serde(rename = "c")]
    Created { kind: Kind, position: u64, id: Uuid },
    /// In the client's order.
    #[serde(rename = "s")]
    Sorted {
        key: SortKey,
        kind: Kind,
        position: u64,
    },
}

impl Place {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Created { kind, .. } | Self::Sorted { kind, .. } => *kind,
        }
    }

    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Created { position, .. } | Self::Sorted { position, .. } => *position,
        }
    }

    /// The last resource, where the order is that of ids.
    pub(super) fn id(&self) -> Option<Uuid> {
        match self {
            Self::Created { id, .. } => Some(*id),
            Self::Sorted { .. } => None,
        }
    }

    /// Whether a resource comes behind this place in the order of creation.
    pub(super) fn is_before(&self, stored: &Stored) -> bool {
        self.position() < stored.position
    }
}

/// Where the next page begins.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Behind this; none for the first page.
    #[serde(rename = "p")]
    pub(super) place: Option<Place>,
    /// How many there were when the first page was made.
    #[serde(rename = "t")]
    pub(super) total: u64,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    cursor: Cursor,
    #[serde(rename = "x")]
    expires_s: i64,
}

/// What a cursor is good for.
pub(super) struct Scope {
    secret: [u8; 32],
    asked: String,
}

impl Scope {
    pub(super) fn of(admission: &Admission, kinds: &[Kind], query: &ListQuery) -> Self {
        let sort = query.sort.as_ref().map(|sort| sort.text());
        let asked = (&*admission.tenant().name, kinds, &query.filter_text, sort);
        Self {
            secret: admission.store().secret(),
            asked: serde_json::to_string(&asked).unwrap_or_default(),
        }
    }

    fn tag(&self, content: &[u8]) -> Option<Hmac<Sha256>> {
        let mut tag = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        tag.update(&(self.asked.len() as u64).to_be_bytes());
        tag.update(self.asked.as_bytes());
        tag.update(content);
        Some(tag)
    }
}

impl Cursor {
    /// The beginning: `cursor` without a value.
    pub(super) fn start() -> Self {
        Self {
            place: None,
            total: 0,
        }
    }

    /// The cursor behind the last resource of a page.
    pub(super) fn behind(last: &Stored, total: u64) -> Self {
        Self {
            place: Some(Place::Created {
                kind: last.kind,
                position: last.position,
                id: last.id,
            }),
            total,
        }
    }

    /// The text for the client: unreserved characters only (RFC 9865 section 2).
    pub(super) fn seal(self, scope: &Scope, ttl_s: u64) -> String {
        let lives = i64::try_from(ttl_s).unwrap_or(i64::MAX);
        let sealed = Sealed {
            cursor: self,
            expires_s: Timestamp::now().as_second().saturating_add(lives),
        };
        let content = serde_json::to_vec(&sealed).unwrap_or_default();
        let tag = scope.tag(&content).map(|tag| tag.finalize().into_bytes());
        let tag = tag.unwrap_or_default();
        URL_SAFE_NO_PAD.encode([&tag[..TAG_BYTES], &content].concat())
    }

    /// Reads a client's cursor.
    pub(super) fn open(scope: &Scope, text: &str) -> Result<Self, ScimError> {
        let invalid = || {
            ScimError::with(
                ScimType::InvalidCursor,
                "the cursor is not one that was given out for this query; begin with an empty one",
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let (tag, content) = bytes.split_at_checked(TAG_BYTES).ok_or_else(invalid)?;
        scope
            .tag(content)
            .ok_or_else(invalid)?
            .verify_truncated_left(tag)
            .map_err(|_| invalid())?;
        let sealed: Sealed = serde_json::from_slice(content).map_err(|_| invalid())?;
        match Timestamp::now().as_second() < sealed.expires_s {
            true => Ok(sealed.cursor),
            false => Err(ScimError::with(
                ScimType::ExpiredCursor,
                "the cursor has expired (limit cursor_ttl_s); begin with an empty one",
            )),
        }
    }
}
