//! Droplets that were destroyed with what belonged to them, and what became of it, as JSON.

use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

impl Db {
    /// Records what became of a Droplet, instead of an earlier record.
    pub(crate) fn keep_destruction(&self, account: &str, droplet: i64, report: &str) -> ApiResult<()> {
        let sql = "INSERT OR REPLACE INTO destruction (droplet, account, report) VALUES (?, ?, ?)";
        self.lock().execute(sql, params![droplet, account, report])?;
        Ok(())
    }

    /// Deletes the record of a Droplet that is still there.
    pub(crate) fn forget_destruction(&self, droplet: i64) -> ApiResult<()> {
        self.lock().execute("DELETE FROM destruction WHERE droplet = ?", [droplet])?;
        Ok(())
    }

    /// Returns what became of a Droplet of an account, if it was destroyed in this way.
    pub(crate) fn destruction(&self, account: &str, droplet: i64) -> ApiResult<Option<String>> {
        let sql = "SELECT report FROM destruction WHERE droplet = ? AND account = ?";
        Ok(self.lock().query_row(sql, params![droplet, account], |row| row.get(0)).optional()?)
    }

    /// Returns all records, each with its account, oldest first.
    pub(crate) fn destructions(&self) -> ApiResult<Vec<(String, String)>> {
        let connection = self.lock();
        let mut all =
            connection.prepare_cached("SELECT account, report FROM destruction ORDER BY droplet")?;
        let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
