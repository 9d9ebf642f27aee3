//! The engine that forgets: an ordered map in memory.
//!
//! For tests, where it is the simplest thing that keeps the rules of [`Engine`], and for trying
//! things out. Everything is gone at exit, so nothing is ever lost that was promised to be kept: it
//! vouches for everything.

use std::collections::BTreeMap;
use std::ops::Range;

use parking_lot::RwLock;

use super::OpenError;
use super::embedded::{Batch, Direction, Engine, EngineError, Progress, Visit};

/// An ordered map in memory.
#[derive(Default)]
pub struct Memory {
    map: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Engine for Memory {
    fn location(&self) -> String {
        "memory:".to_owned()
    }

    fn attest(&self, _found: Option<Progress>) -> Result<(), OpenError> {
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.map.read().get(key).cloned())
    }

    fn scan(
        &self,
        range: Range<Vec<u8>>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(()); // BTreeMap panics on a range that ends before it begins.
        }
        let map = self.map.read();
        let mut entries = map.range(range);
        while let Some((key, value)) = match direction {
            Direction::Forwards => entries.next(),
            Direction::Backwards => entries.next_back(),
        } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), EngineError> {
        let mut map = self.map.write();
        for (key, value) in batch {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self, _progress: Progress) -> Result<(), EngineError> {
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn disk_free_bytes(&self) -> Option<u64> {
        None
    }
}
