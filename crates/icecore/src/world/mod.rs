//! The outside world: the repository's storage, disk images, the system's locks.

pub(crate) mod direct;
pub(crate) mod directory;
pub(crate) mod fs;
pub(crate) mod guard;
pub(crate) mod image;
pub(crate) mod in_place;
pub(crate) mod in_use;
pub(crate) mod inside;
pub(crate) mod io;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod memory;
pub(crate) mod noticing;
pub(crate) mod objects;
pub(crate) mod pages;
pub(crate) mod place;
pub(crate) mod random_file;
pub(crate) mod raw;
pub(crate) mod rename;
pub(crate) mod reread;
#[cfg(test)]
pub(crate) mod scratch;
pub(crate) mod sessions;
pub(crate) mod storage;
pub(crate) mod target;
pub(crate) mod unsupported;
pub(crate) mod watched;
