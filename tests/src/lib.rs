//! What the project tests with: the real gateway as a process, simulated vendors behind real
//! sockets, a client that speaks as Entra does, and a sample directory. The `demo` binary is made of
//! the same parts.
//!
//! Invariant: nothing here is linked into the gateway, and all traffic stays on loopback.

pub mod corridor;
pub mod cost;
pub mod directory;
pub mod entra;
pub mod gateway_process;
pub mod held;
pub mod vendors;
