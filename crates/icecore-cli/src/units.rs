//! Sizes, percentages and times, as people read and write them.

use std::time::Duration;

use icecore::repository::LEVELS;
use icecore::snapshot::retention::Within;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::hints::hint_of;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns `bytes` in the unit that a person would choose, with one decimal.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut unit = 0;
    let mut value = bytes as f64;
    // 1023.96 would be written as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Returns `part` as a percentage of `whole`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".into();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    if part > 0 && percent < 0.1 { "< 0.1 %".into() } else { format!("{percent:.1} %") }
}

/// Returns how many times `small` fits into `large`; none if that is meaningless.
pub(crate) fn ratio(large: u64, small: u64) -> Option<f64> {
    (large > 0 && small > 0).then(|| large as f64 / small as f64)
}

/// Returns a ratio as it stands in JSON: with three decimals.
pub(crate) fn rounded(ratio: Option<f64>) -> Option<f64> {
    ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0)
}

/// Returns a ratio for people.
pub(crate) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.1}x"))
}

/// Returns a duration for people.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Returns a duration in whole milliseconds.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns `count` bytes in `time` as a rate.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    format!("{}/s", bytes(per_second(count, time.as_secs_f64().max(0.001)).unwrap_or(u64::MAX)))
}

/// Returns how many of `count` things done in `seconds` are done per second; none if no time was
/// measured.
pub(crate) fn per_second(count: u64, seconds: f64) -> Option<u64> {
    Duration::try_from_secs_f64(count as f64 / seconds).ok().map(|each| each.as_secs())
}

/// Returns a count of things: `1 range`, `2 ranges`.
pub(crate) fn count(n: u64, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

/// Returns a time in UTC to the second, in RFC 3339.
pub(crate) fn time_for_people(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| "-".into(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Returns a time in UTC to the millisecond, in RFC 3339; none if RFC 3339 cannot express it.
pub(crate) fn time_exact(unix_ms: i64) -> Option<String> {
    Timestamp::from_millisecond(unix_ms).ok().map(|time| time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// Returns a time in UTC as part of a name.
pub(crate) fn time_for_names(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| unix_ms.to_string(), |time| time.strftime("%Y%m%d-%H%M%S").to_string())
}

/// Parses a size: bytes, or a number with a unit.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{text:?} is not a size: write bytes, or a number with K, M, G, T, P or E (powers of 1024), such as 10G or 512MiB"
        )
    };
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let factor = unit_factor(unit.trim()).ok_or_else(wrong)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(|| format!("{text:?} is too large"));
    }
    let fraction: f64 = number.parse().map_err(|_| wrong())?;
    let size = Duration::try_from_secs_f64(fraction * factor as f64)
        .map_err(|_| format!("{text:?} is too large"))?;
    Ok(size.as_secs())
}

fn unit_factor(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix("ib") {
        Some(letter) if !letter.is_empty() => (letter, 1024_u64),
        _ => match unit.strip_suffix('b') {
            Some(letter) if !letter.is_empty() => (letter, 1000),
            _ => (unit.as_str(), 1024),
        },
    };
    let power = match letter {
        "" | "b" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    base.checked_pow(power)
}

/// Parses a duration: numbers with h, min or s. No duration here has months, so `m` can stand for
/// `min`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("{text:?} is not a duration: write numbers with h, min or s, such as 30s, 10min or 1h30min")
    };
    let mut rest = text.trim();
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = rest.split_at(end);
        let (unit, after) =
            unit.split_at(unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len()));
        let factor = match unit {
            "h" => 3600,
            "min" | "m" => 60,
            "s" => 1,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let more = number.checked_mul(factor).and_then(|more| seconds.checked_add(more));
        seconds = more.ok_or_else(|| format!("{text:?} is too long"))?;
        rest = after;
    }
    if seconds == 0 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

/// A time in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// A time, in milliseconds since 1970.
    Time(i64),
    /// An age.
    Age(Within),
}

impl Since {
    /// Returns the time, in milliseconds since 1970.
    pub(crate) fn unix_ms(self, now_unix_ms: i64) -> i64 {
        match self {
            Self::Time(unix_ms) => unix_ms,
            Self::Age(within) => Timestamp::from_millisecond(now_unix_ms)
                .map_or(i64::MIN, |now| within.earliest(&now.to_zoned_datetime(TimeZone::UTC))),
        }
    }
}

/// Parses a time in the past: in RFC 3339, a date with or without a time in UTC, or an age.
pub(crate) fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Since::Time(time.as_millisecond()));
    }
    if let Ok(time) = text.parse::<DateTime>() {
        let time = time
            .to_zoned_datetime(TimeZone::UTC)
            .map_err(|error| format!("{text:?} is not a time: {error}"))?;
        return Ok(Since::Time(time.timestamp().as_millisecond()));
    }
    parse_within(text).map(Since::Age).map_err(|_| {
        format!(
            "{text:?} is neither a time nor an age: write 2026-11-24, 2026-11-24T08:15, or such as 14d or 12h"
        )
    })
}

/// Parses how far back a policy reaches.
pub(crate) fn parse_within(text: &str) -> Result<Within, String> {
    text.parse().map_err(|error: icecore::Error| match hint_of(&error) {
        Some(hint) => format!("{error}: {hint}"),
        None => error.to_string(),
    })
}

/// Parses a compression level.
pub(crate) fn parse_level(text: &str) -> Result<i32, String> {
    let level = text.parse().ok().filter(|level| LEVELS.contains(level));
    level.ok_or_else(|| format!("write a number from {} (fast) to {} (small)", LEVELS.start(), LEVELS.end()))
}

/// Parses a percentage from 0 % to 100 % as a fraction of one.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a percentage: write one from 0% to 100%, such as 5% or 0.1%");
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let percent: f64 = number.trim().parse().map_err(|_| wrong())?;
    if (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_a_time() {
        assert_eq!(per_second(300, 2.0), Some(150));
        assert_eq!(per_second(300, 0.0), None);
        assert_eq!(per_second(0, 0.0), None);
    }

    #[test]
    fn sizes_are_written_with_one_decimal_in_the_unit_that_fits() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_073_741_823, "1.0 GiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (size, text) in cases {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let cases = [
            ("0", 0),
            ("512", 512),
            ("10G", 10 << 30),
            ("512MiB", 512 << 20),
            ("1.5k", 1536),
            ("2TB", 2_000_000_000_000),
            ("8E", 8 << 60),
            ("15.5 EiB", 31 << 59),
            ("1EB", 1_000_000_000_000_000_000),
        ];
        for (text, size) in cases {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for wrong in ["", "G", "-1", "10X", "1e3", "1.2.3", "99999999P", "16E", "1Z", "ib"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_with_units() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("10min", 600), ("1h", 3600), ("1h30m5s", 5405)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "10", "m", "1d", "0s", "-1s", "1.5h", "99999999999999999999s", "9999999999999999h"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn percentages_need_their_sign() {
        assert_eq!(parse_percent("5%"), Ok(0.05));
        assert_eq!(parse_percent("100%"), Ok(1.0));
        for wrong in ["5", "0.05", "101%", "-1%", "%", "NaN%"] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(time_for_people(1_795_508_130_123), "2026-11-24T08:15:30Z");
        assert_eq!(time_exact(1_795_508_130_123).as_deref(), Some("2026-11-24T08:15:30.123Z"));
        assert_eq!(time_for_names(1_795_508_130_123), "20261124-081530");
        assert_eq!(time_exact(i64::MAX), None);
    }
}
