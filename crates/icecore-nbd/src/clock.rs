//! The only module that reads a clock, to measure how long clients and disks take.

use std::time::Instant;

/// Returns the time since a fixed moment.
#[expect(clippy::disallowed_methods, reason = "the one place that reads a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
