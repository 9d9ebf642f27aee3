//! The high-water mark: how far a store had come, kept where the engine cannot lose it.
//!
//! sled was seen to open empty after a power cut, silently. The mark is what tells "empty" from
//! "new" and "less" from "all". A small file of two slots that are written in turn; each holds
//! which store it is and how many write sets were committed to it, with a checksum. The mark is
//! written after the commit is on disk and before it is acknowledged, so it is never ahead of what
//! the store must hold:
//!
//! * after kill -9 it is exact, because the kernel has every write: any acknowledged commit that is
//!   missing shows;
//! * after a power cut it can be behind by what was acknowledged since the mark's last own sync,
//!   about a second: a loss shows if it reaches further back than that. Losses within that second
//!   are what the sync of the store before each acknowledgement is there to prevent; the mark
//!   cannot see them.
//!
//! Syncing the mark with every commit as well would double the flushes for that one second.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::store::embedded::Progress;

/// The mark's name in the store's folder.
pub(super) const FILE: &str = "high-water-mark";

const MAGIC: &[u8; 8] = b"SCIMGWM1";
const SLOT_BYTES: usize = 36;
/// The slots lie in different pages and sectors: whatever tears one in a power cut leaves the
/// other.
const SLOT_OFFSETS: [u64; 2] = [0, 4096];
/// How long the mark may be on its way to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What the folder says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is no mark.
    Absent,
    /// There is one, but neither slot is intact.
    Damaged,
    /// The store had come so far.
    Valid(Progress),
}

/// Reads the mark.
pub(super) fn read(dir: &Path) -> io::Result<Found> {
    let bytes = match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
        Err(error) => return Err(error),
    };
    let slots = SLOT_OFFSETS.iter().filter_map(|offset| {
        let start = usize::try_from(*offset).ok()?;
        decode(bytes.get(start..start + SLOT_BYTES)?)
    });
    Ok(slots
        .max_by_key(|progress| progress.seq)
        .map_or(Found::Damaged, Found::Valid))
}

/// The open mark of a store.
pub(super) struct Mark {
    file: File,
    slot: usize,
    synced: Instant,
    dirty: bool,
}

impl Mark {
    /// Opens the mark, which has been read before.
    pub(super) fn open(dir: &Path) -> io::Result<Mark> {
        let file = OpenOptions::new().write(true).open(dir.join(FILE))?;
        Ok(Mark {
            file,
            slot: 0,
            synced: Instant::now(),
            dirty: false,
        })
    }

    /// Makes a mark where there was none, durably: under another name first, so that a mark is
    /// whole or absent.
    pub(super) fn create(dir: &Path, progress: Progress) -> io::Result<Mark> {
        let unfinished = dir.join(format!("{FILE}.new"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)?;
        for offset in SLOT_OFFSETS {
            file.write_all_at(&encode(progress), offset)?;
        }
        file.sync_all()?;
        std::fs::rename(&unfinished, dir.join(FILE))?;
        File::open(dir)?.sync_all()?;
        Ok(Mark {
            file,
            slot: 0,
            synced: Instant::now(),
            dirty: false,
        })
    }

    /// Notes how far the store has come. Survives the process; the machine only after
    /// [`Mark::rest`].
    pub(super) fn write(&mut self, progress: Progress) -> io::Result<()> {
        self.file
            .write_all_at(&encode(progress), SLOT_OFFSETS[self.slot])?;
        self.slot = 1 - self.slot;
        self.dirty = true;
        Ok(())
    }

    /// Puts the mark on disk if that is due, or `now`. Says whether nothing is left to do.
    pub(super) fn rest(&mut self, now: bool) -> io::Result<bool> {
        if self.dirty && (now || self.synced.elapsed() >= SYNC_EVERY) {
            self.file.sync_data()?;
            self.synced = Instant::now();
            self.dirty = false;
        }
        Ok(!self.dirty)
    }
}

fn encode(progress: Progress) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..24].copy_from_slice(progress.store.as_bytes());
    slot[24..32].copy_from_slice(&progress.seq.to_be_bytes());
    let crc = crc32fast::hash(&slot[..32]);
    slot[32..].copy_from_slice(&crc.to_be_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<Progress> {
    let (content, crc) = slot.split_last_chunk::<4>()?;
    let content = content.strip_prefix(MAGIC)?;
    let (store, seq) = content.split_first_chunk::<16>()?;
    let progress = Progress {
        store: Uuid::from_bytes(*store),
        seq: u64::from_be_bytes(seq.try_into().ok()?),
    };
    (u32::from_be_bytes(*crc) == crc32fast::hash(&slot[..32])).then_some(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Progress {
        Progress {
            store: Uuid::from_u128(7),
            seq,
        }
    }

    #[test]
    fn the_higher_of_two_intact_slots_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Found::Absent);
        let mut mark = Mark::create(dir.path(), at(0)).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Found::Valid(at(0)));
        for seq in 1..=5 {
            mark.write(at(seq)).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Found::Valid(at(seq)));
        }
    }

    #[test]
    fn one_torn_slot_leaves_the_other_and_two_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let mut mark = Mark::create(dir.path(), at(0)).unwrap();
        mark.write(at(1)).unwrap();
        mark.write(at(2)).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(dir.path().join(FILE))
            .unwrap();
        file.write_all_at(b"\xff", SLOT_OFFSETS[1] + 30).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Found::Valid(at(1)));
        file.write_all_at(b"\xff", SLOT_OFFSETS[0] + 9).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Found::Damaged);
        std::fs::write(dir.path().join(FILE), b"").unwrap();
        assert_eq!(read(dir.path()).unwrap(), Found::Damaged);
    }

    #[test]
    fn a_sync_waits_for_its_time_or_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut mark = Mark::create(dir.path(), at(0)).unwrap();
        assert!(mark.rest(false).unwrap());
        mark.write(at(1)).unwrap();
        assert!(!mark.rest(false).unwrap());
        assert!(mark.rest(true).unwrap());
    }
}
