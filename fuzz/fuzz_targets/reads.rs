#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| icecore::fuzzing::decoders::reads(bytes));
