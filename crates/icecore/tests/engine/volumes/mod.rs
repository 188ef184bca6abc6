//! Copy-on-write volumes.

mod model;
pub(crate) mod support;
