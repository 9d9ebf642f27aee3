//! What somebody has removed at the vendor is made again; and a group's members are told in portions,
//! past those whom the vendor refuses.
//!
//! A group is first made as the store has it, without those who shall leave, and only then changed:
//! an attempt that ends in between leaves a group under its old name, which the next one finds and
//! goes on with. Invariant: nobody whom the change removes comes in, not for a moment; one member who
//! is unknown to the vendor keeps nobody else out.
//!
//! Absent: a limit of members. A large group takes as many calls as it has portions of
//! [`MEMBERS_PER_CALL`], in one change.

use std::collections::HashSet;

use uuid::Uuid;

use crate::auth::Admission;
use crate::connector::{Account, CallError, ErrorKind, GroupMember};
use crate::plan::Delta;
use crate::scim::Resource;
use crate::store::{Kind, Member, PAGE_MAX, StoreError};

use super::calls::Target;
use super::{Change, MEMBERS_PER_CALL, failed, is_final, kind};

/// How many members whom the vendor refuses are left out before the group is given up: each costs a
/// search through his portion, and a vendor that refuses more has another trouble.
const REFUSED_MEMBERS_MAX: usize = 16;

impl Change {
    /// What an earlier attempt to make it anew may have left, by the name before the change or after
    /// it.
    pub(super) async fn find_anew(
        &self,
        admission: &Admission,
    ) -> Result<Option<Account>, CallError> {
        let before = self.resource_before();
        if let Some(before) = &before
            && let Some(account) = self.find(admission, before).await?
        {
            return Ok(Some(account));
        }
        match &self.desired {
            Some(desired) => self.find(admission, desired).await,
            None => Ok(None),
        }
    }

    /// Makes an account or group anew that is gone at the vendor, as the client wants it. `found`: it
    /// is there again, under another uid.
    pub(super) async fn make_anew(
        &self,
        admission: &Admission,
        found: Option<Account>,
    ) -> Result<String, CallError> {
        match (self.intent.kind, &self.desired, self.resource_before()) {
            (Kind::Group, Some(desired), Some(before)) => {
                let uid = match found {
                    Some(account) => account.uid,
                    None => self.create_as(admission, &before, Vec::new()).await?,
                };
                let made = self.make_group_whole(admission, &uid, &before, desired);
                made.await.map_err(|error| half_done(error, &uid))
            }
            // The connector adopts what is there.
            _ => self.create(admission).await,
        }
    }

    /// Brings all who are in the group into it, but those who shall leave, and then does what the
    /// change asks for.
    async fn make_group_whole(
        &self,
        admission: &Admission,
        uid: &str,
        before: &Resource,
        desired: &Resource,
    ) -> Result<String, CallError> {
        if self.tells_members {
            let refused = self.bring_everybody_in(admission, uid, before).await?;
            if let Some(first) = refused.first() {
                tracing::error!(
                    tenant.id = %admission.tenant().name, operation.id = %self.intent.id,
                    members = refused.len(), %first,
                    "a group was made anew without members whom the vendor refuses"
                );
            }
        }
        let target = Target {
            uid: uid.to_owned(),
            desired,
            deltas: &self.deltas,
            add: self.add(),
            // An earlier attempt may have brought them in.
            remove: self.remove(),
        };
        match target.is_empty() {
            true => Ok(uid.to_owned()),
            false => self.step(admission, target).await,
        }
    }

    /// Brings in who is in the group by the store, but for those who shall leave. The uids of those
    /// whom the vendor refuses.
    async fn bring_everybody_in(
        &self,
        admission: &Admission,
        uid: &str,
        before: &Resource,
    ) -> Result<Vec<String>, CallError> {
        let store = admission.store();
        let leaving: HashSet<Uuid> = self.intent.members.remove.iter().map(|it| it.id).collect();
        let mut refused = Vec::new();
        let mut after: Option<Member> = None;
        loop {
            let page = store
                .members(self.intent.resource, None, after.as_ref(), 0, PAGE_MAX)
                .await
                .map_err(|error| unreadable(&error))?;
            let Some(last) = page.last() else {
                return Ok(refused);
            };
            after = Some(last.clone());
            let ids = page.iter().map(|member| member.id);
            let ids: Vec<Uuid> = ids.filter(|id| !leaving.contains(id)).collect();
            let members = store.identify(&ids).await;
            let members = members.map_err(|error| unreadable(&error))?;
            let members: Vec<Member> = members.into_iter().flatten().collect();
            for portion in members.chunks(MEMBERS_PER_CALL) {
                let portion = self.told(portion);
                self.bring_in(admission, uid, before, portion, &mut refused)
                    .await
                    .map_err(|error| match is_final(&error) {
                        // Whoever sends this change is not to blame for who was there before it.
                        true => failed(ErrorKind::NotFound, cannot_be_whole(&error), Some(uid)),
                        false => error,
                    })?;
            }
        }
    }

    /// Has members come in. Where the vendor refuses some, the others come in all the same: halves
    /// are tried until those are found; their uids go to `refused`.
    async fn bring_in(
        &self,
        admission: &Admission,
        uid: &str,
        desired: &Resource,
        members: Vec<GroupMember>,
        refused: &mut Vec<String>,
    ) -> Result<(), CallError> {
        let mut portions = vec![members];
        while let Some(mut portion) = portions.pop() {
            if portion.is_empty() {
                continue;
            }
            let target = Target {
                add: portion.clone(),
                ..Target::nothing(uid, desired)
            };
            let Err(error) = self.step(admission, target).await else {
                continue;
            };
            if !is_about_data(&error) {
                return Err(error);
            }
            if portion.len() > 1 {
                let rest = portion.split_off(portion.len() / 2);
                portions.extend([rest, portion]);
                continue;
            }
            refused.extend(portion.into_iter().map(|member| member.uid));
            if refused.len() > REFUSED_MEMBERS_MAX {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes a refused change of a group back step by step, when the vendor refuses to do it at once:
    /// who came in goes first. What is refused for good is returned in words.
    pub(super) async fn take_back_apart(
        &self,
        admission: &Admission,
        uid: &str,
        before: &Resource,
        deltas: &[Delta],
    ) -> Result<Vec<String>, CallError> {
        let mut remains = Vec::new();
        let leave = Target {
            remove: self.add(),
            ..Target::nothing(uid, before)
        };
        let set_back = Target {
            deltas,
            ..Target::nothing(uid, before)
        };
        for (target, what) in [(leave, "added members"), (set_back, "attributes")] {
            if target.is_empty() {
                continue;
            }
            match self.step(admission, target).await {
                Err(error) if is_final(&error) => remains.push(format!("{what}: {error}")),
                done => drop(done?),
            }
        }
        let mut refused = Vec::new();
        let back = self.bring_in(admission, uid, before, self.remove(), &mut refused);
        match back.await {
            Err(error) if is_final(&error) => remains.push(format!("removed members: {error}")),
            done => done?,
        }
        if !refused.is_empty() {
            remains.push(format!("removed members: {}", refused.join(", ")));
        }
        Ok(remains)
    }
}

/// The error of a change that has begun to make this group.
fn half_done(error: CallError, uid: &str) -> CallError {
    match error {
        CallError::Refused(mut refusal) => {
            refusal.uid = Some(uid.to_owned());
            CallError::Refused(refusal)
        }
        CallError::Busy => failed(ErrorKind::Unavailable, error.to_string(), Some(uid)),
        unclear => unclear,
    }
}

/// The vendor refuses what it was told, not whom it was asked about or to do it at all.
fn is_about_data(error: &CallError) -> bool {
    matches!(
        kind(error),
        Some(ErrorKind::Invalid | ErrorKind::AlreadyExists | ErrorKind::Conflict)
    )
}

fn unreadable(error: &StoreError) -> CallError {
    let message = format!("the gateway's store is not available: {error}");
    failed(ErrorKind::Unavailable, message, None)
}

fn cannot_be_whole(error: &CallError) -> String {
    format!("the group is gone at the vendor and cannot be made anew with all its members: {error}")
}
