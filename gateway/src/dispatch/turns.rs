//! Turns: one operation at a time runs per resource of a tenant, different resources side by side.
//!
//! Invariant: whoever changes a resource holds its [`Turn`]. Absent: order among those who wait beyond
//! the lock's own, and turns across processes: one process serves all tenants.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use uuid::Uuid;

use crate::auth::Admission;

use super::Dispatcher;

/// The right to change one resource, until it is dropped.
pub struct Turn(
    #[expect(dead_code, reason = "held for its drop")] tokio::sync::OwnedMutexGuard<()>,
);

/// The locks of the resources that somebody works on, by tenant and resource.
pub(super) type Turns = HashMap<(Arc<str>, Uuid), Weak<tokio::sync::Mutex<()>>>;

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
    pub(super) fn free_turn(&self, admission: &Admission, resource: Uuid) -> Option<Turn> {
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
}
