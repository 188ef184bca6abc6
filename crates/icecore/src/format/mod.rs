//! Every byte on disk: layouts, signatures, versions, limits and file names. `docs/format.md`
//! describes them.
//!
//! Decoders take a slice, do no IO, never panic, and check every number before they allocate by it.

pub(crate) mod bytes;
pub(crate) mod checkpoint;
pub(crate) mod checkpoint_writer;
pub(crate) mod config;
pub(crate) mod dirty_map;
pub(crate) mod envelope;
pub(crate) mod foreign;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
pub(crate) mod journal;
pub(crate) mod layout;
pub(crate) mod notes;
pub(crate) mod pack;
pub(crate) mod page;
pub(crate) mod page_delta;
pub(crate) mod parity;
pub(crate) mod reads;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod run_filter;
pub(crate) mod run_table;
pub(crate) mod sealed;
pub(crate) mod serial;
pub(crate) mod volume;
