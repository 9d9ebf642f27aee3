//! Trouble on demand: which of the next requests fail, and how.
//!
//! Invariant: faults happen in the order in which they were promised, each once.
//! Absent: chance. A test that fails must fail again.

use std::collections::VecDeque;

/// What the client sees in place of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status with a short text as its body; 429 looks like the rate limit's own.
    Status(u16),
    /// 200, `application/json`, and a body that breaks off.
    Junk,
    /// 200 with an HTML page, as from a proxy or a sign-in page.
    Html,
    /// 200 with a top-level GraphQL error of this message and null as `data`.
    TopLevelError(String),
    /// No answer while the simulator runs.
    Hang,
    /// The connection closes without a whole answer.
    Drop,
}

/// Whether the request takes effect all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The vendor has not acted.
    Before,
    /// The vendor has acted, and the client is not told.
    After,
}

#[derive(Debug)]
struct Promise {
    operation: Option<String>,
    times: u32,
    fault: Fault,
    when: When,
}

#[derive(Debug, Default)]
pub(super) struct FaultPlan(VecDeque<Promise>);

impl FaultPlan {
    pub(super) fn add(&mut self, operation: Option<String>, times: u32, fault: &Fault, when: When) {
        if times > 0 {
            self.0.push_back(Promise {
                operation,
                times,
                fault: fault.clone(),
                when,
            });
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault of a request for `operation`: the first promise that covers it.
    pub(super) fn take(&mut self, operation: &str) -> Option<(Fault, When)> {
        let at = self.0.iter().position(|promise| {
            promise
                .operation
                .as_deref()
                .is_none_or(|wanted| wanted == operation)
        })?;
        let promise = self.0.get_mut(at)?;
        promise.times -= 1;
        let fault = (promise.fault.clone(), promise.when);
        if promise.times == 0 {
            self.0.remove(at);
        }
        Some(fault)
    }
}
