//! Simulated vendors: the other end of every connector, on loopback.
//!
//! Each submodule is one vendor's API, spoken over real HTTP by a server of its own, with the
//! vendor's own rules, limits and error shapes as far as public sources tell them. What no source
//! tells is decided here once, and the module says so. Tests, the demo and the benchmarks use them
//! in place of vendor accounts.
//!
//! Invariant: nothing here knows the gateway or a connector, and SCIM is known where it is the
//! vendor's own API, from the RFC and not from the gateway's code. A simulated vendor that shared code
//! with its client would share its mistakes as well.
//! Absent: sleeping in the hope that something has happened by then; a test waits for an event.

pub mod knowbe4;
pub mod scim;

mod listener;
mod trouble;
