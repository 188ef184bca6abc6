//! The stores of a repository: packs, the index over them, manifests, snapshot records, and the locks between them.

pub(crate) mod base;
pub(crate) mod chunks;
pub(crate) mod examine;
pub(crate) mod fence;
pub(crate) mod files;
pub(crate) mod index;
pub(crate) mod index_writer;
pub(crate) mod items;
pub(crate) mod manifest;
pub(crate) mod notes;
pub(crate) mod pack_cache;
pub(crate) mod pack_check;
pub(crate) mod pack_file;
pub(crate) mod pack_salvage;
pub(crate) mod pack_writer;
pub(crate) mod packs;
pub(crate) mod pairs;
pub(crate) mod pinned;
pub(crate) mod records;
pub(crate) mod run_builder;
pub(crate) mod run_writer;
pub(crate) mod substitute;
pub(crate) mod tree_builder;
pub(crate) mod walk;
