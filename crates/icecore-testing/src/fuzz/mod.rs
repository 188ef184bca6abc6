//! Fuzzed properties beyond single decoders: functions that take a fuzzer's bytes and check what
//! must hold. The fuzzing targets in `fuzz/` at the top call the same functions as the tests that
//! replay their findings.

pub mod histories;
pub mod input;
pub mod mutations;
pub mod names;
pub mod replay;
pub mod verbs;
pub mod walks;
