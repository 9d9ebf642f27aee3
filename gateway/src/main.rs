//! The `gateway` program.

use std::process::ExitCode;

/// The store makes and drops many small pieces from several threads, which the system's allocator is
/// slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gateway::cli::main()
}
