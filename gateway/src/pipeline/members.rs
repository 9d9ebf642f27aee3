//! The members of a group: what a request says about them becomes a set of edges to add and to
//! remove.
//!
//! Invariant: only what differs from the store is left in a [`MemberChange`], and every added member
//! is a resource of the tenant. A membership that cannot be written is refused, never dropped
//! (Entra fact 2.6). Absent: the edges themselves, which are the store's.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::auth::Admission;
use crate::scim::{self, Accepted, MemberNet, MemberOps, ScimError};
use crate::store::{Kind, Member, MemberChange, PAGE_MAX};

use super::answer::{Failure, no_groups, no_such, unavailable};
use super::route::resource_id;
use super::{Admitted, Aim, Pipeline, Verb, Wanted};

/// What a request says about a group's members.
pub(super) enum WantedMembers {
    /// Nothing.
    Unchanged,
    /// These and no others.
    Exactly(Vec<String>),
    /// These operations.
    Changed(MemberOps),
}

impl WantedMembers {
    /// A PUT that leaves the members out clears them (RFC 7644 section 3.5.1); a POST has none then.
    pub(super) fn of(accepted: &Accepted, kind: Kind) -> Self {
        match kind {
            Kind::User => Self::Unchanged,
            Kind::Group => Self::Exactly(accepted.members.clone().unwrap_or_default()),
        }
    }
}

impl Pipeline {
    /// Carries a PATCH out that touches nothing but members, and names those it touches: such changes
    /// commute, so requests that wait for the same group travel together. `None` for every other
    /// request.
    pub(super) async fn members_alone(
        &self,
        admitted: &Admitted<'_>,
        aim: Aim,
        wanted: &Wanted,
    ) -> Result<Option<crate::store::Stored>, Failure> {
        let (Kind::Group, Verb::Patch(id), Wanted::Patch(patch)) = (aim.kind, aim.verb, wanted)
        else {
            return Ok(None);
        };
        let conditional =
            admitted.request.if_match.is_some() || admitted.request.if_none_match.is_some();
        if conditional {
            return Ok(None);
        }
        let admission = admitted.admission;
        let group = admission.store().resource(Kind::Group, id).await;
        let group = group
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| no_such(Kind::Group, &id.to_string()))?;
        let current = crate::dispatch::resource_of(&group);
        let patched = scim::patch::apply(
            admitted.resource_type(Kind::Group)?,
            &current,
            patch.clone(),
            &id.to_string(),
            admitted.reading,
        )?;
        let Some(net) = patched.members.net().filter(|net| !net.clear) else {
            return Ok(None);
        };
        if patched.resource != current || (net.add.is_empty() && net.remove.is_empty()) {
            return Ok(None);
        }
        let change = self.named(admission, id, &net).await?;
        let travelled = self.travel(admission, id, change, &admitted.request.id);
        travelled.await.map(Some)
    }

    /// What has to change so that the group has the members that the request wants. `group` is none
    /// for a group that does not exist yet, `id` what it is or will be called.
    pub(super) async fn member_change(
        &self,
        admission: &Admission,
        id: Uuid,
        group: Option<Uuid>,
        wanted: WantedMembers,
    ) -> Result<MemberChange, Failure> {
        let exactly = match wanted {
            WantedMembers::Unchanged => return Ok(MemberChange::default()),
            WantedMembers::Changed(operations) if operations.is_empty() => {
                return Ok(MemberChange::default());
            }
            WantedMembers::Exactly(ids) => ids,
            WantedMembers::Changed(operations) => match operations.net() {
                Some(net) if !net.clear => {
                    let change = self.named(admission, id, &net).await?;
                    return self.effective(admission, id, change).await;
                }
                Some(net) => net.add,
                None => {
                    let group_type = admission.profile().group().ok_or_else(no_groups)?;
                    let mut members = self.member_objects(admission, id).await?;
                    operations.apply_to(group_type, &mut members)?;
                    members.iter().filter_map(id_of).collect()
                }
            },
        };
        let mut wanted = self.existing(admission, id, &exactly).await?;
        let Some(group) = group else {
            return Ok(MemberChange {
                add: wanted,
                remove: Vec::new(),
            });
        };
        let held = self.all_members(admission, group).await?;
        let wanted_ids: HashSet<Uuid> = wanted.iter().map(|member| member.id).collect();
        let lost: Vec<Uuid> = held
            .iter()
            .map(|member| member.id)
            .filter(|id| !wanted_ids.contains(id))
            .collect();
        let held: HashSet<Uuid> = held.into_iter().map(|member| member.id).collect();
        wanted.retain(|member| !held.contains(&member.id));
        Ok(MemberChange {
            add: wanted,
            remove: self.identify(admission, &lost).await?,
        })
    }

    /// What of a change differs from what the store holds.
    pub(super) async fn effective(
        &self,
        admission: &Admission,
        group: Uuid,
        mut change: MemberChange,
    ) -> Result<MemberChange, Failure> {
        let asked: Vec<Uuid> = change
            .add
            .iter()
            .chain(&change.remove)
            .map(|member| member.id)
            .collect();
        let held = admission.store().which_are_members(group, &asked).await;
        let held = held.map_err(|error| unavailable(&error))?;
        let held: HashMap<Uuid, bool> = asked
            .into_iter()
            .zip(held.iter().map(Option::is_some))
            .collect();
        let is_held = |member: &Member| held.get(&member.id) == Some(&true);
        change.add.retain(|member| !is_held(member));
        change.remove.retain(is_held);
        Ok(change)
    }

    /// The same change with the members as the vendor knows them now. Who was deleted since the request
    /// came is left out.
    pub(super) async fn told_now(
        &self,
        admission: &Admission,
        change: MemberChange,
    ) -> Result<MemberChange, Failure> {
        let ids = |members: &[Member]| members.iter().map(|member| member.id).collect::<Vec<_>>();
        Ok(MemberChange {
            add: self.identify(admission, &ids(&change.add)).await?,
            remove: self.identify(admission, &ids(&change.remove)).await?,
        })
    }

    /// The resources that shall be members. One that does not exist cannot be.
    async fn existing(
        &self,
        admission: &Admission,
        group: Uuid,
        ids: &[String],
    ) -> Result<Vec<Member>, Failure> {
        let refused = |id: &str, why: &str| -> Failure {
            let detail = format!("members: {id:?} {why}");
            ScimError::invalid_value(detail).into()
        };
        let absent = "is no user or group of this tenant; create it first";
        let parsed = ids
            .iter()
            .map(|id| resource_id(id).ok_or_else(|| refused(id, absent)))
            .collect::<Result<Vec<Uuid>, Failure>>()?;
        if parsed.contains(&group) {
            return Err(refused(
                &group.to_string(),
                "is the group itself, which cannot be its own member",
            ));
        }
        let found = admission.store().identify(&parsed).await;
        let found = found.map_err(|error| unavailable(&error))?;
        found
            .into_iter()
            .zip(ids)
            .map(|(member, id)| member.ok_or_else(|| refused(id, absent)))
            .collect()
    }

    /// The members that a request names. Who shall go and does not exist is none already.
    async fn named(
        &self,
        admission: &Admission,
        group: Uuid,
        net: &MemberNet,
    ) -> Result<MemberChange, Failure> {
        let leaving: Vec<Uuid> = net.remove.iter().filter_map(|id| resource_id(id)).collect();
        Ok(MemberChange {
            add: self.existing(admission, group, &net.add).await?,
            remove: self.identify(admission, &leaving).await?,
        })
    }

    async fn identify(&self, admission: &Admission, ids: &[Uuid]) -> Result<Vec<Member>, Failure> {
        let found = admission.store().identify(ids).await;
        let found = found.map_err(|error| unavailable(&error))?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Every member of a group, read in pages.
    async fn all_members(
        &self,
        admission: &Admission,
        group: Uuid,
    ) -> Result<Vec<Member>, Failure> {
        let mut members: Vec<Member> = Vec::new();
        loop {
            let page = admission
                .store()
                .members(group, None, members.last(), 0, PAGE_MAX)
                .await
                .map_err(|error| unavailable(&error))?;
            if page.is_empty() {
                return Ok(members);
            }
            members.extend(page);
            tokio::task::yield_now().await;
        }
    }

    /// Every member of a group as a filter sees it.
    pub(super) async fn member_objects(
        &self,
        admission: &Admission,
        group: Uuid,
    ) -> Result<Vec<Value>, Failure> {
        let members = self.all_members(admission, group).await?;
        Ok(members.iter().map(member_object).collect())
    }
}

/// A member as a filter sees it.
pub(super) fn member_object(member: &Member) -> Value {
    let kind = crate::dispatch::resource_kind(member.kind);
    json!({ "value": member.id.to_string(), "type": kind.as_str() })
}

fn id_of(member: &Value) -> Option<String> {
    member.get("value")?.as_str().map(str::to_owned)
}
