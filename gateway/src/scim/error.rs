//! Every SCIM error the gateway can answer with, from one table (RFC 7644 section 3.12).
//!
//! Invariant: a status and its `scimType` come from [`ScimType::row`]; nobody pairs them by hand.
//! The `detail` is what an administrator reads in the provisioning log: it says what happened and
//! what to do. Absent: HTTP types, headers, internal causes.

use serde_json::{Value, json};

/// The URN that marks a SCIM error body (RFC 7644 section 3.12).
const ERROR_URN: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The detail error keywords of RFC 7644 table 9 and RFC 9865 section 2.1. The list is closed: clients
/// know no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScimType {
    /// The filter cannot be read, or compares what cannot be compared.
    InvalidFilter,
    /// The filter yields more than the gateway is willing to work through.
    TooMany,
    /// A unique value is taken.
    Uniqueness,
    /// The target is readOnly or immutable.
    Mutability,
    /// The body is not what the RFC asks for.
    InvalidSyntax,
    /// The `path` of a PATCH operation cannot be read.
    InvalidPath,
    /// The `path` of a PATCH operation names nothing that the operation could act on.
    NoTarget,
    /// A required value is missing, or a value does not fit its attribute.
    InvalidValue,
    /// The SCIM version is not supported.
    InvalidVers,
    /// The request carries something that must not stand in a URI.
    Sensitive,
    /// The cursor is none of ours, or was given for another question (RFC 9865).
    InvalidCursor,
    /// The cursor is too old (RFC 9865).
    ExpiredCursor,
    /// The page size is no number, or is not the one the cursor was given for (RFC 9865).
    InvalidCount,
}

impl ScimType {
    /// Wire name, HTTP status and default wording: the table.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidFilter => (
                "invalidFilter",
                400,
                "The filter cannot be read or is not supported.",
            ),
            Self::TooMany => (
                "tooMany",
                400,
                "The filter yields too many results; make it narrower.",
            ),
            Self::Uniqueness => (
                "uniqueness",
                409,
                "Another resource already holds this value.",
            ),
            Self::Mutability => ("mutability", 400, "The attribute cannot be changed."),
            Self::InvalidSyntax => (
                "invalidSyntax",
                400,
                "The body is not a valid SCIM message.",
            ),
            Self::InvalidPath => ("invalidPath", 400, "The path cannot be read."),
            Self::NoTarget => (
                "noTarget",
                400,
                "The path names nothing that could be changed.",
            ),
            Self::InvalidValue => (
                "invalidValue",
                400,
                "A value is missing or does not fit its attribute.",
            ),
            Self::InvalidVers => (
                "invalidVers",
                400,
                "Only SCIM protocol version 2.0 is supported.",
            ),
            Self::Sensitive => (
                "sensitive",
                403,
                "The request carries sensitive values in its URI.",
            ),
            Self::InvalidCursor => (
                "invalidCursor",
                400,
                "The cursor is not valid for this request; begin again with an empty cursor.",
            ),
            Self::ExpiredCursor => (
                "expiredCursor",
                400,
                "The cursor has expired; begin again with an empty cursor.",
            ),
            Self::InvalidCount => (
                "invalidCount",
                400,
                "count must be a whole number, the same on each page of a cursor.",
            ),
        }
    }

    /// The name on the wire, for example `invalidValue`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }
}

/// Default wording for a status that comes without a `scimType` (RFC 7644 table 8, RFC 9110).
const fn status_wording(status: u16) -> &'static str {
    match status {
        304 => "The resource has not changed.",
        401 => "The token is missing or not valid for this URL.",
        403 => "The operation is not permitted.",
        404 => "The resource does not exist.",
        405 => "The method is not allowed here.",
        409 => "The request conflicts with another one; try again.",
        412 => "The resource has changed since it was read; read it again.",
        413 => "The request is too large.",
        415 => "Send application/scim+json or application/json.",
        429 => "Too many requests; wait as long as Retry-After says.",
        501 => "The operation is not supported.",
        503 => "The request cannot be carried out at present; try again later.",
        400..=499 => "The request cannot be carried out.",
        _ => "The gateway has failed; try again later.",
    }
}

/// A SCIM error: what the client is told, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ScimError {
    /// The HTTP status.
    pub status: u16,
    /// The detail error keyword, where RFC 7644 table 9 or RFC 9865 has one.
    pub scim_type: Option<ScimType>,
    /// A sentence for the administrator.
    pub detail: String,
}

impl ScimError {
    /// An error with the keyword's own status and wording.
    #[must_use]
    pub fn of(scim_type: ScimType) -> Self {
        Self::with(scim_type, scim_type.row().2)
    }

    /// An error with the keyword's own status and this wording.
    #[must_use]
    pub fn with(scim_type: ScimType, detail: impl Into<String>) -> Self {
        Self {
            status: scim_type.row().1,
            scim_type: Some(scim_type),
            detail: detail.into(),
        }
    }

    /// An error that has a status but no keyword, with the status's default wording.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::status_with(status, status_wording(status))
    }

    /// An error that has a status but no keyword, with this wording.
    #[must_use]
    pub fn status_with(status: u16, detail: impl Into<String>) -> Self {
        Self {
            status,
            scim_type: None,
            detail: detail.into(),
        }
    }

    /// 400 invalidValue.
    #[must_use]
    pub fn invalid_value(detail: impl Into<String>) -> Self {
        Self::with(ScimType::InvalidValue, detail)
    }

    /// 400 invalidSyntax.
    #[must_use]
    pub fn invalid_syntax(detail: impl Into<String>) -> Self {
        Self::with(ScimType::InvalidSyntax, detail)
    }

    /// 400 invalidFilter.
    #[must_use]
    pub fn invalid_filter(detail: impl Into<String>) -> Self {
        Self::with(ScimType::InvalidFilter, detail)
    }

    /// 400 invalidPath.
    #[must_use]
    pub fn invalid_path(detail: impl Into<String>) -> Self {
        Self::with(ScimType::InvalidPath, detail)
    }

    /// 400 mutability.
    #[must_use]
    pub fn mutability(detail: impl Into<String>) -> Self {
        Self::with(ScimType::Mutability, detail)
    }

    /// 409 uniqueness.
    #[must_use]
    pub fn uniqueness(detail: impl Into<String>) -> Self {
        Self::with(ScimType::Uniqueness, detail)
    }

    /// The body of RFC 7644 section 3.12. `status` is a JSON string there, not a number.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({ "schemas": [ERROR_URN] });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = json!(scim_type.as_str());
        }
        body["detail"] = json!(self.detail);
        body["status"] = json!(self.status.to_string());
        body
    }
}
