//! Which non-standard forms each tenant's client uses: noted off the request's path, so that operators
//! see what a stricter dialect would refuse.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::auth::Admission;
use crate::scim::Forms;
use crate::store::Write;

/// How old the recorded last use of a form may get before it is written anew.
const RESOLUTION: SignedDuration = SignedDuration::from_hours(1);

/// What was noted lately, per tenant.
#[derive(Clone, Default)]
pub(super) struct FormBook(Arc<Mutex<HashMap<Arc<str>, Noted>>>);

struct Noted {
    forms: Forms,
    since: Timestamp,
}

impl FormBook {
    /// Notes the forms of one request: each at most once in [`RESOLUTION`].
    pub(super) fn note(&self, admission: &Admission, met: Forms) {
        if met.is_empty() {
            return;
        }
        let now = Timestamp::now();
        let fresh = {
            let mut book = self.0.lock();
            let noted = book
                .entry(admission.tenant().name.clone())
                .or_insert_with(|| Noted {
                    forms: Forms::default(),
                    since: now,
                });
            if now.duration_since(noted.since) >= RESOLUTION {
                *noted = Noted {
                    forms: Forms::default(),
                    since: now,
                };
            }
            let fresh = met.minus(noted.forms);
            noted.forms = noted.forms.union(met);
            fresh
        };
        if fresh.is_empty() {
            return;
        }
        let (book, tenant) = (self.clone(), admission.tenant().name.clone());
        let store = admission.store().clone();
        let forms = fresh
            .iter()
            .map(|form| form.row().name.to_owned())
            .collect();
        tokio::spawn(async move {
            let note = Write::NoteForms { forms, at: now };
            if let Err(error) = store.commit(Vec::new(), vec![note]).await {
                tracing::debug!(%error, "the forms of a request were not recorded");
                // The next request that uses them tries again.
                if let Some(noted) = book.0.lock().get_mut(&tenant) {
                    noted.forms = noted.forms.minus(fresh);
                }
            }
        });
    }
}
