//! Carries a change out at the vendor, under an intent that is durable before the vendor hears of it.
//!
//! Invariant: no write reaches a vendor without an open intent, and an intent is closed only when its
//! outcome is known. An outcome that is not known (a crash, a trap, a missed deadline, a broken
//! connection) is settled by looking the account up, never by sending again blindly.
//!
//! One operation at a time runs per resource of a tenant: whoever changes a resource holds its
//! [`Turn`]. Different resources run side by side.

mod calls;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::auth::{Admission, Gatekeeper};
use crate::connector::{Account, CallError, ErrorKind, GroupMember, MemberKind};
use crate::plan::{self, Delta};
use crate::scim::{Resource, ResourceKind};
use crate::store::{
    AttributeKey, CommitError, Conflict, Intent, Kind, LogEntry, Member, MemberChange, Operation,
    Precondition, Store, StoreError, Stored, Write,
};

use calls::{Target, held};

/// How many leftover intents are settled at the same time.
const RECOVERY_CONCURRENCY: usize = 16;
/// How long recovery rests between two looks at the open intents.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(5);
/// How many open intents recovery reads at once.
const RECOVERY_PAGE: usize = 256;

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

/// The values by which the store finds a resource, beside those that are unique.
pub fn indexed_keys(kind: Kind, resource: &Resource) -> Vec<AttributeKey> {
    let values = resource.indexed_values(resource_kind(kind));
    values
        .into_iter()
        .map(|(indexed, value)| AttributeKey {
            kind,
            attribute: indexed.as_str().to_owned(),
            value,
        })
        .collect()
}

/// What came of a change at the vendor.
pub enum Verdict {
    /// The vendor holds it, under this uid.
    Done(String),
    /// The vendor certainly does not hold it.
    NotDone(CallError),
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

/// The right to change one resource, until it is dropped.
pub struct Turn(
    #[expect(dead_code, reason = "held for its drop")] tokio::sync::OwnedMutexGuard<()>,
);

type TurnKey = (Arc<str>, Uuid);

/// Takes turns and carries changes out.
#[derive(Default)]
pub struct Dispatcher {
    turns: Mutex<HashMap<TurnKey, Weak<tokio::sync::Mutex<()>>>>,
}

impl Dispatcher {
    /// Waits for the turn to change a resource; `None` when it does not come within `patience`.
    pub async fn turn(
        &self,
        admission: &Admission,
        resource: Uuid,
        patience: Duration,
    ) -> Option<Turn> {
        let lock = self.lock(admission, resource);
        let guard = tokio::time::timeout(patience, lock.lock_owned())
            .await
            .ok()?;
        Some(Turn(guard))
    }

    /// The turn if nobody holds it.
    fn free_turn(&self, admission: &Admission, resource: Uuid) -> Option<Turn> {
        let lock = self.lock(admission, resource);
        lock.try_lock_owned().ok().map(Turn)
    }

    fn lock(&self, admission: &Admission, resource: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        // Locks that nobody holds are swept when the map has doubled, so that the sweep costs O(1)
        // per turn and the map stays as small as the work at hand.
        if turns.len() == turns.capacity() {
            turns.retain(|_, lock| lock.strong_count() > 0);
        }
        let entry = turns
            .entry((admission.tenant().name.clone(), resource))
            .or_default();
        entry.upgrade().unwrap_or_else(|| {
            let lock = Arc::default();
            *entry = Arc::downgrade(&lock);
            lock
        })
    }

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
        let half_done = half_done_uid(&error);
        if let (Some(uid), true) = (&half_done, is_final(&error)) {
            return self.undo(admission, change, uid.clone(), error).await;
        }
        let half_done = half_done.is_some();
        if half_done && kind(&error) == Some(ErrorKind::RateLimited) {
            // Asking the vendor more now would only be refused again; the repetition goes on from here.
            return Verdict::Unknown(error);
        }
        match self.settle(admission, change, half_done).await {
            // The vendor answers again and does not hold the change: the first error is the news.
            Verdict::NotDone(_) => Verdict::NotDone(error),
            // The first error says more than the failure of the lookup that followed it.
            Verdict::Unknown(_) => Verdict::Unknown(error),
            done => done,
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
                match change.update(admission, target).await {
                    // Somebody removed it at the vendor, and the client says what it shall be: it is
                    // made anew, and the link moves to the new uid.
                    Err(error) if kind(&error) == Some(ErrorKind::NotFound) => match intent.kind {
                        Kind::User => change.create(admission).await,
                        Kind::Group => change.make_group_anew(admission).await,
                    },
                    updated => updated,
                }
            }
            (Operation::Create | Operation::Update, _, _) => change.create(admission).await,
        }
    }

    /// Finds out at the vendor what became of an open intent, and brings a change that got halfway
    /// to its end. One that is refused there is undone if it is known to have got halfway
    /// (`half_done`): the vendor must not keep half of what the client was told had failed.
    async fn settle(&self, admission: &Admission, change: &Change, half_done: bool) -> Verdict {
        let intent = &change.intent;
        let account = match change.look_up(admission).await {
            Ok(account) => account,
            Err(error) => return Verdict::Unknown(error),
        };
        let finished = match (intent.operation, account) {
            (Operation::Delete, None) => Ok(intent.uid.clone().unwrap_or_default()),
            (Operation::Delete, Some(_)) => self.send(admission, change).await,
            (_, None) => {
                let message = "the vendor does not hold the account".to_owned();
                return Verdict::NotDone(CallError::absent(message));
            }
            (_, Some(account)) => {
                let uid = account.uid.clone();
                match self.roll_forward(admission, change, account).await {
                    Err(error)
                        if is_final(&error) && (half_done || half_done_uid(&error).is_some()) =>
                    {
                        return self.undo(admission, change, uid, error).await;
                    }
                    finished => finished,
                }
            }
        };
        match finished {
            Ok(uid) => Verdict::Done(uid),
            Err(error) if is_final(&error) => Verdict::NotDone(error),
            Err(error) => Verdict::Unknown(error),
        }
    }

    /// Takes back what a refused change has left at the vendor: an account that belongs to no
    /// resource is deleted, one that does is set to what the store says. If that fails too, the
    /// intent stays open: recovery tries again to finish the change, and takes it back where the
    /// resource says what to go back to.
    async fn undo(
        &self,
        admission: &Admission,
        change: &Change,
        uid: String,
        refusal: CallError,
    ) -> Verdict {
        let intent = &change.intent;
        let undone = async {
            let Some(before) = change.resource_before() else {
                return change.delete(admission, uid).await;
            };
            let Some(held) = change.look_up(admission).await?.as_ref().and_then(held) else {
                return Ok(uid);
            };
            let deltas = self.missing(admission, change, &held, &before);
            let target = Target {
                uid,
                desired: &before,
                deltas: &deltas,
                add: change.remove(),
                remove: change.add(),
            };
            change.update(admission, target).await
        };
        match undone.await {
            Ok(_) => Verdict::NotDone(refusal),
            Err(error) => {
                tracing::error!(
                    tenant.id = %admission.tenant().name, operation.id = %intent.id, %error,
                    "a refused change is not taken back yet"
                );
                Verdict::Unknown(refusal)
            }
        }
    }

    /// The account exists: sends what it still lacks, or nothing when it is as desired. Members are
    /// sent again, since adding who is there and removing who is not changes nothing.
    async fn roll_forward(
        &self,
        admission: &Admission,
        change: &Change,
        account: Account,
    ) -> Result<String, CallError> {
        let Some(desired) = &change.desired else {
            return Ok(account.uid);
        };
        let (add, remove) = (change.add(), change.remove());
        let deltas = match held(&account) {
            Some(held) => self.missing(admission, change, &held, desired),
            None => Vec::new(),
        };
        if deltas.is_empty() && add.is_empty() && remove.is_empty() {
            return Ok(account.uid);
        }
        let target = Target {
            uid: account.uid,
            desired,
            deltas: &deltas,
            add,
            remove,
        };
        change.update(admission, target).await
    }

    /// What the account lacks of `wanted`. Only what the change is about: what an administrator keeps
    /// at the vendor by hand is not the gateway's, and a create, which may adopt an account that was
    /// there before, clears nothing.
    fn missing(
        &self,
        admission: &Admission,
        change: &Change,
        held: &Resource,
        wanted: &Resource,
    ) -> Vec<Delta> {
        let kind = resource_kind(change.intent.kind);
        let mut deltas = plan::diff(admission.profile(), kind, held, wanted);
        match change.intent.operation {
            Operation::Create => deltas.retain(|delta| delta.value.is_some()),
            _ => deltas.retain(|delta| change.deltas.iter().any(|it| it.path == delta.path)),
        }
        deltas
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

    /// Settles what an earlier attempt on this resource left open. The caller holds the turn.
    /// `Ok(())` means that nothing is open any more.
    pub async fn settle_leftover(
        &self,
        admission: &Admission,
        intent: Intent,
    ) -> Result<(), Leftover> {
        let started = Instant::now();
        let before = admission
            .store()
            .resource(intent.kind, intent.resource)
            .await
            .map_err(Leftover::Read)?;
        let desired = intent.desired.clone().and_then(Resource::from_document);
        let request_id = intent.id.to_string();
        let change = Change::new(admission, intent, before, desired, request_id);
        // Which of several attempts got how far is not known any more; what cannot be finished is
        // taken back only where the resource says what to go back to.
        let half_done = change.before.is_some();
        let verdict = self.settle(admission, &change, half_done).await;
        let open = matches!(verdict, Verdict::Unknown(_));
        match self.conclude(admission, &change, verdict, started).await {
            Ok(Concluded::Failed(error)) if open => Err(Leftover::Vendor(error)),
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(Conflict::IntentGone)) => Ok(()),
            Err(error) => Err(Leftover::Store(error)),
        }
    }

    /// Settles the intents that nobody is working on, again and again until the task is dropped.
    pub async fn recover(self: Arc<Self>, gatekeeper: Arc<Gatekeeper>, store: Arc<dyn Store>) {
        loop {
            if let Err(error) = self.recover_once(&gatekeeper, store.as_ref()).await {
                tracing::error!(%error, "open intents cannot be read");
            }
            tokio::time::sleep(RECOVERY_INTERVAL).await;
        }
    }

    async fn recover_once(
        &self,
        gatekeeper: &Gatekeeper,
        store: &dyn Store,
    ) -> Result<(), StoreError> {
        let mut after: Option<(String, Uuid)> = None;
        loop {
            let from = after.as_ref().map(|(tenant, id)| (tenant.as_str(), *id));
            let open = store.intents(from, RECOVERY_PAGE).await?;
            let Some(last) = open.last() else {
                return Ok(());
            };
            after = Some((last.tenant.clone(), last.resource));
            futures::stream::iter(open)
                .for_each_concurrent(RECOVERY_CONCURRENCY, |intent| {
                    self.recover_intent(gatekeeper, intent)
                })
                .await;
        }
    }

    async fn recover_intent(&self, gatekeeper: &Gatekeeper, intent: Intent) {
        let Some(admission) = gatekeeper.admit_recovery(&intent.tenant) else {
            tracing::warn!(
                tenant.id = %intent.tenant, operation.id = %intent.id,
                "an open intent belongs to a tenant that is not configured; it waits"
            );
            return;
        };
        // Somebody who holds the turn works on the resource right now and settles it himself.
        let Some(_turn) = self.free_turn(&admission, intent.resource) else {
            return;
        };
        // Read again under the turn: the request that owned it may just have finished.
        match admission.store().intent(intent.resource).await {
            Ok(Some(open)) if open.id == intent.id && open.attempt == intent.attempt => {}
            _ => return,
        }
        let (tenant, operation) = (intent.tenant.clone(), intent.id);
        match self.settle_leftover(&admission, intent).await {
            Ok(()) => {
                tracing::info!(tenant.id = %tenant, operation.id = %operation, "open intent settled");
            }
            Err(error) => {
                tracing::warn!(tenant.id = %tenant, operation.id = %operation, %error, "open intent not settled yet");
            }
        }
    }
}

/// Why a leftover intent is still open.
#[derive(Debug, thiserror::Error)]
pub enum Leftover {
    /// The vendor could not be asked.
    #[error("{0}")]
    Vendor(CallError),
    /// The store refused the outcome.
    #[error("{0}")]
    Store(CommitError),
    /// The store could not be read.
    #[error("{0}")]
    Read(StoreError),
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
fn half_done_uid(error: &CallError) -> Option<String> {
    match error {
        CallError::Refused(refusal) => refusal.uid.clone(),
        _ => None,
    }
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
