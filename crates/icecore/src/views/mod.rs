//! Views of what a repository holds: snapshots as disks that are read at any offset.

mod ahead;
pub(crate) mod cache;
mod chunk;
mod fetch;
mod leaf_map;
pub(crate) mod snapshot;
mod streams;
mod tree;
