#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| icecore_testing::fuzz::histories::run(bytes));
