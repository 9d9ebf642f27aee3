//! What a running gateway's work costs, and the rows in which the benchmarks print it.
//!
//! CPU time is what counts: wall time on a shared machine says little. Only the gateway's process is
//! looked at, so a load generator and a simulated vendor in the measuring process cost nothing here.

use std::time::{Duration, Instant};

use crate::gateway_process::{Gateway, Result};

/// Wall time and the gateway's CPU time of some work.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How long it took.
    pub wall: Duration,
    /// User and system time of all the gateway's threads.
    pub cpu: Duration,
}

impl Cost {
    /// The share of one of so many operations.
    pub fn per(self, operations: usize) -> Self {
        let operations = u32::try_from(operations.max(1)).unwrap_or(u32::MAX);
        Self {
            wall: self.wall / operations,
            cpu: self.cpu / operations,
        }
    }
}

/// Does some work and says what it cost the gateway.
pub fn costed<T>(gateway: &Gateway, work: impl FnOnce() -> Result<T>) -> Result<(T, Cost)> {
    let (before, started) = (process_cpu(gateway.pid())?, Instant::now());
    let done = work()?;
    let cost = Cost {
        wall: started.elapsed(),
        cpu: process_cpu(gateway.pid())?.saturating_sub(before),
    };
    Ok((done, cost))
}

/// Prints what the columns are.
pub fn header() {
    println!(
        "{:<52} {:>10} {:>12} {:>18}",
        "", "per second", "CPU per op", "target"
    );
}

/// Prints one row without a rate.
pub fn row(name: &str, cpu: Duration, target: Option<Duration>) {
    print(name, "", cpu, target);
}

/// Prints one row with the rate that was reached. Without a target it is there to compare with.
pub fn rated(name: &str, cost: &Cost, target: Option<Duration>) {
    let per_second = format!("{:.0}", 1.0 / cost.wall.as_secs_f64().max(1e-9));
    print(name, &per_second, cost.cpu, target);
}

fn print(name: &str, per_second: &str, cpu: Duration, target: Option<Duration>) {
    let micros = |it: Duration| format!("{:.1} us", it.as_secs_f64() * 1e6);
    let target = target.map_or(String::new(), |target| {
        let verdict = if cpu <= target { "met" } else { "MISSED" };
        format!("{} {verdict}", micros(target))
    });
    println!(
        "{name:<52} {per_second:>10} {:>12} {target:>18}",
        micros(cpu)
    );
}

/// CPU time of a process, user and system, with all its threads, in ticks of 10 ms.
pub fn process_cpu(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| e.to_string())?;
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<u64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(format!("/proc/{pid}/stat cannot be read")),
    }
}
