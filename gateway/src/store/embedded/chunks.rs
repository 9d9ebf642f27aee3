//! Records of any length, cut into values of at most 4 KiB.
//!
//! Why: sled puts whatever is larger than about 128 KiB, a leaf of many larger values included,
//! into blob files that it never syncs; one power cut and the store does not open any more. Values
//! of at most 4 KiB never get there. A record's chunk 0 begins with the length of the whole; the
//! others just go on. Invariant: a record reads back as it was written or is reported damaged.
//! Absent: checksums, which are the engine's.

use super::keys::CHUNK_BYTES;

/// The longest value that any engine is given.
pub const VALUE_BYTES_MAX: usize = 4096;

/// Bytes in front of chunk 0: the length of the record.
const LENGTH_BYTES: usize = 4;

/// The longest record: every chunk number fits two bytes.
pub(super) const RECORD_BYTES_MAX: usize = VALUE_BYTES_MAX * 0xffff - LENGTH_BYTES;

/// How many chunks a record of this length takes.
pub(super) fn count(record_bytes: usize) -> u16 {
    let chunks = (LENGTH_BYTES + record_bytes).div_ceil(VALUE_BYTES_MAX);
    u16::try_from(chunks).unwrap_or(u16::MAX)
}

/// The key of a record's chunk.
pub(super) fn key(record: &[u8], chunk: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(record.len() + CHUNK_BYTES);
    key.extend_from_slice(record);
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The values of a record's chunks, from 0 on.
pub(super) fn split(body: &[u8]) -> Vec<Vec<u8>> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let (first, mut rest) = body.split_at(body.len().min(VALUE_BYTES_MAX - LENGTH_BYTES));
    let mut chunks = vec![[&length, first].concat()];
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.len().min(VALUE_BYTES_MAX));
        chunks.push(chunk.to_vec());
        rest = behind;
    }
    chunks
}

/// The length of the record that this chunk 0 begins.
pub(super) fn length(chunk_0: &[u8]) -> Option<usize> {
    let bytes = chunk_0.first_chunk::<LENGTH_BYTES>()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}

/// Reads a record chunk by chunk; `None` if there is no chunk 0.
pub(super) fn read<E>(
    record: &[u8],
    mut get: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, E>,
    damaged: impl Fn(String) -> E,
) -> Result<Option<Vec<u8>>, E> {
    let Some(mut body) = get(&key(record, 0))? else {
        return Ok(None);
    };
    let Some(length) = length(&body) else {
        return Err(damaged("a record without its length".to_owned()));
    };
    body.drain(..LENGTH_BYTES);
    for chunk in 1..count(length) {
        match get(&key(record, chunk))? {
            Some(value) => body.extend_from_slice(&value),
            None => return Err(damaged(format!("chunk {chunk} of a record is missing"))),
        }
    }
    if body.len() != length {
        return Err(damaged(format!(
            "a record has {} bytes instead of {length}",
            body.len()
        )));
    }
    Ok(Some(body))
}

/// Puts records together again from a scan over their chunks, forwards or backwards.
#[derive(Default)]
pub(super) struct Assembler {
    record: Vec<u8>,
    chunks: Vec<(u16, Vec<u8>)>,
}

impl Assembler {
    /// Takes the next entry of the scan; gives back the record before it if that is complete by
    /// this.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Option<Result<Vec<u8>, String>> {
        let (record, chunk) = key
            .split_last_chunk::<CHUNK_BYTES>()
            .unwrap_or((key, &[0, 0]));
        let before = if record == self.record {
            None
        } else {
            self.finish()
        };
        if before.is_some() || self.chunks.is_empty() {
            self.record = record.to_vec();
        }
        self.chunks
            .push((u16::from_be_bytes(*chunk), value.to_vec()));
        before
    }

    /// The last record of the scan.
    pub(super) fn finish(&mut self) -> Option<Result<Vec<u8>, String>> {
        if self.chunks.is_empty() {
            return None;
        }
        let mut chunks = std::mem::take(&mut self.chunks);
        chunks.sort_unstable_by_key(|(number, _)| *number);
        let mut chunks = chunks.into_iter().peekable();
        let record = read(
            &[],
            |key| {
                let wanted = key.last_chunk().map(|number| u16::from_be_bytes(*number));
                Ok(chunks
                    .next_if(|(number, _)| Some(*number) == wanted)
                    .map(|(_, value)| value))
            },
            |what| what,
        );
        Some(record.and_then(|body| body.ok_or_else(|| "a record without chunk 0".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn store(records: &[(&[u8], Vec<u8>)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut map = BTreeMap::new();
        for (record, body) in records {
            for (number, chunk) in (0..).zip(split(body)) {
                assert!(chunk.len() <= VALUE_BYTES_MAX);
                map.insert(key(record, number), chunk);
            }
        }
        map
    }

    #[test]
    fn records_of_every_awkward_length_come_back() {
        for length in [0, 1, 4091, 4092, 4093, 4096, 8187, 8188, 8189, 200_000] {
            let body: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let map = store(&[(b"r", body.clone())]);
            assert_eq!(map.len(), usize::from(count(length)), "{length}");
            let read = read(
                b"r",
                |key| Ok::<_, String>(map.get(key).cloned()),
                |what| what,
            );
            assert_eq!(read, Ok(Some(body)), "{length}");
        }
    }

    #[test]
    fn a_scan_gives_the_records_in_its_order() {
        let bodies: Vec<Vec<u8>> = [10_000, 5, 4092, 9000, 0].map(|n| vec![7; n]).to_vec();
        let names: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
        let map = store(&names.into_iter().zip(bodies.clone()).collect::<Vec<_>>());
        let forwards = assemble(map.iter());
        assert_eq!(forwards, bodies.iter().cloned().map(Ok).collect::<Vec<_>>());
        let backwards = assemble(map.iter().rev());
        assert_eq!(
            backwards,
            bodies.iter().rev().cloned().map(Ok).collect::<Vec<_>>()
        );
    }

    fn assemble<'a>(
        entries: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
    ) -> Vec<Result<Vec<u8>, String>> {
        let mut assembler = Assembler::default();
        let mut records = Vec::new();
        for (key, value) in entries {
            records.extend(assembler.push(key, value));
        }
        records.extend(assembler.finish());
        records
    }

    #[test]
    fn a_missing_chunk_is_damage() {
        for missing in 0..3 {
            let mut map = store(&[(b"r", vec![7; 10_000])]);
            map.remove(&key(b"r", missing));
            assert!(assemble(map.iter())[0].is_err(), "{missing}");
        }
    }
}
