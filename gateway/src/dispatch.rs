//! Carries a change out at the vendor, under an intent that is durable before the vendor hears of it.
//!
//! Invariant: no write reaches a vendor without an open intent, and an intent is closed only when its
//! outcome is known. An outcome that is not known (a crash, a trap, a missed deadline, a broken
//! connection) is settled by looking the account up, never by sending again blindly.
//!
//! The story of one change is here: open, carry out, conclude. `turns` keeps changes of one resource
//! apart, `settling` finds out and takes back, `anew` makes again what somebody removed at the vendor,
//! `calls` asks the connector, and `recovery` settles what nobody is working on.

mod anew;
mod calls;
mod recovery;
mod settling;
mod turns;

use std::time::Instant;

use jiff::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::auth::Admission;
use crate::connector::{CallError, ConnectorError, ErrorKind, GroupMember, MemberKind};
use crate::plan::{self, Delta};
use crate::scim::{Resource, ResourceKind};
use crate::store::{
    AttributeKey, CommitError, Intent, Kind, LogEntry, Member, MemberChange, Operation,
    Precondition, Stored, Write,
};

pub use recovery::Leftover;
pub use turns::Turn;

use calls::Target;
use settling::Touched;
use turns::Turns;

/// How many members one change carries: to the vendor in one call of the connector, into the store in
/// one batch.
pub const MEMBERS_PER_CALL: usize = 500;

/// What an intent wants done: the intent, what the resource is before it, and the deltas that the
/// vendor has to hear of.
pub struct Change {
    /// The durable part.
    pub intent: Intent,
    /// The resource before the change; none when it is created.
    pub before: Option<Stored>,
    /// What the resource shall be; none when it is deleted.
    pub desired: Option<Resource>,
    /// What changes at the vendor; empty for create and delete, where the whole account does.
    pub deltas: Vec<Delta>,
    /// Whether the app takes members of groups; else they are the gateway's alone.
    tells_members: bool,
    /// Name of the client's request, for the provisioning log.
    pub request_id: String,
}

impl Change {
    /// The change that an intent stands for: from `before` to `desired`, by the tenant's profile.
    pub fn new(
        admission: &Admission,
        intent: Intent,
        before: Option<Stored>,
        desired: Option<Resource>,
        request_id: String,
    ) -> Self {
        let deltas = match (&before, &desired) {
            (Some(before), Some(desired)) => {
                let kind = resource_kind(intent.kind);
                plan::diff(admission.profile(), kind, &resource_of(before), desired)
            }
            _ => Vec::new(),
        };
        Self {
            intent,
            before,
            desired,
            deltas,
            tells_members: admission.profile().has_members(),
            request_id,
        }
    }

    /// The vendor need not hear of it: it changes only what the app's profile does not have.
    pub fn is_local(&self) -> bool {
        self.intent.operation == Operation::Update
            && self.deltas.is_empty()
            && self.add().is_empty()
            && self.remove().is_empty()
    }

    /// The members that the vendor has to add.
    fn add(&self) -> Vec<GroupMember> {
        self.told(&self.intent.members.add)
    }

    /// The members that the vendor has to remove.
    fn remove(&self) -> Vec<GroupMember> {
        self.told(&self.intent.members.remove)
    }

    /// Members as the vendor knows them. One without an account there cannot be told of.
    fn told(&self, members: &[Member]) -> Vec<GroupMember> {
        let members = members.iter().filter(|_| self.tells_members);
        members
            .filter_map(|member| {
                Some(GroupMember {
                    kind: match member.kind {
                        Kind::User => MemberKind::User,
                        Kind::Group => MemberKind::Group,
                    },
                    uid: member.uid.clone()?,
                })
            })
            .collect()
    }
}

/// The stored document as a resource.
pub fn resource_of(stored: &Stored) -> Resource {
    Resource::from_document(stored.document.clone()).unwrap_or_default()
}

/// The stored document as a resource, taken out of its record.
pub fn into_resource(stored: Stored) -> Resource {
    Resource::from_document(stored.document).unwrap_or_default()
}

/// The SCIM name of a stored kind.
pub fn resource_kind(kind: Kind) -> ResourceKind {
    match kind {
        Kind::User => ResourceKind::User,
        Kind::Group => ResourceKind::Group,
    }
}

/// The values of a resource that no other resource of the tenant may have.
pub fn unique_keys(kind: Kind, resource: &Resource) -> Vec<AttributeKey> {
    let values = resource.unique_values(resource_kind(kind)).into_iter();
    keys(kind, values.map(|(unique, value)| (unique.as_str(), value)))
}

/// The values by which the store finds a resource, beside those that are unique.
pub fn indexed_keys(kind: Kind, resource: &Resource) -> Vec<AttributeKey> {
    let values = resource.indexed_values(resource_kind(kind)).into_iter();
    keys(
        kind,
        values.map(|(indexed, value)| (indexed.as_str(), value)),
    )
}

fn keys(kind: Kind, values: impl Iterator<Item = (&'static str, String)>) -> Vec<AttributeKey> {
    let key = |(attribute, value): (&str, String)| AttributeKey {
        kind,
        attribute: attribute.to_owned(),
        value,
    };
    values.map(key).collect()
}

/// What came of a change at the vendor.
pub enum Verdict {
    /// The vendor holds it, under this uid.
    Done(String),
    /// The vendor certainly does not hold it.
    NotDone(CallError),
    /// The vendor refused it, and then refused to have all of it taken back: what is left there.
    Remains(CallError, String),
    /// Nobody knows; the intent stays open.
    Unknown(CallError),
}

/// What came of a change, after the store knows it too.
pub enum Concluded {
    /// The resource as it is now stored.
    Stored(Box<Stored>),
    /// The resource is gone.
    Deleted,
    /// The change was not carried out, or it is not known whether it was.
    Failed(CallError),
}

/// Takes turns and carries changes out.
#[derive(Default)]
pub struct Dispatcher {
    turns: Mutex<Turns>,
}

impl Dispatcher {
    /// Makes the intent durable and claims its unique values. With `resume`, takes over the attempt
    /// that an earlier request left open.
    pub async fn open(
        &self,
        admission: &Admission,
        change: &Change,
        resume: Option<&Intent>,
    ) -> Result<(), CommitError> {
        let intent = &change.intent;
        let precondition = match (resume, &change.before) {
            (Some(open), _) => is_open(open),
            (None, Some(before)) => Precondition::Version {
                kind: before.kind,
                id: before.id,
                version: before.version,
            },
            (None, None) => Precondition::Absent {
                kind: intent.kind,
                id: intent.resource,
            },
        };
        let writes = vec![Write::OpenIntent(intent.clone())];
        admission.store().commit(vec![precondition], writes).await
    }

    /// Has the connector carry the change out; looks the account up where the outcome is unclear.
    pub async fn carry_out(&self, admission: &Admission, change: &Change) -> Verdict {
        let error = match self.send(admission, change).await {
            Ok(uid) => return Verdict::Done(uid),
            Err(error) => error,
        };
        if is_certain(&error) {
            return Verdict::NotDone(error);
        }
        tracing::warn!(
            tenant.id = %admission.tenant().name, operation.id = %change.intent.id, %error,
            "outcome unknown, looking the account up"
        );
        let touched = Touched::named_by(&error, &change.intent);
        match &touched {
            Some(touched) if is_final(&error) => {
                return self.undo(admission, change, touched, error).await;
            }
            // Asking the vendor more now would only be refused again; the repetition goes on from here.
            Some(_) if kind(&error) == Some(ErrorKind::RateLimited) => {
                return Verdict::Unknown(error);
            }
            _ => {}
        }
        match self.settle(admission, change, touched).await {
            // The vendor answers again and does not hold the change: the first error is the news.
            Verdict::NotDone(_) => Verdict::NotDone(error),
            // The first error says more than the failure of the lookup that followed it.
            Verdict::Unknown(_) => Verdict::Unknown(error),
            settled => settled,
        }
    }

    async fn send(&self, admission: &Admission, change: &Change) -> Result<String, CallError> {
        let intent = &change.intent;
        match (intent.operation, &intent.uid, &change.desired) {
            // Never linked: the vendor has nothing to take away.
            (Operation::Delete, None, _) => Ok(String::new()),
            (Operation::Delete, Some(uid), _) => {
                let deleted = change.delete(admission, uid.clone()).await;
                match deleted {
                    Err(error) if kind(&error) == Some(ErrorKind::NotFound) => Ok(uid.clone()),
                    deleted => deleted,
                }
            }
            (Operation::Update, Some(uid), Some(desired)) => {
                let target = Target {
                    uid: uid.clone(),
                    desired,
                    deltas: &change.deltas,
                    add: change.add(),
                    remove: change.remove(),
                };
                match change.update(admission, intent.id, target).await {
                    // Somebody removed it at the vendor, and the client says what it shall be: it is
                    // made anew, and the link moves to the new uid.
                    Err(error) if kind(&error) == Some(ErrorKind::NotFound) => {
                        change.make_anew(admission, None).await
                    }
                    updated => updated,
                }
            }
            (Operation::Create | Operation::Update, _, _) => change.create(admission).await,
        }
    }

    /// Commits the outcome: resource, link, provisioning log and the cleared intent in one durable
    /// batch. An unknown outcome leaves the intent open.
    pub async fn conclude(
        &self,
        admission: &Admission,
        change: &Change,
        verdict: Verdict,
        started: Instant,
    ) -> Result<Concluded, CommitError> {
        let intent = &change.intent;
        let now = Timestamp::now();
        let close = Write::CloseIntent {
            resource: intent.resource,
        };
        let (outcome, uid, detail, concluded) = match verdict {
            Verdict::Done(uid) => {
                let concluded = stored(change, uid.clone(), now)
                    .map_or(Concluded::Deleted, |stored| {
                        Concluded::Stored(Box::new(stored))
                    });
                ("done", Some(uid), told_members(&intent.members), concluded)
            }
            Verdict::NotDone(error) => {
                ("refused", None, error.to_string(), Concluded::Failed(error))
            }
            Verdict::Remains(error, remains) => {
                let detail = format!("{error}; not taken back: {remains}");
                ("refused", None, detail, Concluded::Failed(error))
            }
            Verdict::Unknown(error) => {
                ("unknown", None, error.to_string(), Concluded::Failed(error))
            }
        };
        let mut writes = match &concluded {
            Concluded::Stored(stored) => {
                let mut writes = vec![Write::PutResource((**stored).clone()), close];
                if !intent.members.is_empty() {
                    writes.push(Write::ChangeMembers {
                        group: stored.id,
                        change: intent.members.clone(),
                    });
                }
                writes
            }
            Concluded::Deleted => vec![
                Write::DeleteResource {
                    kind: intent.kind,
                    id: intent.resource,
                },
                close,
            ],
            Concluded::Failed(_) if outcome == "unknown" => Vec::new(),
            Concluded::Failed(_) => vec![close],
        };
        writes.push(Write::Log(LogEntry {
            id: Uuid::now_v7(),
            at: now,
            tenant: intent.tenant.clone(),
            resource: Some(intent.resource),
            kind: Some(intent.kind),
            operation: Some(intent.operation),
            outcome: outcome.to_owned(),
            detail,
            vendor_uid: uid,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_id: change.request_id.clone(),
        }));
        admission
            .store()
            .commit(vec![is_open(intent)], writes)
            .await?;
        Ok(concluded)
    }
}

/// This very attempt is still the open one of its resource.
fn is_open(intent: &Intent) -> Precondition {
    Precondition::Intent {
        resource: intent.resource,
        id: intent.id,
        attempt: intent.attempt,
    }
}

/// The resource as it is stored once the vendor holds it under `uid`; none when it was deleted.
fn stored(change: &Change, uid: String, now: Timestamp) -> Option<Stored> {
    let desired = change.desired.as_ref()?;
    let before = change.before.as_ref();
    Some(Stored {
        id: change.intent.resource,
        kind: change.intent.kind,
        version: before.map_or(1, |before| before.version + 1),
        created: before.map_or(now, |before| before.created),
        modified: now,
        uid: Some(uid),
        unique: change.intent.claims.clone(),
        indexed: indexed_keys(change.intent.kind, desired),
        position: before.map_or(0, |before| before.position),
        document: desired.clone().into_document(),
    })
}

/// What the provisioning log says of a member change.
fn told_members(change: &MemberChange) -> String {
    match change.is_empty() {
        true => String::new(),
        false => format!("members: +{} -{}", change.add.len(), change.remove.len()),
    }
}

fn kind(error: &CallError) -> Option<ErrorKind> {
    match error {
        CallError::Refused(refusal) => Some(refusal.kind),
        _ => None,
    }
}

/// The account that the connector has changed before it failed.
fn half_done_uid(error: &CallError) -> Option<&str> {
    match error {
        CallError::Refused(refusal) => refusal.uid.as_deref(),
        _ => None,
    }
}

/// A failure of the gateway's own, in the words of the contract. `uid`: what was changed before it.
fn failed(kind: ErrorKind, message: String, uid: Option<&str>) -> CallError {
    CallError::Refused(ConnectorError {
        kind,
        message,
        code: None,
        path: None,
        retry_after_ms: None,
        vendor_status: None,
        uid: uid.map(str::to_owned),
    })
}

/// After this error the vendor certainly does not hold any of the change.
fn is_certain(error: &CallError) -> bool {
    match error {
        CallError::Refused(_) if half_done_uid(error).is_some() => false,
        CallError::Refused(refusal) => match refusal.kind {
            ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::RateLimited
            | ErrorKind::Unsupported => true,
            ErrorKind::Unavailable | ErrorKind::Internal => false,
        },
        CallError::Busy => true,
        CallError::Trapped(_)
        | CallError::CpuExhausted
        | CallError::MemoryExhausted
        | CallError::DeadlineExceeded
        | CallError::Contract(_) => false,
    }
}

/// The vendor refuses the change itself: sending it again later will not help.
fn is_final(error: &CallError) -> bool {
    matches!(
        kind(error),
        Some(
            ErrorKind::Invalid
                | ErrorKind::NotFound
                | ErrorKind::AlreadyExists
                | ErrorKind::Conflict
                | ErrorKind::Unsupported
        )
    )
}
