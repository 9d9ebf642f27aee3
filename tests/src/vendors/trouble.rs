//! Trouble on demand: which of the next requests to a simulated vendor fail, and when. What a failure
//! looks like is each vendor's own.
//!
//! Invariant: faults happen in the order in which they were promised, each once.
//! Absent: chance. A test that fails must fail again.

use std::collections::VecDeque;

/// Whether the request takes effect all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The vendor has not acted.
    Before,
    /// The vendor has acted, and the client is not told.
    After,
}

#[derive(Debug)]
struct Promise<F> {
    operation: Option<String>,
    times: u32,
    fault: F,
    when: When,
}

/// The faults `F` that were promised and have not happened yet.
#[derive(Debug)]
pub(super) struct FaultPlan<F>(VecDeque<Promise<F>>);

impl<F> Default for FaultPlan<F> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<F: Clone> FaultPlan<F> {
    pub(super) fn add(&mut self, operation: Option<String>, times: u32, fault: &F, when: When) {
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
    pub(super) fn take(&mut self, operation: &str) -> Option<(F, When)> {
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
