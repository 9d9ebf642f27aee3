//! What one connector call may use, and the meter for its memory.

use serde::Deserialize;
use wasmtime::ResourceLimiter;

/// Limits of connectors and of each call. The table `[gateway.limits.connector]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectorLimits {
    /// CPU time of one call, milliseconds, counted in steps of ten. Waiting for the vendor does not
    /// count; waiting for a processor, on an overloaded machine, does.
    pub cpu_ms: u32,
    /// Time of one call from start to end, milliseconds, waiting included.
    pub wall_ms: u32,
    /// Linear memory of one instance, bytes, over all its memories.
    pub memory_bytes_max: usize,
    /// Requests of one call to the vendor.
    pub http_requests_max: u32,
    /// Log lines of one call; later ones are counted and dropped.
    pub log_lines_max: u32,
    /// Length of one log line, bytes; the rest is cut off.
    pub log_line_bytes_max: usize,
    /// What one call may return, bytes over all its accounts.
    pub result_bytes_max: usize,
    /// Calls under way at once in this process; one more is refused as busy. Each takes about six
    /// mappings of memory, so beyond 10 000 the kernel's `vm.max_map_count` has to be raised first.
    pub concurrent_calls_max: u32,
    /// Size of a connector's file, bytes.
    pub component_bytes_max: u64,
}

impl Default for ConnectorLimits {
    fn default() -> Self {
        Self {
            cpu_ms: 500,
            wall_ms: 30_000,
            memory_bytes_max: 64 << 20,
            http_requests_max: 100,
            log_lines_max: 200,
            log_line_bytes_max: 4096,
            result_bytes_max: 1 << 20,
            concurrent_calls_max: 256,
            component_bytes_max: 32 << 20,
        }
    }
}

impl ConnectorLimits {
    /// The first limit that would let no call succeed: its key and what is wrong with it.
    ///
    /// # Errors
    /// If a limit is 0 where 0 makes no sense.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let least = [
            ("cpu_ms", u64::from(self.cpu_ms)),
            ("wall_ms", u64::from(self.wall_ms)),
            ("memory_bytes_max", self.memory_bytes_max as u64),
            ("http_requests_max", u64::from(self.http_requests_max)),
            ("result_bytes_max", self.result_bytes_max as u64),
            ("concurrent_calls_max", u64::from(self.concurrent_calls_max)),
            ("component_bytes_max", self.component_bytes_max),
        ];
        match least.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err((key, "0 would let no call succeed; at least 1".to_owned())),
            None => Ok(()),
        }
    }
}

/// The most elements that one table of an instance may have.
pub(super) const TABLE_ELEMENTS_MAX: usize = 50_000;

/// Grants an instance memory up to its limit and remembers whether it asked for more, which is how
/// a trap for want of memory is told from any other.
pub(super) struct MemoryMeter {
    bytes: usize,
    bytes_max: usize,
    pub(super) was_refused: bool,
}

impl MemoryMeter {
    pub(super) fn new(bytes_max: usize) -> MemoryMeter {
        MemoryMeter {
            bytes: 0,
            bytes_max,
            was_refused: false,
        }
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.bytes.saturating_sub(current).saturating_add(desired);
        let granted = total <= self.bytes_max;
        if granted {
            self.bytes = total;
        } else {
            self.was_refused = true;
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_over_all_of_an_instances_memories() {
        let mut meter = MemoryMeter::new(100);
        let mut grow = |from, to| meter.memory_growing(from, to, None).unwrap();
        assert!(grow(0, 60));
        assert!(grow(0, 30), "a second memory");
        assert!(!grow(30, 41));
        assert!(grow(30, 40));
        assert!(meter.was_refused);
    }

    #[test]
    fn a_limit_that_lets_no_call_succeed_is_found() {
        assert_eq!(ConnectorLimits::default().check(), Ok(()));
        let limits = ConnectorLimits {
            wall_ms: 0,
            ..ConnectorLimits::default()
        };
        assert_eq!(limits.check().unwrap_err().0, "wall_ms");
    }
}
