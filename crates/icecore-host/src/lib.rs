//! What a program needs around the engine: the clock, ids, time zones, what the machine has room for, volumes and snapshots as disks
//! that NBD clients see, and the control socket of a volume that is open. The command line and the server both stand on it, and
//! neither on the other.

pub mod clock;
pub mod control;
pub mod exports;
pub mod machine;
pub mod zone;
