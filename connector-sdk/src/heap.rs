//! The connector's heap.
//!
//! Rust's own allocator on this target always grows the memory first, which costs the host two
//! system calls in every fresh instance (5 of about 12 microseconds). dlmalloc first hands out what
//! lies between the static data and the end of the initial memory; `gateway connector build` links
//! with an initial heap for it.

#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
