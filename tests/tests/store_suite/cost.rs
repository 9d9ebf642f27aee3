//! What a membership costs, however large its group, counted at the engine: time would say less.
//! What is left of a group that goes, until it is swept away. And write sets that share a batch.

use std::time::Instant;

use crate::members::{all_members, counts, groups, put_users};
use crate::watched::{DEADLINE, Watched, open_watched, queued, until};

use super::*;

#[test]
fn one_member_more_costs_the_same_in_every_group() {
    let watched = Arc::new(Watched::default());
    let store = open_watched(&watched);
    wait(async {
        put_users(&*store, 1..20_001).await;
        let mut costs = Vec::new();
        for (group, size) in [(30_000, 10), (30_001, 20_000)] {
            // Everybody but the last user, who is in the first half.
            let everybody = users((1..=size).filter(|n| *n != 5));
            store
                .commit(set([put_group(group), change(group, everybody, vec![])]))
                .await
                .unwrap();
            let commit = async |write| {
                let (store, watched) = (&store, &watched);
                watched
                    .cost(async move { store.commit(set([write])).await.unwrap() })
                    .await
            };
            let add = commit(change(group, users([5]), vec![])).await;
            let again = commit(change(group, users([5]), vec![])).await;
            let remove = commit(change(group, vec![], users([5]))).await;
            let put = commit(put_group(group)).await;
            let count = store.member_count(TENANT, id(group), Kind::User);
            let asked = watched.cost(async {
                assert_eq!(u128::from(count.await.unwrap()), size - 1);
                let ids = [id(5), id(6)];
                store
                    .which_are_members(TENANT, id(group), &ids)
                    .await
                    .unwrap();
            });
            let asked = asked.await;
            costs.push([add, again, remove, put, asked]);
        }
        assert_eq!(costs[0], costs[1]);
        let [add, again, remove, ..] = costs[0];
        // Group, entry, user, counter; two entries, the counter, the number of commits.
        assert_eq!((add, again, remove), ((4, 4), (2, 0), (3, 4)));

        // A page costs what is on it, wherever it is.
        let page = watched.cost(async {
            let after = member(Kind::User, 15_000);
            let page = store.members(TENANT, id(30_001), None, Some(&after), 0, 100);
            assert_eq!(page.await.unwrap().len(), 100);
        });
        assert!(page.await.0 <= 103);

        // Going costs by the groups of the one who goes, not by their members.
        let gone = watched.cost(async { store.commit(set([delete(6)])).await.unwrap() });
        let (reads, writes) = gone.await;
        assert!(reads <= 20 && writes <= 15, "{reads} {writes}");
        // And a group that goes costs next to nothing, for the one who waits.
        watched.allow(Some(1));
        let gone = watched.cost(async { store.commit(set([delete_group(30_001)])).await.unwrap() });
        let (reads, writes) = gone.await;
        let one_chunk = 2 * 501;
        assert!(
            reads <= 20 + one_chunk && writes <= 15 + one_chunk,
            "{reads} {writes}"
        );
        watched.allow(None);
        // What is left is the other group: 8 members, on both sides, and a counter.
        until(|| watched.edges() == 2 * 8 + 1).await;
    });
}

#[test]
fn index_entries_cost_no_reads() {
    let watched = Arc::new(Watched::default());
    let store = open_watched(&watched);
    wait(async {
        // Behind what the commit thread looks for at its start.
        store.commit(set([put(9, "first")])).await.unwrap();
        let mut costs = Vec::new();
        for (number, entries) in [(1, 0), (2, 1), (3, 50)] {
            let name = format!("u{number}");
            let with = |value: u64| {
                let key = |n| AttributeKey {
                    attribute: "emails.value".into(),
                    ..user_name(&format!("{value}-{n}"))
                };
                Write::PutResource(Stored {
                    indexed: (0..entries).map(key).collect(),
                    ..user(number, &name)
                })
            };
            let mut reads = Vec::new();
            for write in [with(1), with(1), with(2), delete(number)] {
                let commit = async { store.commit(set([write])).await.unwrap() };
                reads.push(watched.cost(commit).await.0);
            }
            costs.push(reads);
        }
        assert_eq!(costs[0], costs[1]);
        assert_eq!(costs[0], costs[2]);
    });
}

/// More than three chunks of the sweep.
const MANY: u128 = 1700;

/// A group of [`MANY`] users; the first ten are in a second one too.
async fn fill(store: &dyn Store) {
    put_users(store, 1..MANY + 1).await;
    let writes = [
        put_group(5000),
        put_group(5001),
        change(5000, users(1..=MANY), vec![]),
        change(5001, users(1..=10), vec![]),
        change(5001, vec![member(Kind::Group, 5000)], vec![]),
    ];
    store.commit(set(writes)).await.unwrap();
}

/// The large group is gone, whatever is left of it.
async fn check_gone(store: &dyn Store) {
    assert_eq!(all_members(store, 5000).await, []);
    assert_eq!(counts(store, 5000).await, (0, 0));
    let ids = [1, 10, MANY].map(id);
    let found = store.which_are_members(TENANT, id(5000), &ids).await;
    assert_eq!(found.unwrap(), [None; 3]);
    for user in [1, 10] {
        assert_eq!(groups(store, user).await, [5001]);
    }
    for user in [11, 700, MANY] {
        assert_eq!(groups(store, user).await, [0u128; 0]);
    }
    assert_eq!(groups(store, 5000).await, [0u128; 0]);
    assert_eq!(counts(store, 5001).await, (10, 0));
}

/// Entries of the second group: on both sides, and a counter.
const REST: usize = 21;

#[test]
fn a_group_that_goes_is_swept_while_others_write() {
    let watched = Arc::new(Watched::default());
    let store = open_watched(&watched);
    let threads = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    threads.block_on(async {
        fill(&*store).await;
        watched.allow(Some(1));
        store.commit(set([delete_group(5000)])).await.unwrap();
        // The first chunk is at its sync; nearly all edges are there, and none is shown.
        until(|| watched.waiting() == 1).await;
        assert!(watched.edges() > 2 * 1000);
        check_gone(&*store).await;
        let spawn = |write| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(set([write])).await })
        };
        // Its id means nothing but the group that is gone, as long as that is so.
        let again = spawn(put_group(5000));
        queued(&*store, 1).await;
        let leaves = spawn(delete(MANY));
        queued(&*store, 2).await;
        // Who comes while there is much to sweep waits for the chunk that is under way.
        watched.allow(Some(2));
        let refused = Err(Conflict::Exists { id: id(5000) }.into());
        assert_eq!(again.await.unwrap(), refused);
        leaves.await.unwrap().unwrap();
        assert!(watched.edges() > REST);
        check_gone(&*store).await;
        watched.allow(None);
        until(|| watched.edges() == REST).await;
        check_gone(&*store).await;
        store.commit(set([put_group(5000)])).await.unwrap();
        assert_eq!(all_members(&*store, 5000).await, []);
    });
}

#[test]
fn a_sweep_goes_on_after_a_cut_and_a_restart() {
    for chunks in 0..4 {
        let watched = Arc::new(Watched::default());
        let store = open_watched(&watched);
        wait(async {
            fill(&*store).await;
            watched.cut();
            watched.allow(Some(1 + chunks));
            store.commit(set([delete_group(5000)])).await.unwrap();
            store.failed().await;
        });
        drop(store);
        let left = watched.edges();
        assert!(chunks == 3 || left > REST, "{left}");
        watched.allow(None);
        let store = open_watched(&watched);
        wait(async {
            check_gone(&*store).await;
            until(|| watched.edges() == REST).await;
            check_gone(&*store).await;
        });
    }
}

#[test]
fn sweeps_end_on_every_engine_and_across_reopening() {
    let dir = TempDir::new().unwrap();
    let store = open_sled(dir.path());
    wait(fill(&*store));
    wait(store.commit(set([delete_group(5000)]))).unwrap();
    wait(check_gone(&*store));
    drop(store);
    let store = open_sled(dir.path());
    wait(async {
        check_gone(&*store).await;
        // Only a group that is swept away entirely can come again.
        let begun = Instant::now();
        while store.commit(set([put_group(5000)])).await.is_err() {
            assert!(begun.elapsed() < DEADLINE, "it is never swept away");
            tokio::task::yield_now().await;
        }
        assert_eq!(all_members(&*store, 5000).await, []);
        assert_eq!(counts(&*store, 5000).await, (0, 0));
        assert_eq!(groups(&*store, 11).await, [0u128; 0]);
    });
}

#[test]
fn who_was_in_thousands_of_groups_that_are_gone_reads_on() {
    let watched = Arc::new(Watched::default());
    let store = open_watched(&watched);
    wait(async {
        put_users(&*store, 1..2).await;
        for first in (10_000..19_000).step_by(1000) {
            let writes = (first..first + 1000)
                .flat_map(|group| [put_group(group), change(group, users([1]), vec![])]);
            store.commit(set(writes.collect::<Vec<_>>())).await.unwrap();
        }
        let kept = [10_000, 10_001, 14_500, 18_999];
        watched.allow(Some(1));
        let gone = (10_000..19_000).filter(|n| !kept.contains(n));
        let writes: Vec<Write> = gone.map(delete_group).collect();
        store.commit(set(writes)).await.unwrap();
        // The sweep is stuck at its first sync: thousands are left.
        assert!(watched.edges() > 10_000);
        assert_eq!(groups(&*store, 1).await, kept);
        let page = store.groups_of(TENANT, id(1), Some(id(10_001)), 1).await;
        assert_eq!(page.unwrap(), [id(14_500)]);
        watched.allow(None);
        until(|| watched.edges() == 3 * kept.len()).await;
        assert_eq!(groups(&*store, 1).await, kept);
    });
}

#[test]
fn write_sets_of_one_batch_know_of_each_others_members() {
    let watched = Arc::new(Watched::default());
    let store = open_watched(&watched);
    wait(async {
        put_users(&*store, 1..8).await;
        let writes = [
            put_group(5000),
            put_group(5001),
            put_group(5002),
            change(5000, users([1, 2, 6, 7]), vec![]),
        ];
        store.commit(set(writes)).await.unwrap();
        watched.allow(Some(0));
        let spawn = |write| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(set([write])).await })
        };
        let mut commits = vec![spawn(put(9, "first"))];
        until(|| watched.waiting() == 1).await;
        let together = [
            // Out of one that the engine knows of, into two that it does not, and gone.
            change(5000, vec![], users([1])),
            change(5001, users([1, 2, 3]), vec![]),
            change(5002, users([1, 3]), vec![]),
            delete(1),
            // In and out again, and gone; gone with the engine knowing of one of two.
            change(5001, users([4]), users([3])),
            change(5001, vec![], users([4])),
            delete(4),
            delete(2),
            // A group that goes before its members were ever in the engine.
            delete_group(5001),
            change(5000, users([1, 2, 3]), vec![]),
        ];
        for (number, write) in together.into_iter().enumerate() {
            commits.push(spawn(write));
            queued(&*store, number + 1).await;
        }
        watched.allow(None);
        for commit in commits {
            commit.await.unwrap().unwrap();
        }
        let rest = [3, 6, 7].map(|number| (Kind::User, number));
        assert_eq!(all_members(&*store, 5000).await, rest);
        assert_eq!(counts(&*store, 5000).await, (3, 0));
        assert_eq!(all_members(&*store, 5001).await, []);
        assert_eq!(all_members(&*store, 5002).await, rest[..1]);
        assert_eq!(counts(&*store, 5002).await, (1, 0));
        assert_eq!(groups(&*store, 3).await, [5000, 5002]);
        until(|| watched.edges() == 2 * 4 + 2).await;
    });
}
