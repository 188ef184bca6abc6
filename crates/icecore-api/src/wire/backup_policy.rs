//! The times of backups.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::droplets::backups::BackupPolicy;
use crate::service::droplets::backups::DAILY_KEPT_DAYS;
use crate::service::droplets::backups::HOURS;
use crate::service::droplets::backups::WEEKDAYS;
use crate::service::droplets::backups::WEEKLY_KEPT_DAYS;
use crate::service::droplets::backups::WINDOW_HOURS;
use crate::service::droplets::item::DropletItem;
use crate::wire::blank;
use crate::wire::list::Links;
use crate::wire::list::Meta;
use crate::wire::list::Paged;
use crate::wire::list::body;
use crate::words::error::ApiResult;
use crate::words::time::rfc3339;

/// The times of backups.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct PolicyJson {
    /// `daily` or `weekly`.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) plan: Option<String>,
    /// `SUN` to `SAT`. Means nothing if the plan is daily.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) weekday: Option<String>,
    /// UTC: 0, 4, 8, 12, 16 or 20.
    #[serde(default)]
    pub(crate) hour: Option<i64>,
}

/// The time in which the next backup begins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowJson {
    pub(crate) start: String,
    pub(crate) end: String,
}

/// The backups of a Droplet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyRecordJson {
    pub(crate) droplet_id: i64,
    pub(crate) backup_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backup_policy: Option<KeptPolicyJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_backup_window: Option<WindowJson>,
}

/// The times of backups, and how long they are kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeptPolicyJson {
    /// `daily` or `weekly`.
    pub(crate) plan: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weekday: Option<String>,
    /// UTC.
    pub(crate) hour: u8,
    pub(crate) window_length_hours: u32,
    pub(crate) retention_period_days: u32,
}

/// A backup plan that Droplets can have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SupportedPolicyJson {
    /// `daily` or `weekly`.
    pub(crate) name: String,
    /// UTC.
    pub(crate) possible_window_starts: Vec<u8>,
    pub(crate) window_length_hours: u32,
    pub(crate) retention_period_days: u32,
    pub(crate) possible_days: Vec<String>,
}

body!(
    /// The backups of a Droplet.
    PolicyBody, policy: PolicyRecordJson
);
body!(
    /// The backup plans that Droplets can have.
    SupportedPoliciesBody, supported_policies: Vec<SupportedPolicyJson>
);

/// The backups of Droplets, by their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoliciesBody {
    pub(crate) policies: BTreeMap<String, PolicyRecordJson>,
    pub(crate) links: Links,
    pub(crate) meta: Meta,
}

impl From<Paged<PolicyRecordJson>> for PoliciesBody {
    fn from(page: Paged<PolicyRecordJson>) -> Self {
        let policies = page.items.into_iter().map(|record| (record.droplet_id.to_string(), record));
        Self { policies: policies.collect(), links: page.links, meta: page.meta }
    }
}

impl WindowJson {
    /// Returns the first window after `now_unix_ms`.
    pub(crate) fn next(policy: &BackupPolicy, now_unix_ms: i64) -> Option<Self> {
        let start = policy.when().ok()?.next_after(now_unix_ms)?;
        let end = start.saturating_add(i64::from(WINDOW_HOURS) * 3_600_000);
        Some(Self { start: rfc3339(start), end: rfc3339(end) })
    }
}

impl PolicyRecordJson {
    /// Shows the backups of a Droplet.
    pub(crate) fn new(item: &DropletItem, now_unix_ms: i64) -> Self {
        let policy = item.backups();
        Self {
            droplet_id: item.number,
            backup_enabled: policy.is_some(),
            backup_policy: policy.as_ref().map(KeptPolicyJson::from),
            next_backup_window: policy.and_then(|policy| WindowJson::next(&policy, now_unix_ms)),
        }
    }
}

impl From<&BackupPolicy> for KeptPolicyJson {
    fn from(policy: &BackupPolicy) -> Self {
        Self {
            plan: policy.plan().to_owned(),
            weekday: policy.weekday().map(str::to_owned),
            hour: policy.hour(),
            window_length_hours: WINDOW_HOURS,
            retention_period_days: policy.kept_days(),
        }
    }
}

impl SupportedPolicyJson {
    /// Shows all plans.
    pub(crate) fn all() -> Vec<Self> {
        let plan = |name: &str, days: u32, weekdays: &[&str]| Self {
            name: name.to_owned(),
            possible_window_starts: HOURS.to_vec(),
            window_length_hours: WINDOW_HOURS,
            retention_period_days: days,
            possible_days: weekdays.iter().map(|day| (*day).to_owned()).collect(),
        };
        vec![plan("weekly", WEEKLY_KEPT_DAYS, &WEEKDAYS), plan("daily", DAILY_KEPT_DAYS, &[])]
    }
}

impl From<&BackupPolicy> for PolicyJson {
    fn from(policy: &BackupPolicy) -> Self {
        Self {
            plan: Some(policy.plan().to_owned()),
            weekday: policy.weekday().map(str::to_owned),
            hour: Some(policy.hour().into()),
        }
    }
}

impl PolicyJson {
    /// Checks a client's plan.
    pub(crate) fn policy(self) -> ApiResult<BackupPolicy> {
        BackupPolicy::new(self.plan.as_deref(), self.weekday.as_deref(), self.hour)
    }
}
