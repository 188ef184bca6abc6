//! The clock and new ids, from one place, so that tests can supply their own.

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use uuid::NoContext;
use uuid::Timestamp;
use uuid::Uuid;

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// Returns the time, in milliseconds since 1970.
    fn now_unix_ms(&self) -> i64;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_unix_ms(&self) -> i64 {
        system_unix_ms()
    }
}

/// Returns the time of the clock of the machine, in milliseconds since 1970.
pub fn system_unix_ms() -> i64 {
    unix_ms(SystemTime::now())
}

/// Returns a time in milliseconds since 1970, negative for a clock that was never set.
fn unix_ms(time: SystemTime) -> i64 {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => ms(since),
        // Rounded down, so that no time before 1970 is 1970.
        Err(before) => (-1_i64).saturating_sub(ms(before.duration())),
    }
}

/// A stopwatch.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns an id that sorts by time, for a new snapshot or volume.
pub fn new_id() -> Uuid {
    id_at(SystemTime::now())
}

fn id_at(time: SystemTime) -> Uuid {
    match unix_ms(time) {
        0.. => Uuid::now_v7(),
        // The engine reports what is wrong with such a time.
        before => new_id_at(before),
    }
}

/// Returns an id for an object created at a time in milliseconds since 1970.
pub fn new_id_at(unix_ms: i64) -> Uuid {
    let ms = unix_ms.max(0).unsigned_abs();
    let nanos = u32::try_from(ms % 1000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, nanos))
}

/// Returns a random id, for a request or a session of a repository.
pub fn random_id() -> Uuid {
    Uuid::new_v4()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clock_is_too_wrong() {
        let epoch = SystemTime::UNIX_EPOCH;
        let (ms, year) = (Duration::from_millis(1), Duration::from_secs(31_556_952));
        assert_eq!(unix_ms(epoch + ms * 1500), 1500);
        assert_eq!(unix_ms(epoch), 0);
        assert!(unix_ms(epoch - ms / 2) < 0 && unix_ms(epoch - 100 * year) < -3_000_000_000_000);
        assert!(unix_ms(epoch + 10_000 * year) > 253_402_300_800_000);
        assert!(new_id_at(1500) > new_id_at(1499) && new_id_at(i64::MAX) > new_id_at(0));
        assert_ne!(id_at(epoch - year), id_at(epoch - year), "ids differ all the same");
    }
}
