//! `lockgate_tests::fuzz::registry` by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lockgate_tests::fuzz::registry(bytes));
