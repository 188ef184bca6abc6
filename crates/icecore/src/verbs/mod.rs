//! The operations on a repository, one file for each verb. A verb is a function that takes the
//! handle.

pub(crate) mod bench;
pub(crate) mod capture;
pub(crate) mod catalog;
pub(crate) mod copy;
pub(crate) mod diff;
pub mod gc;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod map;
pub(crate) mod parity;
pub(crate) mod repair;
pub(crate) mod restore;
pub mod retention;
pub(crate) mod stats;
pub(crate) mod verify;
pub(crate) mod volume;
