//! How much there is, and how much it takes: noted from time to time, for the charts.

use icecore::NoProgress;

use crate::db::UsageSample;
use crate::service::Service;
use crate::service::Who;
use crate::service::items::is_owned_by;
use crate::service::snapshots::owner;
use crate::words::error::ApiResult;

/// What is older is forgotten.
const KEPT_MS: i64 = 400 * 24 * 60 * 60 * 1000;
/// Within this time, what was noted is taken for what is.
const FRESH_MS: i64 = 60 * 1000;

impl Service {
    /// Notes how much each account has in each region now. Reads manifests, and may take seconds
    /// where there is much.
    ///
    /// # Errors
    /// Those of the repositories and the database.
    pub(crate) fn sample_usage(&self) -> ApiResult<()> {
        let unix_ms = self.now_unix_ms();
        let first = self.config().first_account();
        let mut samples = Vec::new();
        for pool in self.pools().values() {
            let repo = pool.another_handle()?;
            let report = icecore::maintenance::stats(&repo, &NoProgress)?;
            let disks = icecore::volume::list_volumes(&repo)?.volumes;
            for account in &self.config().accounts {
                let owned = report
                    .snapshots
                    .iter()
                    .filter(|found| owner(&found.snapshot, &disks, first) == account.name);
                let mut sample = UsageSample {
                    unix_ms,
                    account: account.name.clone(),
                    region: pool.slug.clone(),
                    snapshots: 0,
                    disks: 0,
                    logical_bytes: 0,
                    data_bytes: 0,
                    stored_bytes: report.repository.total_bytes,
                };
                for found in owned {
                    sample.snapshots += 1;
                    sample.logical_bytes = sample.logical_bytes.saturating_add(found.snapshot.size_bytes);
                    sample.data_bytes = sample.data_bytes.saturating_add(found.data_bytes);
                }
                for _ in disks.iter().filter(|disk| is_owned_by(&disk.labels, &account.name, first)) {
                    sample.disks += 1;
                }
                samples.push(sample);
            }
        }
        self.db().note_usage(&samples, unix_ms.saturating_sub(KEPT_MS))
    }

    /// Returns what was noted of an account since a time, oldest first; what is now, too.
    pub(crate) fn usage(&self, who: &Who, since_ms: i64) -> ApiResult<Vec<UsageSample>> {
        let last = self.db().last_usage_ms()?;
        // One counts for all who look at it; and what was noted is worth showing also where nothing
        // can be counted.
        if last.is_none_or(|last| (self.now_unix_ms() - last).abs() > FRESH_MS)
            && let Ok(_counting) = self.counting.try_lock()
            && let Err(error) = self.sample_usage()
        {
            tracing::warn!(%error, "could not count the usage");
        }
        self.db().usage(&who.0, since_ms)
    }

    /// Tells whether an account may know what data it shares. Where there are others, that would
    /// tell what they have.
    pub(crate) fn may_know_what_is_shared(&self) -> bool {
        self.config().accounts.len() == 1
    }
}
