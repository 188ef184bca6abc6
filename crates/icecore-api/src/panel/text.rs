//! Numbers and times in the form that people read.

use jiff::Timestamp;
use maud::Markup;
use maud::html;

use crate::words::time::rfc3339;

/// Returns bytes with a unit, in three or four digits.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut shown = format!("{bytes} B");
    let mut unit_bytes: u128 = 1;
    for unit in UNITS {
        unit_bytes <<= 10;
        if u128::from(bytes) < unit_bytes {
            break;
        }
        let hundredths = u128::from(bytes) * 100 / unit_bytes;
        let whole = hundredths / 100;
        shown = match hundredths {
            _ if hundredths.is_multiple_of(100) => format!("{whole} {unit}"),
            10_000.. => format!("{whole} {unit}"),
            1_000.. => format!("{whole}.{} {unit}", hundredths / 10 % 10),
            _ => format!("{whole}.{:02} {unit}", hundredths % 100),
        };
    }
    shown
}

/// Returns a part of a whole, in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    if tenths >= 100 || tenths == 0 {
        format!("{} %", tenths / 10)
    } else {
        format!("{}.{} %", tenths / 10, tenths % 10)
    }
}

/// Shows a time in UTC; the script converts it to the browser's time zone.
pub(crate) fn time(unix_ms: i64) -> Markup {
    let shown = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    html! { time datetime=(rfc3339(unix_ms)) { (shown.strftime("%Y-%m-%d %H:%M")) " UTC" } }
}

/// Returns a count with its noun.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit() {
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.50 KiB"),
            (10 << 30, "10 GiB"),
            (1 << 30, "1 GiB"),
            (123 << 20, "123 MiB"),
            (16 << 40, "16 TiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
    }

    #[test]
    fn parts_are_told_in_percent() {
        for (part, whole, shown) in [(0, 0, "0 %"), (1, 3, "33 %"), (1, 200, "0.5 %"), (4, 4, "100 %")] {
            assert_eq!(percent(part, whole), shown);
        }
    }
}
