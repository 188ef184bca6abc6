//! Times of snapshots, in milliseconds since 1970.

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;

/// The first millisecond of the year 10000, which the calendar does not reach.
const END_UNIX_MS: i64 = 253_402_300_800_000;
/// The tolerance between clocks before a time counts as in the future.
const TOLERANCE_MS: i64 = 60_000;

/// Checks the time of a new object: a clock before 1970 or after 9999 was never set, or is broken.
///
/// # Errors
/// `InvalidInput` for such a time.
pub(crate) fn check_time(unix_ms: i64) -> Result<()> {
    if (0..END_UNIX_MS).contains(&unix_ms) {
        return Ok(());
    }
    let place = if unix_ms < 0 { "before 1970" } else { "after the year 9999" };
    Err(Error::new(ErrorKind::InvalidInput, format!("the clock shows a time {place}"))
        .with_hint("set the clock of this machine and try again"))
}

/// Returns whether a time is later than `now_unix_ms` by more than the tolerance.
pub(crate) fn is_future(unix_ms: i64, now_unix_ms: i64) -> bool {
    unix_ms.saturating_sub(now_unix_ms) > TOLERANCE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_cannot_be_right_is_an_error() {
        for time in [0, 1_800_000_000_000, 253_402_300_799_999] {
            check_time(time).unwrap();
        }
        for (time, place) in [(-1, "before 1970"), (i64::MIN, "before 1970"), (253_402_300_800_000, "9999")] {
            let error = check_time(time).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(place), "{error}");
        }
    }

    #[test]
    fn a_minute_between_two_clocks_is_no_future() {
        assert!(!is_future(60_000, 0) && !is_future(i64::MIN, i64::MAX));
        assert!(is_future(60_001, 0) && is_future(i64::MAX, i64::MIN));
    }
}
