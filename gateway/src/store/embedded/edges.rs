//! Who is a member of what: the rules of a commit about memberships, and the sweep behind it.
//!
//! A membership is two entries, one by the group and one by the member, and a group has a counter
//! per kind. Invariant: both entries are there or neither is; between two commits every membership
//! is one of a member that exists in a group that exists, or in one that a sweep entry names; the
//! counters of a group that exists are exact.
//!
//! Nothing here depends on how many members a group has. So a group that goes leaves its
//! memberships behind under a sweep entry, for the commit thread to take away, [`SWEEP_EDGES`] with
//! each batch; reads skip them until then. Absent: documents, versions, and what members mean.

use std::ops::ControlFlow;

use uuid::Uuid;

use super::apply::{Draft, Stop, View};
use super::keys;
use super::{Batch, Direction, Engine, EngineError, chunks};
use crate::store::{Conflict, Kind};

/// How many memberships of groups that are gone are swept away with one batch: some ten
/// milliseconds of sled's, which is what a write set can be delayed by.
pub(super) const SWEEP_EDGES: usize = 500;

impl<E: Engine> View<'_, E> {
    /// See [`Write::ChangeMembers`](crate::store::Write::ChangeMembers).
    pub(super) fn change_members(
        &mut self,
        group: Uuid,
        add: &[(Kind, Uuid)],
        remove: &[(Kind, Uuid)],
    ) -> Result<(), EngineError> {
        if !self.exists(Kind::Group, group)? {
            return Ok(());
        }
        let (mut users, mut groups) = (0, 0);
        let mut count = |kind, by: i64| match kind {
            Kind::User => users += by,
            Kind::Group => groups += by,
        };
        for (kind, member) in remove {
            if self.has(&self.tenant.member(group, *kind, *member))? {
                self.disconnect(group, *kind, *member);
                count(*kind, -1);
            }
        }
        for (kind, member) in add {
            let place = self.tenant.member(group, *kind, *member);
            if !self.has(&place)? && self.exists(*kind, *member)? {
                self.put(place, Vec::new());
                let membership = self.tenant.membership(*member, group);
                self.own.memberships.insert(membership.clone());
                self.put(membership, vec![keys::kind_byte(*kind)]);
                count(*kind, 1);
            }
        }
        self.count_members(group, Kind::User, users)?;
        self.count_members(group, Kind::Group, groups)
    }

    /// Takes a user or group that goes out of all groups.
    pub(super) fn leave_groups(&mut self, kind: Kind, member: Uuid) -> Result<(), EngineError> {
        for group in self.groups_of(member)? {
            self.disconnect(group, kind, member);
            self.count_members(group, kind, -1)?;
        }
        Ok(())
    }

    /// Leaves the members of a group that goes to the sweep.
    pub(super) fn disband(&mut self, group: Uuid) -> Result<(), EngineError> {
        for kind in [Kind::User, Kind::Group] {
            let place = self.tenant.member_count(group, kind);
            if self.get(&place)?.is_some() {
                self.remove(place);
                self.put(self.tenant.sweep(group), Vec::new());
                self.own.sweeps = true;
            }
        }
        Ok(())
    }

    /// A group whose id still has memberships to be swept away would begin with those. Ids are not
    /// given out twice, so this is a defect of the caller's that must not become a group with
    /// strangers in it.
    pub(super) fn check_swept(&self, group: Uuid) -> Result<(), Stop> {
        match self.has(&self.tenant.sweep(group))? {
            true => Err(Conflict::Exists { id: group }.into()),
            false => Ok(()),
        }
    }

    fn disconnect(&mut self, group: Uuid, kind: Kind, member: Uuid) {
        self.remove(self.tenant.member(group, kind, member));
        let membership = self.tenant.membership(member, group);
        self.own.memberships.insert(membership.clone());
        self.remove(membership);
    }

    fn count_members(&mut self, group: Uuid, kind: Kind, by: i64) -> Result<(), EngineError> {
        if by == 0 {
            return Ok(());
        }
        let place = self.tenant.member_count(group, kind);
        // A group that is gone has no counter, and gets none.
        match decode_count(self.get(&place)?)?.saturating_add_signed(by) {
            0 => self.remove(place),
            count => self.put(place, count.to_be_bytes().to_vec()),
        }
        Ok(())
    }

    fn exists(&self, kind: Kind, id: Uuid) -> Result<bool, EngineError> {
        self.has(&chunks::key(&self.tenant.resource(kind, id), 0))
    }

    /// The groups of a member, those included that are still to be swept.
    fn groups_of(&self, member: Uuid) -> Result<Vec<Uuid>, EngineError> {
        let range = self.tenant.memberships(member, None);
        let mut groups = Vec::new();
        let (draft, own): (&Draft, &Draft) = (self.draft, &self.own);
        self.engine
            .scan(range.clone(), Direction::Forwards, &mut |key, _| {
                if !draft.memberships.contains(key) && !own.memberships.contains(key) {
                    groups.extend(keys::id_of(key));
                }
                ControlFlow::Continue(())
            })?;
        for key in draft.memberships.range(range.clone()) {
            if !own.memberships.contains(key) && self.has(key)? {
                groups.extend(keys::id_of(key));
            }
        }
        for key in own.memberships.range(range) {
            if self.has(key)? {
                groups.extend(keys::id_of(key));
            }
        }
        Ok(groups)
    }
}

/// How many members a counter says.
pub(super) fn decode_count(value: Option<Vec<u8>>) -> Result<u64, EngineError> {
    let Some(value) = value else {
        return Ok(0);
    };
    let bytes = value.as_slice().try_into();
    let bytes = bytes.map_err(|_| EngineError::Damaged("a counter of members".to_owned()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Groups whose memberships are still to be swept away, the first so many: the keys that say so.
pub(super) fn sweeps<E: Engine>(engine: &E, limit: usize) -> Result<Vec<Vec<u8>>, EngineError> {
    let mut sweeps = Vec::new();
    engine.scan(keys::sweeps(), Direction::Forwards, &mut |key, _| {
        sweeps.push(key.to_vec());
        if sweeps.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(sweeps)
}

/// Adds to a batch that up to [`SWEEP_EDGES`] memberships go whose group is gone already. Says
/// whether there may be more.
///
/// What is to be swept is what the engine holds: nothing is added to a group that is gone, so what
/// the batch has of it can only be removals.
pub(super) fn sweep<E: Engine>(engine: &E, batch: &mut Batch) -> Result<bool, EngineError> {
    let mut left = SWEEP_EDGES;
    let sweeps = sweeps(engine, SWEEP_EDGES)?;
    let more = !sweeps.is_empty();
    for sweep in sweeps {
        let Some((tenant, group)) = keys::swept(&sweep) else {
            let what = "an entry about a group that is gone";
            return Err(EngineError::Damaged(what.to_owned()));
        };
        let range = tenant.members(group, None, None);
        engine.scan(range, Direction::Forwards, &mut |key, _| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            if let Some(member) = keys::id_of(key) {
                batch.insert(tenant.membership(member, group), None);
            }
            batch.insert(key.to_vec(), None);
            ControlFlow::Continue(())
        })?;
        if left == 0 {
            break;
        }
        batch.insert(sweep, None);
    }
    Ok(more)
}
