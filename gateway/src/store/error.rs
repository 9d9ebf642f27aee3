//! What goes wrong with a store, and what to do about it.
//!
//! Invariant: each kind has one meaning for the caller. Absent: the errors of an engine, which end
//! as one of these.

use std::path::PathBuf;

use uuid::Uuid;

use super::AttributeKey;

/// Why a write set was not committed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CommitError {
    /// It contradicts what the store holds. Nothing was written.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The store cannot take it now: its queue or the disk is full, it has failed, or it is
    /// closing.
    #[error("{message}")]
    Unavailable {
        /// What happened, in a sentence for the operator.
        message: String,
        /// When trying again can help.
        retry_after_ms: u64,
        /// The write set may have reached the disk although it is not acknowledged: the store
        /// failed while it was being committed. Otherwise nothing was written.
        in_doubt: bool,
    },
    /// It can never be stored: too large, or malformed. A defect of the caller; trying again is no
    /// use.
    #[error("the write set cannot be stored: {0}")]
    Invalid(String),
}

/// How a write set contradicts what the store holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another resource holds a unique value, or its open intent claims it.
    #[error("{} is taken by {holder}", .key.attribute)]
    UniqueTaken {
        /// The value that is taken.
        key: AttributeKey,
        /// The resource that has it; it need not exist yet.
        holder: Uuid,
    },
    /// The resource has another version.
    #[error("the resource {id} is at version {found} now")]
    VersionChanged {
        /// The resource.
        id: Uuid,
        /// Its version.
        found: u64,
    },
    /// The resource exists already, or a token with the same hash does; or a group had this id, and
    /// its memberships are still being swept away.
    #[error("{id} exists already")]
    Exists {
        /// What exists.
        id: Uuid,
    },
    /// The resource does not exist.
    #[error("the resource {id} does not exist")]
    Missing {
        /// What does not exist.
        id: Uuid,
    },
    /// An operation on the resource is still open.
    #[error("the operation {intent} on this resource is still open")]
    IntentOpen {
        /// The open intent's id.
        intent: Uuid,
    },
    /// The attempt is not the open one any more: another attempt took over, or the outcome is
    /// known.
    #[error("this attempt is not the open one of its resource any more")]
    IntentGone,
}

/// Why a read gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The engine could not read, or the store has failed.
    #[error("the store cannot be read: {0}")]
    Unavailable(String),
    /// A record is there, but it cannot be what we wrote.
    #[error("a record of the store is damaged: {0}; restore the store from a backup")]
    Damaged(String),
    /// The question itself is malformed, for example a tenant name with a NUL.
    #[error("the store cannot be asked that: {0}")]
    Invalid(String),
}

/// Why a store was not opened. Every message says what to do; nothing was created or repaired on
/// the way.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The location names no store that this program has.
    #[error(
        "`{0}` is no store location: write \"sled:DIR\", or \"memory:\" for a store that forgets"
    )]
    Location(String),
    /// A limit makes no sense.
    #[error("limits.store: {0}")]
    Limits(String),
    /// Another process has the store open.
    #[error(
        "another gateway runs on the store {0}; stop it first, or give this one a folder of its own"
    )]
    Locked(String),
    /// The files do not hold what was acknowledged, or cannot be read.
    #[error(
        "refusing to open the store {location}: {happened}. {}",
        .advice.as_deref().unwrap_or(ADVICE)
    )]
    Refused {
        /// The store, as the configuration names it.
        location: String,
        /// What happened, without a full stop.
        happened: String,
        /// What to do, whole sentences; `None` stands for restoring the folder.
        advice: Option<String>,
    },
    /// A newer gateway wrote the store.
    #[error(
        "the store has format {found}, and this gateway knows only those up to {known}; \
         start the newer gateway that wrote it (version {created_by} or later)"
    )]
    NewerFormat {
        /// The least format that a reader has to know.
        found: u32,
        /// The newest format that we know.
        known: u32,
        /// The version of the gateway that created the store.
        created_by: String,
    },
    /// The file system said no.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
}

/// What an operator does about a store that has lost data, unless a message knows better.
const ADVICE: &str = "Stop here and keep a copy of the folder. Then restore the whole folder \
    from the last backup. Without a backup, move the folder away: the gateway then starts with an \
    empty store, needs new tokens, and finds existing accounts again by matching";
