//! What is fuzzed: functions from bytes that a fuzzer made up to what must hold. The fuzzing
//! targets in `fuzz/` at the top call the same functions as the replay of what they found.

mod disk;
pub mod handshake;
pub mod requests;
mod script;
