//! Fuzz target: paths of PATCH operations (RFC 7644 section 3.5.2).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway_fuzz::check_path(input));
