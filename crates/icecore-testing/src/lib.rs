//! Helpers that the tests of several crates share. It is a dev-dependency of each of them, and part
//! of no program.
//!
//! The engine's unit tests cannot use helpers that depend on the engine, because those see another
//! compilation of it. That is why `MemoryStorage` is in the engine.
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

pub mod bucket;
pub mod bytes;
pub mod crash;
pub mod crash_states;
pub mod disk;
pub mod fault;
pub mod fault_image;
pub mod fault_storage;
pub mod fuzz;
pub mod history;
pub mod images;
pub mod layers;
pub mod nbd;
pub mod random;
pub mod repository;
pub mod roles;
