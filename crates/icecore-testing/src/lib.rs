//! What the tests of several crates share. A dev-dependency of each of them, and part of no
//! program.
//!
//! The engine's tests beside its code cannot use what stands on the engine, as they see another
//! compilation of it: for them `MemoryStorage` is in the engine.
#![expect(
    missing_docs,
    reason = "what a helper of tests does is in its name, or in a comment where it is not"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::new_without_default,
    reason = "a helper that cannot do its work ends the test"
)]

pub mod bytes;
pub mod crash;
pub mod crash_states;
pub mod disk;
pub mod fault;
pub mod fault_image;
pub mod fault_storage;
mod forward;
pub mod fuzz;
pub mod history;
pub mod images;
pub mod layers;
pub mod nbd;
pub mod random;
pub mod repository;
