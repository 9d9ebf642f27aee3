//! What the gateway remembers: resources, links, unique values, indexes, who is a member of which
//! group, open intents, the log, tokens, and the forms of requests that clients use.
//!
//! Callers hand over a [`WriteSet`] of domain operations with preconditions. Invariant: a commit
//! that returned `Ok` is on disk, whole; a commit that returned a [`Conflict`] changed nothing; a
//! unique value has at most one holder per tenant at any moment, claims of open intents included;
//! whoever is a member of a group exists, and so does the group. An id names one resource of its
//! tenant, whatever the kind: ids are ours, and one that is free is never given out again.
//!
//! Members are kept beside the groups, one entry each way per membership: to add one to a million
//! costs what it costs to add one to ten, and a group's document does not hold them.
//!
//! Absent on purpose: SCIM (documents are opaque JSON, unique and indexed values come folded from
//! the caller), clocks (every time is an argument), and the trimming of the log. No engine is named
//! here but where a store location is opened: sled lives in `store/sled.rs` only.

pub mod embedded;
pub mod memory;
pub mod sled;

mod error;
mod records;
mod tenant_store;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use error::{CommitError, Conflict, OpenError, StoreError};
pub use records::{
    AttributeKey, FormUse, Intent, Kind, LogEntry, Member, MemberChange, Operation, Stored, Token,
};
pub use tenant_store::TenantStore;

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
    async fn holder(&self, tenant: &str, key: &AttributeKey) -> Result<Option<Uuid>, StoreError>;

    /// Those of these resources that exist, in the order asked for.
    async fn resources(
        &self,
        tenant: &str,
        kind: Kind,
        ids: &[Uuid],
    ) -> Result<Vec<Stored>, StoreError>;

    /// What each of these ids stands for, with the vendor's key; `None` where it is no resource.
    async fn identify(&self, tenant: &str, ids: &[Uuid])
    -> Result<Vec<Option<Member>>, StoreError>;

    /// Up to `limit` resources that were stored with this value among [`Stored::indexed`], in the
    /// order of their ids, those after `after`.
    ///
    /// `limit` is capped at [`PAGE_MAX`].
    async fn indexed(
        &self,
        tenant: &str,
        key: &AttributeKey,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Uuid>, StoreError>;

    /// Up to `limit` members of a group, users before groups, each in the order of their ids: those
    /// of the kind, if one is named, behind `after`, and of those the ones behind the first `skip`.
    ///
    /// [`Member::uid`] is `None`: [`Store::identify`] knows it. A group that does not exist has no
    /// members. `limit` is capped at [`PAGE_MAX`]; `skip` walks over what it skips, so go on by
    /// `after` wherever you can.
    async fn members(
        &self,
        tenant: &str,
        group: Uuid,
        kind: Option<Kind>,
        after: Option<&Member>,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError>;

    /// How many members of a kind a group has. A maintained counter, not a scan.
    async fn member_count(&self, tenant: &str, group: Uuid, kind: Kind) -> Result<u64, StoreError>;

    /// For each of these ids its kind if it is a member of the group. Costs per id, however large
    /// the group.
    async fn which_are_members(
        &self,
        tenant: &str,
        group: Uuid,
        ids: &[Uuid],
    ) -> Result<Vec<Option<Kind>>, StoreError>;

    /// Up to `limit` groups that a user or group is a member of, in the order of their ids, those
    /// after `after`.
    ///
    /// Direct memberships only. `limit` is capped at [`PAGE_MAX`].
    async fn groups_of(
        &self,
        tenant: &str,
        member: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Uuid>, StoreError>;

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

    /// The forms that the tenant's clients were seen to use, in the order of their names.
    ///
    /// At most [`PAGE_MAX`]: forms are named by the program, not by clients.
    async fn forms(&self, tenant: &str) -> Result<Vec<FormUse>, StoreError>;

    /// 32 random bytes that were made with the store and stay as they are: the key for signing what
    /// clients carry for us. Never shown to anybody.
    fn secret(&self) -> [u8; 32];

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

/// Most records that one call of [`Store::page`], [`Store::members`] or another one with a `limit`
/// returns, and most that are read from one state of the store: a call for more ids than that looks
/// at the store again for the next so many, and so does one that has to walk far.
pub const PAGE_MAX: usize = 1000;

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
    /// except what its open intent claims; its index entries follow. [`Conflict::UniqueTaken`] if
    /// another resource holds one of the unique values. Members stay as they are.
    PutResource(Stored),
    /// Removes a resource, its index entries and its memberships, and releases its unique values,
    /// except what its open intent claims. A group's members are members of nothing from then on.
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
    /// Changes the members of a group, as sets: to add who is in, or to remove who is not, is
    /// nothing. Whoever is to be added and does not exist is left out, and nothing happens at all
    /// if the group does not exist: who went while the vendor was being asked is no error.
    ChangeMembers {
        /// The group.
        group: Uuid,
        /// Who comes and who goes.
        change: MemberChange,
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
    /// Notes that the tenant's client used these forms of request: widens what is on record.
    NoteForms {
        /// The names of the forms, each 1 to 255 bytes without NUL.
        forms: Vec<String>,
        /// When they were used.
        at: Timestamp,
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
    /// Bytes that share one flush; also the largest write set that is taken. Default 8 MiB: room
    /// for an intent that names 50 000 members, and for the change that follows.
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
            batch_bytes_max: 8 << 20,
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
