//! Usage samples of regions.

use rusqlite::Row;
use rusqlite::params;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

/// The usage of an account in a region at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageSample {
    /// Milliseconds since 1970.
    pub(crate) unix_ms: i64,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) snapshots: u64,
    /// The number of volumes and Droplets.
    pub(crate) disks: u64,
    /// The sizes of the images of its snapshots.
    pub(crate) logical_bytes: u64,
    /// The data in them, without zeros.
    pub(crate) data_bytes: u64,
    /// The size of all files in the repository, of all accounts.
    pub(crate) stored_bytes: u64,
}

fn read(row: &Row<'_>) -> rusqlite::Result<UsageSample> {
    // This program wrote the numbers, and never writes negative ones.
    let number = |at: usize| row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0));
    Ok(UsageSample {
        unix_ms: row.get(0)?,
        account: row.get(1)?,
        region: row.get(2)?,
        snapshots: number(3)?,
        disks: number(4)?,
        logical_bytes: number(5)?,
        data_bytes: number(6)?,
        stored_bytes: number(7)?,
    })
}

impl Db {
    /// Records samples, and deletes those from before `forget_before_ms`.
    pub(crate) fn note_usage(&self, samples: &[UsageSample], forget_before_ms: i64) -> ApiResult<()> {
        let mut connection = self.lock();
        let step = connection.transaction()?;
        step.execute("DELETE FROM usage WHERE time_ms < ?", [forget_before_ms])?;
        for sample in samples {
            let numbers = [
                sample.snapshots,
                sample.disks,
                sample.logical_bytes,
                sample.data_bytes,
                sample.stored_bytes,
            ]
            .map(|number| i64::try_from(number).unwrap_or(i64::MAX));
            step.execute(
                "INSERT OR REPLACE INTO usage (time_ms, account, region, snapshots, disks, logical_bytes, data_bytes, stored_bytes)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    sample.unix_ms,
                    sample.account,
                    sample.region,
                    numbers[0],
                    numbers[1],
                    numbers[2],
                    numbers[3],
                    numbers[4]
                ],
            )?;
        }
        Ok(step.commit()?)
    }

    /// Returns the samples of an account since a time, oldest first.
    pub(crate) fn usage(&self, account: &str, since_ms: i64) -> ApiResult<Vec<UsageSample>> {
        let connection = self.lock();
        let mut all = connection.prepare_cached(
            "SELECT time_ms, account, region, snapshots, disks, logical_bytes, data_bytes, stored_bytes
             FROM usage WHERE account = ? AND time_ms >= ? ORDER BY time_ms, region",
        )?;
        let rows = all.query_map(params![account, since_ms], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns the time of the last sample.
    pub(crate) fn last_usage_ms(&self) -> ApiResult<Option<i64>> {
        Ok(self.lock().query_row("SELECT max(time_ms) FROM usage", [], |row| row.get(0))?)
    }
}
