//! Locks, channels and threads. They are the standard library's, except in the models
//! (`tests/models/Cargo.toml`), where a model checker's versions try the orders in which threads
//! can run.

#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::Condvar;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::Mutex;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::MutexGuard;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::RwLock;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::RwLockReadGuard;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::RwLockWriteGuard;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::mpsc;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::thread;

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::Condvar;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::Mutex;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::MutexGuard;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::RwLock;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::RwLockReadGuard;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::RwLockWriteGuard;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::mpsc;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::thread;
