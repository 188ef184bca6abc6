//! What a program needs around the engine: opening and making repositories, the clock, ids, keys,
//! time zones, what the machine has room for, volumes and snapshots as disks that NBD clients see,
//! the control socket of a volume that is open, and, for a server, its configuration and schedules.
//! The command line and the server both stand on it, and neither on the other.

pub mod clock;
#[cfg(feature = "server")]
pub mod config;
pub mod control;
#[cfg(feature = "server")]
pub mod cron;
pub mod exports;
pub mod machine;
pub mod repository;
pub mod zone;
