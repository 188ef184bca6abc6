//! The world outside: the repository's storage, disk images, the system's locks.

pub(crate) mod device;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fault;
pub(crate) mod fs;
pub(crate) mod io;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod memory;
pub(crate) mod storage;
