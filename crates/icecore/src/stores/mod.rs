//! The stores of a repository: packs, the index over them, manifests, parity, the journal of the
//! catalog, volumes, and the locks between processes. `recovery` finds elsewhere what their usual places do
//! not give.

pub(crate) mod chunks;
pub(crate) mod config;
pub(crate) mod file_sizes;
pub(crate) mod files;
pub(crate) mod index;
pub(crate) mod journal;
pub(crate) mod known_slots;
pub(crate) mod live_records;
pub(crate) mod locks;
pub(crate) mod manifest;
pub(crate) mod notes;
pub(crate) mod pack;
pub(crate) mod parity;
pub(crate) mod planner;
pub(crate) mod reads;
pub(crate) mod recent_pages;
pub(crate) mod recovery;
pub(crate) mod seals;
pub(crate) mod slots;
pub(crate) mod volumes;
