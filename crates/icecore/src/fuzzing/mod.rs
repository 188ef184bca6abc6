//! Support for fuzzing, and for the tests that replay its findings: checks of the properties that
//! every decoder must have, and a way to give hostile content the right checksums and ids.

pub mod decoders;
pub mod forge;
pub mod seal;
