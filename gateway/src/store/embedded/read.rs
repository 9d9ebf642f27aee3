//! The reads of the embedded store, each on one state of it.
//!
//! Invariant: a call looks at a bounded number of entries, because nothing can be committed
//! meanwhile. A walk over more than that is given up after [`WALK_ENTRIES_MAX`] and gone on with:
//! [`MemberWalk`] and [`GroupWalk`] remember how far they are. Absent: whoever holds the state
//! still, which is [`Embedded`](super::Embedded).

use std::ops::{ControlFlow, Range};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::keys::{self, Tenant};
use super::order::{Tally, decode_live};
use super::{Direction, Engine, EngineError, apply, chunks};
use crate::store::{Kind, Member, PAGE_MAX, Stored, Token};

/// How many entries one look at the store may pass over: sled takes some ten milliseconds for them.
const WALK_ENTRIES_MAX: usize = 4000;

/// A record, decoded.
pub(super) fn record<E: Engine, T: DeserializeOwned>(
    engine: &E,
    record: &[u8],
) -> Result<Option<T>, EngineError> {
    body(engine, record)?
        .map(|body| apply::decode(&body))
        .transpose()
}

fn body<E: Engine>(engine: &E, record: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
    chunks::read(record, |key| engine.get(key), EngineError::Damaged)
}

/// A resource with its document.
pub(super) fn resource<E: Engine>(
    engine: &E,
    record: &[u8],
) -> Result<Option<Stored>, EngineError> {
    let Some(body) = body(engine, record)? else {
        return Ok(None);
    };
    let (position, json) = apply::split_position(&body)?;
    let mut stored: Stored = apply::decode(json)?;
    stored.position = position;
    Ok(Some(stored))
}

/// What an id stands for.
pub(super) fn identity<E: Engine>(
    engine: &E,
    tenant: Tenant<'_>,
    id: Uuid,
) -> Result<Option<Member>, EngineError> {
    /// The part of a record that is asked for.
    #[derive(Deserialize)]
    struct Link {
        uid: Option<String>,
    }
    for kind in [Kind::User, Kind::Group] {
        if let Some(body) = body(engine, &tenant.resource(kind, id))? {
            let (_, json) = apply::split_position(&body)?;
            let Link { uid } = apply::decode(json)?;
            return Ok(Some(Member { kind, id, uid }));
        }
    }
    Ok(None)
}

/// The resources at the first so many places of creation order.
pub(super) fn page<E: Engine>(
    engine: &E,
    tenant: Tenant<'_>,
    kind: Kind,
    places: Range<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Stored>, EngineError> {
    let ids = values(engine, places, limit.min(PAGE_MAX))?;
    let mut page = Vec::with_capacity(ids.len());
    for id in ids {
        let key = tenant.resource(kind, apply::decode_id(&id)?);
        // The order and the records were written together and are read together.
        page.push(resource(engine, &key)?.ok_or_else(|| {
            EngineError::Damaged("the index names a resource that is not there".to_owned())
        })?);
    }
    Ok(page)
}

/// The tokens that these entries name.
pub(super) fn tokens<E: Engine>(
    engine: &E,
    entries: Range<Vec<u8>>,
) -> Result<Vec<Token>, EngineError> {
    let mut tokens = Vec::new();
    for hash in values(engine, entries, usize::MAX)? {
        let key = keys::token(&apply::decode_hash(&hash)?);
        tokens.push(record(engine, &key)?.ok_or_else(|| {
            EngineError::Damaged("the index names a token that is not there".to_owned())
        })?);
    }
    Ok(tokens)
}

/// The ids at the end of the keys of a range, the first so many.
pub(super) fn ids<E: Engine>(
    engine: &E,
    range: Range<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Uuid>, EngineError> {
    let mut ids = Vec::new();
    engine.scan(range, Direction::Forwards, &mut |key, _| {
        if ids.len() == limit {
            return ControlFlow::Break(());
        }
        ids.extend(keys::id_of(key));
        ControlFlow::Continue(())
    })?;
    Ok(ids)
}

/// The kind of a member, if it is one of the group and the group exists.
pub(super) fn membership<E: Engine>(
    engine: &E,
    tenant: Tenant<'_>,
    member: Uuid,
    group: Uuid,
) -> Result<Option<Kind>, EngineError> {
    let Some(kind) = engine.get(&tenant.membership(member, group))? else {
        return Ok(None);
    };
    if is_swept(engine, tenant, group)? {
        return Ok(None);
    }
    match kind.as_slice() {
        [byte] => keys::kind_of(*byte).map(Some),
        _ => None,
    }
    .ok_or_else(|| EngineError::Damaged("a membership".to_owned()))
}

/// Whether the memberships of a group are still there although the group is not.
fn is_swept<E: Engine>(engine: &E, tenant: Tenant<'_>, group: Uuid) -> Result<bool, EngineError> {
    Ok(engine.get(&tenant.sweep(group))?.is_some())
}

/// On the way to a page of a group's members.
pub(super) struct MemberWalk<'a> {
    tenant: Tenant<'a>,
    group: Uuid,
    left: Range<Vec<u8>>,
    skip: u64,
    limit: usize,
}

impl<'a> MemberWalk<'a> {
    /// See [`Store::members`](crate::store::Store::members).
    pub(super) fn new(
        tenant: Tenant<'a>,
        group: Uuid,
        kind: Option<Kind>,
        after: Option<(Kind, Uuid)>,
        skip: u64,
        limit: usize,
    ) -> MemberWalk<'a> {
        MemberWalk {
            tenant,
            group,
            left: tenant.members(group, kind, after),
            skip,
            limit: limit.min(PAGE_MAX),
        }
    }

    /// Walks on; the page if this got there.
    pub(super) fn go<E: Engine>(&mut self, engine: &E) -> Result<Option<Vec<Member>>, EngineError> {
        let mut page = Vec::new();
        if self.limit == 0 || is_swept(engine, self.tenant, self.group)? {
            return Ok(Some(page));
        }
        let mut passed = 0;
        let mut last = None;
        let mut damaged = false;
        engine.scan(self.left.clone(), Direction::Forwards, &mut |key, _| {
            if self.skip > 0 {
                self.skip -= 1;
                passed += 1;
                if passed < WALK_ENTRIES_MAX {
                    return ControlFlow::Continue(());
                }
                last = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            match keys::member_of(key) {
                Some((kind, id)) => page.push(Member {
                    kind,
                    id,
                    uid: None,
                }),
                None => damaged = true,
            }
            if damaged || page.len() == self.limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if damaged {
            return Err(EngineError::Damaged("a member of a group".to_owned()));
        }
        match last {
            Some(last) => {
                self.left.start = keys::behind(last);
                Ok(None)
            }
            None => Ok(Some(page)),
        }
    }
}

/// On the way to a page of a member's groups.
pub(super) struct GroupWalk<'a> {
    tenant: Tenant<'a>,
    member: Uuid,
    after: Option<Uuid>,
    page: Vec<Uuid>,
    limit: usize,
}

impl<'a> GroupWalk<'a> {
    /// See [`Store::groups_of`](crate::store::Store::groups_of).
    pub(super) fn new(
        tenant: Tenant<'a>,
        member: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> GroupWalk<'a> {
        GroupWalk {
            tenant,
            member,
            after,
            page: Vec::new(),
            limit: limit.min(PAGE_MAX),
        }
    }

    /// Walks on; the page if this got there. It takes more than one walk only if the member has
    /// been in very many groups that are gone.
    pub(super) fn go<E: Engine>(&mut self, engine: &E) -> Result<Option<Vec<Uuid>>, EngineError> {
        let mut page = std::mem::take(&mut self.page);
        let mut passed = 0;
        loop {
            let wanted = self.limit - page.len();
            let range = self.tenant.memberships(self.member, self.after);
            let groups = ids(engine, range, wanted)?;
            let all = groups.len() < wanted;
            passed += groups.len();
            self.after = groups.last().copied().or(self.after);
            for group in groups {
                if !is_swept(engine, self.tenant, group)? {
                    page.push(group);
                }
            }
            if all || page.len() == self.limit {
                return Ok(Some(page));
            }
            if passed >= WALK_ENTRIES_MAX {
                self.page = page;
                return Ok(None);
            }
        }
    }
}

/// The values of a range of index entries, the first so many.
pub(super) fn values<E: Engine>(
    engine: &E,
    range: Range<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Vec<u8>>, EngineError> {
    let mut values = Vec::new();
    if limit == 0 {
        return Ok(values);
    }
    engine.scan(range, Direction::Forwards, &mut |_, value| {
        values.push(value.to_vec());
        if values.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(values)
}

/// The records of a range, the first so many.
pub(super) fn records<E: Engine, T: DeserializeOwned>(
    engine: &E,
    range: Range<Vec<u8>>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<T>, EngineError> {
    let limit = limit.min(PAGE_MAX);
    let mut bodies = Vec::new();
    let mut assembler = chunks::Assembler::default();
    engine.scan(range, direction, &mut |key, value| {
        if bodies.len() == limit {
            return ControlFlow::Break(());
        }
        bodies.extend(assembler.push(key, value));
        ControlFlow::Continue(())
    })?;
    bodies.extend(assembler.finish());
    bodies.truncate(limit);
    bodies
        .into_iter()
        .map(|body| apply::decode(&body.map_err(EngineError::Damaged)?))
        .collect()
}

/// See [`Store::seek`](crate::store::Store::seek): whole blocks by their counters, then entries
/// within one block.
pub(super) fn seek<E: Engine>(
    engine: &E,
    tenant: Tenant<'_>,
    kind: Kind,
    skip: u64,
) -> Result<Option<u64>, EngineError> {
    if skip == 0 {
        return Ok(None);
    }
    let tally = Tally::decode(engine.get(&tenant.tally(kind))?)?;
    if skip >= tally.count {
        return Ok(Some(tally.position));
    }
    let mut left = skip;
    let mut block = 0;
    let mut damaged = None;
    engine.scan(
        tenant.blocks(kind),
        Direction::Forwards,
        &mut |key, value| match (keys::number_of(key), decode_live(value)) {
            (Some(number), Ok(live)) if u64::from(live) < left => {
                left -= u64::from(live);
                block = number + 1;
                ControlFlow::Continue(())
            }
            (Some(number), Ok(_)) => {
                block = number;
                ControlFlow::Break(())
            }
            _ => {
                damaged = Some(EngineError::Damaged("a block's counter".to_owned()));
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(damaged) = damaged {
        return Err(damaged);
    }
    let mut position = None;
    engine.scan(
        tenant.orders_from_block(kind, block),
        Direction::Forwards,
        &mut |key, _| {
            position = keys::number_of(key);
            left -= 1;
            if left > 0 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    )?;
    Ok(position)
}
