//! What a store says about itself: its format, its name, its secret.
//!
//! Invariant: a map of bytes that something else than a gateway wrote, or a gateway of a format
//! that this one does not read, is refused before anything is written to it. Absent: migrations;
//! there is nothing to migrate from yet.

use std::ops::ControlFlow;

use rand::RngCore;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Batch, Direction, Engine, EngineError, Progress, keys};
use crate::store::OpenError;

/// The layout of keys and records that this gateway writes.
pub const FORMAT_VERSION: u32 = 2;

/// The least `FORMAT_VERSION` that a gateway must know to read what this one writes.
const MIN_READER: u32 = 2;

/// The oldest `FORMAT_VERSION` that this gateway reads. Format 1 had no members and no secret, and
/// was never released.
const OLDEST_READ: u32 = 2;

/// What a store says about itself.
#[derive(Serialize, Deserialize)]
struct Format {
    format_version: u32,
    min_reader: u32,
    created_by: String,
    store: Uuid,
}

/// What the map says about itself: `None` if it is empty.
pub(super) fn read_progress<E: Engine>(engine: &E) -> Result<Option<Progress>, OpenError> {
    let refuse = |happened: &str| Err(refused(engine, happened.to_owned()));
    let unreadable = |error: EngineError| refused(engine, error.to_string());
    let format = engine.get(keys::FORMAT).map_err(unreadable)?;
    let seq = engine.get(keys::SEQ).map_err(unreadable)?;
    let (format, seq) = match (format, seq) {
        (Some(format), Some(seq)) => (format, seq),
        (None, None) if is_empty(engine).map_err(unreadable)? => return Ok(None),
        _ => return refuse("it holds data, but not its format record"),
    };
    let seq = seq.as_slice().try_into().map(u64::from_be_bytes);
    let format: Result<Format, _> = serde_json::from_slice(&format);
    match (format, seq) {
        (Ok(format), _) if format.min_reader > FORMAT_VERSION => Err(OpenError::NewerFormat {
            found: format.min_reader,
            known: FORMAT_VERSION,
            created_by: format.created_by,
        }),
        (Ok(format), _) if format.format_version < OLDEST_READ => Err(OpenError::Refused {
            location: engine.location(),
            happened: format!(
                "it has format {}, of a gateway that was never released, and this one reads no \
                 format before {OLDEST_READ}",
                format.format_version
            ),
            advice: Some(NO_UPGRADE.to_owned()),
        }),
        (Ok(format), Ok(seq)) => Ok(Some(Progress {
            store: format.store,
            seq,
        })),
        _ => refuse("its format record is damaged"),
    }
}

/// What to do about a store of a format that nobody reads any more.
const NO_UPGRADE: &str = "Move the folder away: the gateway then starts with an empty store, needs \
    new tokens, and finds existing accounts again by matching";

/// The secret of a store that exists.
pub(super) fn read_secret<E: Engine>(engine: &E) -> Result<[u8; 32], OpenError> {
    let secret = engine.get(keys::SECRET);
    let secret = secret.map_err(|error| refused(engine, error.to_string()))?;
    secret
        .and_then(|secret| secret.try_into().ok())
        .ok_or_else(|| refused(engine, "its secret is missing or damaged".to_owned()))
}

fn is_empty<E: Engine>(engine: &E) -> Result<bool, EngineError> {
    let mut empty = true;
    engine.scan(Vec::new()..vec![0xff], Direction::Forwards, &mut |_, _| {
        empty = false;
        ControlFlow::Break(())
    })?;
    Ok(empty)
}

/// Makes an empty map a store.
pub(super) fn create<E: Engine>(engine: &E) -> Result<Progress, EngineError> {
    let progress = Progress {
        store: Uuid::new_v4(),
        seq: 0,
    };
    let format = Format {
        format_version: FORMAT_VERSION,
        min_reader: MIN_READER,
        created_by: env!("CARGO_PKG_VERSION").to_owned(),
        store: progress.store,
    };
    let format = serde_json::to_vec(&format).map_err(|e| EngineError::Io(e.to_string()))?;
    let mut secret = vec![0; 32];
    rand::rng().fill_bytes(&mut secret);
    engine.apply(Batch::from([
        (keys::FORMAT.to_vec(), Some(format)),
        (keys::SECRET.to_vec(), Some(secret)),
        (
            keys::SEQ.to_vec(),
            Some(progress.seq.to_be_bytes().to_vec()),
        ),
    ]))?;
    engine.sync(progress)?;
    Ok(progress)
}

/// The refusal of a store that has to be restored.
pub(super) fn refused<E: Engine>(engine: &E, happened: String) -> OpenError {
    OpenError::Refused {
        location: engine.location(),
        happened,
        advice: None,
    }
}
