//! Folders that must not be opened, and those that must.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use gateway::store::OpenError;
use gateway::store::embedded::{Batch, Engine, Progress};
use gateway::store::sled::Sled;

use super::*;

const USERS: u128 = 300;

/// A folder with a store of [`USERS`] users, closed.
fn filled() -> TempDir {
    let dir = TempDir::new().unwrap();
    let store = open_sled(dir.path());
    wait(async {
        for number in 1..=USERS {
            let name = format!("u{number}");
            store
                .commit(set([put(number, &name), Write::Log(log_entry(number))]))
                .await
                .unwrap();
        }
        store.close().await;
    });
    dir
}

fn open(dir: &TempDir) -> Result<Arc<dyn Store>, OpenError> {
    store::open(&format!("sled:{}", dir.path().display()), &limits())
}

/// The store is refused, with words that help.
fn check_refused(dir: &TempDir, words: &[&str]) {
    let error = match open(dir) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(matches!(error, OpenError::Refused { .. }), "{text}");
    for word in words
        .iter()
        .chain(&["restore the whole folder", "Without a backup"])
    {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

fn overwrite(dir: &TempDir, file: &str, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(dir.path().join(file))
        .unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn a_store_opens_again_and_again() {
    let dir = filled();
    let secret = open(&dir).unwrap().secret();
    assert_ne!(secret, open_memory().secret());
    for round in 1..=3 {
        let store = open(&dir).unwrap();
        assert_eq!(store.secret(), secret);
        wait(async {
            assert_eq!(
                store.count(TENANT, Kind::User).await.unwrap() as u128,
                USERS + round - 1
            );
            store
                .commit(set([put(1000 + round, &format!("r{round}"))]))
                .await
                .unwrap();
            let health = store.health().await;
            assert!(health.disk_bytes > 0 && health.disk_free_bytes.is_some());
        });
    }
}

#[test]
fn a_second_opener_is_told_who_is_there() {
    let dir = filled();
    let first = open(&dir).unwrap();
    let second = open(&dir).err().unwrap();
    assert!(matches!(second, OpenError::Locked(_)));
    assert!(
        second
            .to_string()
            .contains("another gateway runs on the store sled:"),
        "{second}"
    );
    drop(first);
    open(&dir).unwrap();
}

#[test]
fn missing_files_are_not_made_anew() {
    for what in ["sled", "sled/db"] {
        let dir = filled();
        let path = dir.path().join(what);
        if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        }
        .unwrap();
        check_refused(
            &dir,
            &["is gone or empty", "300 writes had been acknowledged"],
        );
        assert!(!path.exists());
    }
}

#[test]
fn an_emptied_store_is_refused() {
    // What sled itself makes of it: a valid database that is empty.
    let (dir, other) = (filled(), TempDir::new().unwrap());
    drop(Sled::open(other.path(), &limits()).unwrap());
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    fs::rename(other.path().join("sled"), dir.path().join("sled")).unwrap();
    check_refused(&dir, &["it is empty, but 300 writes had been acknowledged"]);
    check_refused(&dir, &["it is empty"]);
}

#[test]
fn a_truncated_store_is_refused() {
    let whole = fs::metadata(filled().path().join("sled/db")).unwrap().len();
    for eighths in 0..8 {
        let dir = filled();
        let db = OpenOptions::new()
            .write(true)
            .open(dir.path().join("sled/db"))
            .unwrap();
        db.set_len(whole * eighths / 8 + 1).unwrap();
        check_refused(&dir, &[]);
    }
}

#[test]
fn garbage_is_refused() {
    let garbage = |bytes: u64| {
        (0..bytes)
            .map(|i| ((i * 7919) >> 3) as u8)
            .collect::<Vec<u8>>()
    };
    let dir = filled();
    let db = dir.path().join("sled/db");
    let whole = fs::metadata(&db).unwrap().len();
    fs::write(&db, garbage(whole)).unwrap();
    check_refused(&dir, &[]);
}

/// Wherever the damage is: what opens has every user, or says of each that is not whole that it is
/// damaged.
#[test]
fn one_damaged_spot_is_never_passed_over() {
    for with_snapshot in [false, true] {
        let dir = filled();
        if with_snapshot {
            drop(open(&dir).unwrap());
        }
        let whole = fs::read(dir.path().join("sled/db")).unwrap();
        for spot in 0..12 {
            // sled rewrites what it opens: every spot gets a fresh copy.
            let copy = filled_copy(&dir);
            let offset = whole.len() as u64 * spot / 12 + 777;
            overwrite(&copy, "sled/db", offset, &[0xa5; 64]);
            let Ok(store) = open(&copy) else { continue };
            for number in 1..=USERS {
                match wait(store.resource(TENANT, Kind::User, id(number))) {
                    Ok(Some(stored)) => {
                        assert_eq!(stored.unique, user(number, &format!("u{number}")).unique)
                    }
                    Ok(None) => panic!("user {number} is gone, spot {spot}"),
                    Err(error) => assert!(error.to_string().contains("damaged"), "{error}"),
                }
            }
        }
    }
}

fn filled_copy(dir: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    crate::power_cut::copy_folder(dir.path(), copy.path());
    copy
}

#[test]
fn a_missing_damaged_or_foreign_mark_is_refused() {
    let dir = filled();
    fs::remove_file(dir.path().join("high-water-mark")).unwrap();
    check_refused(
        &dir,
        &["high-water-mark is missing", "the 300 writes in it"],
    );

    let dir = filled();
    fs::write(dir.path().join("high-water-mark"), b"").unwrap();
    check_refused(
        &dir,
        &["high-water-mark is damaged", "the 300 writes in it"],
    );

    let (dir, other) = (filled(), filled());
    fs::copy(
        other.path().join("high-water-mark"),
        dir.path().join("high-water-mark"),
    )
    .unwrap();
    check_refused(&dir, &["is that of another store"]);

    // One slot torn by a power cut is no damage: there are two for that.
    let dir = filled();
    overwrite(&dir, "high-water-mark", 20, &[0xff; 8]);
    open(&dir).unwrap();
}

#[test]
fn a_store_behind_its_mark_is_refused() {
    let dir = filled();
    let old = TempDir::new().unwrap();
    fs::copy(dir.path().join("sled/db"), old.path().join("db")).unwrap();
    let store = open(&dir).unwrap();
    wait(store.commit(set([put(1000, "late")]))).unwrap();
    drop(store);
    fs::copy(old.path().join("db"), dir.path().join("sled/db")).unwrap();
    let snapshots = fs::read_dir(dir.path().join("sled")).unwrap().flatten();
    for file in snapshots.filter(|f| f.file_name().to_string_lossy().starts_with("snap.")) {
        fs::remove_file(file.path()).unwrap();
    }
    check_refused(
        &dir,
        &["it has lost 1 of the 301 writes that had been acknowledged"],
    );
}

#[test]
fn a_store_that_died_while_it_was_created_opens() {
    // Before the format record, and before the mark.
    let dir = TempDir::new().unwrap();
    drop(Sled::open(dir.path(), &limits()).unwrap());
    drop(open(&dir).unwrap());
    fs::remove_file(dir.path().join("high-water-mark")).unwrap();
    let store = open(&dir).unwrap();
    wait(store.commit(set([put(1, "ann")]))).unwrap();
    drop(store);
    assert!(dir.path().join("high-water-mark").exists());
    open(&dir).unwrap();
}

/// Writes straight into the engine of a closed store.
fn tamper(dir: &TempDir, batch: Batch) {
    let engine = Sled::open(dir.path(), &limits()).unwrap();
    engine.apply(batch).unwrap();
    let _ = engine.sync(Progress {
        store: Uuid::nil(),
        seq: 0,
    });
}

/// The same, for what is only met once the mark has been compared.
fn tamper_and_keep_mark(dir: &TempDir, batch: Batch) {
    let mark = dir.path().join("high-water-mark");
    let kept = fs::read(&mark).unwrap();
    tamper(dir, batch);
    fs::write(&mark, kept).unwrap();
}

#[test]
fn a_newer_format_names_the_gateway_that_wrote_it() {
    let dir = TempDir::new().unwrap();
    let format =
        json!({ "format_version": 9, "min_reader": 8, "created_by": "7.1.0", "store": id(1) });
    let entries = [(b"\0f".to_vec(), Some(format.to_string().into_bytes()))];
    tamper(&dir, Batch::from(entries));
    let partial = open(&dir).err().unwrap().to_string();
    assert!(partial.contains("not its format record"), "{partial}");
    tamper(&dir, Batch::from([(b"\0s".to_vec(), Some(vec![0; 8]))]));
    let error = open(&dir).err().unwrap();
    let text = error.to_string();
    assert!(
        matches!(error, OpenError::NewerFormat { found: 8, .. }),
        "{text}"
    );
    assert!(
        text.contains("7.1.0") && text.contains("format 8"),
        "{text}"
    );
}

#[test]
fn the_format_before_members_is_refused() {
    let dir = filled();
    let format =
        json!({ "format_version": 1, "min_reader": 1, "created_by": "0.1.0", "store": id(1) });
    let entry = (b"\0f".to_vec(), Some(format.to_string().into_bytes()));
    tamper(&dir, Batch::from([entry]));
    let text = open(&dir).err().unwrap().to_string();
    for words in [
        "it has format 1, of a gateway that was never released",
        "this one reads no format before 2. Move the folder away",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_store_without_its_secret_is_refused() {
    for secret in [None, Some(vec![7; 31])] {
        let dir = filled();
        tamper_and_keep_mark(&dir, Batch::from([(b"\0k".to_vec(), secret)]));
        check_refused(&dir, &["its secret is missing or damaged"]);
    }
}

#[test]
fn a_damaged_format_record_is_refused() {
    let dir = filled();
    tamper(&dir, Batch::from([(b"\0f".to_vec(), Some(b"{".to_vec()))]));
    check_refused(&dir, &["its format record is damaged"]);
    let dir = filled();
    tamper(&dir, Batch::from([(b"\0f".to_vec(), None)]));
    check_refused(&dir, &["it holds data, but not its format record"]);
}

#[test]
fn an_unfinished_snapshot_is_removed() {
    let dir = filled();
    for lsn in ["0000000000000000", "7FFFFFFFFFFFFFFF"] {
        let unfinished = dir.path().join(format!("sled/snap.{lsn}.generating"));
        fs::write(&unfinished, b"half a snap").unwrap();
        let store = open(&dir).unwrap();
        assert!(!unfinished.exists());
        assert_eq!(
            wait(store.count(TENANT, Kind::User)).unwrap() as u128,
            USERS
        );
    }
}

#[test]
fn large_documents_survive_without_blobs() {
    let dir = TempDir::new().unwrap();
    let document = |n: u128| json!({ "n": n as u64, "note": "abcdefgh".repeat(25_000) });
    let large = |n: u128| Stored {
        document: document(n),
        ..user(n, &format!("u{n}"))
    };
    let store = open(&dir).unwrap();
    wait(async {
        for n in 1..=40 {
            store
                .commit(set([Write::PutResource(large(n))]))
                .await
                .unwrap();
        }
    });
    drop(store);
    let store = open(&dir).unwrap();
    wait(async {
        for n in 1..=40 {
            let found = store
                .resource(TENANT, Kind::User, id(n))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(found.document, document(n));
        }
    });
    drop(store);
    assert_eq!(
        fs::read_dir(dir.path().join("sled/blobs")).unwrap().count(),
        0
    );
    fs::write(dir.path().join("sled/blobs/17"), b"x").unwrap();
    check_refused(&dir, &["it has 1 blob files"]);
}

#[test]
fn a_value_that_would_become_a_blob_is_not_written() {
    let dir = TempDir::new().unwrap();
    let engine = Sled::open(dir.path(), &limits()).unwrap();
    let batch = |bytes| Batch::from([(b"k".to_vec(), Some(vec![0; bytes]))]);
    assert!(engine.apply(batch(4097)).is_err());
    assert!(engine.apply(batch(4096)).is_ok());
}

#[test]
fn locations_and_limits_are_checked() {
    for location in [
        "",
        "sled",
        "sled:",
        "memory",
        "memory:x",
        "redb:data",
        "/tmp/x",
    ] {
        let error = store::open(location, &limits()).err().unwrap();
        assert!(
            matches!(error, OpenError::Location(_)),
            "{location}: {error}"
        );
    }
    let tiny = StoreLimits {
        queue_bytes_max: 1,
        ..limits()
    };
    let error = store::open("memory:", &tiny).err().unwrap().to_string();
    assert!(error.contains("queue_bytes_max is 1"), "{error}");
    let slow = StoreLimits {
        gather_us: 100_001,
        ..limits()
    };
    let error = store::open("memory:", &slow).err().unwrap().to_string();
    assert!(error.contains("gather_us is 100001"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let location = format!("sled:{}/store", file.path().display());
    let error = store::open(&location, &limits()).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}
