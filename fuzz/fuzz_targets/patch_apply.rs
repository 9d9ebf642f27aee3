//! Fuzz target: PATCH on a resource: a list of the two, as JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway_fuzz::check_patch(input));
