//! `lockgate_tests::fuzz::registries` by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lockgate_tests::fuzz::registries(bytes));
