//! Many writers, full queues, failing engines.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use gateway::store::embedded::{Batch, Direction, Embedded, Engine, EngineError, Progress, Visit};
use gateway::store::memory::Memory;
use gateway::store::{OpenError, StoreError};

use super::*;

/// An engine in memory that can be stopped and broken.
#[derive(Default)]
struct Fragile {
    memory: Memory,
    trouble: Mutex<Option<Trouble>>,
    /// Held shut while `true`; `sync` waits for it.
    shut: Mutex<bool>,
    opened: Condvar,
    syncs: AtomicUsize,
    syncs_begun: AtomicUsize,
    free_bytes: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    GetFails,
    GetPanics,
    ApplyFails,
    ApplyPanics,
    SyncFails,
    SyncPanics,
}

/// What the store gets: the test keeps the other end.
struct Handle(Arc<Fragile>);

impl Fragile {
    fn meet(&self, fails: Trouble, panics: Trouble) -> Result<(), EngineError> {
        let trouble = *self.trouble.lock().unwrap();
        if trouble == Some(panics) {
            panic!("the engine was told to");
        }
        if trouble == Some(fails) {
            return Err(EngineError::Io("the engine was told to fail".into()));
        }
        Ok(())
    }

    fn open_gate(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
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
        self.0.meet(Trouble::GetFails, Trouble::GetPanics)?;
        self.0.memory.get(key)
    }

    fn scan(
        &self,
        range: Range<Vec<u8>>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.0.memory.scan(range, direction, visit)
    }

    fn apply(&self, batch: Batch) -> Result<(), EngineError> {
        self.0.meet(Trouble::ApplyFails, Trouble::ApplyPanics)?;
        self.0.memory.apply(batch)
    }

    fn sync(&self, _progress: Progress) -> Result<(), EngineError> {
        self.0.syncs_begun.fetch_add(1, Ordering::SeqCst);
        let mut shut = self.0.shut.lock().unwrap();
        while *shut {
            shut = self.0.opened.wait(shut).unwrap();
        }
        self.0.meet(Trouble::SyncFails, Trouble::SyncPanics)?;
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn disk_free_bytes(&self) -> Option<u64> {
        Some(self.0.free_bytes.load(Ordering::SeqCst))
    }
}

fn open_fragile(limits: &StoreLimits) -> (Arc<Fragile>, Arc<dyn Store>) {
    let fragile = Arc::new(Fragile {
        free_bytes: AtomicU64::new(1 << 40),
        ..Fragile::default()
    });
    let store = Embedded::open(Handle(Arc::clone(&fragile)), limits).unwrap();
    (fragile, Arc::new(store))
}

fn many_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap()
}

/// Polls often enough for the commit thread to get where the test wants it.
async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn of_many_racing_creates_of_one_name_exactly_one_wins() {
    let dir = TempDir::new().unwrap();
    for store in [open_memory(), open_sled(dir.path())] {
        for round in 0..5u128 {
            let name = format!("ann-{round}");
            let outcomes = many_threads().block_on(async {
                let tasks: Vec<_> = (1..=64u128)
                    .map(|n| {
                        let (store, name) = (Arc::clone(&store), name.clone());
                        let resource = 1000 * (round + 1) + n;
                        // Half of them go by an intent, the other half put directly.
                        let write = match n % 2 {
                            0 => Write::OpenIntent(intent(n, resource, &[&name])),
                            _ => put(resource, &name),
                        };
                        tokio::spawn(async move { (resource, store.commit(set([write])).await) })
                    })
                    .collect();
                let mut outcomes = Vec::new();
                for task in tasks {
                    outcomes.push(task.await.unwrap());
                }
                outcomes
            });
            let winners: Vec<u128> = outcomes
                .iter()
                .filter(|(_, o)| o.is_ok())
                .map(|(n, _)| *n)
                .collect();
            assert_eq!(winners.len(), 1, "{outcomes:?}");
            for (number, outcome) in &outcomes {
                if *number != winners[0] {
                    assert_eq!(*outcome, taken(&name, winners[0]));
                }
            }
            let holder = wait(store.holder(TENANT, &user_name(&name))).unwrap();
            assert_eq!(holder, Some(id(winners[0])));
        }
    }
}

#[test]
fn a_reader_never_sees_half_a_write() {
    let dir = TempDir::new().unwrap();
    for store in [open_memory(), open_sled(dir.path())] {
        let version = |n: u64| Stored {
            version: n,
            document: json!({ "n": n.to_string().repeat(9000) }),
            unique: vec![user_name(&format!("u{n}"))],
            ..user(1, "")
        };
        many_threads().block_on(async {
            store
                .commit(set([Write::PutResource(version(1))]))
                .await
                .unwrap();
            let reader = tokio::spawn({
                let store = Arc::clone(&store);
                async move {
                    loop {
                        let page = store.page(TENANT, Kind::User, None, 9).await.unwrap();
                        let text = page[0].version.to_string().repeat(9000);
                        assert!(page[0].document["n"] == text, "half of {}", page[0].version);
                        if page[0].version == 200 {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            });
            for n in 2..=200 {
                store
                    .commit(set([Write::PutResource(version(n))]))
                    .await
                    .unwrap();
            }
            reader.await.unwrap();
        });
    }
}

#[test]
fn commits_that_wait_together_share_one_flush() {
    let (engine, store) = open_fragile(&limits());
    many_threads().block_on(async {
        *engine.shut.lock().unwrap() = true;
        let spawn = |n: u128| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(set([put(n, &format!("u{n}"))])).await })
        };
        let begun = engine.syncs_begun.load(Ordering::SeqCst);
        let first = spawn(1);
        until(|| engine.syncs_begun.load(Ordering::SeqCst) > begun).await;
        let rest: Vec<_> = (2..=100).map(spawn).collect();
        let health = async || store.health().await;
        while health().await.queued < 99 {
            tokio::task::yield_now().await;
        }
        // Nothing is acknowledged while the flush has not returned.
        assert!(!first.is_finished());
        assert_eq!(health().await.seq, 0);
        let syncs = engine.syncs.load(Ordering::SeqCst);
        engine.open_gate();
        first.await.unwrap().unwrap();
        for task in rest {
            task.await.unwrap().unwrap();
        }
        assert_eq!(engine.syncs.load(Ordering::SeqCst) - syncs, 2);
        assert_eq!(health().await.seq, 100);
    });
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let (engine, store) = open_fragile(&StoreLimits {
        queue_max: 3,
        ..limits()
    });
    many_threads().block_on(async {
        *engine.shut.lock().unwrap() = true;
        let begun = engine.syncs_begun.load(Ordering::SeqCst);
        let spawn = |n: u128| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(set([put(n, &format!("u{n}"))])).await })
        };
        let mut accepted = vec![spawn(1)];
        until(|| engine.syncs_begun.load(Ordering::SeqCst) > begun).await;
        accepted.extend((2..=4).map(spawn));
        while store.health().await.queued < 3 {
            tokio::task::yield_now().await;
        }
        let refused = store.commit(set([put(5, "u5")])).await;
        let Err(CommitError::Unavailable {
            retry_after_ms,
            in_doubt: false,
            ..
        }) = refused
        else {
            panic!("{refused:?}");
        };
        assert!(retry_after_ms > 0);
        engine.open_gate();
        for task in accepted {
            task.await.unwrap().unwrap();
        }
        assert_eq!(
            store.resource(TENANT, Kind::User, id(5)).await.unwrap(),
            None
        );
        store.commit(set([put(5, "u5")])).await.unwrap();
    });
}

#[test]
fn a_failed_engine_is_never_trusted_again() {
    let troubles = [
        (Trouble::GetPanics, false),
        (Trouble::ApplyFails, true),
        (Trouble::ApplyPanics, true),
        (Trouble::SyncFails, true),
        (Trouble::SyncPanics, true),
    ];
    for (trouble, may_be_written) in troubles {
        let (engine, store) = open_fragile(&limits());
        wait(async {
            store.commit(set([put(1, "ann")])).await.unwrap();
            *engine.trouble.lock().unwrap() = Some(trouble);
            let failed = store.commit(set([put(2, "bob")])).await;
            let Err(CommitError::Unavailable {
                in_doubt, message, ..
            }) = failed
            else {
                panic!("{trouble:?}: {failed:?}");
            };
            assert_eq!(in_doubt, may_be_written, "{trouble:?}");
            assert!(message.contains("told to"), "{message}");
            // The engine works again. What it holds is unknown all the same.
            *engine.trouble.lock().unwrap() = None;
            let after = store.commit(set([put(3, "cid")])).await;
            assert!(matches!(
                after,
                Err(CommitError::Unavailable {
                    in_doubt: false,
                    ..
                })
            ));
            let read = store.resource(TENANT, Kind::User, id(1)).await;
            assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
            assert!(store.health().await.writable.is_err());
            assert!(store.failed().await.contains("told to"));
            store.close().await;
        });
    }
}

#[test]
fn a_record_that_cannot_be_read_stops_its_write_set_only() {
    let (engine, store) = open_fragile(&limits());
    wait(async {
        *engine.trouble.lock().unwrap() = Some(Trouble::GetFails);
        let failed = store.commit(set([put(1, "ann")])).await;
        assert!(matches!(
            failed,
            Err(CommitError::Unavailable {
                in_doubt: false,
                ..
            })
        ));
        let read = store.resource(TENANT, Kind::User, id(1)).await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))));
        *engine.trouble.lock().unwrap() = None;
        assert_eq!(store.health().await.writable, Ok(()));
        store.commit(set([put(1, "ann")])).await.unwrap();
    });
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let (engine, store) = open_fragile(&limits());
    engine.free_bytes.store(1 << 20, Ordering::SeqCst);
    wait(async {
        let refused = store.commit(set([put(1, "ann")])).await;
        let Err(CommitError::Unavailable {
            message,
            in_doubt: false,
            ..
        }) = refused
        else {
            panic!("{refused:?}");
        };
        assert!(message.contains("1 MiB left"), "{message}");
        assert!(store.health().await.writable.is_err());
        assert_eq!(store.count(TENANT, Kind::User).await, Ok(0));
        engine.free_bytes.store(1 << 40, Ordering::SeqCst);
        assert_eq!(store.health().await.writable, Ok(()));
    });
}

#[test]
fn closing_finishes_what_is_queued() {
    let (engine, store) = open_fragile(&limits());
    many_threads().block_on(async {
        *engine.shut.lock().unwrap() = true;
        let tasks: Vec<_> = (1..=20u128)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.commit(set([put(n, &format!("u{n}"))])).await })
            })
            .collect();
        // The first is in the gate, the others in the queue or with it in the batch.
        until(|| engine.syncs_begun.load(Ordering::SeqCst) > 1).await;
        let closing = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.close().await }
        });
        while store.health().await.writable.is_ok() {
            tokio::task::yield_now().await;
        }
        engine.open_gate();
        closing.await.unwrap();
        let mut numbers = BTreeSet::new();
        for (n, task) in (1..=20u128).zip(tasks) {
            match task.await.unwrap() {
                Ok(()) => {
                    numbers.insert(id(n));
                }
                // Came after the close.
                Err(CommitError::Unavailable {
                    in_doubt: false, ..
                }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert!(!numbers.is_empty());
        let page = store.page(TENANT, Kind::User, None, 100).await.unwrap();
        assert_eq!(
            page.iter().map(|stored| stored.id).collect::<BTreeSet<_>>(),
            numbers
        );
        let late = store.commit(set([put(99, "late")])).await;
        assert!(matches!(late, Err(CommitError::Unavailable { .. })));
        store.close().await;
    });
}

#[test]
fn a_caller_that_goes_away_does_not_stop_its_commit() {
    let (engine, store) = open_fragile(&limits());
    wait(async {
        *engine.shut.lock().unwrap() = true;
        let begun = engine.syncs_begun.load(Ordering::SeqCst);
        {
            let mut commit = store.commit(set([put(1, "ann")]));
            let polled = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(commit.as_mut().poll(cx).is_pending())
            });
            assert!(polled.await);
        }
        until(|| engine.syncs_begun.load(Ordering::SeqCst) > begun).await;
        engine.open_gate();
        store.commit(set([put(2, "bob")])).await.unwrap();
        assert_eq!(store.count(TENANT, Kind::User).await, Ok(2));
    });
}
