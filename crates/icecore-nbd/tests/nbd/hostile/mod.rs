//! What is fuzzed: functions from bytes that a fuzzer made up to what must hold. The fuzzing targets in `fuzz/` at the
//! top call the same functions as the replay of what they found.

mod disk;
pub(crate) mod handshake;
#[cfg(test)]
mod replay;
pub(crate) mod requests;
mod script;
