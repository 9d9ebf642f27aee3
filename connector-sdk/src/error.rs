//! What a connector answers when it cannot do what was asked.
//!
//! Each kind has one meaning for the gateway, so the kind is the decision and the message is for
//! the administrator. Absent: retries. The gateway decides on them.

use std::fmt;

/// What went wrong, in the ten words that the gateway acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The vendor refuses the data.
    Invalid,
    /// The account does not exist at the vendor.
    NotFound,
    /// Another account holds a unique value.
    AlreadyExists,
    /// The vendor's state forbids the change.
    Conflict,
    /// The vendor refuses the gateway's credential.
    Unauthorized,
    /// The credential lacks a right or the subscription a feature.
    Forbidden,
    /// Too many requests.
    RateLimited,
    /// Down, slow or broken.
    Unavailable,
    /// The vendor has no such ability.
    Unsupported,
    /// A mistake in the connector, or an answer that it cannot read.
    Internal,
}

/// Why an operation failed, in a form that the gateway can act on.
///
/// ```
/// use connector_sdk::Error;
/// let error = Error::invalid("Acme allows no title longer than 30 characters")
///     .path("title")
///     .code("too_long")
///     .vendor_status(422);
/// assert_eq!(error.path.as_deref(), Some("title"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the gateway decides by.
    pub kind: ErrorKind,
    /// For the administrator who reads the provisioning log: what happened and what to do.
    pub message: String,
    /// The vendor's own code.
    pub code: Option<String>,
    /// SCIM path of the attribute at fault.
    pub path: Option<String>,
    /// Milliseconds after which the vendor will take requests again.
    pub retry_after_ms: Option<u32>,
    /// HTTP status of the vendor's answer.
    pub vendor_status: Option<u16>,
    /// The account that the operation has changed before it failed; the gateway then takes the change
    /// back or finishes it.
    pub uid: Option<String>,
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            message: message.into(),
            code: None,
            path: None,
            retry_after_ms: None,
            vendor_status: None,
            uid: None,
        }
    }

    /// The vendor refuses the data: the client gets 400, and the operation is not repeated.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    /// The account does not exist at the vendor.
    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, message)
    }

    /// Another account holds a unique value: the client gets 409 uniqueness.
    pub fn already_exists(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::AlreadyExists, message)
    }

    /// The vendor's state forbids the change: the client gets 409.
    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Conflict, message)
    }

    /// The vendor refuses the gateway's credential: the client gets 503 and the operator is told.
    pub fn unauthorized(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unauthorized, message)
    }

    /// The credential lacks a right or the subscription a feature: 503, and the operator is told.
    pub fn forbidden(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Forbidden, message)
    }

    /// Too many requests: the client gets 429. Say when with [`Error::retry_after_ms`] if the
    /// vendor does.
    pub fn rate_limited(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::RateLimited, message)
    }

    /// Down, slow or broken. Whether a write took place may be unknown: the gateway looks the
    /// account up before it repeats anything.
    pub fn unavailable(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unavailable, message)
    }

    /// The vendor has no such ability: the client gets 501.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unsupported, message)
    }

    /// A mistake in the connector, or an answer that it cannot read. The outcome is unknown.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Internal, message)
    }

    /// Names the vendor's own code.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Error {
        self.code = Some(code.into());
        self
    }

    /// Names the attribute at fault by its SCIM path.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Error {
        self.path = Some(path.into());
        self
    }

    /// Says how many milliseconds to wait.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u32) -> Error {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// Names the HTTP status of the vendor's answer.
    #[must_use]
    pub fn vendor_status(mut self, status: u16) -> Error {
        self.vendor_status = Some(status);
        self
    }

    /// Names the account that the operation has changed although it failed.
    #[must_use]
    pub fn uid(mut self, uid: impl ToString) -> Error {
        self.uid = Some(uid.to_string());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
