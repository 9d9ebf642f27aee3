//! The commit thread: takes what is queued, makes one batch of it, flushes once, then answers
//! everybody.
//!
//! Invariant: an acknowledgement is sent only after [`Engine::sync`] has returned for the batch,
//! and after a failed write or flush none is sent ever again. The kernel drops dirty pages whose
//! write-back failed and reports the error once: a second flush would "succeed" without them. So
//! the store is poisoned, the process ends, and the restart reads what is really on disk.
//!
//! Memberships of groups that are gone are swept away here too: a bounded number with each batch,
//! or by themselves while nobody has anything to write.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::apply::{Draft, Stop, apply};
use super::edges;
use super::prepare::Prepared;
use super::queue::{Popped, Queue};
use super::{Batch, Engine, EngineError, Progress, keys};
use crate::store::{CommitError, StoreLimits};

/// How often the free space is looked at, and how long the engine's rest may wait.
const REST: Duration = Duration::from_secs(1);

/// When to try again after a full queue: it drains in a fraction of that.
pub(super) const QUEUE_RETRY_MS: u64 = 1000;
/// When to try again on a store that has failed or is closing: after the restart.
pub(super) const RESTART_RETRY_MS: u64 = 5000;
/// When to try again on a full disk: somebody has to make room.
const DISK_RETRY_MS: u64 = 30_000;

/// A write set in the queue.
pub(super) struct Job {
    pub(super) prepared: Prepared,
    pub(super) answer: oneshot::Sender<Result<(), CommitError>>,
}

/// What the commit thread and the handle share.
pub(super) struct Shared<E> {
    pub(super) engine: E,
    pub(super) limits: StoreLimits,
    pub(super) queue: Queue<Job>,
    /// Held shared by every read and alone while a batch is applied: sled gives no snapshot over
    /// several reads, and a document in chunks must not be read half old, half new. Not held during
    /// the flush.
    pub(super) applying: RwLock<()>,
    pub(super) store: Uuid,
    /// Write sets that are committed and durable.
    pub(super) seq: AtomicU64,
    /// Why the store has failed.
    pub(super) failed: watch::Sender<Option<String>>,
}

/// Runs until the queue is closed and empty, or the store has failed.
pub(super) fn run<E: Engine>(shared: &Arc<Shared<E>>) {
    let mut thread = CommitThread {
        shared,
        rested: true,
        sweeping: false,
        disk: None,
    };
    thread.look_for_sweeps();
    loop {
        let patience = thread.patience();
        let limits = &shared.limits;
        match shared
            .queue
            .pop(limits.batch_max, limits.batch_bytes_max, patience)
        {
            Popped::Items(jobs) => {
                let busy = jobs.len() > 1;
                thread.commit(jobs);
                if busy {
                    // A flush costs the same for one and for a hundred, and the next ones are on
                    // their way.
                    std::thread::sleep(Duration::from_micros(limits.gather_us));
                }
            }
            Popped::Idle if thread.sweeping => thread.commit(Vec::new()),
            Popped::Idle => thread.rest(false),
            Popped::Closed if shared.failed.borrow().is_some() => return,
            Popped::Closed => return thread.rest(true),
        }
    }
}

/// Takes no write sets any more, for good, and says why to whoever waits.
fn poison<E>(shared: &Shared<E>, reason: String) {
    tracing::error!(store.failure = %reason, "the store has failed, nothing is acknowledged");
    let queued = shared.queue.close_and_empty(&reason);
    shared.failed.send_replace(Some(reason.clone()));
    for job in queued {
        let _ = job.answer.send(Err(unavailable(&reason, RESTART_RETRY_MS)));
    }
}

pub(super) fn unavailable(message: &str, retry_after_ms: u64) -> CommitError {
    CommitError::Unavailable {
        message: message.to_owned(),
        retry_after_ms,
        in_doubt: false,
    }
}

struct CommitThread<'a, E> {
    shared: &'a Arc<Shared<E>>,
    /// Nothing was committed since the engine's last rest.
    rested: bool,
    /// There may be memberships of groups that are gone.
    sweeping: bool,
    /// When the disk was last looked at, and what is wrong with it.
    disk: Option<(Instant, Result<(), String>)>,
}

impl<E: Engine> CommitThread<'_, E> {
    /// How long to wait for write sets before doing what nobody waits for.
    fn patience(&mut self) -> Option<Duration> {
        if self.sweeping && self.check_disk().is_ok() {
            return Some(Duration::ZERO);
        }
        (self.sweeping || !self.rested).then_some(REST)
    }

    /// Makes one durable batch of these write sets and of what is to be swept.
    fn commit(&mut self, jobs: Vec<Job>) {
        if let Err(reason) = self.check_disk() {
            for job in jobs {
                let _ = job.answer.send(Err(unavailable(&reason, DISK_RETRY_MS)));
            }
            return self.rest(false);
        }
        let reached_disk = Cell::new(false);
        // sled panics where others return errors. The panic must not take the answers with it.
        let result = catch_unwind(AssertUnwindSafe(|| self.write(&jobs, &reached_disk)));
        let failure = match result {
            Ok(Ok(outcomes)) => {
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    // A caller that has gone away does not undo its commit.
                    let _ = job.answer.send(outcome);
                }
                return self.rest(false);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panicked(panic.as_ref()),
        };
        // First nobody reads or writes here any more, then the callers hear of it.
        poison(self.shared, failure.clone());
        for job in jobs {
            let _ = job.answer.send(Err(CommitError::Unavailable {
                message: failure.clone(),
                retry_after_ms: RESTART_RETRY_MS,
                in_doubt: reached_disk.get(),
            }));
        }
    }

    /// Makes one durable batch of all write sets that their preconditions let through.
    fn write(
        &mut self,
        jobs: &[Job],
        reached_disk: &Cell<bool>,
    ) -> Result<Vec<Result<(), CommitError>>, EngineError> {
        let shared = self.shared;
        let mut seq = shared.seq.load(Ordering::Acquire);
        let mut draft = Draft::default();
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(match apply(&shared.engine, &mut draft, &job.prepared) {
                Ok(changed) => {
                    seq += u64::from(changed);
                    Ok(())
                }
                Err(Stop::Conflict(conflict)) => Err(CommitError::Conflict(conflict)),
                Err(Stop::Engine(error)) => {
                    // A spot that cannot be read is one tenant's trouble, not everybody's.
                    tracing::error!(store.failure = %error, "a write met an unreadable record");
                    Err(unavailable(&error.to_string(), RESTART_RETRY_MS))
                }
            });
        }
        let mut batch = draft.writes;
        self.sweep(&mut batch);
        if batch.is_empty() {
            return Ok(outcomes);
        }
        batch.insert(keys::SEQ.to_vec(), Some(seq.to_be_bytes().to_vec()));
        reached_disk.set(true);
        {
            let _alone = shared.applying.write();
            shared.engine.apply(batch)?;
        }
        shared.engine.sync(Progress {
            store: shared.store,
            seq,
        })?;
        shared.seq.store(seq, Ordering::Release);
        self.sweeping |= draft.sweeps;
        self.rested = false;
        Ok(outcomes)
    }

    /// Lets a batch take the next memberships away that are to be swept.
    fn sweep(&mut self, batch: &mut Batch) {
        if !self.sweeping {
            return;
        }
        self.sweeping = edges::sweep(&self.shared.engine, batch).unwrap_or_else(|error| {
            // What is left is never shown, only kept: until the next group goes, or the restart.
            tracing::error!(store.failure = %error, "memberships cannot be swept away");
            false
        });
    }

    /// Finds out whether an earlier process has left something to sweep.
    fn look_for_sweeps(&mut self) {
        let shared = self.shared;
        match catch_unwind(AssertUnwindSafe(|| edges::sweeps(&shared.engine, 1))) {
            // An error comes again, and is handled, when the sweep begins.
            Ok(found) => self.sweeping = found.map_or(true, |sweeps| !sweeps.is_empty()),
            Err(panic) => poison(shared, panicked(panic.as_ref())),
        }
    }

    /// Lets the engine do what no acknowledgement waits for.
    fn rest(&mut self, last: bool) {
        if self.rested && !last {
            return;
        }
        let result = catch_unwind(AssertUnwindSafe(|| self.shared.engine.rest(last)));
        match result {
            Ok(Ok(done)) => self.rested = done,
            Ok(Err(error)) => poison(self.shared, error.to_string()),
            Err(panic) => poison(self.shared, panicked(panic.as_ref())),
        }
    }

    fn check_disk(&mut self) -> Result<(), String> {
        match &self.disk {
            Some((looked, verdict)) if looked.elapsed() < REST => verdict.clone(),
            _ => {
                let verdict = judge_disk(&self.shared.engine, &self.shared.limits);
                self.disk = Some((Instant::now(), verdict.clone()));
                verdict
            }
        }
    }
}

/// Whether there is room to write. An engine that fails on a full disk takes the process with it;
/// this one recovers by itself when somebody has made room.
pub(super) fn judge_disk<E: Engine>(engine: &E, limits: &StoreLimits) -> Result<(), String> {
    match engine.disk_free_bytes() {
        Some(free) if free < limits.disk_free_bytes_min => Err(format!(
            "the store's volume has {} MiB left, below the floor of {} MiB \
             (limits.store.disk_free_bytes_min); make room, writes go on by themselves then",
            free >> 20,
            limits.disk_free_bytes_min >> 20
        )),
        _ => Ok(()),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    format!("the engine panicked: {}", panic_text(panic))
}

/// What a panic said.
pub(in crate::store) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
