//! Fuzzed properties of the NBD server: functions that take a fuzzer's bytes and check what must
//! hold. The fuzzing targets in `fuzz/` at the top call the same functions as the tests that replay
//! their findings.

mod disk;
pub mod handshake;
pub mod requests;
mod script;
