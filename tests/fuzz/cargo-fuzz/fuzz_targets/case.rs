//! `lockgate_tests::fuzz::case` by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lockgate_tests::fuzz::case(bytes));
