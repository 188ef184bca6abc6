//! What the tests of several crates share. A dev-dependency of each of them, and part of no program.

pub mod layers;
pub mod random;
