//! What a program needs around the engine: opening and creating repositories, the clock, ids, keys,
//! where repositories are,
//! time zones, limits that follow from the machine, volumes and snapshots as exports for NBD
//! clients, the control socket of an open volume, and, for a server, its configuration and
//! schedules. The command line and the server both stand on it, and neither on the other.

pub mod clock;
#[cfg(feature = "server")]
pub mod config;
pub mod control;
#[cfg(feature = "server")]
pub mod cron;
pub mod exports;
pub mod keys;
pub mod machine;
pub mod places;
pub mod repository;
pub mod zone;
