//! Fuzz target: bodies of POST and PUT.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway_fuzz::check_resource(input));
