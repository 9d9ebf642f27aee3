//! What the gateway remembers: resources, links, unique values, open intents, the log and tokens.
//!
//! Callers hand over a [`WriteSet`] of domain operations with preconditions. Invariant: a commit
//! that returned `Ok` is on disk, whole; a commit that returned a [`Conflict`] changed nothing; a
//! unique value has at most one holder per tenant at any moment, claims of open intents included.
//!
//! Absent on purpose: SCIM (documents are opaque JSON, unique values come folded from the caller),
//! clocks (every time is an argument), members of groups, and the trimming of the log. No engine is
//! named here but where a store location is opened: sled lives in `store/sled.rs` only.

pub mod embedded;
pub mod memory;
pub mod sled;

mod records;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use records::{Intent, Kind, LogEntry, Operation, Stored, Token, UniqueKey};

/// A store of all tenants, at the level of the domain.
///
/// Only `auth.rs`, recovery and the operator's tools hold one of these: request handling gets a
/// [`TenantStore`]. Reads show the last applied state, which can be a commit that is applied but
/// not yet acknowledged to its writer; everything that is committed after such a read is durable
/// only together with what the read saw, so no decision outlives the state that it was based on.
///
/// Methods are async for the sake of stores behind a network. The embedded store answers reads
/// inline.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies a write set atomically; on `Ok` it is durable.
    ///
    /// Preconditions are checked and writes are applied in their order, each seeing what those
    /// before it in the set have done. Dropping the future does not withdraw a write set that was
    /// already queued.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] if a precondition or a uniqueness rule failed: nothing was
    /// written. [`CommitError::Unavailable`] if the store cannot take it now; unless it is
    /// `in_doubt`, nothing was written. [`CommitError::Invalid`] if the write set can never be
    /// stored.
    async fn commit(&self, write_set: WriteSet) -> Result<(), CommitError>;

    /// Loads a resource with its document.
    async fn resource(
        &self,
        tenant: &str,
        kind: Kind,
        id: Uuid,
    ) -> Result<Option<Stored>, StoreError>;

    /// The id of the resource that holds a unique value.
    ///
    /// The value may be only claimed by an open intent: load the resource to know whether it
    /// exists.
    async fn holder(&self, tenant: &str, key: &UniqueKey) -> Result<Option<Uuid>, StoreError>;

    /// Up to `limit` resources in creation order, those whose [`Stored::position`] is greater than
    /// `after`.
    ///
    /// The page is one consistent state of the store. `limit` is capped at [`PAGE_MAX`].
    async fn page(
        &self,
        tenant: &str,
        kind: Kind,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError>;

    /// The `after` argument for the page that starts behind the first `skip` resources.
    ///
    /// SCIM counts pages by index (RFC 7644 section 3.4.2.4: `startIndex` is 1-based): a page with
    /// `startIndex` n begins at `page(after = seek(n - 1))`. Beyond the end it leads to an empty
    /// page.
    async fn seek(&self, tenant: &str, kind: Kind, skip: u64) -> Result<Option<u64>, StoreError>;

    /// How many resources of a kind the tenant has. A maintained counter, not a scan.
    async fn count(&self, tenant: &str, kind: Kind) -> Result<u64, StoreError>;

    /// The open intent of a resource.
    async fn intent(&self, tenant: &str, resource: Uuid) -> Result<Option<Intent>, StoreError>;

    /// Up to `limit` open intents of all tenants, in the order of (tenant, resource), after the
    /// given one.
    ///
    /// For recovery after a start and for the reconciler. `limit` is capped at [`PAGE_MAX`].
    async fn intents(
        &self,
        after: Option<(&str, Uuid)>,
        limit: usize,
    ) -> Result<Vec<Intent>, StoreError>;

    /// Up to `limit` log entries of the tenant, newest first, those older than the entry `before`.
    ///
    /// Age is the order of the entries' version 7 UUIDs. `limit` is capped at [`PAGE_MAX`].
    async fn log(
        &self,
        tenant: &str,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError>;

    /// The token with this SHA-256, revoked and expired ones included: judging them is the
    /// caller's.
    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError>;

    /// All tokens of the tenant, in the order of their ids.
    async fn tokens(&self, tenant: &str) -> Result<Vec<Token>, StoreError>;

    /// The state of the store, cheap enough for a readiness probe.
    async fn health(&self) -> Health;

    /// Resolves with the reason when the store has failed for good, and never before.
    ///
    /// A store whose flush has failed acknowledges nothing any more, because what the disk holds is
    /// unknown from then on. `serve` waits for this next to its listeners and exits with status 1;
    /// the restart reads what is really there.
    async fn failed(&self) -> String;

    /// Stops taking write sets, finishes those that are queued and puts everything on disk.
    ///
    /// Reads still work afterwards; files and locks are released when the last handle is dropped.
    /// Dropping a store that was not closed does the same.
    async fn close(&self);
}

/// Most records that one call of [`Store::page`], [`Store::intents`] or [`Store::log`] returns.
pub const PAGE_MAX: usize = 1000;

/// The store as one tenant sees it: the same operations, without a tenant argument.
///
/// Holding one is the authority over that tenant's data. Only `auth.rs` mints them, for a request
/// that it has admitted, and recovery does for the tenant that an open intent names.
#[derive(Clone)]
pub struct TenantStore {
    store: Arc<dyn Store>,
    tenant: Arc<str>,
}

impl TenantStore {
    /// Binds a store to a tenant. See the type for who may call this.
    pub(crate) fn new(store: Arc<dyn Store>, tenant: impl Into<Arc<str>>) -> TenantStore {
        TenantStore {
            store,
            tenant: tenant.into(),
        }
    }

    /// The tenant that this handle is bound to.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// [`Store::commit`]. A write that names another tenant is [`CommitError::Invalid`].
    pub async fn commit(
        &self,
        preconditions: Vec<Precondition>,
        writes: Vec<Write>,
    ) -> Result<(), CommitError> {
        let tenant = self.tenant.to_string();
        self.store
            .commit(WriteSet {
                tenant,
                preconditions,
                writes,
            })
            .await
    }

    /// [`Store::resource`].
    pub async fn resource(&self, kind: Kind, id: Uuid) -> Result<Option<Stored>, StoreError> {
        self.store.resource(&self.tenant, kind, id).await
    }

    /// [`Store::holder`].
    pub async fn holder(&self, key: &UniqueKey) -> Result<Option<Uuid>, StoreError> {
        self.store.holder(&self.tenant, key).await
    }

    /// [`Store::page`].
    pub async fn page(
        &self,
        kind: Kind,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.store.page(&self.tenant, kind, after, limit).await
    }

    /// [`Store::seek`].
    pub async fn seek(&self, kind: Kind, skip: u64) -> Result<Option<u64>, StoreError> {
        self.store.seek(&self.tenant, kind, skip).await
    }

    /// [`Store::count`].
    pub async fn count(&self, kind: Kind) -> Result<u64, StoreError> {
        self.store.count(&self.tenant, kind).await
    }

    /// [`Store::intent`].
    pub async fn intent(&self, resource: Uuid) -> Result<Option<Intent>, StoreError> {
        self.store.intent(&self.tenant, resource).await
    }

    /// [`Store::log`].
    pub async fn log(
        &self,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.store.log(&self.tenant, before, limit).await
    }

    /// [`Store::tokens`].
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.store.tokens(&self.tenant).await
    }
}

impl fmt::Debug for TenantStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantStore")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// Domain operations of one tenant that are committed together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteSet {
    /// The tenant whose data is read and written.
    pub tenant: String,
    /// What must hold before the writes, checked first.
    pub preconditions: Vec<Precondition>,
    /// What is done, in this order.
    pub writes: Vec<Write>,
}

/// What must hold for a write set to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The resource exists in this version; else [`Conflict::VersionChanged`] or
    /// [`Conflict::Missing`].
    Version {
        /// The resource type.
        kind: Kind,
        /// The resource.
        id: Uuid,
        /// The version that it must have.
        version: u64,
    },
    /// The resource does not exist; else [`Conflict::Exists`].
    Absent {
        /// The resource type.
        kind: Kind,
        /// The resource.
        id: Uuid,
    },
    /// This very attempt is the open intent of the resource; else [`Conflict::IntentGone`].
    Intent {
        /// The resource.
        resource: Uuid,
        /// The intent's id.
        id: Uuid,
        /// The intent's attempt.
        attempt: u32,
    },
}

/// One operation of a write set.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Creates or replaces a resource. Takes its unique values and releases those it held before,
    /// except what its open intent claims. [`Conflict::UniqueTaken`] if another resource holds one
    /// of them.
    PutResource(Stored),
    /// Removes a resource and releases its unique values, except what its open intent claims.
    /// Removing what does not exist is no error: use [`Precondition::Version`] where it matters.
    DeleteResource {
        /// The resource type.
        kind: Kind,
        /// The resource.
        id: Uuid,
    },
    /// Opens an intent and claims its unique values. [`Conflict::IntentOpen`] if the resource has
    /// an open one, unless a [`Precondition::Intent`] of the set names that: then it is replaced,
    /// its claims with it.
    OpenIntent(Intent),
    /// Closes the open intent of a resource and releases the claims that the resource itself does
    /// not hold. [`Conflict::IntentGone`] if none is open.
    CloseIntent {
        /// The resource.
        resource: Uuid,
    },
    /// Appends to the log.
    Log(LogEntry),
    /// Creates or replaces a token by its id. A revocation stays: it is kept even if this token
    /// carries none, so that a write that was prepared before the revocation cannot undo it.
    /// [`Conflict::Exists`] if another token, of whichever tenant, has the same hash.
    PutToken(Token),
    /// Notes when a token was last used and leaves the rest alone; nothing happens if the token is
    /// gone or a later use is on record.
    TouchToken {
        /// The token.
        id: Uuid,
        /// When it was used.
        last_used: Timestamp,
    },
}

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether write sets are taken; else the reason, in a sentence for the operator.
    pub writable: Result<(), String>,
    /// What the store takes on disk; 0 for one in memory.
    pub disk_bytes: u64,
    /// Space left on the volume; `None` where that means nothing.
    pub disk_free_bytes: Option<u64>,
    /// How many write sets have ever been committed to this store.
    pub seq: u64,
    /// Write sets waiting for the commit thread.
    pub queued: usize,
}

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
        key: UniqueKey,
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
    /// The resource exists already, or a token with the same hash does.
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

/// Limits of a store. Every one has a default that suits one process with a few thousand busy
/// tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreLimits {
    /// Memory meant for the store. sled is given an eighth as its cache: it was measured to take
    /// eight times what it is given.
    pub memory_bytes: u64,
    /// Write sets that may wait for the commit thread. More are answered with "try again".
    pub queue_max: usize,
    /// Bytes that all waiting write sets may hold together.
    pub queue_bytes_max: usize,
    /// Write sets that share one flush.
    pub batch_max: usize,
    /// Bytes that share one flush; also the largest write set that is taken.
    pub batch_bytes_max: usize,
    /// How long the commit thread lets write sets gather after a batch of more than one,
    /// microseconds. Default 300; 0 for not at all. A single writer never waits.
    pub gather_us: u64,
    /// Free space on the volume below which nothing is written any more. A refused write
    /// recovers by itself; one that fails half-way ends the process.
    pub disk_free_bytes_min: u64,
}

/// Longer than that no client should wait for others: 0.1 s.
const GATHER_US_MAX: u64 = 100_000;

impl Default for StoreLimits {
    fn default() -> StoreLimits {
        StoreLimits {
            memory_bytes: 512 << 20,
            queue_max: 4096,
            queue_bytes_max: 64 << 20,
            batch_max: 512,
            batch_bytes_max: 4 << 20,
            gather_us: 300,
            disk_free_bytes_min: 256 << 20,
        }
    }
}

impl StoreLimits {
    /// The least that the store works with.
    fn check(&self) -> Result<(), OpenError> {
        let least: [(&str, u64, u64); 5] = [
            ("memory_bytes", self.memory_bytes, 8 << 20),
            ("queue_max", self.queue_max as u64, 1),
            (
                "queue_bytes_max",
                self.queue_bytes_max as u64,
                self.batch_bytes_max as u64,
            ),
            ("batch_max", self.batch_max as u64, 1),
            ("batch_bytes_max", self.batch_bytes_max as u64, 64 << 10),
        ];
        match least.iter().find(|(_, value, least)| value < least) {
            None if self.gather_us > GATHER_US_MAX => Err(OpenError::Limits(format!(
                "gather_us is {}, it must be at most {GATHER_US_MAX}",
                self.gather_us
            ))),
            None => Ok(()),
            Some((name, value, least)) => Err(OpenError::Limits(format!(
                "{name} is {value}, it must be at least {least}"
            ))),
        }
    }
}

/// Opens the store at a location: `sled:DIR`, or `memory:` for one that forgets everything at exit.
///
/// A store that does not exist is created. One that exists is opened only if everything that was
/// acknowledged can be there: see `store/sled.rs`. Blocks, for sled about ten seconds per million
/// users.
///
/// # Errors
/// [`OpenError`], whose message is meant for the operator as it is.
pub fn open(location: &str, limits: &StoreLimits) -> Result<Arc<dyn Store>, OpenError> {
    limits.check()?;
    match location.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(embedded::Embedded::open(
            memory::Memory::default(),
            limits,
        )?)),
        Some(("sled", dir)) if !dir.is_empty() => {
            let engine = sled::Sled::open(Path::new(dir), limits)?;
            Ok(Arc::new(embedded::Embedded::open(engine, limits)?))
        }
        _ => Err(OpenError::Location(location.to_owned())),
    }
}
