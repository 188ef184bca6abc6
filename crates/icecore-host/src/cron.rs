//! Times that come again: a line of crontab in a time zone.

use std::cmp::Ordering;
use std::str::FromStr;

use crate::zone::time_zone;
use croner::CivilDateTime;
use croner::Cron;
use croner::CronDateTime;
use croner::Resolution;
use croner::Weekday;
use croner::errors::CronError;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::ZonedDateTime;
use jiff::civil;
use jiff::civil::DateTime;
use jiff::tz::AmbiguousOffset;
use jiff::tz::TimeZone;

/// Where the search goes on, in hours, when it has given up: at a time that clocks leave out
/// together with more than two hours, as at Casey, or with a whole day, as in Samoa.
const BEHIND_GAPS: [i64; 4] = [0, 3, 12, 24];

/// When something is done.
#[derive(Debug, Clone)]
pub struct When {
    cron: Cron,
    zone: TimeZone,
}

impl When {
    /// Reads five fields of crontab, or an alias as `@daily`, and the name of a time zone.
    pub fn parse(cron: &str, zone: &str) -> Result<Self> {
        let wrong =
            |message: String, hint: &str| Error::new(ErrorKind::InvalidInput, message).with_hint(hint);
        let hint = "minute, hour, day of the month, month, day of the week, like \"30 2 * * MON\"";
        if cron.split_whitespace().count() > 5 {
            return Err(wrong(format!("{cron:?} has more than five fields"), hint));
        }
        let cron = Cron::from_str(cron)
            .map_err(|error| wrong(format!("{cron:?} is no time that comes again: {error}"), hint))?;
        let zone = time_zone(zone)?;
        Ok(Self { cron, zone })
    }

    /// Returns the time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Returns the first time after another one, in milliseconds since 1970; none where there is
    /// none any more.
    pub fn next_after(&self, unix_ms: i64) -> Option<i64> {
        let after = Timestamp::from_millisecond(unix_ms).ok()?;
        let after = Local(ZonedDateTime::new(after, self.zone.clone()));
        let next_from = |hours: i64| {
            let from = after.checked_add_seconds(hours * 3600)?;
            self.cron.find_next_occurrence(&from, false).ok()
        };
        let next = BEHIND_GAPS.into_iter().find_map(next_from)?;
        Some(next.0.timestamp().as_millisecond())
    }
}

/// A time as the crate with the calendar has it, for the crate that searches in it.
#[derive(Debug, Clone)]
struct Local(ZonedDateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.0.datetime();
        // Fields of a time that is there are not negative, the year excepted.
        let part = |part: i8| u32::from(part.unsigned_abs());
        CivilDateTime::new(
            croner::CivilDate::from_parts_unchecked(i32::from(at.year()), part(at.month()), part(at.day())),
            croner::CivilTime::from_parts_unchecked(part(at.hour()), part(at.minute()), part(at.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        match self.0.weekday() {
            civil::Weekday::Sunday => Weekday::Sunday,
            civil::Weekday::Monday => Weekday::Monday,
            civil::Weekday::Tuesday => Weekday::Tuesday,
            civil::Weekday::Wednesday => Weekday::Wednesday,
            civil::Weekday::Thursday => Weekday::Thursday,
            civil::Weekday::Friday => Weekday::Friday,
            civil::Weekday::Saturday => Weekday::Saturday,
        }
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> std::result::Result<Resolution<Self>, CronError> {
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(to_jiff(civil)?);
        let wrong = |_| CronError::InvalidTime;
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(Self(ambiguous.unambiguous().map_err(wrong)?))
            }
            AmbiguousOffset::Fold { .. } => {
                let earlier = ambiguous.clone().earlier().map_err(wrong)?;
                Resolution::Ambiguous(Self(earlier), Self(ambiguous.later().map_err(wrong)?))
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

fn to_jiff(civil: CivilDateTime) -> std::result::Result<DateTime, CronError> {
    let part = |part: u32| i8::try_from(part).map_err(|_| CronError::InvalidTime);
    let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
    DateTime::new(
        year,
        part(civil.month())?,
        part(civil.day())?,
        part(civil.hour())?,
        part(civil.minute())?,
        part(civil.second())?,
        0,
    )
    .map_err(|_| CronError::InvalidDate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cron: &str, zone: &str, after: &str, next: &[&str]) {
        let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let when = When::parse(cron, zone).unwrap();
        let mut at = ms(after);
        for next in next {
            at = when.next_after(at).unwrap();
            assert_eq!(at, ms(next), "{cron} {zone} after {after}");
        }
    }

    #[test]
    fn times_come_again_by_the_calendar_of_their_zone() {
        check("30 2 * * *", "UTC", "2026-02-27T02:30:00Z", &["2026-02-28T02:30:00Z", "2026-03-01T02:30:00Z"]);
        check("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
        check("0 4 * * SUN", "UTC", "2026-11-28T12:00:00.5Z", &["2026-11-29T04:00:00Z"]);
        check("@hourly", "UTC", "2026-12-31T23:00:00.001Z", &["2027-01-01T00:00:00Z"]);
        check("0 1 * * 1", "Europe/Berlin", "2026-11-29T12:00:00Z", &["2026-11-30T00:00:00Z"]);
        // The hour from 2 to 3 is missing on the last Sunday of March, and comes twice on that of
        // October.
        check("30 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:30:00Z"]);
        check("0 12 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T11:00:00Z"]);
    }

    #[test]
    fn what_is_done_daily_is_done_once_on_days_on_which_clocks_are_set() {
        let berlin = "Europe/Berlin";
        // Half past two is missing on one day and comes twice on the other.
        check(
            "30 2 * * *",
            berlin,
            "2026-03-28T01:30:00Z",
            &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        );
        check(
            "30 2 * * *",
            berlin,
            "2026-10-24T00:30:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        );
        // Each hour of the clock comes, the missing one excepted, and the double one twice.
        let hours = ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"];
        check("30 * * * *", berlin, "2026-03-28T23:30:00Z", &hours);
        let hours = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"];
        check("30 * * * *", berlin, "2026-10-24T23:30:00Z", &hours);
        // Half an hour, three hours, and a whole day that Samoa has left out.
        check(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00:00Z",
            &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
        );
        check(
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T00:00:00Z",
            &["2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"],
        );
        let casey = "Antarctica/Casey";
        check("30 1 * * *", casey, "2020-10-02T17:30:00Z", &["2020-10-03T16:01:00Z", "2020-10-04T14:30:00Z"]);
        check("2 0 * * *", casey, "2020-10-02T16:02:00Z", &["2020-10-04T13:02:00Z", "2020-10-05T13:02:00Z"]);
        check("0 0 29 2 *", berlin, "2096-03-01T00:00:00Z", &["2104-02-28T23:00:00Z"]);
    }

    #[test]
    fn what_never_comes_is_never() {
        let never = When::parse("0 0 30 2 *", "Europe/Berlin").unwrap();
        assert_eq!(never.next_after(0), None);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (cron, zone) in
            [("", "UTC"), ("61 * * * *", "UTC"), ("0 0 0 * * *", "UTC"), ("@daily", "Mars/Olympus")]
        {
            let error = When::parse(cron, zone).unwrap_err();
            assert!(error.next_step().is_some(), "{error}");
        }
    }
}
