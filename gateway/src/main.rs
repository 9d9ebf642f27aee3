//! The `gateway` program.

use std::process::ExitCode;

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t};

/// The store makes and drops many small pieces from several threads, which the system's allocator is
/// slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h: after how many milliseconds free memory goes back to the
/// system. The bindings do not name it.
const PURGE_DELAY: mi_option_t = 15;
const PURGE_DELAY_DEFAULT_MS: i64 = 10;
const PURGE_DELAY_MS: i64 = 1000;

fn main() -> ExitCode {
    keep_memory_for_a_moment();
    gateway::cli::main()
}

/// A gateway under load frees what it needs again for the next request. Handed back after 10 ms, it
/// came back as pages to be zeroed: a third of the CPU time of a page of users.
#[expect(unsafe_code, reason = "the bindings offer nothing else")]
fn keep_memory_for_a_moment() {
    // SAFETY: both take plain numbers and are called before any other thread exists. Whatever has
    // another number in another mimalloc keeps its value: only the known default is changed.
    unsafe {
        if mi_option_get(PURGE_DELAY) == PURGE_DELAY_DEFAULT_MS {
            mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
        }
    }
}
