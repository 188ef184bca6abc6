//! The backup plan of a Droplet.

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

const WEEKDAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

/// A backup plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackupPolicy {
    /// Every day at this hour, UTC.
    Daily { hour: u8 },
    /// Every week on this day at this hour, UTC.
    Weekly { weekday: &'static str, hour: u8 },
}

impl BackupPolicy {
    /// Checks a client's plan. The defaults are weekly, on Sundays, at 0.
    pub(crate) fn new(plan: Option<&str>, weekday: Option<&str>, hour: Option<i64>) -> ApiResult<Self> {
        let hour = hour.unwrap_or(0);
        let hour = u8::try_from(hour)
            .ok()
            .filter(|hour| *hour < 24 && hour % 4 == 0)
            .ok_or_else(|| ApiError::unprocessable("backup_policy.hour must be 0, 4, 8, 12, 16 or 20"))?;
        match plan.unwrap_or("weekly") {
            "daily" => Ok(Self::Daily { hour }),
            "weekly" => {
                let weekday = weekday.unwrap_or("SUN");
                let known = WEEKDAYS.into_iter().find(|known| known.eq_ignore_ascii_case(weekday));
                let weekday = known.ok_or_else(|| {
                    ApiError::unprocessable(
                        "backup_policy.weekday must be one of SUN, MON, TUE, WED, THU, FRI, SAT",
                    )
                })?;
                Ok(Self::Weekly { weekday, hour })
            }
            _ => Err(ApiError::unprocessable("backup_policy.plan must be daily or weekly")),
        }
    }

    /// Parses the plan in a Droplet's labels.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["daily", hour] => Self::new(Some("daily"), None, Some(hour.parse().ok()?)).ok(),
            ["weekly", day, hour] => Self::new(Some("weekly"), Some(day), Some(hour.parse().ok()?)).ok(),
            _ => None,
        }
    }

    /// Returns the plan in the form used in a Droplet's labels.
    pub(crate) fn to_label(&self) -> String {
        match self {
            Self::Daily { hour } => format!("daily {hour}"),
            Self::Weekly { weekday, hour } => format!("weekly {weekday} {hour}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        for (plan, weekday, hour, label) in [
            (None, None, None, "weekly SUN 0"),
            (Some("weekly"), Some("tue"), Some(20), "weekly TUE 20"),
            (Some("daily"), Some("FRI"), Some(8), "daily 8"),
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
