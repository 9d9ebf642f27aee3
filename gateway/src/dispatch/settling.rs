//! Finding out what became of a change at the vendor, finishing it, and taking back what a refused one
//! has left.
//!
//! Invariant: nothing is deleted at the vendor but what a create of this very request is known to have
//! made. Every settling comes to an end: what the vendor finally refuses, be it the change or its
//! undoing, closes the intent, and the provisioning log says what is left. Absent: when to settle.

use crate::auth::Admission;
use crate::connector::{Account, CallError};
use crate::plan::{self, Delta};
use crate::scim::Resource;
use crate::store::{Intent, Kind, Operation};

use super::calls::{Target, held};
use super::{Change, Dispatcher, Verdict, half_done_uid, is_final, resource_kind};

/// An account that a change which failed is known, or has to be taken, to have touched.
pub(super) struct Touched {
    uid: String,
    /// Whether the change made the account, or brought it back: only then may it be taken away.
    made: bool,
}

impl Touched {
    /// What the connector names in its error.
    pub(super) fn named_by(error: &CallError, intent: &Intent) -> Option<Self> {
        let uid = half_done_uid(error)?.to_owned();
        let made = match (intent.operation, &intent.uid, intent.kind) {
            (Operation::Create, _, _) | (Operation::Update, None, _) => true,
            // A group that was made anew is first what it was before, see `anew`.
            (Operation::Update, Some(own), Kind::User) => *own != uid,
            (Operation::Update, Some(_), Kind::Group) | (Operation::Delete, _, _) => false,
        };
        Some(Self { uid, made })
    }

    /// Which of several attempts at a leftover change got how far is not known any more. What cannot
    /// be finished is taken back where the resource says what to go back to; whether a create has
    /// made its account or found it, nobody knows.
    pub(super) fn perhaps(change: &Change) -> Option<Self> {
        change.before.as_ref()?;
        Some(Self {
            uid: change.intent.uid.clone()?,
            made: false,
        })
    }
}

impl Dispatcher {
    /// Finds out at the vendor what became of an open intent, and brings a change that got halfway
    /// to its end. One that is refused there is undone if it is known to have got halfway: the vendor
    /// must not keep half of what the client was told had failed.
    pub(super) async fn settle(
        &self,
        admission: &Admission,
        change: &Change,
        touched: Option<Touched>,
    ) -> Verdict {
        let intent = &change.intent;
        let known = intent.uid.as_ref();
        let known = known.or(touched.as_ref().map(|touched| &touched.uid));
        let account = match change.look_up(admission, known).await {
            Ok(account) => account,
            Err(error) => return Verdict::Unknown(error),
        };
        let finished = match (intent.operation, account) {
            (Operation::Delete, None) => Ok(intent.uid.clone().unwrap_or_default()),
            (Operation::Delete, Some(_)) => self.send(admission, change).await,
            (Operation::Update, None) if intent.uid.is_some() => {
                // It may have been made anew, under a uid that nobody has noted yet.
                match change.find_anew(admission).await {
                    Ok(Some(account)) => change.make_anew(admission, Some(account)).await,
                    Ok(None) => return absent(),
                    Err(error) => Err(error),
                }
            }
            (_, None) => return absent(),
            (_, Some(account)) => {
                let uid = account.uid.clone();
                match self.roll_forward(admission, change, account).await {
                    Err(error) if is_final(&error) => {
                        let touched = match touched {
                            Some(touched) if touched.uid == uid => Some(touched),
                            // The vendor took a part just now. An account that a create has found is
                            // left as it is: it may have been there before.
                            _ if change.before.is_some() && half_done_uid(&error).is_some() => {
                                Some(Touched { uid, made: false })
                            }
                            _ => None,
                        };
                        match touched {
                            Some(it) => return self.undo(admission, change, &it, error).await,
                            None => Err(error),
                        }
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

    /// Takes back what a refused change has left at the vendor: an account that the change made is
    /// deleted, one that a resource owns is set to what the store says. While the vendor gives no
    /// answer to that, the intent stays open: recovery tries again to finish the change, and takes it
    /// back where the resource says what to go back to.
    pub(super) async fn undo(
        &self,
        admission: &Admission,
        change: &Change,
        touched: &Touched,
        refusal: CallError,
    ) -> Verdict {
        let tenant = &admission.tenant().name;
        let operation = change.intent.id;
        match self.take_back(admission, change, touched).await {
            Ok(remains) if remains.is_empty() => Verdict::NotDone(refusal),
            Ok(remains) => {
                let remains = remains.join("; ");
                tracing::error!(
                    tenant.id = %tenant, operation.id = %operation, %remains,
                    "a refused change is not wholly taken back: the vendor refuses"
                );
                Verdict::Remains(refusal, remains)
            }
            Err(error) => {
                tracing::error!(
                    tenant.id = %tenant, operation.id = %operation, %error,
                    "a refused change is not taken back yet"
                );
                Verdict::Unknown(refusal)
            }
        }
    }

    /// What the vendor refuses to take back is returned in words; nothing if all is as it was.
    async fn take_back(
        &self,
        admission: &Admission,
        change: &Change,
        touched: &Touched,
    ) -> Result<Vec<String>, CallError> {
        let uid = &touched.uid;
        let before = match change.resource_before() {
            Some(before) if !touched.made => before,
            _ if touched.made => {
                change.delete(admission, uid.clone()).await?;
                return Ok(Vec::new());
            }
            _ => return Ok(Vec::new()),
        };
        let Some(account) = change.look_up(admission, Some(uid)).await? else {
            return Ok(Vec::new());
        };
        let deltas = match held(&account) {
            Some(held) => self.missing(admission, change, &held, &before),
            // The connector does not say what the account holds, so all of the change is taken back.
            None => opposite(admission, change, &before),
        };
        let (add, remove) = (change.remove(), change.add());
        if deltas.is_empty() && add.is_empty() && remove.is_empty() {
            return Ok(Vec::new());
        }
        let target = Target {
            uid: uid.clone(),
            desired: &before,
            deltas: &deltas,
            add,
            remove,
        };
        match change.step(admission, target).await {
            Err(error) if is_final(&error) && change.intent.kind == Kind::Group => {
                let deltas = &deltas;
                change
                    .take_back_apart(admission, uid, &before, deltas)
                    .await
            }
            done => done.map(|_| Vec::new()),
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
            // The connector does not say what the account holds: setting what is set changes nothing.
            None => change.deltas.clone(),
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
        change.update(admission, change.intent.id, target).await
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
}

/// What leads back from what the change wanted.
fn opposite(admission: &Admission, change: &Change, before: &Resource) -> Vec<Delta> {
    let Some(desired) = &change.desired else {
        return Vec::new();
    };
    let kind = resource_kind(change.intent.kind);
    plan::diff(admission.profile(), kind, desired, before)
}

fn absent() -> Verdict {
    let message = "the vendor does not hold the account".to_owned();
    Verdict::NotDone(CallError::absent(message))
}
