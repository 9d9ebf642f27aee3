//! Fuzz target: filters of queries (RFC 7644 section 3.4.2.2).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway_fuzz::check_filter(input));
