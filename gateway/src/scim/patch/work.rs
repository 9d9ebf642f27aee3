//! What one PATCH may cost.
//!
//! Invariant: whatever grows with the request and with the resource at once (operations times values
//! of a list, values times comparisons of a filter, copies of one value) is paid for here before it is
//! done. Each step alone is linear, so this bounds the whole. Work is counted, not timed: the same
//! request costs the same everywhere.

use std::cell::Cell;

use serde_json::Value;

use crate::scim::error::ScimError;
use crate::scim::syntax::Filter;

/// How many bytes of text count as much as one value that is looked at.
const BYTES_PER_UNIT: usize = 16;

/// What is left of the work that a request may cause.
pub(in crate::scim) struct Work {
    max: usize,
    left: Cell<usize>,
}

impl Work {
    pub(in crate::scim) fn new(max: usize) -> Self {
        Self {
            max,
            left: Cell::new(max),
        }
    }

    /// Takes this much; false if it is not left.
    pub(super) fn spend(&self, units: usize) -> bool {
        let left = self.left.get().checked_sub(units);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Takes this much.
    ///
    /// # Errors
    /// 413 if it is not left.
    pub(in crate::scim) fn charge(&self, units: usize) -> Result<(), ScimError> {
        match self.spend(units) {
            true => Ok(()),
            false => Err(ScimError::status_with(
                413,
                format!(
                    "The operations would look at more than {} values (patch_work_max) together. Send them in several requests.",
                    self.max
                ),
            )),
        }
    }

    /// How much is left.
    pub(super) fn left(&self) -> usize {
        self.left.get()
    }

    /// Takes as much as looking at these values with this filter; once without one.
    ///
    /// # Errors
    /// 413 if it is not left.
    pub(in crate::scim) fn charge_for(
        &self,
        values: &[Value],
        filter: Option<&Filter>,
    ) -> Result<(), ScimError> {
        let times = filter.map_or(1, |filter| {
            let (terms, bytes) = filter.size();
            terms + bytes / BYTES_PER_UNIT
        });
        let units = sum(values.iter(), |value| self.weight(value), self.left.get());
        self.charge(units.saturating_mul(times))
    }

    /// Takes as much as taking these new values in, which costs far more than looking at them.
    ///
    /// # Errors
    /// 413 if it is not left.
    pub(super) fn charge_intake(&self, value: &Value) -> Result<(), ScimError> {
        self.charge(20 * value.as_array().map_or(1, Vec::len))
    }

    /// Takes as much as writing this value so many times. Memory counts: four times what looking does.
    ///
    /// # Errors
    /// 413 if it is not left.
    pub(super) fn charge_copies(&self, value: &Value, copies: usize) -> Result<(), ScimError> {
        match copies {
            0 | 1 => Ok(()),
            _ => self.charge(self.weight(value).saturating_mul(copies).saturating_mul(4)),
        }
    }

    /// How much there is to look at in a value; not counted further than there is work left.
    fn weight(&self, value: &Value) -> usize {
        let enough = self.left.get();
        match value {
            Value::String(text) => 1 + weight_of(text),
            Value::Array(items) => sum(items.iter(), |item| self.weight(item), enough),
            Value::Object(map) => sum(
                map.iter(),
                |(key, item)| self.weight(item) + weight_of(key),
                enough,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        }
    }
}

/// Folding letters beyond ASCII takes a table, and several times as long.
fn weight_of(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len() / BYTES_PER_UNIT,
        false => text.len() / 2,
    }
}

fn sum<T>(parts: impl Iterator<Item = T>, weight: impl Fn(T) -> usize, enough: usize) -> usize {
    let mut units = 1;
    for part in parts {
        units += weight(part);
        if units > enough {
            break;
        }
    }
    units
}
