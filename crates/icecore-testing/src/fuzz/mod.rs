//! What is fuzzed beside single decoders: functions from bytes that a fuzzer made up to what must
//! hold. The fuzzing targets in `fuzz/` at the top call the same functions as the replay of what
//! they found.

pub mod histories;
pub mod input;
pub mod mutations;
pub mod names;
pub mod verbs;
pub mod walks;
