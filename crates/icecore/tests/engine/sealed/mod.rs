//! Sealed repositories: what they hide, and what they refuse.

mod again;
mod keys;
mod salvage;
mod search;
pub(crate) mod support;
mod tampered;
