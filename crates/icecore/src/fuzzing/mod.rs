//! For fuzzing and the tests that replay what it found: every decoder with the properties that must
//! hold of it, and a way to give hostile content the right checksums and ids.

pub mod decoders;
pub mod forge;
pub mod seal;
