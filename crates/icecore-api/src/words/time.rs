//! Times as the API writes them: RFC 3339, UTC, whole seconds.

use jiff::Timestamp;

/// Returns a time in milliseconds since 1970 as text; the first second of 1970 where it is out of all bounds.
pub(crate) fn rfc3339(unix_ms: i64) -> String {
    let time = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_seconds() {
        assert_eq!(rfc3339(1_595_954_862_999), "2020-07-28T16:47:42Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00Z");
    }
}
