//! What became of one connector call.
//!
//! Invariant: everything that a guest says is capped and on one line before anyone else sees it.

use std::fmt;

use super::contract::types;

/// The longest message that is taken from a connector, in bytes.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The longest code, path or uid that is taken from a connector, in bytes.
pub(super) const WORD_BYTES_MAX: usize = 512;

/// What a connector answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To create and update: the account as it is now.
    Account(Account),
    /// To delete: the uid of the account that is gone.
    Deleted(String),
    /// To get.
    Found(Option<Account>),
    /// To find.
    Accounts(Vec<Account>),
}

/// The vendor-side counterpart of a SCIM User.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The vendor's key; never empty.
    pub uid: String,
    /// A SCIM resource, the text of a JSON object, with what the vendor returned.
    pub attributes: Option<String>,
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The connector said so; [`ConnectorError::kind`] tells what it means.
    #[error("{0}")]
    Refused(ConnectorError),
    /// The connector failed with a trap: a panic, an exhausted stack, a bad access. The vendor may
    /// have acted.
    #[error("the connector failed: {0}; report it to the connector's author")]
    Trapped(String),
    /// It computed for longer than `cpu_ms`. The vendor may have acted.
    #[error("the connector used up its CPU time (gateway.limits.connector.cpu_ms)")]
    CpuExhausted,
    /// The call took longer than `wall_ms`. The vendor may have acted.
    #[error("the connector did not come to an end in time (gateway.limits.connector.wall_ms)")]
    DeadlineExceeded,
    /// It needed more than `memory_bytes_max`. The vendor may have acted.
    #[error("the connector used up its memory (gateway.limits.connector.memory_bytes_max)")]
    MemoryExhausted,
    /// All instances are in use; nothing was called. Try again.
    #[error(
        "as many connector calls are under way as gateway.limits.connector.concurrent_calls_max allows"
    )]
    Busy,
    /// It broke the contract: a reply that is too large or not what it should be. The vendor may
    /// have acted.
    #[error("the connector broke its contract: {0}")]
    Contract(String),
}

impl CallError {
    /// The refusal for an account that a look-up has shown to be absent at the vendor.
    pub fn absent(message: String) -> CallError {
        CallError::Refused(ConnectorError {
            kind: ErrorKind::NotFound,
            message,
            code: None,
            path: None,
            retry_after_ms: None,
            vendor_status: None,
            uid: None,
        })
    }
}

/// A connector's own account of why it could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorError {
    /// What the gateway decides by.
    pub kind: ErrorKind,
    /// For the administrator: what happened and what to do. One line.
    pub message: String,
    /// The vendor's own code.
    pub code: Option<String>,
    /// SCIM path of the attribute at fault.
    pub path: Option<String>,
    /// Milliseconds after which the vendor takes requests again.
    pub retry_after_ms: Option<u32>,
    /// HTTP status of the vendor's answer.
    pub vendor_status: Option<u16>,
    /// The account that now exists, where the operation half succeeded.
    pub uid: Option<String>,
}

impl fmt::Display for ConnectorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind.as_str(), self.message)?;
        if let Some(code) = &self.code {
            write!(formatter, " (code {code})")?;
        }
        if let Some(status) = self.vendor_status {
            write!(formatter, " (vendor status {status})")?;
        }
        Ok(())
    }
}

/// The ten kinds of `error-kind` in the contract, where each one's meaning stands.
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
    /// A mistake in the connector or an answer that it cannot read.
    Internal,
}

impl ErrorKind {
    /// The word for it in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Conflict => "conflict",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate limited",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

impl From<types::Error> for ConnectorError {
    fn from(error: types::Error) -> ConnectorError {
        let word = |text: String| one_line(&text, WORD_BYTES_MAX);
        ConnectorError {
            kind: match error.kind {
                types::ErrorKind::Invalid => ErrorKind::Invalid,
                types::ErrorKind::NotFound => ErrorKind::NotFound,
                types::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
                types::ErrorKind::Conflict => ErrorKind::Conflict,
                types::ErrorKind::Unauthorized => ErrorKind::Unauthorized,
                types::ErrorKind::Forbidden => ErrorKind::Forbidden,
                types::ErrorKind::RateLimited => ErrorKind::RateLimited,
                types::ErrorKind::Unavailable => ErrorKind::Unavailable,
                types::ErrorKind::Unsupported => ErrorKind::Unsupported,
                types::ErrorKind::Internal => ErrorKind::Internal,
            },
            message: one_line(&error.message, MESSAGE_BYTES_MAX),
            code: error.code.map(word),
            path: error.path.map(word),
            retry_after_ms: error.retry_after_ms,
            vendor_status: error.vendor_status,
            // A uid is a key: shortened it would be another account's.
            uid: error.uid.filter(|uid| is_uid(uid)),
        }
    }
}

/// Whether a text can be a vendor's key.
pub(super) fn is_uid(uid: &str) -> bool {
    !uid.is_empty() && uid.len() <= WORD_BYTES_MAX && !uid.chars().any(char::is_control)
}

/// A guest's text as one line of at most so many bytes. Control characters, which could forge a
/// line or steer a terminal, and the signs that turn the reading direction are written as escapes.
pub(super) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        let before = line.len();
        match character {
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                line.extend(character.escape_unicode());
            }
            _ if character.is_control() => line.extend(character.escape_default()),
            _ => line.push(character),
        }
        if line.len() > bytes_max {
            line.truncate(before);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_text_stays_on_one_line() {
        let check = |text: &str, line: &str| assert_eq!(one_line(text, 16), line);
        check("plain ä", "plain ä");
        check("a\nb\r\tc", r"a\nb\r\tc");
        check("\u{1b}[2J", r"\u{1b}[2J");
        check("\u{202e}x", r"\u{202e}x");
        check("0123456789abcdef", "0123456789abcdef");
        check("0123456789abcdefg", "0123456789abcdef…");
        check("0123456789abcdeä", "0123456789abcde…");
    }
}
