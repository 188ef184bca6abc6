//! The store's own clock, which tests set and move.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// The time of the store: dates of objects and their retention. Signatures are checked by the time
/// of the machine.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<Reading>);

#[derive(Debug, Clone, Copy)]
enum Reading {
    Machine { ahead_ms: u64 },
    Stopped { unix_ms: u64 },
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Reading::Machine { ahead_ms: 0 }))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Reading::Machine { ahead_ms } => machine_ms().saturating_add(ahead_ms),
            Reading::Stopped { unix_ms } => unix_ms,
        }
    }

    /// Stops the clock at a time.
    pub(crate) fn stop_at(&self, unix_ms: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Reading::Stopped { unix_ms };
    }

    /// Moves the clock forward, whether it runs or stands.
    pub(crate) fn advance(&self, by: Duration) {
        let by = millis(by);
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *reading = match *reading {
            Reading::Machine { ahead_ms } => Reading::Machine { ahead_ms: ahead_ms.saturating_add(by) },
            Reading::Stopped { unix_ms } => Reading::Stopped { unix_ms: unix_ms.saturating_add(by) },
        };
    }
}

/// Returns a duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn machine_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
