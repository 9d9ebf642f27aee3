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
//! | `00 k` | secret, 32 bytes |
//! | `00 s` | seq: write sets committed so far |
//! | `10 tenant 00 kind id chunk` | resource: position, then JSON, in chunks |
//! | `11 tenant 00 kind position` | id: creation order |
//! | `12 tenant 00 kind block` | how many of the block's positions are in use |
//! | `13 tenant 00 kind` | how many resources there are, last position given |
//! | `20 tenant 00 kind attribute 00 value` | id of the holder of a unique value |
//! | `21 tenant 00 kind attribute 00 value id` | nothing: a resource with that value |
//! | `30 tenant 00 resource chunk` | open intent, JSON in chunks |
//! | `40 tenant 00 id chunk` | log entry, JSON in chunks |
//! | `50 hash chunk` | token, JSON in chunks |
//! | `51 tenant 00 id` | hash of the token |
//! | `60 tenant 00 group kind member` | nothing: a membership, found by the group |
//! | `61 tenant 00 member group` | kind of the member: the same membership, found by the member |
//! | `62 tenant 00 group kind` | how many members of the kind the group has, if any |
//! | `63 tenant 00 group` | nothing: the group is gone, its memberships are still to be swept |
//! | `80 tenant 00 form` | when the form was used, JSON |

use std::ops::Range;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::{AttributeKey, Kind};

const RESOURCE: u8 = 0x10;
const ORDER: u8 = 0x11;
const BLOCK: u8 = 0x12;
const TALLY: u8 = 0x13;
const UNIQUE: u8 = 0x20;
const INDEX: u8 = 0x21;
const INTENT: u8 = 0x30;
const LOG: u8 = 0x40;
const TOKEN: u8 = 0x50;
const TENANT_TOKEN: u8 = 0x51;
const MEMBER: u8 = 0x60;
const MEMBERSHIP: u8 = 0x61;
const MEMBER_COUNT: u8 = 0x62;
const SWEEP: u8 = 0x63;
const FORM: u8 = 0x80;

/// The key of the format record.
pub(super) const FORMAT: &[u8] = &[0x00, b'f'];
/// The key of the secret.
pub(super) const SECRET: &[u8] = &[0x00, b'k'];
/// The key of the count of committed write sets.
pub(super) const SEQ: &[u8] = &[0x00, b's'];

/// Bytes of a chunk number at the end of a record's keys.
pub(super) const CHUNK_BYTES: usize = 2;

/// How many positions share a counter of live resources. Makes a seek read count/1024 counters and
/// at most 1024 index entries, where a plain walk over the index took sled up to half a second for
/// 100 000 entries.
const BLOCK_POSITIONS: u64 = 1024;

/// Longest name of a tenant, an attribute or a form in a key.
const NAME_BYTES_MAX: usize = 255;

/// Longer unique and indexed values are cut here and completed with their SHA-256: keys must stay
/// short, values need not.
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
        key.push(kind_byte(kind));
        key
    }

    fn id_key(self, space: u8, id: Uuid, rest_bytes: usize) -> Vec<u8> {
        let mut key = self.key(space, 16 + rest_bytes);
        key.extend_from_slice(id.as_bytes());
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
    pub(super) fn unique(self, unique: &AttributeKey) -> Vec<u8> {
        let value = unique.value.as_bytes();
        let mut key = self.attribute_key(UNIQUE, unique, value.len());
        // The byte in front of the value keeps a short one apart from a long one that was cut to
        // the same bytes.
        if value.len() <= VALUE_BYTES_MAX {
            key.push(b'=');
            key.extend_from_slice(value);
        } else {
            key.push(b'#');
            push_cut(&mut key, value);
        }
        key
    }

    /// An entry of a plain index.
    pub(super) fn index(self, indexed: &AttributeKey, id: Uuid) -> Vec<u8> {
        let mut key = self.index_prefix(indexed);
        key.extend_from_slice(id.as_bytes());
        key
    }

    /// The entries of one value in a plain index, behind one.
    pub(super) fn index_after(self, indexed: &AttributeKey, after: Option<Uuid>) -> Range<Vec<u8>> {
        let all = prefix(self.index_prefix(indexed));
        match after {
            Some(id) => behind(self.index(indexed, id))..all.end,
            None => all,
        }
    }

    /// Something comes behind the value here, so a short one says where it ends.
    fn index_prefix(self, indexed: &AttributeKey) -> Vec<u8> {
        let value = indexed.value.as_bytes();
        let mut key = self.attribute_key(INDEX, indexed, 2 + value.len() + 16);
        match u16::try_from(value.len()) {
            Ok(length) if value.len() <= VALUE_BYTES_MAX => {
                key.push(b'=');
                key.extend_from_slice(&length.to_be_bytes());
                key.extend_from_slice(value);
            }
            _ => {
                key.push(b'#');
                push_cut(&mut key, value);
            }
        }
        key
    }

    fn attribute_key(self, space: u8, named: &AttributeKey, rest_bytes: usize) -> Vec<u8> {
        let mut key = self.kind_key(space, named.kind, named.attribute.len() + 2 + rest_bytes);
        key.extend_from_slice(named.attribute.as_bytes());
        key.push(0);
        key
    }

    /// A membership, found by the group.
    pub(super) fn member(self, group: Uuid, kind: Kind, member: Uuid) -> Vec<u8> {
        let mut key = self.id_key(MEMBER, group, 1 + 16);
        key.push(kind_byte(kind));
        key.extend_from_slice(member.as_bytes());
        key
    }

    /// The members of a group, behind one.
    pub(super) fn members(
        self,
        group: Uuid,
        kind: Option<Kind>,
        after: Option<(Kind, Uuid)>,
    ) -> Range<Vec<u8>> {
        let mut key = self.id_key(MEMBER, group, 1);
        key.extend(kind.map(kind_byte));
        let all = prefix(key);
        match after {
            Some((kind, id)) => all.start.max(behind(self.member(group, kind, id)))..all.end,
            None => all,
        }
    }

    /// A membership, found by the member.
    pub(super) fn membership(self, member: Uuid, group: Uuid) -> Vec<u8> {
        let mut key = self.id_key(MEMBERSHIP, member, 16);
        key.extend_from_slice(group.as_bytes());
        key
    }

    /// The memberships of a member, behind one.
    pub(super) fn memberships(self, member: Uuid, after: Option<Uuid>) -> Range<Vec<u8>> {
        let all = prefix(self.id_key(MEMBERSHIP, member, 0));
        match after {
            Some(group) => behind(self.membership(member, group))..all.end,
            None => all,
        }
    }

    /// The counter of a group's members.
    pub(super) fn member_count(self, group: Uuid, kind: Kind) -> Vec<u8> {
        let mut key = self.id_key(MEMBER_COUNT, group, 1);
        key.push(kind_byte(kind));
        key
    }

    /// What says that a group is gone, and its memberships are not.
    pub(super) fn sweep(self, group: Uuid) -> Vec<u8> {
        self.id_key(SWEEP, group, 0)
    }

    /// When a form was used.
    pub(super) fn form(self, name: &str) -> Vec<u8> {
        let mut key = self.key(FORM, name.len());
        key.extend_from_slice(name.as_bytes());
        key
    }

    /// All forms that were used.
    pub(super) fn forms(self) -> Range<Vec<u8>> {
        prefix(self.key(FORM, 0))
    }

    /// What the keys of one membership weigh.
    pub(super) fn membership_bytes(self) -> usize {
        self.member(Uuid::nil(), Kind::User, Uuid::nil()).len()
            + self.membership(Uuid::nil(), Uuid::nil()).len()
    }

    /// The open intent of a resource.
    pub(super) fn intent(self, resource: Uuid) -> Vec<u8> {
        self.id_key(INTENT, resource, CHUNK_BYTES)
    }

    /// A log entry.
    pub(super) fn log_entry(self, id: Uuid) -> Vec<u8> {
        self.id_key(LOG, id, CHUNK_BYTES)
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
        self.id_key(TENANT_TOKEN, id, 0)
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

/// What is still to be swept away, of all tenants.
pub(super) fn sweeps() -> Range<Vec<u8>> {
    prefix(vec![SWEEP])
}

/// The group that a key says is to be swept away.
pub(super) fn swept(key: &[u8]) -> Option<(Tenant<'_>, Uuid)> {
    let (tenant, group) = key.strip_prefix(&[SWEEP])?.split_last_chunk::<16>()?;
    let tenant = std::str::from_utf8(tenant.strip_suffix(&[0])?).ok()?;
    Some((Tenant::new(tenant).ok()?, Uuid::from_bytes(*group)))
}

/// Checks the names in a key of a unique or indexed value.
pub(super) fn check_attribute(key: &AttributeKey) -> Result<(), String> {
    check_name("attribute", &key.attribute)
}

/// Checks the name of a form.
pub(super) fn check_form(name: &str) -> Result<(), String> {
    check_name("form", name)
}

/// The id at the end of a key: the member, the group, the resource in an index.
pub(super) fn id_of(key: &[u8]) -> Option<Uuid> {
    key.last_chunk::<16>().map(|bytes| Uuid::from_bytes(*bytes))
}

/// The kind and the id at the end of a member's key.
pub(super) fn member_of(key: &[u8]) -> Option<(Kind, Uuid)> {
    let (rest, id) = key.split_last_chunk::<16>()?;
    Some((kind_of(*rest.last()?)?, Uuid::from_bytes(*id)))
}

/// A kind as a byte of a key, or of a membership's value. Users come first.
pub(super) fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::User => 1,
        Kind::Group => 2,
    }
}

/// The kind that a byte stands for.
pub(super) fn kind_of(byte: u8) -> Option<Kind> {
    [Kind::User, Kind::Group]
        .into_iter()
        .find(|kind| kind_byte(*kind) == byte)
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

/// A long value, so that it keeps apart from all others and the key stays short.
fn push_cut(key: &mut Vec<u8>, value: &[u8]) {
    key.extend_from_slice(&value[..VALUE_PREFIX_BYTES]);
    key.extend_from_slice(&Sha256::digest(value));
}

/// The first key behind this one.
pub(super) fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
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

    fn user_name(value: &str) -> AttributeKey {
        AttributeKey {
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
    fn an_index_finds_its_value_and_no_other() {
        let (t, id) = (tenant("t"), Uuid::max());
        let lengths = [0, 1, VALUE_BYTES_MAX, VALUE_BYTES_MAX + 1, 9000];
        let mut values: Vec<String> = lengths.map(|length| "a".repeat(length)).to_vec();
        values.extend(["ab", "a\0", "\0\u{1}a", "\0"].map(String::from));
        for value in &values {
            let range = t.index_after(&user_name(value), None);
            for other in &values {
                let entry = t.index(&user_name(other), id);
                assert!(entry.len() < 310);
                assert_eq!(
                    range.contains(&entry),
                    value == other,
                    "{value:?} {other:?}"
                );
                assert_eq!(id_of(&entry), Some(id));
            }
            let behind = t.index_after(&user_name(value), Some(Uuid::nil()));
            assert!(!behind.contains(&t.index(&user_name(value), Uuid::nil())));
            assert!(behind.contains(&t.index(&user_name(value), Uuid::from_u128(1))));
        }
    }

    #[test]
    fn members_are_cut_by_kind_and_cursor() {
        let (t, group) = (tenant("t"), Uuid::max());
        let key = |kind, id| t.member(group, kind, Uuid::from_u128(id));
        let users = t.members(group, Some(Kind::User), None);
        assert!(users.contains(&key(Kind::User, u128::MAX)));
        assert!(!users.contains(&key(Kind::Group, 0)));
        let last_user = Some((Kind::User, Uuid::max()));
        let none = t.members(group, Some(Kind::User), last_user);
        assert!(!none.contains(&key(Kind::User, u128::MAX)));
        assert!(!none.contains(&key(Kind::Group, 0)));
        let rest = t.members(group, None, last_user);
        assert!(!rest.contains(&key(Kind::User, u128::MAX)));
        assert!(rest.contains(&key(Kind::Group, 0)));
        // A cursor among the users leaves the groups whole, one among the groups no users.
        let groups = t.members(group, Some(Kind::Group), last_user);
        assert!(groups.contains(&key(Kind::Group, 0)));
        let first_group = Some((Kind::Group, Uuid::nil()));
        assert!(t.members(group, Some(Kind::User), first_group).is_empty());
        assert_eq!(
            member_of(&key(Kind::Group, 7)),
            Some((Kind::Group, Uuid::from_u128(7)))
        );
    }

    #[test]
    fn a_sweep_says_what_is_to_be_swept() {
        let key = tenant("acme").sweep(Uuid::max());
        assert!(sweeps().contains(&key));
        let (Tenant(name), group) = swept(&key).unwrap();
        assert_eq!((name, group), ("acme", Uuid::max()));
        assert!(swept(&key[1..]).is_none() && swept(&key[..9]).is_none());
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
