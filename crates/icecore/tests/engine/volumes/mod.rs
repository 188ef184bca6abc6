//! Copy-on-write volumes.

mod at_once;
mod faults;
mod model;
pub(crate) mod support;
