//! What is left when the power goes.
//!
//! Two models. [`Lossy`] keeps in memory what a disk would keep: the state of the last finished
//! sync; it proves the order "sync, then acknowledge" of the commit thread. [`Filmed`] takes
//! pictures of sled's folder around each sync; it proves that every picture opens, and opens with
//! all that had been acknowledged.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway::store::OpenError;
use gateway::store::embedded::{Batch, Direction, Embedded, Engine, EngineError, Progress, Visit};
use gateway::store::memory::Memory;
use gateway::store::sled::Sled;

use super::*;

/// An engine in memory whose power can be cut.
#[derive(Default)]
struct Lossy {
    applied: Memory,
    disk: Mutex<Disk>,
}

#[derive(Default)]
struct Disk {
    /// What survives.
    content: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What was applied since.
    pending: Vec<Batch>,
    syncs_left: Option<u64>,
}

struct Handle(Arc<Lossy>);

impl Engine for Handle {
    fn location(&self) -> String {
        "test:".into()
    }

    fn attest(&self, found: Option<Progress>) -> Result<(), OpenError> {
        self.0.applied.attest(found)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.0.applied.get(key)
    }

    fn scan(
        &self,
        range: Range<Vec<u8>>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.0.applied.scan(range, direction, visit)
    }

    fn apply(&self, batch: Batch) -> Result<(), EngineError> {
        self.0.disk.lock().unwrap().pending.push(batch.clone());
        self.0.applied.apply(batch)
    }

    fn sync(&self, _progress: Progress) -> Result<(), EngineError> {
        let mut disk = self.0.disk.lock().unwrap();
        match disk.syncs_left.as_mut() {
            Some(0) => return Err(EngineError::Io("no power".into())),
            Some(left) => *left -= 1,
            None => {}
        }
        for batch in std::mem::take(&mut disk.pending) {
            for (key, value) in batch {
                match value {
                    Some(value) => disk.content.insert(key, value),
                    None => disk.content.remove(&key),
                };
            }
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn disk_free_bytes(&self) -> Option<u64> {
        None
    }
}

#[test]
fn what_was_acknowledged_before_the_cut_is_there_after_it() {
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    for syncs in [0, 1, 2, 3, 7, 20] {
        let lossy = Arc::new(Lossy::default());
        let store = Embedded::open(Handle(Arc::clone(&lossy)), &limits()).unwrap();
        lossy.disk.lock().unwrap().syncs_left = Some(syncs);
        let store: Arc<dyn Store> = Arc::new(store);
        let grouped = wait(store.commit(set([put_group(GROUP)]))).is_ok();
        let acknowledged = threads.block_on(async {
            let writers: Vec<_> = (1..=16u128)
                .map(|writer| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move { write_until_the_cut(&*store, writer).await })
                })
                .collect();
            let mut acknowledged = Vec::new();
            for writer in writers {
                acknowledged.extend(writer.await.unwrap());
            }
            acknowledged
        });
        drop(store);

        let after = Memory::default();
        let content = std::mem::take(&mut lossy.disk.lock().unwrap().content);
        after
            .apply(
                content
                    .into_iter()
                    .map(|(key, value)| (key, Some(value)))
                    .collect(),
            )
            .unwrap();
        let after: Arc<dyn Store> = Arc::new(Embedded::open(after, &limits()).unwrap());
        wait(async {
            for number in &acknowledged {
                check_user(&*after, *number).await;
            }
            check_whole(&*after, acknowledged.len()).await;
            check_group(&*after, grouped).await;
        });
    }
}

/// The group that everybody is put into.
const GROUP: u128 = 1;

/// Whoever is there is in the group, and both sides and the counter say so.
async fn check_group(store: &dyn Store, there: bool) {
    let users = store.count(TENANT, Kind::User).await.unwrap();
    let group = id(GROUP);
    let count = store.member_count(TENANT, group, Kind::User).await;
    assert!(there || users == 0);
    assert_eq!(count.unwrap(), users);
    let mut seen: Vec<Member> = Vec::new();
    loop {
        let page = store.members(TENANT, group, None, seen.last(), 0, 100);
        let page = page.await.unwrap();
        if page.is_empty() {
            break;
        }
        for member in &page {
            let groups = store.groups_of(TENANT, member.id, None, 9).await.unwrap();
            assert_eq!(groups, [group]);
        }
        seen.extend(page);
    }
    assert_eq!(seen.len() as u64, users);
}

/// Creates as the pipeline does: an intent, then its outcome. Gives back the outcomes that were
/// acknowledged.
async fn write_until_the_cut(store: &dyn Store, writer: u128) -> Vec<u128> {
    let mut acknowledged = Vec::new();
    for n in 0..10_000 {
        let number = writer * 1_000_000 + n;
        let name = format!("u{number}");
        let open = set([Write::OpenIntent(intent(number, number, &[&name]))]);
        let done = [
            put(number, &name),
            change(GROUP, users([number]), vec![]),
            close(number),
            Write::Log(log_entry(number)),
        ];
        if store.commit(open).await.is_err() {
            return acknowledged;
        }
        if store
            .commit(set_if([attempt(number, number, 1)], done))
            .await
            .is_err()
        {
            return acknowledged;
        }
        acknowledged.push(number);
    }
    panic!("the power was never cut");
}

async fn check_user(store: &dyn Store, number: u128) {
    let name = format!("u{number}");
    let stored = store
        .resource(TENANT, Kind::User, id(number))
        .await
        .unwrap();
    assert_eq!(stored.unwrap().document, user(number, &name).document);
    assert_eq!(
        store.holder(TENANT, &user_name(&name)).await.unwrap(),
        Some(id(number))
    );
    assert_eq!(store.intent(TENANT, id(number)).await.unwrap(), None);
}

/// All records agree with each other; there are at least so many users.
async fn check_whole(store: &dyn Store, users_min: usize) {
    let (mut users, mut logged) = (Vec::new(), Vec::new());
    loop {
        let after = users.last().map(|stored: &Stored| stored.position);
        let page = store.page(TENANT, Kind::User, after, 1000).await.unwrap();
        if page.is_empty() {
            break;
        }
        users.extend(page);
    }
    loop {
        let before = logged.last().map(|entry: &LogEntry| entry.id);
        let page = store.log(TENANT, before, 1000).await.unwrap();
        if page.is_empty() {
            break;
        }
        logged.extend(page);
    }
    assert!(users.len() >= users_min);
    assert_eq!(users.len(), logged.len());
    assert_eq!(
        store.count(TENANT, Kind::User).await.unwrap(),
        users.len() as u64
    );
    for stored in &users {
        check_user(store, stored.id.as_u128()).await;
    }
}

/// A sled engine that has its picture taken before and after every sync.
struct Filmed {
    sled: Sled,
    dir: PathBuf,
    album: PathBuf,
    pictures: AtomicU64,
}

impl Filmed {
    fn take_picture(&self) {
        let number = self.pictures.fetch_add(1, Ordering::SeqCst);
        copy_folder(&self.dir, &self.album.join(format!("{number:04}")));
    }
}

impl Engine for Filmed {
    fn location(&self) -> String {
        self.sled.location()
    }

    fn attest(&self, found: Option<Progress>) -> Result<(), OpenError> {
        self.sled.attest(found)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.sled.get(key)
    }

    fn scan(
        &self,
        range: Range<Vec<u8>>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.sled.scan(range, direction, visit)
    }

    fn apply(&self, batch: Batch) -> Result<(), EngineError> {
        self.sled.apply(batch)
    }

    fn sync(&self, progress: Progress) -> Result<(), EngineError> {
        self.take_picture();
        self.sled.sync(progress)?;
        self.take_picture();
        Ok(())
    }

    fn rest(&self, last: bool) -> Result<bool, EngineError> {
        self.sled.rest(last)
    }

    fn disk_bytes(&self) -> u64 {
        self.sled.disk_bytes()
    }

    fn disk_free_bytes(&self) -> Option<u64> {
        self.sled.disk_free_bytes()
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// The users that a history of one commit per user has written.
const USERS: u128 = 24;

/// Writes [`USERS`] users, one per commit, and gives back the pictures: for each commit one before
/// its sync and one after it, and first the two of the creation.
fn film(album: &Path) -> Vec<PathBuf> {
    let dir = album.join("live");
    let sled = Sled::open(&dir, &limits()).unwrap();
    let filmed = Filmed {
        sled,
        dir,
        album: album.to_owned(),
        pictures: AtomicU64::new(0),
    };
    let store = Embedded::open(filmed, &limits()).unwrap();
    wait(async {
        for number in 1..=USERS {
            store
                .commit(set([put(number, &format!("u{number}"))]))
                .await
                .unwrap();
        }
    });
    drop(store);
    (0..2 * (USERS + 1))
        .map(|picture| album.join(format!("{picture:04}")))
        .collect()
}

#[test]
fn every_picture_of_a_running_store_opens_with_what_was_acknowledged() {
    let album = TempDir::new().unwrap();
    for (picture, dir) in film(album.path()).iter().enumerate() {
        // Two pictures per sync; the first sync is the creation's.
        let acknowledged = (picture as u128).saturating_sub(1) / 2;
        let store = open_sled(dir);
        wait(async {
            for number in 1..=acknowledged {
                let stored = store
                    .resource(TENANT, Kind::User, id(number))
                    .await
                    .unwrap();
                assert!(
                    stored.is_some(),
                    "user {number} is missing in picture {picture}"
                );
            }
            let count = store.count(TENANT, Kind::User).await.unwrap();
            assert!((acknowledged..=acknowledged + 1).contains(&u128::from(count)));
            store.commit(set([put(1000, "after")])).await.unwrap();
        });
    }
}

#[test]
fn a_disk_that_forgot_a_sync_is_refused() {
    let album = TempDir::new().unwrap();
    let pictures = film(album.path());
    let last = &pictures[pictures.len() - 1];
    let mark = fs::read(last.join("high-water-mark")).unwrap();
    for (picture, dir) in pictures.iter().enumerate().skip(1).step_by(2) {
        let acknowledged = (picture / 2) as u128;
        // sled's files as they were then, the mark as it came to be.
        fs::write(dir.join("high-water-mark"), &mark).unwrap();
        let opened = store::open(&format!("sled:{}", dir.display()), &limits());
        if acknowledged == USERS {
            assert!(opened.is_ok());
            continue;
        }
        let error = opened.err().expect("opened with lost writes").to_string();
        let lost = USERS - acknowledged;
        assert!(
            error.contains(&format!("lost {lost} of the {USERS} writes")),
            "{error}"
        );
        assert!(error.contains("restore"), "{error}");
    }
}
