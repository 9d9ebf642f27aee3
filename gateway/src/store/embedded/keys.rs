//! Where the embedded store keeps what: the bytes of every key.
//!
//! Numbers are big-endian, so that the order of keys is the order of numbers. A tenant's name ends
//! with a NUL, which it cannot contain: no tenant's prefix is a prefix of another's. Invariant:
//! [`Tenant`] is the only way into a tenant's keys. A change here is a new
//! [`FORMAT_VERSION`](super::FORMAT_VERSION).
//!
//! | key | value |
//! |---|---|
//! | `00 f` | format, JSON |
//! | `00 s` | seq: write sets committed so far |
//! | `10 tenant 00 kind id chunk` | resource: position, then JSON, in chunks |
//! | `11 tenant 00 kind position` | id: creation order |
//! | `12 tenant 00 kind block` | how many of the block's positions are in use |
//! | `13 tenant 00 kind` | how many resources there are, last position given |
//! | `20 tenant 00 kind attribute 00 value` | id of the holder of a unique value |
//! | `30 tenant 00 resource chunk` | open intent, JSON in chunks |
//! | `40 tenant 00 id chunk` | log entry, JSON in chunks |
//! | `50 hash chunk` | token, JSON in chunks |
//! | `51 tenant 00 id` | hash of the token |

use std::ops::Range;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::{Kind, UniqueKey};

const RESOURCE: u8 = 0x10;
const ORDER: u8 = 0x11;
const BLOCK: u8 = 0x12;
const TALLY: u8 = 0x13;
const UNIQUE: u8 = 0x20;
const INTENT: u8 = 0x30;
const LOG: u8 = 0x40;
const TOKEN: u8 = 0x50;
const TENANT_TOKEN: u8 = 0x51;

/// The key of the format record.
pub(super) const FORMAT: &[u8] = &[0x00, b'f'];
/// The key of the count of committed write sets.
pub(super) const SEQ: &[u8] = &[0x00, b's'];

/// Bytes of a chunk number at the end of a record's keys.
pub(super) const CHUNK_BYTES: usize = 2;

/// How many positions share a counter of live resources. Makes a seek read count/1024 counters and
/// at most 1024 index entries, where a plain walk over the index took sled up to half a second for
/// 100 000 entries.
const BLOCK_POSITIONS: u64 = 1024;

/// Longest name of a tenant or an attribute in a key.
const NAME_BYTES_MAX: usize = 255;

/// Longer unique values are cut here and completed with their SHA-256: keys must stay short, values
/// need not.
const VALUE_BYTES_MAX: usize = 256;
/// What is kept of a longer value in front of its hash, for whoever reads keys.
const VALUE_PREFIX_BYTES: usize = 64;

/// A tenant's name that is fit to be part of a key.
#[derive(Clone, Copy)]
pub(super) struct Tenant<'a>(&'a str);

impl<'a> Tenant<'a> {
    /// Checks the name: a NUL in it would reach into the keys of another tenant.
    pub(super) fn new(name: &'a str) -> Result<Tenant<'a>, String> {
        check_name("tenant", name)?;
        Ok(Tenant(name))
    }

    fn key(self, space: u8, rest_bytes: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(2 + self.0.len() + rest_bytes);
        key.push(space);
        key.extend_from_slice(self.0.as_bytes());
        key.push(0);
        key
    }

    fn kind_key(self, space: u8, kind: Kind, rest_bytes: usize) -> Vec<u8> {
        let mut key = self.key(space, 1 + rest_bytes);
        key.push(match kind {
            Kind::User => 1,
            Kind::Group => 2,
        });
        key
    }

    /// A resource's record.
    pub(super) fn resource(self, kind: Kind, id: Uuid) -> Vec<u8> {
        let mut key = self.kind_key(RESOURCE, kind, 16 + CHUNK_BYTES);
        key.extend_from_slice(id.as_bytes());
        key
    }

    /// The place of a position in creation order.
    pub(super) fn order(self, kind: Kind, position: u64) -> Vec<u8> {
        let mut key = self.kind_key(ORDER, kind, 8);
        key.extend_from_slice(&position.to_be_bytes());
        key
    }

    /// All places behind a position.
    pub(super) fn orders_after(self, kind: Kind, position: u64) -> Range<Vec<u8>> {
        let end = prefix_end(self.kind_key(ORDER, kind, 0));
        match position.checked_add(1) {
            Some(first) => self.order(kind, first)..end,
            None => end.clone()..end,
        }
    }

    /// All places from the start of a block on.
    pub(super) fn orders_from_block(self, kind: Kind, block: u64) -> Range<Vec<u8>> {
        let first = self.order(kind, block.saturating_mul(BLOCK_POSITIONS));
        first..prefix_end(self.kind_key(ORDER, kind, 0))
    }

    /// The counter of the block that a position falls into.
    pub(super) fn block(self, kind: Kind, position: u64) -> Vec<u8> {
        let mut key = self.kind_key(BLOCK, kind, 8);
        key.extend_from_slice(&(position / BLOCK_POSITIONS).to_be_bytes());
        key
    }

    /// The counters of all blocks.
    pub(super) fn blocks(self, kind: Kind) -> Range<Vec<u8>> {
        prefix(self.kind_key(BLOCK, kind, 0))
    }

    /// The counter of resources.
    pub(super) fn tally(self, kind: Kind) -> Vec<u8> {
        self.kind_key(TALLY, kind, 0)
    }

    /// The holder of a unique value.
    pub(super) fn unique(self, unique: &UniqueKey) -> Vec<u8> {
        let value = unique.value.as_bytes();
        let mut key = self.kind_key(
            UNIQUE,
            unique.kind,
            unique.attribute.len() + 2 + value.len(),
        );
        key.extend_from_slice(unique.attribute.as_bytes());
        // The byte behind the NUL keeps a short value apart from a long one that was cut to the
        // same bytes.
        if value.len() <= VALUE_BYTES_MAX {
            key.extend_from_slice(&[0, b'=']);
            key.extend_from_slice(value);
        } else {
            key.extend_from_slice(&[0, b'#']);
            key.extend_from_slice(&value[..VALUE_PREFIX_BYTES]);
            key.extend_from_slice(&Sha256::digest(value));
        }
        key
    }

    /// The open intent of a resource.
    pub(super) fn intent(self, resource: Uuid) -> Vec<u8> {
        let mut key = self.key(INTENT, 16 + CHUNK_BYTES);
        key.extend_from_slice(resource.as_bytes());
        key
    }

    /// A log entry.
    pub(super) fn log_entry(self, id: Uuid) -> Vec<u8> {
        let mut key = self.key(LOG, 16 + CHUNK_BYTES);
        key.extend_from_slice(id.as_bytes());
        key
    }

    /// All log entries before one.
    pub(super) fn log_before(self, before: Option<Uuid>) -> Range<Vec<u8>> {
        let all = prefix(self.key(LOG, 0));
        match before {
            Some(id) => all.start..self.log_entry(id),
            None => all,
        }
    }

    /// Where a token of the tenant says its hash.
    pub(super) fn token(self, id: Uuid) -> Vec<u8> {
        let mut key = self.key(TENANT_TOKEN, 16);
        key.extend_from_slice(id.as_bytes());
        key
    }

    /// All tokens of the tenant.
    pub(super) fn tokens(self) -> Range<Vec<u8>> {
        prefix(self.key(TENANT_TOKEN, 0))
    }
}

/// A token's record. Not under a tenant: the hash is what finds the tenant.
pub(super) fn token(hash: &[u8; 32]) -> Vec<u8> {
    let mut key = Vec::with_capacity(33 + CHUNK_BYTES);
    key.push(TOKEN);
    key.extend_from_slice(hash);
    key
}

/// The open intents of all tenants, behind one.
pub(super) fn intents_after(after: Option<(Tenant<'_>, Uuid)>) -> Range<Vec<u8>> {
    match after {
        Some((tenant, resource)) => prefix_end(tenant.intent(resource))..vec![INTENT + 1],
        None => prefix(vec![INTENT]),
    }
}

/// Checks the names in a unique key.
pub(super) fn check_unique(key: &UniqueKey) -> Result<(), String> {
    check_name("attribute", &key.attribute)
}

/// The number at the end of a key: the position in an order key, the block in a counter's.
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>()
        .map(|bytes| u64::from_be_bytes(*bytes))
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err(format!(
            "the {what} name {name:?} must have 1 to {NAME_BYTES_MAX} bytes and no NUL"
        ));
    }
    Ok(())
}

/// All keys that begin so.
fn prefix(start: Vec<u8>) -> Range<Vec<u8>> {
    start.clone()..prefix_end(start)
}

/// The first key behind all that begin so.
fn prefix_end(mut key: Vec<u8>) -> Vec<u8> {
    while let Some(last) = key.pop() {
        if last < 0xff {
            key.push(last + 1);
            break;
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant<'_> {
        Tenant::new(name).unwrap()
    }

    fn user_name(value: &str) -> UniqueKey {
        UniqueKey {
            kind: Kind::User,
            attribute: "userName".into(),
            value: value.into(),
        }
    }

    #[test]
    fn one_tenants_keys_never_lie_among_anothers() {
        // `acme-2` sorts directly behind `acme`, and begins with it.
        let range = tenant("acme").log_before(None);
        let id = Uuid::max();
        assert!(range.contains(&tenant("acme").log_entry(id)));
        assert!(!range.contains(&tenant("acme-2").log_entry(id)));
        assert!(!range.contains(&tenant("acm").log_entry(id)));
        assert!(Tenant::new("acme\0x").is_err());
        assert!(Tenant::new("").is_err());
    }

    #[test]
    fn long_values_keep_apart_and_keys_stay_short() {
        let long = "x".repeat(100_000);
        let longer = "x".repeat(100_001);
        let key = tenant("t").unique(&user_name(&long));
        assert!(key.len() < 200);
        assert_ne!(key, tenant("t").unique(&user_name(&longer)));
        let at_limit = "x".repeat(VALUE_BYTES_MAX);
        assert!(
            tenant("t")
                .unique(&user_name(&at_limit))
                .ends_with(at_limit.as_bytes())
        );
    }

    #[test]
    fn an_intent_cursor_skips_every_chunk_of_that_intent() {
        let resource = Uuid::max();
        let after = intents_after(Some((tenant("t"), resource)));
        let mut chunk = tenant("t").intent(resource);
        chunk.extend_from_slice(&[0xff, 0xff]);
        assert!(!after.contains(&chunk));
        assert!(after.contains(&tenant("u").intent(Uuid::nil())));
    }

    #[test]
    fn positions_sort_as_numbers() {
        let t = tenant("t");
        assert!(t.order(Kind::User, 255) < t.order(Kind::User, 256));
        assert_eq!(number_of(&t.order(Kind::User, 77)), Some(77));
        let none = t.orders_after(Kind::User, u64::MAX);
        assert!(none.is_empty());
    }
}
