//! Copy-on-write volumes.

mod at_once;
mod beside;
mod faults;
mod full;
mod labels;
mod limits;
pub(crate) mod model;
mod room;
pub(crate) mod support;
