//! The embedded store: everything in one process, on an ordered map of bytes.
//!
//! `keys.rs` says where what is, `format.rs` in which format, `chunks.rs` cuts long records,
//! `prepare.rs`, `apply.rs`, `order.rs` and `edges.rs` have the rules of a commit, `queue.rs` and
//! `commit.rs` make many commits share one flush, `read.rs` has the reads. An [`Engine`] below does
//! the bytes.
//!
//! Invariant: only the commit thread writes. Reads go straight to the engine, on the caller's
//! thread: nearly all are answered from its cache within microseconds, less than handing them to a
//! blocking pool costs, and a miss is one disk read. All that a single call returns comes from one
//! state of the store, as far as it fits a page: while a read looks at the store, nothing can be
//! committed, so one that has more to look at lets go in between. Absent: anything about files,
//! which is the engine's.

mod apply;
mod chunks;
mod commit;
mod edges;
mod format;
mod keys;
mod order;
mod prepare;
mod queue;
mod read;

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::{
    AttributeKey, CommitError, FormUse, Health, Intent, Kind, LogEntry, Member, OpenError,
    PAGE_MAX, Store, StoreError, StoreLimits, Stored, Token, WriteSet,
};
pub use chunks::VALUE_BYTES_MAX;
pub(in crate::store) use commit::panic_text;
use commit::{Job, Shared};
pub use format::FORMAT_VERSION;
use keys::Tenant;

/// Writes that an engine applies together: for each key its new value, or `None` to remove it.
pub type Batch = HashMap<Vec<u8>, Option<Vec<u8>>>;

/// What is called with the key and the value of each entry of a scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// An ordered map of bytes that can be written atomically and durably.
///
/// One thread calls [`apply`](Engine::apply), [`sync`](Engine::sync) and [`rest`](Engine::rest), in
/// this order; reads come from any thread, those of callers never during an `apply`. Values have at
/// most [`VALUE_BYTES_MAX`] bytes. An error of any of the three, and a panic anywhere, is taken as
/// final.
pub trait Engine: Send + Sync + 'static {
    /// How messages call it: `sled:data`.
    fn location(&self) -> String;

    /// Compares what the map says about itself with what the engine has kept elsewhere. Called
    /// once, before anything is written; `None` if the map is empty. An engine that can lose what
    /// it acknowledged without noticing refuses here.
    fn attest(&self, found: Option<Progress>) -> Result<(), OpenError>;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Shows the entries of a range in key order, or backwards, until told to break.
    fn scan(
        &self,
        range: Range<Vec<u8>>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError>;

    /// Applies a batch, atomically also across a crash. Visible on return, durable only after
    /// `sync`.
    fn apply(&self, batch: Batch) -> Result<(), EngineError>;

    /// Makes everything that was applied durable. From here on, a map that is behind `progress` has
    /// lost data.
    fn sync(&self, progress: Progress) -> Result<(), EngineError>;

    /// Does what no acknowledgement waits for: after commits, then every second until it returns
    /// `true` (all done), and with `last` before the end.
    fn rest(&self, last: bool) -> Result<bool, EngineError> {
        let _ = last;
        Ok(true)
    }

    /// What the engine takes on disk.
    fn disk_bytes(&self) -> u64;

    /// What is left on its volume; `None` if that means nothing.
    fn disk_free_bytes(&self) -> Option<u64>;
}

/// The way through a range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In key order.
    Forwards,
    /// From the last key.
    Backwards,
}

/// How far a store has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which store: given at its creation.
    pub store: Uuid,
    /// How many write sets were committed to it.
    pub seq: u64,
}

/// Why an engine did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(String),
    /// What was read cannot be what was written.
    #[error("a record of the store is damaged: {0}")]
    Damaged(String),
}

impl From<EngineError> for StoreError {
    fn from(error: EngineError) -> StoreError {
        match error {
            EngineError::Io(what) => StoreError::Unavailable(what),
            EngineError::Damaged(what) => StoreError::Damaged(what),
        }
    }
}

/// A [`Store`] over an [`Engine`].
pub struct Embedded<E: Engine> {
    shared: Arc<Shared<E>>,
    secret: [u8; 32],
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Sender's end is dropped when the commit thread has ended.
    ended: watch::Receiver<()>,
}

impl<E: Engine> Embedded<E> {
    /// Opens the store that the engine holds; creates one if the engine is new.
    ///
    /// # Errors
    /// [`OpenError`] if the engine does not vouch for its content, or the content is of a newer
    /// format or of something else than a gateway.
    pub fn open(engine: E, limits: &StoreLimits) -> Result<Embedded<E>, OpenError> {
        let progress = format::read_progress(&engine)?;
        engine.attest(progress)?;
        let progress = match progress {
            Some(progress) => progress,
            None => format::create(&engine)
                .map_err(|error| format::refused(&engine, error.to_string()))?,
        };
        let secret = format::read_secret(&engine)?;
        let shared = Arc::new(Shared {
            engine,
            limits: limits.clone(),
            queue: queue::Queue::new(limits.queue_max, limits.queue_bytes_max),
            applying: RwLock::new(()),
            store: progress.store,
            seq: AtomicU64::new(progress.seq),
            failed: watch::Sender::new(None),
        });
        let (ends, ended) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("store-commit".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    commit::run(&shared);
                    drop(shared);
                    drop(ends);
                }
            });
        let thread = thread.map_err(|source| OpenError::Io {
            path: "store-commit".into(),
            source,
        })?;
        Ok(Embedded {
            shared,
            secret,
            thread: Mutex::new(Some(thread)),
            ended,
        })
    }

    /// Runs a read on one state of the store.
    fn read<T>(&self, read: impl FnOnce(&E) -> Result<T, EngineError>) -> Result<T, StoreError> {
        // A store that has failed may show what never reached the disk.
        if let Some(reason) = self.shared.failed.borrow().as_ref() {
            return Err(StoreError::Unavailable(reason.clone()));
        }
        let _one_state = self.shared.applying.read();
        Ok(read(&self.shared.engine)?)
    }

    /// Reads something for each id, a page of them on one state of the store.
    async fn read_each<T>(
        &self,
        ids: &[Uuid],
        read: impl Fn(&E, Uuid) -> Result<T, EngineError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for (number, ids) in ids.chunks(PAGE_MAX).enumerate() {
            if number > 0 {
                tokio::task::yield_now().await;
            }
            self.read(|engine| {
                for id in ids {
                    found.push(read(engine, *id)?);
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Goes on with a read that has far to walk until it has its page, letting go of the store
    /// after each part of the way.
    async fn walk<T>(
        &self,
        mut walk: impl FnMut(&E) -> Result<Option<T>, EngineError>,
    ) -> Result<T, StoreError> {
        loop {
            if let Some(page) = self.read(&mut walk)? {
                return Ok(page);
            }
            tokio::task::yield_now().await;
        }
    }
}

impl<E: Engine> Drop for Embedded<E> {
    fn drop(&mut self) {
        self.shared.queue.close(CLOSING);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

const CLOSING: &str = "the store is closing";

#[async_trait]
impl<E: Engine> Store for Embedded<E> {
    async fn commit(&self, write_set: WriteSet) -> Result<(), CommitError> {
        let shared = &self.shared;
        let prepared = prepare::prepare(write_set, shared.limits.batch_bytes_max)
            .map_err(CommitError::Invalid)?;
        let bytes = prepared.bytes;
        let (answer, answered) = oneshot::channel();
        shared
            .queue
            .push(Job { prepared, answer }, bytes)
            .map_err(|refusal| match refusal {
                queue::Refusal::Full => commit::unavailable(
                    "too many writes are waiting for the disk (limits.store.queue_max)",
                    commit::QUEUE_RETRY_MS,
                ),
                queue::Refusal::Closed(reason) => {
                    commit::unavailable(&reason, commit::RESTART_RETRY_MS)
                }
            })?;
        answered.await.unwrap_or_else(|_| {
            Err(CommitError::Unavailable {
                message: "the commit thread has ended".to_owned(),
                retry_after_ms: commit::RESTART_RETRY_MS,
                in_doubt: true,
            })
        })
    }

    async fn resource(
        &self,
        tenant: &str,
        kind: Kind,
        id: Uuid,
    ) -> Result<Option<Stored>, StoreError> {
        let key = named(tenant)?.resource(kind, id);
        self.read(|engine| read::resource(engine, &key))
    }

    async fn holder(&self, tenant: &str, key: &AttributeKey) -> Result<Option<Uuid>, StoreError> {
        keys::check_attribute(key).map_err(StoreError::Invalid)?;
        let key = named(tenant)?.unique(key);
        self.read(|engine| {
            engine
                .get(&key)?
                .map(|id| apply::decode_id(&id))
                .transpose()
        })
    }

    async fn resources(
        &self,
        tenant: &str,
        kind: Kind,
        ids: &[Uuid],
    ) -> Result<Vec<Stored>, StoreError> {
        let tenant = named(tenant)?;
        let found = self
            .read_each(ids, |engine, id| {
                read::resource(engine, &tenant.resource(kind, id))
            })
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn identify(
        &self,
        tenant: &str,
        ids: &[Uuid],
    ) -> Result<Vec<Option<Member>>, StoreError> {
        let tenant = named(tenant)?;
        self.read_each(ids, |engine, id| read::identity(engine, tenant, id))
            .await
    }

    async fn indexed(
        &self,
        tenant: &str,
        key: &AttributeKey,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Uuid>, StoreError> {
        keys::check_attribute(key).map_err(StoreError::Invalid)?;
        let range = named(tenant)?.index_after(key, after);
        self.read(|engine| read::ids(engine, range, limit.min(PAGE_MAX)))
    }

    async fn members(
        &self,
        tenant: &str,
        group: Uuid,
        kind: Option<Kind>,
        after: Option<&Member>,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        let tenant = named(tenant)?;
        let after = after.map(|member| (member.kind, member.id));
        let mut walk = read::MemberWalk::new(tenant, group, kind, after, skip, limit);
        self.walk(|engine| walk.go(engine)).await
    }

    async fn member_count(&self, tenant: &str, group: Uuid, kind: Kind) -> Result<u64, StoreError> {
        let key = named(tenant)?.member_count(group, kind);
        self.read(|engine| edges::decode_count(engine.get(&key)?))
    }

    async fn which_are_members(
        &self,
        tenant: &str,
        group: Uuid,
        ids: &[Uuid],
    ) -> Result<Vec<Option<Kind>>, StoreError> {
        let tenant = named(tenant)?;
        self.read_each(ids, |engine, id| {
            read::membership(engine, tenant, id, group)
        })
        .await
    }

    async fn groups_of(
        &self,
        tenant: &str,
        member: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut walk = read::GroupWalk::new(named(tenant)?, member, after, limit);
        self.walk(|engine| walk.go(engine)).await
    }

    async fn page(
        &self,
        tenant: &str,
        kind: Kind,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let tenant = named(tenant)?;
        let range = tenant.orders_after(kind, after.unwrap_or(0));
        self.read(|engine| read::page(engine, tenant, kind, range, limit))
    }

    async fn seek(&self, tenant: &str, kind: Kind, skip: u64) -> Result<Option<u64>, StoreError> {
        let tenant = named(tenant)?;
        self.read(|engine| read::seek(engine, tenant, kind, skip))
    }

    async fn count(&self, tenant: &str, kind: Kind) -> Result<u64, StoreError> {
        let key = named(tenant)?.tally(kind);
        self.read(|engine| Ok(order::Tally::decode(engine.get(&key)?)?.count))
    }

    async fn intent(&self, tenant: &str, resource: Uuid) -> Result<Option<Intent>, StoreError> {
        let key = named(tenant)?.intent(resource);
        self.read(|engine| read::record(engine, &key))
    }

    async fn intents(
        &self,
        after: Option<(&str, Uuid)>,
        limit: usize,
    ) -> Result<Vec<Intent>, StoreError> {
        let after = match after {
            Some((tenant, resource)) => Some((named(tenant)?, resource)),
            None => None,
        };
        let range = keys::intents_after(after);
        self.read(|engine| read::records(engine, range, Direction::Forwards, limit))
    }

    async fn log(
        &self,
        tenant: &str,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let range = named(tenant)?.log_before(before);
        self.read(|engine| read::records(engine, range, Direction::Backwards, limit))
    }

    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        let key = keys::token(hash);
        self.read(|engine| read::record(engine, &key))
    }

    async fn tokens(&self, tenant: &str) -> Result<Vec<Token>, StoreError> {
        let range = named(tenant)?.tokens();
        self.read(|engine| read::tokens(engine, range))
    }

    async fn forms(&self, tenant: &str) -> Result<Vec<FormUse>, StoreError> {
        let range = named(tenant)?.forms();
        self.read(|engine| {
            let forms = read::values(engine, range, PAGE_MAX)?;
            forms.iter().map(|form| apply::decode(form)).collect()
        })
    }

    fn secret(&self) -> [u8; 32] {
        self.secret
    }

    async fn health(&self) -> Health {
        let shared = &self.shared;
        let failed = shared.failed.borrow().clone();
        let writable = match failed.or_else(|| shared.queue.closed()) {
            Some(reason) => Err(reason),
            None => commit::judge_disk(&shared.engine, &shared.limits),
        };
        Health {
            writable,
            disk_bytes: shared.engine.disk_bytes(),
            disk_free_bytes: shared.engine.disk_free_bytes(),
            seq: shared.seq.load(Ordering::Acquire),
            queued: shared.queue.len(),
        }
    }

    async fn failed(&self) -> String {
        let mut failed = self.shared.failed.subscribe();
        let reason = failed
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // The sender lives as long as this store does.
            None => std::future::pending().await,
        }
    }

    async fn close(&self) {
        self.shared.queue.close(CLOSING);
        // Nothing is ever sent: the channel closes when the thread has ended.
        let _ = self.ended.clone().changed().await;
    }
}

fn named(tenant: &str) -> Result<Tenant<'_>, StoreError> {
    Tenant::new(tenant).map_err(StoreError::Invalid)
}
