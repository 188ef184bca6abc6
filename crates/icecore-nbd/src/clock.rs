//! The one place that reads a clock: how long clients and disks take.

use std::time::Instant;

/// Returns the time that has passed since some moment.
#[expect(clippy::disallowed_methods, reason = "the one place that reads a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
