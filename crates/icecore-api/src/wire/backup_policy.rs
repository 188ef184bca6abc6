//! The times of backups.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::droplets::backups::BackupPolicy;
use crate::wire::blank;
use crate::words::error::ApiResult;

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
