//! An engine in memory that counts what it is asked, and whose syncs can be stopped or cut off.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use gateway::store::OpenError;
use gateway::store::embedded::{Batch, Direction, Embedded, Engine, EngineError, Progress, Visit};
use gateway::store::memory::Memory;

use super::*;

/// Nothing here takes that long, unless it never happens.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What the test keeps of the engine.
#[derive(Default)]
pub(crate) struct Watched {
    memory: Memory,
    /// Entries that were read.
    reads: AtomicU64,
    /// Keys that were written.
    writes: AtomicU64,
    /// How many syncs may still go through; `None` for any number.
    allowed: Mutex<Option<u64>>,
    changed: Condvar,
    /// A sync that may not go through fails, instead of waiting.
    cut: Mutex<bool>,
    waiting: AtomicU64,
}

/// What the store gets.
struct Handle(Arc<Watched>);

impl Watched {
    /// So many syncs may go through from here on, in addition to what may still; `None` for all.
    pub(crate) fn allow(&self, syncs: Option<u64>) {
        let mut allowed = self.allowed.lock().unwrap();
        *allowed = match (*allowed, syncs) {
            (Some(left), Some(more)) => Some(left + more),
            (_, syncs) => syncs,
        };
        self.changed.notify_all();
    }

    /// From here on, syncs that may not go through fail.
    pub(crate) fn cut(&self) {
        *self.cut.lock().unwrap() = true;
    }

    /// How many syncs had to wait so far.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// What one piece of work reads and writes.
    pub(crate) async fn cost(&self, work: impl Future<Output = ()>) -> (u64, u64) {
        let now = || [&self.reads, &self.writes].map(|n| n.load(Ordering::SeqCst));
        let before = now();
        work.await;
        let after = now();
        (after[0] - before[0], after[1] - before[1])
    }

    /// How many entries there are about memberships.
    pub(crate) fn edges(&self) -> usize {
        let mut edges = 0;
        let all = vec![0x60]..vec![0x64];
        let mut count = |_: &[u8], _: &[u8]| {
            edges += 1;
            ControlFlow::Continue(())
        };
        self.memory
            .scan(all, Direction::Forwards, &mut count)
            .unwrap();
        edges
    }
}

impl Engine for Handle {
    fn location(&self) -> String {
        "test:".into()
    }

    fn attest(&self, found: Option<Progress>) -> Result<(), OpenError> {
        self.0.memory.attest(found)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        self.0.memory.get(key)
    }

    fn scan(
        &self,
        range: Range<Vec<u8>>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        self.0.memory.scan(range, direction, &mut |key, value| {
            self.0.reads.fetch_add(1, Ordering::SeqCst);
            visit(key, value)
        })
    }

    fn apply(&self, batch: Batch) -> Result<(), EngineError> {
        let keys = batch.len() as u64;
        self.0.writes.fetch_add(keys, Ordering::SeqCst);
        self.0.memory.apply(batch)
    }

    fn sync(&self, _progress: Progress) -> Result<(), EngineError> {
        let mut allowed = self.0.allowed.lock().unwrap();
        while *allowed == Some(0) {
            if *self.0.cut.lock().unwrap() {
                return Err(EngineError::Io("no power".into()));
            }
            self.0.waiting.fetch_add(1, Ordering::SeqCst);
            let (after, waited) = self.0.changed.wait_timeout(allowed, DEADLINE).unwrap();
            if waited.timed_out() {
                return Err(EngineError::Io("nobody let the sync through".into()));
            }
            allowed = after;
        }
        *allowed = allowed.map(|left| left - 1);
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn disk_free_bytes(&self) -> Option<u64> {
        None
    }
}

pub(crate) fn open_watched(watched: &Arc<Watched>) -> Arc<dyn Store> {
    Arc::new(Embedded::open(Handle(Arc::clone(watched)), &limits()).unwrap())
}

/// Lets the commit thread get where the test wants it.
pub(crate) async fn until(reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < DEADLINE, "it never got there");
        tokio::task::yield_now().await;
    }
}

/// Waits until so many write sets are in the queue.
pub(crate) async fn queued(store: &dyn Store, count: usize) {
    let begun = Instant::now();
    while store.health().await.queued < count {
        assert!(begun.elapsed() < DEADLINE, "they never came");
        tokio::task::yield_now().await;
    }
}
