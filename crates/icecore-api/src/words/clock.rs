//! The time and new ids, from one place, so that a test can give its own.

use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the time, in milliseconds since 1970.
    fn now_unix_ms(&self) -> i64;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_unix_ms(&self) -> i64 {
        Timestamp::now().as_millisecond()
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns an id that sorts by time, for a new snapshot or volume.
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Returns a random id, for a request or a session of a repository.
pub(crate) fn random_id() -> Uuid {
    Uuid::new_v4()
}
