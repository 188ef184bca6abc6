//! Copy-on-write volumes.

mod at_once;
mod faults;
mod labels;
mod limits;
mod model;
pub(crate) mod support;
