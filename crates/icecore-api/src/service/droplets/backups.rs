//! The backup plan of a Droplet.

use icecore_host::cron::When;

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The days on which weekly backups can be taken.
pub(crate) const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// The hours at which a window for backups can begin, UTC.
pub(crate) const HOURS: [u8; 6] = [0, 4, 8, 12, 16, 20];
/// The length of the window, in hours.
pub(crate) const WINDOW_HOURS: u32 = 4;
/// For how many days backups are kept.
pub(crate) const DAILY_KEPT_DAYS: u32 = 7;
pub(crate) const WEEKLY_KEPT_DAYS: u32 = 28;

/// A backup plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackupPolicy {
    /// Every day at this hour, UTC. The day is what the client sent, and means nothing.
    Daily { weekday: Option<&'static str>, hour: u8 },
    /// Every week on this day at this hour, UTC.
    Weekly { weekday: &'static str, hour: u8 },
}

impl BackupPolicy {
    /// Checks a client's plan. The defaults are weekly, on Sundays, at 0.
    pub(crate) fn new(plan: Option<&str>, weekday: Option<&str>, hour: Option<i64>) -> ApiResult<Self> {
        let hour = hour.unwrap_or(0);
        let hour = u8::try_from(hour)
            .ok()
            .filter(|hour| HOURS.contains(hour))
            .ok_or_else(|| ApiError::unprocessable("backup_policy.hour must be 0, 4, 8, 12, 16 or 20"))?;
        let weekday = weekday.map(known_weekday).transpose()?;
        match plan.unwrap_or("weekly") {
            "daily" => Ok(Self::Daily { weekday, hour }),
            "weekly" => Ok(Self::Weekly { weekday: weekday.unwrap_or("SUN"), hour }),
            _ => Err(ApiError::unprocessable("backup_policy.plan must be daily or weekly")),
        }
    }

    /// Parses the plan in a Droplet's labels.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            [plan, hour] => Self::new(Some(plan), None, Some(hour.parse().ok()?)).ok(),
            [plan, day, hour] => Self::new(Some(plan), Some(day), Some(hour.parse().ok()?)).ok(),
            _ => None,
        }
    }

    /// Returns the plan in the form used in a Droplet's labels.
    pub(crate) fn to_label(&self) -> String {
        match self.weekday() {
            Some(weekday) => format!("{} {weekday} {}", self.plan(), self.hour()),
            None => format!("{} {}", self.plan(), self.hour()),
        }
    }

    /// Returns `daily` or `weekly`.
    pub(crate) fn plan(&self) -> &'static str {
        match self {
            Self::Daily { .. } => "daily",
            Self::Weekly { .. } => "weekly",
        }
    }

    /// Returns the day of a weekly plan, or what the client sent with a daily one.
    pub(crate) fn weekday(&self) -> Option<&'static str> {
        match self {
            Self::Daily { weekday, .. } => *weekday,
            Self::Weekly { weekday, .. } => Some(weekday),
        }
    }

    /// Returns the hour at which the window for backups begins.
    pub(crate) fn hour(&self) -> u8 {
        match self {
            Self::Daily { hour, .. } | Self::Weekly { hour, .. } => *hour,
        }
    }

    /// Returns for how many days a backup is kept.
    pub(crate) fn kept_days(&self) -> u32 {
        match self {
            Self::Daily { .. } => DAILY_KEPT_DAYS,
            Self::Weekly { .. } => WEEKLY_KEPT_DAYS,
        }
    }

    /// Returns the times at which the windows for backups begin.
    pub(crate) fn when(&self) -> ApiResult<When> {
        let hour = self.hour();
        let cron = match self {
            Self::Daily { .. } => format!("0 {hour} * * *"),
            Self::Weekly { weekday, .. } => format!("0 {hour} * * {weekday}"),
        };
        Ok(When::parse(&cron, "UTC")?)
    }
}

fn known_weekday(weekday: &str) -> ApiResult<&'static str> {
    let known = WEEKDAYS.into_iter().find(|known| known.eq_ignore_ascii_case(weekday));
    known.ok_or_else(|| {
        ApiError::unprocessable("backup_policy.weekday must be one of SUN, MON, TUE, WED, THU, FRI, SAT")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        for (plan, weekday, hour, label) in [
            (None, None, None, "weekly SUN 0"),
            (Some("weekly"), Some("tue"), Some(20), "weekly TUE 20"),
            (Some("daily"), None, Some(8), "daily 8"),
            (Some("daily"), Some("FRI"), Some(8), "daily FRI 8"),
        ] {
            let policy = BackupPolicy::new(plan, weekday, hour).unwrap();
            assert_eq!(policy.to_label(), label);
            assert_eq!(BackupPolicy::parse(label), Some(policy));
        }
        assert!(BackupPolicy::parse("").is_none() && BackupPolicy::parse("daily").is_none());
        for (plan, weekday, hour) in [
            (Some("hourly"), None, None),
            (None, Some("SOMEDAY"), None),
            (None, None, Some(3)),
            (None, None, Some(24)),
        ] {
            assert_eq!(BackupPolicy::new(plan, weekday, hour).unwrap_err().status, 422);
        }
    }
}
