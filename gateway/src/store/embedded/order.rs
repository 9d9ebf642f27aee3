//! Creation order: which place a resource has, how many there are, and how to skip many at once.
//!
//! Invariant: a place is given once; the counters of a tenant and of each block of places are
//! exact. Absent: reading by order, which is `read.rs`.

use uuid::Uuid;

use super::apply::View;
use super::{Engine, EngineError};
use crate::store::Kind;

impl<E: Engine> View<'_, E> {
    /// Gives a new resource its position.
    pub(super) fn enter(&mut self, kind: Kind, id: Uuid) -> Result<u64, EngineError> {
        let place = self.tenant.tally(kind);
        let tally = Tally::decode(self.get(&place)?)?;
        let position = tally.position + 1;
        let tally = Tally {
            count: tally.count + 1,
            position,
        };
        self.put(place, tally.encode());
        self.put(self.tenant.order(kind, position), id.as_bytes().to_vec());
        self.count_in_block(kind, position, |live| live.saturating_add(1))?;
        Ok(position)
    }

    /// Takes a resource out of the order.
    pub(super) fn leave(&mut self, kind: Kind, position: u64) -> Result<(), EngineError> {
        let place = self.tenant.tally(kind);
        let tally = Tally::decode(self.get(&place)?)?;
        let tally = Tally {
            count: tally.count.saturating_sub(1),
            ..tally
        };
        self.put(place, tally.encode());
        self.remove(self.tenant.order(kind, position));
        self.count_in_block(kind, position, |live| live.saturating_sub(1))
    }

    fn count_in_block(
        &mut self,
        kind: Kind,
        position: u64,
        change: impl FnOnce(u16) -> u16,
    ) -> Result<(), EngineError> {
        let place = self.tenant.block(kind, position);
        let live = match self.get(&place)? {
            Some(value) => decode_live(&value)?,
            None => 0,
        };
        match change(live) {
            0 => self.remove(place),
            live => self.put(place, live.to_be_bytes().to_vec()),
        }
        Ok(())
    }
}

/// How many resources of a kind a tenant has, and the last position that was given to one.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) position: u64,
}

impl Tally {
    pub(super) fn decode(value: Option<Vec<u8>>) -> Result<Tally, EngineError> {
        let Some(value) = value else {
            return Ok(Tally::default());
        };
        match (value.len(), value.first_chunk(), value.last_chunk()) {
            (16, Some(count), Some(position)) => Ok(Tally {
                count: u64::from_be_bytes(*count),
                position: u64::from_be_bytes(*position),
            }),
            _ => Err(EngineError::Damaged("a counter of resources".to_owned())),
        }
    }

    fn encode(self) -> Vec<u8> {
        [self.count.to_be_bytes(), self.position.to_be_bytes()].concat()
    }
}

/// How many resources of a block are live.
pub(super) fn decode_live(value: &[u8]) -> Result<u16, EngineError> {
    let bytes = value
        .try_into()
        .map_err(|_| EngineError::Damaged("a block's counter".to_owned()))?;
    Ok(u16::from_be_bytes(bytes))
}
