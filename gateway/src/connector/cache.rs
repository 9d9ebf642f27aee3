//! Compiled code on disk, so that a connector is compiled once per build and gateway version.
//!
//! Compiled code runs outside the sandbox, so whoever can write an entry owns the gateway. Hence
//! the folder belongs to the gateway's user alone (0700), entries that anyone else could have
//! written are not used, and each entry's digest stands beside it, which catches damage. A bad
//! entry costs a compilation, never a failure.

use std::fs::{self, DirBuilder, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::HostError;
use super::component::digest;

/// The compiled code of one engine's connectors.
pub(super) struct Cache {
    folder: PathBuf,
    /// The user that the folder and every entry belong to.
    owner: u32,
}

impl Cache {
    /// Opens the part of the folder that fits this engine; makes what is missing.
    pub(super) fn open(root: &Path, engine: &Engine) -> Result<Cache, HostError> {
        let fail = |reason: String| HostError::Cache {
            folder: root.to_owned(),
            reason,
        };
        // The hash covers the engine's version and every setting that shapes the code.
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let folder = root.join(format!("{:016x}", hasher.finish()));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| fail(format!("cannot be made: {error}")))?;
        let owner = effective_user(&folder).map_err(|error| fail(error.to_string()))?;
        for folder in [root, &folder] {
            let found = fs::metadata(folder).map_err(|error| fail(error.to_string()))?;
            if !is_private(&found, owner) {
                return Err(fail(format!(
                    "{} can be written by others (mode {:03o}, owner {}); it holds machine code \
                     that the gateway runs. Delete it, or name another folder",
                    folder.display(),
                    found.mode() & 0o777,
                    found.uid()
                )));
            }
        }
        Ok(Cache { folder, owner })
    }

    /// The code compiled from the file with this digest, if there is a sound entry.
    pub(super) fn get(&self, engine: &Engine, file_digest: &str) -> Option<Component> {
        let entry = self.entry(file_digest);
        // A missing entry is the ordinary case and no one's concern.
        let found = fs::symlink_metadata(&entry).ok()?;
        let result = self.sound(&found, &entry).and_then(|()| {
            deserialize(engine, &entry).map_err(|error| format!("it does not load: {error:#}"))
        });
        result
            .inspect_err(|reason| {
                tracing::warn!(
                    entry = %entry.display(),
                    "compiled code not used, the connector is compiled anew: {reason}"
                );
            })
            .ok()
    }

    fn sound(&self, found: &Metadata, entry: &Path) -> Result<(), String> {
        if !found.is_file() || !is_private(found, self.owner) {
            return Err("others could have written it".to_owned());
        }
        let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
        let held = digest(&fs::read(entry).map_err(unreadable)?);
        let noted = fs::read_to_string(entry.with_extension("sha256")).map_err(unreadable)?;
        match held == noted {
            true => Ok(()),
            false => Err("its content is not what was written".to_owned()),
        }
    }

    /// Keeps compiled code. A failure is logged: the connector works without an entry.
    pub(super) fn put(&self, file_digest: &str, component: &Component) {
        let entry = self.entry(file_digest);
        let result = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| {
                let noted = digest(&code);
                replace(&entry, &code)
                    .and_then(|()| replace(&entry.with_extension("sha256"), noted.as_bytes()))
                    .map_err(|error| error.to_string())
            });
        if let Err(reason) = result {
            tracing::warn!(
                entry = %entry.display(),
                "compiled code not kept, the next start compiles it again: {reason}"
            );
        }
    }

    fn entry(&self, file_digest: &str) -> PathBuf {
        self.folder.join(format!("{file_digest}.cwasm"))
    }
}

/// Owned by this user and closed to writers of any other.
fn is_private(found: &Metadata, owner: u32) -> bool {
    found.uid() == owner && found.mode() & 0o022 == 0
}

/// The user that this process's files belong to, seen from a file that it makes.
fn effective_user(folder: &Path) -> std::io::Result<u32> {
    let probe = folder.join(temporary_name("probe"));
    write_own(&probe, b"")?;
    let owner = fs::metadata(&probe).map(|found| found.uid());
    fs::remove_file(&probe)?;
    owner
}

/// Writes a file so that a reader sees the old or the new one, whole.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(temporary_name(&name));
    write_own(&temporary, content)
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| _ = fs::remove_file(&temporary))
}

/// Writes a new file that is this user's alone, whatever the umask says.
fn write_own(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(content)
}

/// A file name that no other writer uses, in this process or in another.
fn temporary_name(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!(".{name}.{}.{count}", std::process::id())
}

/// Loads compiled code by mapping its file.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, entry: &Path) -> wasmtime::Result<Component> {
    // SAFETY: wasmtime asks for a file that it wrote itself and that does not change while it is
    // mapped. The entry's digest was checked; it lies in a folder that only this user can write,
    // and entries are replaced by renaming, never written in place.
    unsafe { Component::deserialize_file(engine, entry) }
}
