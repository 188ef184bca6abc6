//! Times in the API's form: RFC 3339, UTC, whole seconds.

use jiff::Timestamp;

/// Formats a time in milliseconds since 1970. A time out of range becomes the first second of 1970.
pub(crate) fn rfc3339(unix_ms: i64) -> String {
    let time = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Formats seconds as the cloud does: `45s`, `10m0s`, `1h0m0s`.
pub(crate) fn spoken_seconds(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_seconds() {
        assert_eq!(rfc3339(1_595_954_862_999), "2020-07-28T16:47:42Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn spans_of_time_have_their_units() {
        for (seconds, text) in [(0, "0s"), (45, "45s"), (600, "10m0s"), (3661, "1h1m1s"), (7200, "2h0m0s")] {
            assert_eq!(spoken_seconds(seconds), text);
        }
    }
}
