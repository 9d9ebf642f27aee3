//! Settles what a crash or an unanswered question has left open: for a request that meets it, and for
//! nobody, in the background.
//!
//! Invariant: an intent that is still open afterwards has left nothing new in the store; the log of a
//! tenant does not grow while its vendor is down. Absent: how it is found out, which is `settling`'s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use uuid::Uuid;

use crate::auth::{Admission, Gatekeeper};
use crate::connector::CallError;
use crate::scim::Resource;
use crate::store::{CommitError, Conflict, Intent, Store, StoreError};

use super::settling::Touched;
use super::{Change, Dispatcher, Verdict};

/// How many leftover intents are settled at the same time.
const RECOVERY_CONCURRENCY: usize = 16;
/// How long recovery rests between two looks at the open intents.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(5);
/// How many open intents recovery reads at once.
const RECOVERY_PAGE: usize = 256;

/// Why a leftover intent is still open.
#[derive(Debug, thiserror::Error)]
pub enum Leftover {
    /// It is not settled at the vendor. Whoever meets it has not asked for that change: this is never
    /// his fault, whatever the kind.
    #[error("{0}")]
    Vendor(CallError),
    /// The store refused the outcome.
    #[error("{0}")]
    Store(CommitError),
    /// The store could not be read.
    #[error("{0}")]
    Read(StoreError),
}

impl Dispatcher {
    /// Settles what an earlier attempt on this resource left open. The caller holds the turn.
    /// `Ok(())` means that nothing is open any more.
    ///
    /// # Errors
    /// Why it is still open.
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
        let touched = Touched::perhaps(&change);
        let verdict = match self.settle(admission, &change, touched).await {
            // The request that left it open has logged that; how often it is looked at is no news.
            Verdict::Unknown(error) => return Err(Leftover::Vendor(error)),
            verdict => verdict,
        };
        match self.conclude(admission, &change, verdict, started).await {
            Ok(_) | Err(CommitError::Conflict(Conflict::IntentGone)) => Ok(()),
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
