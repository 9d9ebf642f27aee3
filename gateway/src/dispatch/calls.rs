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
use crate::store::Kind;

use super::{Change, resource_kind, resource_of};

/// What an account or a group shall become.
pub(super) struct Target<'a> {
    pub(super) uid: String,
    pub(super) desired: &'a Resource,
    pub(super) deltas: &'a [Delta],
    pub(super) add: Vec<GroupMember>,
    pub(super) remove: Vec<GroupMember>,
}

impl<'a> Target<'a> {
    /// As it is already.
    pub(super) fn nothing(uid: &str, desired: &'a Resource) -> Self {
        Self {
            uid: uid.to_owned(),
            desired,
            deltas: &[],
            add: Vec::new(),
            remove: Vec::new(),
        }
    }

    /// Whether nothing would change.
    pub(super) fn is_empty(&self) -> bool {
        self.deltas.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

impl Change {
    fn kind(&self) -> Kind {
        self.intent.kind
    }

    /// One call of the connector on behalf of this change.
    async fn ask(&self, admission: &Admission, call: Call) -> Result<Reply, CallError> {
        let intent = &self.intent;
        admission.call(intent.id, intent.attempt, call).await
    }

    /// Has the account or group made. The uid that the vendor gave it.
    pub(super) async fn create(&self, admission: &Admission) -> Result<String, CallError> {
        match &self.desired {
            Some(desired) => self.create_as(admission, desired, self.add()).await,
            None => Err(CallError::absent("there is nothing to make".to_owned())),
        }
    }

    /// Has the account or group made in a state of its own.
    pub(super) async fn create_as(
        &self,
        admission: &Admission,
        desired: &Resource,
        members: Vec<GroupMember>,
    ) -> Result<String, CallError> {
        let desired = self.told_json(admission, desired);
        let call = match self.kind() {
            Kind::User => Call::Create { desired },
            Kind::Group => Call::CreateGroup { desired, members },
        };
        uid_of(self.ask(admission, call).await?)
    }

    /// Has the account or group brought to a state, in a step that is not the change itself. It has a
    /// name of its own: a vendor that takes the operation's name for an idempotency key would answer
    /// with what became of the change.
    pub(super) async fn step(
        &self,
        admission: &Admission,
        target: Target<'_>,
    ) -> Result<String, CallError> {
        self.update(admission, Uuid::now_v7(), target).await
    }

    /// Has the account or group brought to a state, under this name of the operation.
    pub(super) async fn update(
        &self,
        admission: &Admission,
        operation: Uuid,
        target: Target<'_>,
    ) -> Result<String, CallError> {
        let desired = self.told_json(admission, target.desired);
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
        let attempt = self.intent.attempt;
        uid_of(admission.call(operation, attempt, call).await?)
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

    /// What the vendor holds of it now: by its uid, where one is known, or else by the profile's
    /// matching attribute.
    pub(super) async fn look_up(
        &self,
        admission: &Admission,
        uid: Option<&String>,
    ) -> Result<Option<Account>, CallError> {
        let Some(uid) = uid.cloned() else {
            return match &self.desired {
                Some(desired) => self.find(admission, desired).await,
                None => Ok(None),
            };
        };
        let call = match self.kind() {
            Kind::User => Call::Get { uid },
            Kind::Group => Call::GetGroup { uid },
        };
        match self.ask(admission, call).await? {
            Reply::Found(account) => Ok(account),
            other => Err(unexpected(&other)),
        }
    }

    /// What the vendor holds under the name of this state.
    pub(super) async fn find(
        &self,
        admission: &Admission,
        state: &Resource,
    ) -> Result<Option<Account>, CallError> {
        let Some((attribute, value)) = self.name_of(admission, state) else {
            return Ok(None);
        };
        let call = match self.kind() {
            Kind::User => Call::Find { attribute, value },
            Kind::Group => Call::FindGroup { attribute, value },
        };
        match self.ask(admission, call).await? {
            Reply::Accounts(accounts) => Ok(accounts.into_iter().next()),
            other => Err(unexpected(&other)),
        }
    }

    /// The attribute and the value by which the vendor finds it.
    fn name_of(&self, admission: &Admission, state: &Resource) -> Option<(String, String)> {
        let kind = resource_kind(self.kind());
        let profile = admission.profile();
        let matching = profile.matching(kind)?;
        let resource_type = profile.resource_type(kind)?;
        let value = matching.path.value_in(resource_type, state.as_map())?;
        let value = match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        Some((matching.text.clone(), value))
    }

    /// The resource as the app hears of it.
    fn told_json(&self, admission: &Admission, resource: &Resource) -> String {
        let kind = resource_kind(self.kind());
        json(admission.profile().restrict(kind, resource).as_map())
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
