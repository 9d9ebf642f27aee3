//! The rules of a commit: preconditions, uniqueness, one open intent per resource, counters.
//!
//! Runs on the commit thread only, one write set after the other, each against a [`View`] of what
//! the engine holds and what those before it in the batch have done. That makes commits
//! serialisable without a lock per resource or name. Invariant: a write set that is refused leaves
//! no trace in the batch.
//!
//! Absent: encoding and checks of the write set itself, which `prepare.rs` has done before.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::keys::{self, Tenant};
use super::prepare::{POSITION_BYTES, Prepared, Step};
use super::{Batch, Engine, EngineError, chunks};
use crate::store::{Conflict, Kind, Precondition, Token, UniqueKey};

/// Why a write set was not applied to a batch.
pub(super) enum Stop {
    /// It contradicts what is there. The batch goes on without it.
    Conflict(Conflict),
    /// A record that it needs cannot be read. The batch goes on without it.
    Engine(EngineError),
}

impl From<Conflict> for Stop {
    fn from(conflict: Conflict) -> Stop {
        Stop::Conflict(conflict)
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Stop {
        Stop::Engine(error)
    }
}

/// Applies one write set to the batch, or leaves the batch as it is. Says whether it changed
/// anything.
pub(super) fn apply<E: Engine>(
    engine: &E,
    batch: &mut Batch,
    prepared: &Prepared,
) -> Result<bool, Stop> {
    let tenant = Tenant::new(&prepared.tenant).map_err(EngineError::Damaged)?;
    let mut view = View {
        engine,
        batch,
        own: HashMap::new(),
        seen: RefCell::new(HashMap::new()),
        tenant,
    };
    for precondition in &prepared.preconditions {
        view.require(precondition)?;
    }
    for step in &prepared.steps {
        view.take(step, &prepared.preconditions)?;
    }
    let own = view.own;
    let changed = !own.is_empty();
    batch.extend(own);
    Ok(changed)
}

/// What one write set sees: its own writes, over the batch's, over the engine's.
struct View<'a, E> {
    engine: &'a E,
    batch: &'a Batch,
    own: Batch,
    /// What the engine has answered: the rules ask for the same few records again and again, and
    /// the commit thread's time is what bounds the throughput of the whole gateway.
    seen: RefCell<HashMap<Vec<u8>, Option<Vec<u8>>>>,
    tenant: Tenant<'a>,
}

/// The part of a resource's record that the rules need. Skips the document without building it.
#[derive(Deserialize)]
struct ResourceHead {
    version: u64,
    unique: Vec<UniqueKey>,
}

/// The part of an intent's record that the rules need.
#[derive(Deserialize)]
struct IntentHead {
    id: Uuid,
    kind: Kind,
    attempt: u32,
    claims: Vec<UniqueKey>,
}

struct FoundResource {
    position: u64,
    head: ResourceHead,
}

impl<E: Engine> View<'_, E> {
    fn require(&self, precondition: &Precondition) -> Result<(), Stop> {
        match *precondition {
            Precondition::Version { kind, id, version } => match self.resource(kind, id)? {
                None => Err(Conflict::Missing { id }.into()),
                Some(found) if found.head.version != version => Err(Conflict::VersionChanged {
                    id,
                    found: found.head.version,
                }
                .into()),
                Some(_) => Ok(()),
            },
            Precondition::Absent { kind, id } => match self.resource(kind, id)? {
                None => Ok(()),
                Some(_) => Err(Conflict::Exists { id }.into()),
            },
            Precondition::Intent {
                resource,
                id,
                attempt,
            } => match self.intent(resource)? {
                Some(open) if open.id == id && open.attempt == attempt => Ok(()),
                _ => Err(Conflict::IntentGone.into()),
            },
        }
    }

    fn take(&mut self, step: &Step, preconditions: &[Precondition]) -> Result<(), Stop> {
        match step {
            Step::PutResource {
                kind,
                id,
                unique,
                body,
            } => self.put_resource(*kind, *id, unique, body),
            Step::DeleteResource { kind, id } => self.delete_resource(*kind, *id),
            Step::OpenIntent {
                resource,
                claims,
                body,
            } => self.open_intent(*resource, claims, body, preconditions),
            Step::CloseIntent { resource } => self.close_intent(*resource),
            Step::Log { id, body } => Ok(self.put_record(&self.tenant.log_entry(*id), body)?),
            Step::PutToken(token) => self.put_token(token),
            Step::TouchToken { id, last_used } => self.touch_token(*id, *last_used),
        }
    }

    fn put_resource(
        &mut self,
        kind: Kind,
        id: Uuid,
        unique: &[UniqueKey],
        body: &[u8],
    ) -> Result<(), Stop> {
        let found = self.resource(kind, id)?;
        let claims = self.claims(id)?;
        let before = found.as_ref().map_or(&[][..], |found| &found.head.unique);
        self.hold(unique, id, &[&claims, before])?;
        let position = match &found {
            Some(found) => {
                self.release(before, id, &[unique, &claims])?;
                found.position
            }
            None => self.enter(kind, id)?,
        };
        let mut body = body.to_vec();
        body[..POSITION_BYTES].copy_from_slice(&position.to_be_bytes());
        self.put_record(&self.tenant.resource(kind, id), &body)?;
        Ok(())
    }

    fn delete_resource(&mut self, kind: Kind, id: Uuid) -> Result<(), Stop> {
        let Some(found) = self.resource(kind, id)? else {
            return Ok(());
        };
        let claims = self.claims(id)?;
        self.release(&found.head.unique, id, &[&claims])?;
        self.leave(kind, found.position)?;
        self.delete_record(&self.tenant.resource(kind, id))?;
        Ok(())
    }

    fn open_intent(
        &mut self,
        resource: Uuid,
        claims: &[UniqueKey],
        body: &[u8],
        preconditions: &[Precondition],
    ) -> Result<(), Stop> {
        if let Some(open) = self.intent(resource)? {
            let replaces = preconditions.iter().any(|precondition| {
                matches!(precondition, Precondition::Intent { resource: r, id, .. }
                    if *r == resource && *id == open.id)
            });
            if !replaces {
                return Err(Conflict::IntentOpen { intent: open.id }.into());
            }
            let held = self.held(open.kind, resource)?;
            self.release(&open.claims, resource, &[claims, &held])?;
        }
        self.hold(claims, resource, &[])?;
        self.put_record(&self.tenant.intent(resource), body)?;
        Ok(())
    }

    fn close_intent(&mut self, resource: Uuid) -> Result<(), Stop> {
        let Some(open) = self.intent(resource)? else {
            return Err(Conflict::IntentGone.into());
        };
        let held = self.held(open.kind, resource)?;
        self.release(&open.claims, resource, &[&held])?;
        self.delete_record(&self.tenant.intent(resource))?;
        Ok(())
    }

    fn put_token(&mut self, token: &Token) -> Result<(), Stop> {
        let mut token = token.clone();
        if let Some(other) = self.token(&token.hash)?
            && (other.id != token.id || other.tenant != token.tenant)
        {
            return Err(Conflict::Exists { id: other.id }.into());
        }
        if let Some(before) = self.tenants_token(token.id)? {
            token.revoked = before.revoked.or(token.revoked);
            if before.hash != token.hash {
                self.delete_record(&keys::token(&before.hash))?;
            }
        }
        self.own
            .insert(self.tenant.token(token.id), Some(token.hash.to_vec()));
        Ok(self.write_token(&token)?)
    }

    fn touch_token(&mut self, id: Uuid, last_used: Timestamp) -> Result<(), Stop> {
        match self.tenants_token(id)? {
            Some(mut token) if token.last_used.is_none_or(|before| before < last_used) => {
                token.last_used = Some(last_used);
                Ok(self.write_token(&token)?)
            }
            _ => Ok(()),
        }
    }

    // Unique values. A key says who holds it; whether by a stored resource or by an open intent's
    // claim follows from those two records, so there is nothing that could disagree with them.

    /// Makes `holder` the holder of all these values, or reports the first that another one has.
    /// What it is known to hold `already` is not looked up.
    fn hold(
        &mut self,
        unique: &[UniqueKey],
        holder: Uuid,
        already: &[&[UniqueKey]],
    ) -> Result<(), Stop> {
        for key in unique.iter().filter(|key| !contain(already, key)) {
            let place = self.tenant.unique(key);
            match self.get(&place)? {
                Some(other) if other != holder.as_bytes() => {
                    let holder = decode_id(&other)?;
                    return Err(Conflict::UniqueTaken {
                        key: key.clone(),
                        holder,
                    }
                    .into());
                }
                Some(_) => {}
                None => {
                    self.own.insert(place, Some(holder.as_bytes().to_vec()));
                }
            }
        }
        Ok(())
    }

    /// Gives up those of these values that are in none of the lists to keep.
    fn release(
        &mut self,
        unique: &[UniqueKey],
        holder: Uuid,
        keep: &[&[UniqueKey]],
    ) -> Result<(), EngineError> {
        for key in unique.iter().filter(|key| !contain(keep, key)) {
            let place = self.tenant.unique(key);
            if self
                .get(&place)?
                .is_some_and(|other| other == holder.as_bytes())
            {
                self.own.insert(place, None);
            }
        }
        Ok(())
    }

    /// What the open intent of a resource claims.
    fn claims(&self, resource: Uuid) -> Result<Vec<UniqueKey>, EngineError> {
        Ok(self
            .intent(resource)?
            .map_or_else(Vec::new, |open| open.claims))
    }

    /// What the stored resource itself holds.
    fn held(&self, kind: Kind, id: Uuid) -> Result<Vec<UniqueKey>, EngineError> {
        let found = self.resource(kind, id)?;
        Ok(found.map_or_else(Vec::new, |found| found.head.unique))
    }

    // Creation order and counters.

    /// Gives a new resource its position.
    fn enter(&mut self, kind: Kind, id: Uuid) -> Result<u64, EngineError> {
        let place = self.tenant.tally(kind);
        let tally = Tally::decode(self.get(&place)?)?;
        let position = tally.position + 1;
        let tally = Tally {
            count: tally.count + 1,
            position,
        };
        self.own.insert(place, Some(tally.encode()));
        self.own.insert(
            self.tenant.order(kind, position),
            Some(id.as_bytes().to_vec()),
        );
        self.count_in_block(kind, position, |live| live.saturating_add(1))?;
        Ok(position)
    }

    /// Takes a resource out of the order.
    fn leave(&mut self, kind: Kind, position: u64) -> Result<(), EngineError> {
        let place = self.tenant.tally(kind);
        let tally = Tally::decode(self.get(&place)?)?;
        let tally = Tally {
            count: tally.count.saturating_sub(1),
            ..tally
        };
        self.own.insert(place, Some(tally.encode()));
        self.own.insert(self.tenant.order(kind, position), None);
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
        let live = change(live);
        self.own
            .insert(place, (live > 0).then(|| live.to_be_bytes().to_vec()));
        Ok(())
    }

    // Records.

    fn resource(&self, kind: Kind, id: Uuid) -> Result<Option<FoundResource>, EngineError> {
        let Some(body) = self.record(&self.tenant.resource(kind, id))? else {
            return Ok(None);
        };
        let (position, json) = split_position(&body)?;
        Ok(Some(FoundResource {
            position,
            head: decode(json)?,
        }))
    }

    fn intent(&self, resource: Uuid) -> Result<Option<IntentHead>, EngineError> {
        self.record(&self.tenant.intent(resource))?
            .map(|body| decode(&body))
            .transpose()
    }

    fn token(&self, hash: &[u8; 32]) -> Result<Option<Token>, EngineError> {
        self.record(&keys::token(hash))?
            .map(|body| decode(&body))
            .transpose()
    }

    fn tenants_token(&self, id: Uuid) -> Result<Option<Token>, EngineError> {
        match self.get(&self.tenant.token(id))? {
            Some(hash) => self.token(&decode_hash(&hash)?),
            None => Ok(None),
        }
    }

    fn write_token(&mut self, token: &Token) -> Result<(), EngineError> {
        let body = serde_json::to_vec(token).map_err(|e| EngineError::Damaged(e.to_string()))?;
        self.put_record(&keys::token(&token.hash), &body)
    }

    fn record(&self, record: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        chunks::read(record, |key| self.get(key), EngineError::Damaged)
    }

    fn put_record(&mut self, record: &[u8], body: &[u8]) -> Result<(), EngineError> {
        let before = self.chunk_count(record)?;
        for (number, chunk) in (0..).zip(chunks::split(body)) {
            self.own.insert(chunks::key(record, number), Some(chunk));
        }
        for number in chunks::count(body.len())..before {
            self.own.insert(chunks::key(record, number), None);
        }
        Ok(())
    }

    fn delete_record(&mut self, record: &[u8]) -> Result<(), EngineError> {
        for number in 0..self.chunk_count(record)? {
            self.own.insert(chunks::key(record, number), None);
        }
        Ok(())
    }

    fn chunk_count(&self, record: &[u8]) -> Result<u16, EngineError> {
        let chunk_0 = self.get(&chunks::key(record, 0))?;
        Ok(chunk_0
            .as_deref()
            .and_then(chunks::length)
            .map_or(0, chunks::count))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        if let Some(value) = self.own.get(key).or_else(|| self.batch.get(key)) {
            return Ok(value.clone());
        }
        if let Some(value) = self.seen.borrow().get(key) {
            return Ok(value.clone());
        }
        let value = self.engine.get(key)?;
        self.seen.borrow_mut().insert(key.to_vec(), value.clone());
        Ok(value)
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

fn contain(lists: &[&[UniqueKey]], key: &UniqueKey) -> bool {
    lists.iter().any(|list| list.contains(key))
}

/// A record's JSON as a value.
pub(super) fn decode<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(json).map_err(|e| EngineError::Damaged(e.to_string()))
}

/// A resource's record as position and JSON.
pub(super) fn split_position(body: &[u8]) -> Result<(u64, &[u8]), EngineError> {
    match body.split_first_chunk::<POSITION_BYTES>() {
        Some((position, json)) => Ok((u64::from_be_bytes(*position), json)),
        None => Err(EngineError::Damaged(
            "a resource without its position".to_owned(),
        )),
    }
}

/// The id that an index entry holds.
pub(super) fn decode_id(value: &[u8]) -> Result<Uuid, EngineError> {
    Uuid::from_slice(value).map_err(|_| EngineError::Damaged("an index entry".to_owned()))
}

/// The hash that a tenant's token entry holds.
pub(super) fn decode_hash(value: &[u8]) -> Result<[u8; 32], EngineError> {
    value
        .try_into()
        .map_err(|_| EngineError::Damaged("a token's entry".to_owned()))
}

/// How many resources of a block are live.
pub(super) fn decode_live(value: &[u8]) -> Result<u16, EngineError> {
    let bytes = value
        .try_into()
        .map_err(|_| EngineError::Damaged("a block's counter".to_owned()))?;
    Ok(u16::from_be_bytes(bytes))
}
