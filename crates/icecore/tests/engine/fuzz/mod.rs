//! What is fuzzed beside single decoders: functions from bytes that a fuzzer made up to what must hold. The fuzzing
//! targets in `fuzz/` at the top call the same functions as the replay of what they found.

pub(crate) mod histories;
pub(crate) mod input;
pub(crate) mod mutations;
pub(crate) mod names;
#[cfg(test)]
mod replay;
pub(crate) mod verbs;
pub(crate) mod walks;
