//! What the connector is asked for a change: users by the `accounts` interface, groups by `groups`.
//!
//! Invariant: what leaves here is cut down to the app's profile. Absent: when to ask, and what the
//! replies mean.

use serde_json::Value;
use uuid::Uuid;

use crate::auth::Admission;
use crate::connector::{Account, Call, CallError, GroupMember, Reply};
use crate::plan::Delta;
use crate::scim::Resource;
use crate::store::{Kind, Member, PAGE_MAX};

use super::{Change, resource_kind, resource_of};

/// How many members one call of the connector is told of.
const MEMBERS_PER_CALL: usize = 500;

/// What an account or a group shall become.
pub(super) struct Target<'a> {
    pub(super) uid: String,
    pub(super) desired: &'a Resource,
    pub(super) deltas: &'a [Delta],
    pub(super) add: Vec<GroupMember>,
    pub(super) remove: Vec<GroupMember>,
}

impl Change {
    fn kind(&self) -> Kind {
        self.intent.kind
    }

    /// One call of the connector on behalf of this change.
    pub(super) async fn ask(&self, admission: &Admission, call: Call) -> Result<Reply, CallError> {
        let intent = &self.intent;
        admission.call(intent.id, intent.attempt, call).await
    }

    /// Has the account or group made. The uid that the vendor gave it.
    pub(super) async fn create(&self, admission: &Admission) -> Result<String, CallError> {
        let desired = self.told_json(admission, self.desired.as_ref());
        let call = match self.kind() {
            Kind::User => Call::Create { desired },
            Kind::Group => Call::CreateGroup {
                desired,
                members: self.add(),
            },
        };
        uid_of(self.ask(admission, call).await?)
    }

    /// Has the account or group brought to a state.
    pub(super) async fn update(
        &self,
        admission: &Admission,
        target: Target<'_>,
    ) -> Result<String, CallError> {
        let desired = self.told_json(admission, Some(target.desired));
        let deltas = json(&target.deltas);
        let uid = target.uid;
        let call = match self.kind() {
            Kind::User => Call::Update {
                uid,
                desired,
                deltas,
            },
            Kind::Group => Call::UpdateGroup {
                uid,
                desired,
                deltas,
                add: target.add,
                remove: target.remove,
            },
        };
        uid_of(self.ask(admission, call).await?)
    }

    /// Has the account or group taken away.
    pub(super) async fn delete(
        &self,
        admission: &Admission,
        uid: String,
    ) -> Result<String, CallError> {
        let call = match self.kind() {
            Kind::User => Call::Delete { uid },
            Kind::Group => Call::DeleteGroup { uid },
        };
        match self.ask(admission, call).await? {
            Reply::Deleted(uid) => Ok(uid),
            other => Err(unexpected(&other)),
        }
    }

    /// What the vendor holds of it now: by its uid, or else by the profile's matching attribute.
    pub(super) async fn look_up(
        &self,
        admission: &Admission,
    ) -> Result<Option<Account>, CallError> {
        let call = match (self.intent.uid.clone(), &self.desired, self.kind()) {
            (Some(uid), _, Kind::User) => Call::Get { uid },
            (Some(uid), _, Kind::Group) => Call::GetGroup { uid },
            (None, Some(desired), kind) => match self.find(admission, desired) {
                Some((attribute, value)) => match kind {
                    Kind::User => Call::Find { attribute, value },
                    Kind::Group => Call::FindGroup { attribute, value },
                },
                None => return Ok(None),
            },
            (None, None, _) => return Ok(None),
        };
        match self.ask(admission, call).await? {
            Reply::Found(account) => Ok(account),
            Reply::Accounts(accounts) => Ok(accounts.into_iter().next()),
            other => Err(unexpected(&other)),
        }
    }

    /// The attribute and the value by which the vendor finds it.
    fn find(&self, admission: &Admission, desired: &Resource) -> Option<(String, String)> {
        let kind = resource_kind(self.kind());
        let profile = admission.profile();
        let matching = profile.matching(kind)?;
        let resource_type = profile.resource_type(kind)?;
        let value = matching.path.value_in(resource_type, desired.as_map())?;
        let value = match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        Some((matching.text.clone(), value))
    }

    /// Makes a group anew that somebody has removed at the vendor, with all the members that it has
    /// here, and then does what the change asks for.
    pub(super) async fn make_group_anew(&self, admission: &Admission) -> Result<String, CallError> {
        let Some(desired) = &self.desired else {
            return Err(CallError::absent("the group is gone".to_owned()));
        };
        let uid = self.create(admission).await?;
        let mut after: Option<Member> = None;
        loop {
            let store = admission.store();
            let page = store
                .members(self.intent.resource, None, after.as_ref(), 0, PAGE_MAX)
                .await
                .map_err(|error| CallError::Contract(error.to_string()))?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            let ids: Vec<Uuid> = page.into_iter().map(|member| member.id).collect();
            let members = store.identify(&ids).await;
            let members = members.map_err(|error| CallError::Contract(error.to_string()))?;
            let members: Vec<Member> = members.into_iter().flatten().collect();
            for members in members.chunks(MEMBERS_PER_CALL) {
                let target = Target {
                    uid: uid.clone(),
                    desired,
                    deltas: &[],
                    add: self.told(members),
                    remove: Vec::new(),
                };
                self.update(admission, target).await?;
            }
        }
        let remove = self.remove();
        if !remove.is_empty() {
            let target = Target {
                uid: uid.clone(),
                desired,
                deltas: &[],
                add: Vec::new(),
                remove,
            };
            self.update(admission, target).await?;
        }
        Ok(uid)
    }

    /// The resource as the app hears of it.
    fn told_json(&self, admission: &Admission, resource: Option<&Resource>) -> String {
        let kind = resource_kind(self.kind());
        resource
            .map(|resource| json(admission.profile().restrict(kind, resource).as_map()))
            .unwrap_or_default()
    }

    /// The resource before the change.
    pub(super) fn resource_before(&self) -> Option<Resource> {
        self.before.as_ref().map(resource_of)
    }
}

/// What the vendor holds, as a resource to compare with; none when the connector cannot tell.
pub(super) fn held(account: &Account) -> Option<Resource> {
    let attributes: Value = serde_json::from_str(account.attributes.as_deref()?).ok()?;
    Resource::from_document(attributes)
}

fn uid_of(reply: Reply) -> Result<String, CallError> {
    match reply {
        Reply::Account(account) => Ok(account.uid),
        other => Err(unexpected(&other)),
    }
}

/// JSON text of what is JSON already: maps of values and deltas, whose keys are strings.
fn json(document: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

fn unexpected(reply: &Reply) -> CallError {
    CallError::Contract(format!(
        "the connector answered another question: {reply:?}"
    ))
}
