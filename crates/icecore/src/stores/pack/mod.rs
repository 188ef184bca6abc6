//! The pack files: read, proven, written, and listed.

pub(crate) mod audit;
pub(crate) mod cache;
pub(crate) mod file;
pub(crate) mod list;
pub(crate) mod writer;
