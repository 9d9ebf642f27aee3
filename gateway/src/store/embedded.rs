//! The embedded store: everything in one process, on an ordered map of bytes.
//!
//! `keys.rs` says where what is, `chunks.rs` cuts long records, `prepare.rs` and `apply.rs` have
//! the rules of a commit, `queue.rs` and `commit.rs` make many commits share one flush. An
//! [`Engine`] below does the bytes.
//!
//! Invariant: only the commit thread writes. Reads go straight to the engine, on the caller's
//! thread: nearly all are answered from its cache within microseconds, less than handing them to a
//! blocking pool costs, and a miss is one disk read. All that a single call returns comes from one
//! state of the store. Absent: anything about files, which is the engine's.

mod apply;
mod chunks;
mod commit;
mod keys;
mod prepare;
mod queue;

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::{
    CommitError, Health, Intent, Kind, LogEntry, OpenError, PAGE_MAX, Store, StoreError,
    StoreLimits, Stored, Token, UniqueKey, WriteSet,
};
use apply::Tally;
pub use chunks::VALUE_BYTES_MAX;
pub(in crate::store) use commit::panic_text;
use commit::{Job, Shared};
use keys::Tenant;

/// The layout of keys and records that this gateway writes.
pub const FORMAT_VERSION: u32 = 1;

/// The least `FORMAT_VERSION` that a gateway must know to read what this one writes.
const MIN_READER: u32 = 1;

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

/// What a store says about itself.
#[derive(Serialize, Deserialize)]
struct Format {
    format_version: u32,
    min_reader: u32,
    created_by: String,
    store: Uuid,
}

/// A [`Store`] over an [`Engine`].
pub struct Embedded<E: Engine> {
    shared: Arc<Shared<E>>,
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
        let progress = read_progress(&engine)?;
        engine.attest(progress)?;
        let progress = match progress {
            Some(progress) => progress,
            None => create(&engine).map_err(|error| refused(&engine, error.to_string()))?,
        };
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

/// What the map says about itself: `None` if it is empty.
fn read_progress<E: Engine>(engine: &E) -> Result<Option<Progress>, OpenError> {
    let refuse = |happened: &str| Err(refused(engine, happened.to_owned()));
    let unreadable = |error: EngineError| refused(engine, error.to_string());
    let format = engine.get(keys::FORMAT).map_err(unreadable)?;
    let seq = engine.get(keys::SEQ).map_err(unreadable)?;
    let (format, seq) = match (format, seq) {
        (Some(format), Some(seq)) => (format, seq),
        (None, None) if is_empty(engine).map_err(unreadable)? => return Ok(None),
        _ => return refuse("it holds data, but not its format record"),
    };
    let seq = seq.as_slice().try_into().map(u64::from_be_bytes);
    let format: Result<Format, _> = serde_json::from_slice(&format);
    match (format, seq) {
        (Ok(format), _) if format.min_reader > FORMAT_VERSION => Err(OpenError::NewerFormat {
            found: format.min_reader,
            known: FORMAT_VERSION,
            created_by: format.created_by,
        }),
        (Ok(format), Ok(seq)) => Ok(Some(Progress {
            store: format.store,
            seq,
        })),
        _ => refuse("its format record is damaged"),
    }
}

fn is_empty<E: Engine>(engine: &E) -> Result<bool, EngineError> {
    let mut empty = true;
    engine.scan(Vec::new()..vec![0xff], Direction::Forwards, &mut |_, _| {
        empty = false;
        ControlFlow::Break(())
    })?;
    Ok(empty)
}

/// Makes an empty map a store.
fn create<E: Engine>(engine: &E) -> Result<Progress, EngineError> {
    let progress = Progress {
        store: Uuid::new_v4(),
        seq: 0,
    };
    let format = Format {
        format_version: FORMAT_VERSION,
        min_reader: MIN_READER,
        created_by: env!("CARGO_PKG_VERSION").to_owned(),
        store: progress.store,
    };
    let format = serde_json::to_vec(&format).map_err(|e| EngineError::Io(e.to_string()))?;
    engine.apply(Batch::from([
        (keys::FORMAT.to_vec(), Some(format)),
        (
            keys::SEQ.to_vec(),
            Some(progress.seq.to_be_bytes().to_vec()),
        ),
    ]))?;
    engine.sync(progress)?;
    Ok(progress)
}

fn refused<E: Engine>(engine: &E, happened: String) -> OpenError {
    OpenError::Refused {
        location: engine.location(),
        happened,
        advice: None,
    }
}

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
        self.read(|engine| read_resource(engine, &key))
    }

    async fn holder(&self, tenant: &str, key: &UniqueKey) -> Result<Option<Uuid>, StoreError> {
        keys::check_unique(key).map_err(StoreError::Invalid)?;
        let key = named(tenant)?.unique(key);
        self.read(|engine| {
            engine
                .get(&key)?
                .map(|id| apply::decode_id(&id))
                .transpose()
        })
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
        self.read(|engine| {
            let ids = values(engine, range, limit.min(PAGE_MAX))?;
            let mut page = Vec::with_capacity(ids.len());
            for id in ids {
                let key = tenant.resource(kind, apply::decode_id(&id)?);
                // The order and the records were written together and are read together.
                page.push(read_resource(engine, &key)?.ok_or_else(|| {
                    EngineError::Damaged("the index names a resource that is not there".to_owned())
                })?);
            }
            Ok(page)
        })
    }

    async fn seek(&self, tenant: &str, kind: Kind, skip: u64) -> Result<Option<u64>, StoreError> {
        let tenant = named(tenant)?;
        self.read(|engine| seek(engine, tenant, kind, skip))
    }

    async fn count(&self, tenant: &str, kind: Kind) -> Result<u64, StoreError> {
        let key = named(tenant)?.tally(kind);
        self.read(|engine| Ok(Tally::decode(engine.get(&key)?)?.count))
    }

    async fn intent(&self, tenant: &str, resource: Uuid) -> Result<Option<Intent>, StoreError> {
        let key = named(tenant)?.intent(resource);
        self.read(|engine| {
            read_record(engine, &key)?
                .map(|body| apply::decode(&body))
                .transpose()
        })
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
        self.read(|engine| records(engine, range, Direction::Forwards, limit))
    }

    async fn log(
        &self,
        tenant: &str,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let range = named(tenant)?.log_before(before);
        self.read(|engine| records(engine, range, Direction::Backwards, limit))
    }

    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        let key = keys::token(hash);
        self.read(|engine| {
            read_record(engine, &key)?
                .map(|body| apply::decode(&body))
                .transpose()
        })
    }

    async fn tokens(&self, tenant: &str) -> Result<Vec<Token>, StoreError> {
        let range = named(tenant)?.tokens();
        self.read(|engine| {
            let mut tokens = Vec::new();
            for hash in values(engine, range, usize::MAX)? {
                let key = keys::token(&apply::decode_hash(&hash)?);
                let body = read_record(engine, &key)?.ok_or_else(|| {
                    EngineError::Damaged("the index names a token that is not there".to_owned())
                })?;
                tokens.push(apply::decode(&body)?);
            }
            Ok(tokens)
        })
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

fn read_record<E: Engine>(engine: &E, record: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
    chunks::read(record, |key| engine.get(key), EngineError::Damaged)
}

fn read_resource<E: Engine>(engine: &E, record: &[u8]) -> Result<Option<Stored>, EngineError> {
    let Some(body) = read_record(engine, record)? else {
        return Ok(None);
    };
    let (position, json) = apply::split_position(&body)?;
    let mut stored: Stored = apply::decode(json)?;
    stored.position = position;
    Ok(Some(stored))
}

/// The values of a range of index entries, the first so many.
fn values<E: Engine>(
    engine: &E,
    range: Range<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Vec<u8>>, EngineError> {
    let mut values = Vec::new();
    if limit == 0 {
        return Ok(values);
    }
    engine.scan(range, Direction::Forwards, &mut |_, value| {
        values.push(value.to_vec());
        if values.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(values)
}

/// The records of a range, the first so many.
fn records<E: Engine, T: DeserializeOwned>(
    engine: &E,
    range: Range<Vec<u8>>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<T>, EngineError> {
    let limit = limit.min(PAGE_MAX);
    let mut bodies = Vec::new();
    let mut assembler = chunks::Assembler::default();
    engine.scan(range, direction, &mut |key, value| {
        if bodies.len() == limit {
            return ControlFlow::Break(());
        }
        bodies.extend(assembler.push(key, value));
        ControlFlow::Continue(())
    })?;
    bodies.extend(assembler.finish());
    bodies.truncate(limit);
    bodies
        .into_iter()
        .map(|body| apply::decode(&body.map_err(EngineError::Damaged)?))
        .collect()
}

/// See [`Store::seek`]: whole blocks by their counters, then entries within one block.
fn seek<E: Engine>(
    engine: &E,
    tenant: Tenant<'_>,
    kind: Kind,
    skip: u64,
) -> Result<Option<u64>, EngineError> {
    if skip == 0 {
        return Ok(None);
    }
    let tally = Tally::decode(engine.get(&tenant.tally(kind))?)?;
    if skip >= tally.count {
        return Ok(Some(tally.position));
    }
    let mut left = skip;
    let mut block = 0;
    let mut damaged = None;
    engine.scan(
        tenant.blocks(kind),
        Direction::Forwards,
        &mut |key, value| match (keys::number_of(key), apply::decode_live(value)) {
            (Some(number), Ok(live)) if u64::from(live) < left => {
                left -= u64::from(live);
                block = number + 1;
                ControlFlow::Continue(())
            }
            (Some(number), Ok(_)) => {
                block = number;
                ControlFlow::Break(())
            }
            _ => {
                damaged = Some(EngineError::Damaged("a block's counter".to_owned()));
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(damaged) = damaged {
        return Err(damaged);
    }
    let mut position = None;
    engine.scan(
        tenant.orders_from_block(kind, block),
        Direction::Forwards,
        &mut |key, _| {
            position = keys::number_of(key);
            left -= 1;
            if left > 0 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    )?;
    Ok(position)
}
