//! Usage samples for the charts.

use std::sync::Arc;
use std::sync::Mutex;

use icecore::NoProgress;
use icecore_host::clock::Clock;
use icecore_host::config::Config;

use crate::db::Db;
use crate::db::UsageSample;
use crate::pool::Pools;
use crate::service::accounts::Who;
use crate::service::items::is_owned_by;
use crate::service::parts::Parts;
use crate::service::snapshot_index::owner;
use crate::words::error::ApiResult;

/// The age at which samples are deleted.
const KEPT_MS: i64 = 400 * 24 * 60 * 60 * 1000;
/// The age up to which a sample counts as current.
const FRESH_MS: i64 = 60 * 1000;

/// The samples, and the sources they come from.
pub(crate) struct Usage {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    pools: Arc<Pools>,
    /// Held while usage is counted for a visitor.
    counting: Mutex<()>,
}

impl Usage {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            clock: Arc::clone(&parts.clock),
            pools: Arc::clone(&parts.pools),
            counting: Mutex::default(),
        }
    }

    /// Records how much each account has in each region now. Reads manifests, which may take
    /// seconds if there are many.
    ///
    /// # Errors
    /// Those of the repositories and the database.
    pub(crate) fn sample(&self) -> ApiResult<()> {
        let unix_ms = self.clock.now_unix_ms();
        let first = self.config.first_account();
        let mut samples = Vec::new();
        for pool in self.pools.values() {
            let repo = pool.another_handle();
            let report = icecore::maintenance::stats(&repo, &NoProgress)?;
            let disks = pool.volumes()?;
            let all = disks.all();
            for account in &self.config.accounts {
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
                for _ in all.iter().filter(|disk| is_owned_by(&disk.labels, &account.name, first)) {
                    sample.disks += 1;
                }
                samples.push(sample);
            }
        }
        self.db.note_usage(&samples, unix_ms.saturating_sub(KEPT_MS))
    }

    /// Returns the samples of an account since a time, oldest first, with a current one.
    pub(crate) fn since(&self, who: &Who, since_ms: i64) -> ApiResult<Vec<UsageSample>> {
        let last = self.db.last_usage_ms()?;
        // One visitor counts for all. Old samples are worth showing even if counting fails.
        if last.is_none_or(|last| (self.clock.now_unix_ms() - last).abs() > FRESH_MS)
            && let Ok(_counting) = self.counting.try_lock()
            && let Err(error) = self.sample()
        {
            tracing::warn!(%error, "could not count the usage");
        }
        self.db.usage(&who.0, since_ms)
    }
}
