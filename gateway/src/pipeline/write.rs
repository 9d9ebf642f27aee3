//! Writes: load under the resource's turn, plan, make the intent durable, have the vendor told, commit
//! the outcome, render.
//!
//! Invariant: nothing is answered with success before the vendor holds it and the store knows it. A
//! request that is refused before the vendor was asked has changed nothing anywhere.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::auth::Admission;
use crate::dispatch::{
    Change, Concluded, Leftover, MEMBERS_PER_CALL, Turn, indexed_keys, resource_of, unique_keys,
};
use crate::scim::{self, Projection, Resource, ScimError};
use crate::store::{
    AttributeKey, CommitError, Conflict, Intent, Kind, MemberChange, Operation, Precondition,
    Stored, Write,
};

use super::answer::{
    Failure, duplicate, leftover_failure, no_such, store_failure, unavailable, vendor_failure,
};
use super::members::WantedMembers;
use super::{Admitted, Aim, Pipeline, Request, Response, Verb, Wanted};

/// The resource that a write works on, and the right to change it.
struct Work {
    id: Uuid,
    _turn: Turn,
    before: Option<Stored>,
    /// An attempt to create this resource that an earlier request left open.
    resume: Option<Intent>,
}

/// What is to be done: the first change, and member changes that follow because one change carries so
/// many members only.
struct Plan {
    change: Change,
    rest: Vec<MemberChange>,
}

impl Pipeline {
    /// POST, PUT, PATCH and DELETE of one resource (RFC 7644 sections 3.3, 3.5 and 3.6).
    pub(super) async fn write(
        &self,
        admitted: &Admitted<'_>,
        aim: Aim,
        document: Value,
        shown: &Projection,
    ) -> Result<Response, Failure> {
        let wanted = parse(admitted, aim, document)?;
        if let Some(stored) = self.members_alone(admitted, aim, &wanted).await? {
            return self.answer(admitted, aim, stored, shown).await;
        }
        let started = Instant::now();
        let admission = admitted.admission;
        let mut work = self.load(admitted, aim).await?;
        let Plan { change, rest } = loop {
            let plan = self.plan(admitted, aim, &wanted, &work).await?;
            if plan.change.is_local() {
                break plan;
            }
            let opened = self
                .dispatcher
                .open(admission, &plan.change, work.resume.as_ref());
            match opened.await {
                Ok(()) => break plan,
                Err(CommitError::Conflict(Conflict::UniqueTaken { key, holder }))
                    if matches!(aim.verb, Verb::Create) && holder != work.id =>
                {
                    // The holder may be an earlier attempt at this very create, whose outcome
                    // nobody knows: then this request takes it over.
                    drop(work);
                    work = self.take_over(admission, &key, holder).await?;
                }
                Err(error) => return Err(store_failure(&error)),
            }
        };
        let mut stored = match self.finish(admission, change, started).await? {
            Some(stored) => stored,
            None => return Ok(Response::new(204, None)),
        };
        for members in rest {
            let next = members_only(admission, &stored, members, &admitted.request.id);
            let id = stored.id;
            let done = self.carry_through(admission, next).await;
            stored = done.map_err(|failure| failure.after_a_part(id))?;
        }
        self.answer(admitted, aim, stored, shown).await
    }

    /// A change under way from its intent to its end: of a resource that stays.
    pub(super) async fn carry_through(
        &self,
        admission: &Admission,
        change: Change,
    ) -> Result<Stored, Failure> {
        let started = Instant::now();
        if !change.is_local() {
            let opened = self.dispatcher.open(admission, &change, None).await;
            opened.map_err(|error| store_failure(&error))?;
        }
        let id = change.intent.resource;
        let kind = change.intent.kind;
        self.finish(admission, change, started)
            .await?
            .ok_or_else(|| no_such(kind, &id.to_string()))
    }

    /// Tells the vendor of a change whose intent is open, and commits the outcome. A change that the
    /// vendor need not hear of is only stored. `None` when the resource is gone afterwards.
    async fn finish(
        &self,
        admission: &Admission,
        change: Change,
        started: Instant,
    ) -> Result<Option<Stored>, Failure> {
        if change.is_local() {
            return self.commit_locally(admission, change).await.map(Some);
        }
        let verdict = self.dispatcher.carry_out(admission, &change).await;
        let concluded = self
            .dispatcher
            .conclude(admission, &change, verdict, started)
            .await
            .map_err(|error| store_failure(&error))?;
        match concluded {
            Concluded::Stored(stored) => Ok(Some(*stored)),
            Concluded::Deleted => Ok(None),
            Concluded::Failed(error) => Err(vendor_failure(admission, &error)),
        }
    }

    /// A change that the vendor need not hear of: stored in one commit, or not at all when nothing
    /// differs.
    async fn commit_locally(
        &self,
        admission: &Admission,
        change: Change,
    ) -> Result<Stored, Failure> {
        let (Some(before), Some(desired)) = (change.before, change.desired) else {
            return Err(ScimError::status_with(500, "a local change without a resource").into());
        };
        let members = change.intent.members;
        let indexed = indexed_keys(before.kind, &desired);
        let document = desired.into_document();
        if document == before.document && members.is_empty() {
            return Ok(before);
        }
        let stored = Stored {
            version: before.version + 1,
            modified: Timestamp::now(),
            unique: change.intent.claims,
            indexed,
            document,
            ..before
        };
        let unchanged = Precondition::Version {
            kind: stored.kind,
            id: stored.id,
            version: stored.version - 1,
        };
        let mut writes = vec![Write::PutResource(stored.clone())];
        if !members.is_empty() {
            writes.push(Write::ChangeMembers {
                group: stored.id,
                change: members,
            });
        }
        admission
            .store()
            .commit(vec![unchanged], writes)
            .await
            .map_err(|error| store_failure(&error))?;
        Ok(stored)
    }

    /// Takes the turn on the resource, settles what an earlier attempt left open, and loads it.
    async fn load(&self, admitted: &Admitted<'_>, aim: Aim) -> Result<Work, Failure> {
        let admission = admitted.admission;
        let id = match aim.verb {
            Verb::Create => return self.fresh(admission).await,
            Verb::Patch(id) | Verb::Replace(id) | Verb::Delete(id) => id,
        };
        let turn = self.turn(admission, id).await?;
        let before = self.current(admission, aim.kind, id).await?;
        check_conditions(admitted.request, before.version)?;
        Ok(Work {
            id,
            _turn: turn,
            before: Some(before),
            resume: None,
        })
    }

    /// The resource as it is, once nothing of it is open any more. The caller holds its turn.
    pub(super) async fn current(
        &self,
        admission: &Admission,
        kind: Kind,
        id: Uuid,
    ) -> Result<Stored, Failure> {
        let store = admission.store();
        if let Some(intent) = store.intent(id).await.map_err(|e| unavailable(&e))? {
            self.dispatcher
                .settle_leftover(admission, intent)
                .await
                .map_err(|error| match error {
                    Leftover::Vendor(error) => leftover_failure(admission, &error),
                    Leftover::Store(error) => store_failure(&error),
                    Leftover::Read(error) => unavailable(&error),
                })?;
        }
        store
            .resource(kind, id)
            .await
            .map_err(|e| unavailable(&e))?
            .ok_or_else(|| no_such(kind, &id.to_string()))
    }

    async fn fresh(&self, admission: &Admission) -> Result<Work, Failure> {
        let id = Uuid::new_v4();
        Ok(Work {
            id,
            _turn: self.turn(admission, id).await?,
            before: None,
            resume: None,
        })
    }

    /// A create met a value that `holder` has. If `holder` is a resource, that is a duplicate. If
    /// it is an earlier create whose outcome is unknown, this request goes on in its place.
    async fn take_over(
        &self,
        admission: &Admission,
        key: &AttributeKey,
        holder: Uuid,
    ) -> Result<Work, Failure> {
        let turn = self.turn(admission, holder).await?;
        let store = admission.store();
        let held = store.resource(key.kind, holder).await;
        if held.map_err(|e| unavailable(&e))?.is_some() {
            return Err(duplicate(key));
        }
        match store.intent(holder).await.map_err(|e| unavailable(&e))? {
            Some(open) if open.operation == Operation::Create => Ok(Work {
                id: holder,
                _turn: turn,
                before: None,
                resume: Some(open),
            }),
            Some(_) => Err(duplicate(key)),
            None => self.fresh(admission).await,
        }
    }

    /// What the resource shall be, and what of that the vendor has to hear.
    async fn plan(
        &self,
        admitted: &Admitted<'_>,
        aim: Aim,
        wanted: &Wanted,
        work: &Work,
    ) -> Result<Plan, Failure> {
        let current = work.before.as_ref().map(resource_of);
        let (desired, members) = match (wanted, &current) {
            (Wanted::Resource(accepted), _) => {
                let members = WantedMembers::of(accepted, aim.kind);
                (Some(accepted.resource.clone()), members)
            }
            (Wanted::Patch(patch), Some(current)) => {
                let patched = scim::patch::apply(
                    admitted.resource_type(aim.kind)?,
                    current,
                    patch.clone(),
                    &work.id.to_string(),
                    admitted.reading,
                )?;
                (
                    Some(patched.resource),
                    WantedMembers::Changed(patched.members),
                )
            }
            (Wanted::Patch(_), None) | (Wanted::Nothing, _) => (None, WantedMembers::Unchanged),
        };
        // Silence in a PUT is no statement; a PATCH that removes `active` is one.
        let desired = match (desired, &current, aim.verb) {
            (Some(desired), Some(current), Verb::Replace(_)) if aim.kind == Kind::User => {
                Some(desired.keeping_active(current))
            }
            (desired, _, _) => desired,
        };
        let group = work.before.as_ref().map(|before| before.id);
        let admission = admitted.admission;
        let members = self
            .member_change(admission, work.id, group, members)
            .await?;
        let mut members = in_portions(members).into_iter();
        let claims = desired
            .as_ref()
            .map(|desired| unique_keys(aim.kind, desired))
            .unwrap_or_default();
        let intent = Intent {
            id: Uuid::now_v7(),
            tenant: admission.tenant().name.to_string(),
            resource: work.id,
            kind: aim.kind,
            operation: match aim.verb {
                Verb::Create => Operation::Create,
                Verb::Patch(_) | Verb::Replace(_) => Operation::Update,
                Verb::Delete(_) => Operation::Delete,
            },
            desired: desired.clone().map(Resource::into_document),
            members: members.next().unwrap_or_default(),
            uid: work.before.as_ref().and_then(|before| before.uid.clone()),
            base_version: work.before.as_ref().map(|before| before.version),
            claims,
            attempt: work.resume.as_ref().map_or(1, |open| open.attempt + 1),
            opened: Timestamp::now(),
        };
        let before = work.before.clone();
        let request_id = admitted.request.id.clone();
        Ok(Plan {
            change: Change::new(admission, intent, before, desired, request_id),
            rest: members.collect(),
        })
    }

    /// The answer to a write that was carried out. A PATCH of a group is 204 unless the client names
    /// attributes: the members of a large group are not sent back for each change (Entra fact 1.7).
    async fn answer(
        &self,
        admitted: &Admitted<'_>,
        aim: Aim,
        stored: Stored,
        shown: &Projection,
    ) -> Result<Response, Failure> {
        let asked = matches!(shown, Projection::Only(_));
        match (aim.verb, aim.kind) {
            (Verb::Create, _) => self.created(admitted, stored, shown).await,
            (Verb::Patch(_), Kind::Group) if !asked => Ok(Response {
                etag: Some(scim::etag(stored.version)),
                ..Response::new(204, None)
            }),
            _ => self.document(admitted, 200, stored, shown).await,
        }
    }
}

/// Understands a write's body as far as that goes without the resource.
fn parse(admitted: &Admitted<'_>, aim: Aim, document: Value) -> Result<Wanted, Failure> {
    match aim.verb {
        Verb::Delete(_) => Ok(Wanted::Nothing),
        Verb::Patch(_) => Ok(Wanted::Patch(document)),
        Verb::Create | Verb::Replace(_) => {
            let resource_type = admitted.resource_type(aim.kind)?;
            let accepted = resource_type.accept(document, admitted.reading)?;
            Ok(Wanted::Resource(accepted))
        }
    }
}

/// Cuts a member change into portions that one change carries, to the vendor in one call of the
/// connector and into the store in one batch; none for no change.
pub(super) fn in_portions(change: MemberChange) -> Vec<MemberChange> {
    let mut portions: Vec<MemberChange> = Vec::new();
    let mut room = 0;
    let removals = change.remove.into_iter().map(|member| (false, member));
    let additions = change.add.into_iter().map(|member| (true, member));
    for (added, member) in removals.chain(additions) {
        if room == 0 {
            portions.push(MemberChange::default());
            room = MEMBERS_PER_CALL;
        }
        room -= 1;
        if let Some(portion) = portions.last_mut() {
            match added {
                true => portion.add.push(member),
                false => portion.remove.push(member),
            }
        }
    }
    portions
}

/// The change of a group that leaves everything but its members as it is.
pub(super) fn members_only(
    admission: &Admission,
    group: &Stored,
    members: MemberChange,
    request_id: &str,
) -> Change {
    let intent = Intent {
        id: Uuid::now_v7(),
        tenant: admission.tenant().name.to_string(),
        resource: group.id,
        kind: group.kind,
        operation: Operation::Update,
        desired: Some(group.document.clone()),
        members,
        uid: group.uid.clone(),
        base_version: Some(group.version),
        claims: group.unique.clone(),
        attempt: 1,
        opened: Timestamp::now(),
    };
    let desired = resource_of(group);
    Change::new(
        admission,
        intent,
        Some(group.clone()),
        Some(desired),
        request_id.to_owned(),
    )
}

/// RFC 7644 section 3.14: a version that `If-Match` does not name, or that `If-None-Match` does, is
/// 412.
fn check_conditions(request: &Request, version: u64) -> Result<(), ScimError> {
    check_if_match(request, version)?;
    let known = request.if_none_match.as_deref();
    match known.is_none_or(|tags| scim::if_none_match_holds(tags, Some(version))) {
        true => Ok(()),
        false => Err(ScimError::status_with(
            412,
            "the resource is at a version that If-None-Match names",
        )),
    }
}

/// RFC 7644 section 3.14: a version that `If-Match` does not name is 412.
pub(super) fn check_if_match(request: &Request, version: u64) -> Result<(), ScimError> {
    let expected = request.if_match.as_deref();
    match expected.is_none_or(|tags| scim::if_match_holds(tags, Some(version))) {
        true => Ok(()),
        false => Err(ScimError::status_with(
            412,
            "the resource has changed since it was read (If-Match)",
        )),
    }
}
