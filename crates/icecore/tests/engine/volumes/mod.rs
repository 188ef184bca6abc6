//! Copy-on-write volumes.

mod faults;
mod model;
pub(crate) mod support;
