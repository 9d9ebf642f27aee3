//! The rules of a commit: preconditions, uniqueness, indexes, one open intent per resource. Those
//! about creation order are in `order.rs`, those about members in `edges.rs`.
//!
//! Runs on the commit thread only, one write set after the other, each against a [`View`] of what
//! the engine holds and what those before it in the batch have done. That makes commits
//! serialisable without a lock per resource or name. Invariant: a write set that is refused leaves
//! no trace in the batch.
//!
//! Absent: encoding and checks of the write set itself, which `prepare.rs` has done before.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{self, Tenant};
use super::prepare::{POSITION_BYTES, Prepared, Step};
use super::{Batch, Engine, EngineError, chunks};
use crate::store::{AttributeKey, Conflict, FormUse, Kind, Precondition, Token};

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

/// What a batch, or one write set, has come to so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) writes: Batch,
    /// The keys of memberships by member among these writes, in order: who goes must find those
    /// that are not in the engine yet, and a hash map cannot be asked for a range.
    pub(super) memberships: BTreeSet<Vec<u8>>,
    /// Whether a group went that had members.
    pub(super) sweeps: bool,
}

/// Applies one write set to the draft, or leaves the draft as it is. Says whether it changed
/// anything.
pub(super) fn apply<E: Engine>(
    engine: &E,
    draft: &mut Draft,
    prepared: &Prepared,
) -> Result<bool, Stop> {
    let tenant = Tenant::new(&prepared.tenant).map_err(EngineError::Damaged)?;
    let mut view = View {
        engine,
        draft,
        own: Draft::default(),
        seen: RefCell::new(HashMap::new()),
        tenant,
    };
    for precondition in &prepared.preconditions {
        view.require(precondition)?;
    }
    for step in &prepared.steps {
        view.take(step, &prepared.preconditions)?;
    }
    let mut own = view.own;
    let changed = !own.writes.is_empty();
    draft.writes.extend(own.writes);
    draft.memberships.append(&mut own.memberships);
    draft.sweeps |= own.sweeps;
    Ok(changed)
}

/// What one write set sees: its own writes, over the batch's, over the engine's.
pub(super) struct View<'a, E> {
    pub(super) engine: &'a E,
    pub(super) draft: &'a Draft,
    pub(super) own: Draft,
    /// What the engine has answered: the rules ask for the same few records again and again, and
    /// the commit thread's time is what bounds the throughput of the whole gateway.
    seen: RefCell<HashMap<Vec<u8>, Option<Vec<u8>>>>,
    pub(super) tenant: Tenant<'a>,
}

/// The part of a resource's record that the rules need. Skips the document without building it.
#[derive(Deserialize)]
struct ResourceHead {
    version: u64,
    unique: Vec<AttributeKey>,
    #[serde(default)]
    indexed: Vec<AttributeKey>,
}

/// The part of an intent's record that the rules need.
#[derive(Deserialize)]
struct IntentHead {
    id: Uuid,
    kind: Kind,
    attempt: u32,
    claims: Vec<AttributeKey>,
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
                indexed,
                body,
            } => self.put_resource(*kind, *id, unique, indexed, body),
            Step::DeleteResource { kind, id } => self.delete_resource(*kind, *id),
            Step::OpenIntent {
                resource,
                claims,
                body,
            } => self.open_intent(*resource, claims, body, preconditions),
            Step::CloseIntent { resource } => self.close_intent(*resource),
            Step::ChangeMembers { group, add, remove } => {
                Ok(self.change_members(*group, add, remove)?)
            }
            Step::Log { id, body } => Ok(self.put_record(&self.tenant.log_entry(*id), body)?),
            Step::PutToken(token) => self.put_token(token),
            Step::TouchToken { id, last_used } => self.touch_token(*id, *last_used),
            Step::NoteForms { forms, at } => Ok(self.note_forms(forms, *at)?),
        }
    }

    fn put_resource(
        &mut self,
        kind: Kind,
        id: Uuid,
        unique: &[AttributeKey],
        indexed: &[AttributeKey],
        body: &[u8],
    ) -> Result<(), Stop> {
        let found = self.resource(kind, id)?;
        let claims = self.claims(id)?;
        let before = found.as_ref().map_or(&[][..], |found| &found.head.unique);
        self.hold(unique, id, &[&claims, before])?;
        let position = match &found {
            Some(found) => {
                self.release(before, id, &[unique, &claims])?;
                self.index(id, &found.head.indexed, indexed);
                found.position
            }
            None => {
                if kind == Kind::Group {
                    self.check_swept(id)?;
                }
                self.index(id, &[], indexed);
                self.enter(kind, id)?
            }
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
        self.index(id, &found.head.indexed, &[]);
        self.leave_groups(kind, id)?;
        if kind == Kind::Group {
            self.disband(id)?;
        }
        self.leave(kind, found.position)?;
        self.delete_record(&self.tenant.resource(kind, id))?;
        Ok(())
    }

    fn open_intent(
        &mut self,
        resource: Uuid,
        claims: &[AttributeKey],
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
        self.put(self.tenant.token(token.id), token.hash.to_vec());
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

    /// Times may come in any order: two requests that met a form commit in either.
    fn note_forms(&mut self, forms: &[String], at: Timestamp) -> Result<(), EngineError> {
        for form in forms {
            let place = self.tenant.form(form);
            let before = match self.get(&place)? {
                Some(body) => Some(decode::<FormUse>(&body)?),
                None => None,
            };
            let after = FormUse {
                form: form.clone(),
                first: before.as_ref().map_or(at, |before| before.first.min(at)),
                last: before.as_ref().map_or(at, |before| before.last.max(at)),
            };
            if before.as_ref() != Some(&after) {
                self.put(place, encode(&after)?);
            }
        }
        Ok(())
    }

    // Unique values. A key says who holds it; whether by a stored resource or by an open intent's
    // claim follows from those two records, so there is nothing that could disagree with them.

    /// Makes `holder` the holder of all these values, or reports the first that another one has.
    /// What it is known to hold `already` is not looked up.
    fn hold(
        &mut self,
        unique: &[AttributeKey],
        holder: Uuid,
        already: &[&[AttributeKey]],
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
                    self.put(place, holder.as_bytes().to_vec());
                }
            }
        }
        Ok(())
    }

    /// Gives up those of these values that are in none of the lists to keep.
    fn release(
        &mut self,
        unique: &[AttributeKey],
        holder: Uuid,
        keep: &[&[AttributeKey]],
    ) -> Result<(), EngineError> {
        for key in unique.iter().filter(|key| !contain(keep, key)) {
            let place = self.tenant.unique(key);
            if self
                .get(&place)?
                .is_some_and(|other| other == holder.as_bytes())
            {
                self.remove(place);
            }
        }
        Ok(())
    }

    /// What the open intent of a resource claims.
    fn claims(&self, resource: Uuid) -> Result<Vec<AttributeKey>, EngineError> {
        Ok(self
            .intent(resource)?
            .map_or_else(Vec::new, |open| open.claims))
    }

    /// What the stored resource itself holds.
    fn held(&self, kind: Kind, id: Uuid) -> Result<Vec<AttributeKey>, EngineError> {
        let found = self.resource(kind, id)?;
        Ok(found.map_or_else(Vec::new, |found| found.head.unique))
    }

    // Plain indexes. The record says which entries a resource has, so that none needs to be read.

    /// Makes the index entries of a resource these instead of those before.
    fn index(&mut self, id: Uuid, before: &[AttributeKey], after: &[AttributeKey]) {
        if before == after {
            return;
        }
        let old: HashSet<&AttributeKey> = before.iter().collect();
        let new: HashSet<&AttributeKey> = after.iter().collect();
        for key in old.difference(&new) {
            self.remove(self.tenant.index(key, id));
        }
        for key in new.difference(&old) {
            self.put(self.tenant.index(key, id), Vec::new());
        }
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
        self.put_record(&keys::token(&token.hash), &encode(token)?)
    }

    fn record(&self, record: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        chunks::read(record, |key| self.get(key), EngineError::Damaged)
    }

    fn put_record(&mut self, record: &[u8], body: &[u8]) -> Result<(), EngineError> {
        let before = self.chunk_count(record)?;
        for (number, chunk) in (0..).zip(chunks::split(body)) {
            self.put(chunks::key(record, number), chunk);
        }
        for number in chunks::count(body.len())..before {
            self.remove(chunks::key(record, number));
        }
        Ok(())
    }

    fn delete_record(&mut self, record: &[u8]) -> Result<(), EngineError> {
        for number in 0..self.chunk_count(record)? {
            self.remove(chunks::key(record, number));
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

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.own.writes.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.own.writes.insert(key, None);
    }

    fn written(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        let own = self.own.writes.get(key);
        own.or_else(|| self.draft.writes.get(key))
    }

    /// Whether a key is there. For those that are asked for once, and may be many: the answer is
    /// not kept.
    pub(super) fn has(&self, key: &[u8]) -> Result<bool, EngineError> {
        match self.written(key) {
            Some(value) => Ok(value.is_some()),
            None => Ok(self.engine.get(key)?.is_some()),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        if let Some(value) = self.written(key) {
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

fn contain(lists: &[&[AttributeKey]], key: &AttributeKey) -> bool {
    lists.iter().any(|list| list.contains(key))
}

/// A record's JSON as a value.
pub(super) fn decode<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(json).map_err(|e| EngineError::Damaged(e.to_string()))
}

/// A value as a record's JSON.
fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(value).map_err(|e| EngineError::Damaged(e.to_string()))
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
