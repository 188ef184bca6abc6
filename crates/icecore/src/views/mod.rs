//! Views of a repository's content: snapshots as disks to read at any offset, volumes as disks to
//! read and write.

mod ahead;
pub(crate) mod cache;
mod chunk;
mod fetch;
mod leaf_map;
pub(crate) mod prefetch;
mod recorder;
pub(crate) mod sealing;
pub(crate) mod snapshot;
pub(crate) mod stack;
mod stack_writes;
mod streams;
pub(crate) mod volume;
mod volume_io;
mod volume_locks;
