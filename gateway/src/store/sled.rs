//! The sled engine: 0.34.7, with everything around it that it needs to be durable.
//!
//! sled's own `flush` calls `sync_file_range`, which is no promise of the disk's: in simulated
//! power cuts every acknowledged write was gone, mostly by sled opening *empty*, silently. With the
//! rules below it lost none of 1.17 million. Invariant: a store that cannot hold all that was
//! acknowledged is refused, with what happened and what to do; it is never created anew over an old
//! one, and nothing in its folder is touched before that is clear, save what rule 3 says. Absent:
//! values above 4 KiB, more than one tree, transactions, compaction (sled does not shrink; copying
//! into a new store is the way).
//!
//! The rules, in the order in which they are met:
//!
//! 1. One process per folder, held by our own lock before any file is looked at.
//! 2. The folder has `sled/` for sled's files and, next to it, the high-water mark (`mark.rs`).
//! 3. Left-over `snap.*.generating` files are removed: sled takes a half-written one for its newest
//!    snapshot and then never opens again. The old snapshot is only removed after the rename, so
//!    nothing is lost by it.
//! 4. `blobs/` must be empty: sled never syncs blob files. Values of at most 4 KiB never get there.
//! 5. sled opens in a thread of its own, and a panic there becomes an error.
//! 6. `conf`, `db`, their folder and its parents are synced before the first commit: sled does not.
//! 7. The mark is compared: behind it, or empty, or without a mark, means refused.
//! 8. A commit is one `apply_batch` on one tree, then `flush`, then `fdatasync` of `db`, then the
//!    mark; only then is it acknowledged.
//! 9. The cache gets an eighth of the memory meant for the store: sled was measured to take eight
//!    times its cache.
//! 10. Below a floor of free space nothing is written (`embedded/commit.rs`): what sled does on a
//!     full disk, nobody has measured.

mod mark;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::mark::{Found, Mark};
use super::embedded::{Batch, Direction, Engine, EngineError, Progress, VALUE_BYTES_MAX, Visit};
use super::{OpenError, StoreLimits};

/// The lock's name in the store's folder.
const LOCK: &str = "lock";
/// sled's own folder in the store's folder.
const FILES: &str = "sled";

/// sled's flusher thread. Our commits flush by themselves; this thread is the only place where sled
/// 0.34.7 frees segments (`PageCache::attempt_gc` has no other caller), so without it the file
/// grows for ever. It runs at sled's default interval, the one that the crash measurements were
/// made with.
const FLUSH_EVERY_MS: u64 = 500;

/// How long a lock of sled's that this process still holds may take to go: its threads outlive the
/// handle a bit.
const OWN_LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A sled database, hardened.
pub struct Sled {
    // Fields are dropped in this order: the lock goes last.
    tree: ::sled::Db,
    db_file: File,
    mark: Mutex<Option<Mark>>,
    found: Found,
    dir: PathBuf,
    _lock: File,
}

impl Sled {
    /// Opens the database in a folder, which is created if it does not exist.
    ///
    /// # Errors
    /// [`OpenError`]: see the rules above. Whether the content is all there is judged by
    /// [`Engine::attest`], which the embedded store calls next.
    pub fn open(dir: &Path, limits: &StoreLimits) -> Result<Sled, OpenError> {
        create_folder(dir)?;
        let lock = lock(dir)?;
        let found = mark::read(dir).map_err(|source| io_error(&dir.join(mark::FILE), source))?;
        let files = dir.join(FILES);
        check_present(dir, &files, &found)?;
        remove_unfinished_snapshots(&files)?;
        check_no_blobs(dir, &files)?;
        let tree = open_tree(dir, &files, limits)?;
        let db_path = files.join("db");
        let db_file = File::open(&db_path).map_err(|source| io_error(&db_path, source))?;
        for path in [&files.join("conf"), &db_path, &files, dir] {
            sync_path(path)?;
        }
        if let Some(parent) = parent(dir) {
            sync_path(parent)?;
        }
        let mark = Mutex::new(None);
        Ok(Sled {
            tree,
            db_file,
            mark,
            found,
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    fn refused(&self, happened: String) -> OpenError {
        refused(&self.dir, happened)
    }
}

impl Engine for Sled {
    fn location(&self) -> String {
        location(&self.dir)
    }

    fn attest(&self, found: Option<Progress>) -> Result<(), OpenError> {
        let mark_path = self.dir.join(mark::FILE);
        match (found, &self.found) {
            // New, or killed while it was being created: nothing was ever acknowledged.
            (None | Some(Progress { seq: 0, .. }), Found::Absent) => return Ok(()),
            (None, Found::Damaged) => {
                return Err(self.refused(format!(
                    "it is empty, and its high-water mark {} is damaged",
                    mark_path.display()
                )));
            }
            (None, Found::Valid(mark)) => {
                return Err(self.refused(format!(
                    "it is empty, but {} writes had been acknowledged",
                    mark.seq
                )));
            }
            (Some(progress), Found::Absent) => {
                return Err(self.refused(format!(
                    "its high-water mark {} is missing, so nobody can tell whether the \
                     {} writes in it are all that were acknowledged",
                    mark_path.display(),
                    progress.seq
                )));
            }
            (Some(progress), Found::Damaged) => {
                return Err(self.refused(format!(
                    "its high-water mark {} is damaged, so nobody can tell whether the \
                     {} writes in it are all that were acknowledged",
                    mark_path.display(),
                    progress.seq
                )));
            }
            (Some(progress), Found::Valid(mark)) if progress.store != mark.store => {
                return Err(self.refused(format!(
                    "its high-water mark {} is that of another store",
                    mark_path.display()
                )));
            }
            (Some(progress), Found::Valid(mark)) if progress.seq < mark.seq => {
                return Err(self.refused(format!(
                    "it has lost {} of the {} writes that had been acknowledged",
                    mark.seq - progress.seq,
                    mark.seq
                )));
            }
            (Some(_), Found::Valid(_)) => {}
        }
        let mark = Mark::open(&self.dir).map_err(|source| io_error(&mark_path, source))?;
        *self.mark.lock() = Some(mark);
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self
            .tree
            .get(key)
            .map_err(failed)?
            .map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        range: Range<Vec<u8>>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut entries = self.tree.range(range);
        while let Some(entry) = match direction {
            Direction::Forwards => entries.next(),
            Direction::Backwards => entries.next_back(),
        } {
            let (key, value) = entry.map_err(failed)?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), EngineError> {
        let mut sleds = ::sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) if value.len() > VALUE_BYTES_MAX => {
                    let bytes = value.len();
                    return Err(EngineError::Io(format!(
                        "a value of {bytes} bytes was to be written"
                    )));
                }
                Some(value) => sleds.insert(key, value),
                None => sleds.remove(key),
            }
        }
        self.tree.apply_batch(sleds).map_err(failed)
    }

    fn sync(&self, progress: Progress) -> Result<(), EngineError> {
        self.tree.flush().map_err(failed)?;
        self.db_file
            .sync_data()
            .map_err(|error| EngineError::Io(format!("fdatasync: {error}")))?;
        let mut mark = self.mark.lock();
        let written = match mark.as_mut() {
            Some(mark) => mark.write(progress),
            None => Mark::create(&self.dir, progress).map(|created| *mark = Some(created)),
        };
        written.map_err(mark_failed)
    }

    fn rest(&self, last: bool) -> Result<bool, EngineError> {
        match self.mark.lock().as_mut() {
            Some(mark) => mark.rest(last).map_err(mark_failed),
            None => Ok(true),
        }
    }

    fn disk_bytes(&self) -> u64 {
        let files = fs::read_dir(self.dir.join(FILES))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter_map(|file| file.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    fn disk_free_bytes(&self) -> Option<u64> {
        let volume = rustix::fs::statvfs(&self.dir).ok()?;
        Some(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

fn failed(error: ::sled::Error) -> EngineError {
    match error {
        ::sled::Error::Corruption { .. } => EngineError::Damaged(format!("sled: {error}")),
        error => EngineError::Io(format!("sled: {error}")),
    }
}

fn mark_failed(error: io::Error) -> EngineError {
    EngineError::Io(format!("the high-water mark cannot be written: {error}"))
}

fn location(dir: &Path) -> String {
    format!("sled:{}", dir.display())
}

fn refused(dir: &Path, happened: String) -> OpenError {
    OpenError::Refused {
        location: location(dir),
        happened,
        advice: None,
    }
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        path: path.to_owned(),
        source,
    }
}

/// The folder that a path's entry is in; the working directory for a bare name.
fn parent(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        parent => parent,
    }
}

fn sync_path(path: &Path) -> Result<(), OpenError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| io_error(path, source))
}

/// Creates the folder and those above it that are missing, each entry durable.
fn create_folder(dir: &Path) -> Result<(), OpenError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = parent(dir) {
        create_folder(parent)?;
        fs::create_dir(dir).map_err(|source| io_error(dir, source))?;
        sync_path(parent)?;
    }
    Ok(())
}

/// Rule 1. The kernel gives the lock back when the process ends, however it ends.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|source| io_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked(location(dir))),
        Err(fs::TryLockError::Error(source)) => Err(io_error(&path, source)),
    }
}

/// Part of rule 7: where a mark says that there was a store, sled must not get the chance to create
/// one.
fn check_present(dir: &Path, files: &Path, mark: &Found) -> Result<(), OpenError> {
    let db = files.join("db");
    let db_bytes = match fs::metadata(&db) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(io_error(&db, source)),
    };
    match mark {
        Found::Absent => Ok(()),
        _ if db_bytes > 0 => Ok(()),
        Found::Valid(mark) => Err(refused(
            dir,
            format!(
                "its file {} is gone or empty, but {} writes had been acknowledged",
                db.display(),
                mark.seq
            ),
        )),
        Found::Damaged => Err(refused(
            dir,
            format!(
                "its file {} is gone or empty, but there is a high-water mark",
                db.display()
            ),
        )),
    }
}

/// Rule 3.
fn remove_unfinished_snapshots(files: &Path) -> Result<(), OpenError> {
    for path in list(files)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(|source| io_error(&path, source))?;
            tracing::warn!(file.path = %path.display(), "removed an unfinished snapshot of sled's");
        }
    }
    Ok(())
}

/// Rule 4.
fn check_no_blobs(dir: &Path, files: &Path) -> Result<(), OpenError> {
    match list(&files.join("blobs"))?.len() {
        0 => Ok(()),
        count => Err(refused(
            dir,
            format!(
                "it has {count} blob files, which this gateway never writes and sled never syncs"
            ),
        )),
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io_error(folder, source)),
    };
    entries
        .map(|entry| {
            entry
                .map(|entry| entry.path())
                .map_err(|source| io_error(folder, source))
        })
        .collect()
}

/// Rule 5. A thread, because a panic of sled's must not unwind through ours with its locks held;
/// what it prints goes to standard error.
fn open_tree(dir: &Path, files: &Path, limits: &StoreLimits) -> Result<::sled::Db, OpenError> {
    let config = ::sled::Config::new()
        .path(files)
        .cache_capacity(limits.memory_bytes / 8)
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    let since = Instant::now();
    loop {
        let config = config.clone();
        let opened = std::thread::Builder::new()
            .name("store-open".to_owned())
            .spawn(move || catch_unwind(AssertUnwindSafe(|| config.open())))
            .map_err(|source| io_error(files, source))?
            .join();
        return match opened {
            Ok(Ok(Ok(tree))) => Ok(tree),
            Ok(Ok(Err(error))) if is_own_lock(&error) && since.elapsed() < OWN_LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            Ok(Ok(Err(::sled::Error::Io(source)))) if is_outside(&source) => {
                Err(io_error(files, source))
            }
            Ok(Ok(Err(error))) => Err(refused(
                dir,
                format!("sled cannot read its files ({error})"),
            )),
            Ok(Err(panic)) | Err(panic) => {
                let what = super::embedded::panic_text(panic.as_ref());
                Err(refused(
                    dir,
                    format!("sled cannot read its files (it panicked: {what})"),
                ))
            }
        };
    }
}

/// We hold the folder's lock, so whoever still holds sled's is a thread of an earlier handle of
/// this process.
fn is_own_lock(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

/// Errors of the file system's, as opposed to content that ends too early or makes no sense.
fn is_outside(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, Other, UnexpectedEof};
    !matches!(error.kind(), InvalidData | Other | UnexpectedEof)
}
