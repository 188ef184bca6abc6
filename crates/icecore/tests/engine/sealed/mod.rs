//! Sealed repositories: what they hide, and what they refuse.

mod search;
pub(crate) mod support;
mod tampered;
