//! Data for operators: counts of actions, and the last runs of schedules.

use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

impl Db {
    /// Returns the number of actions with each status.
    pub(crate) fn count_actions(&self) -> ApiResult<Vec<(String, i64)>> {
        let connection = self.lock();
        let mut count = connection.prepare_cached("SELECT status, count(*) FROM action GROUP BY status")?;
        let rows = count.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns the time up to which the runs of a schedule are done, in milliseconds since 1970;
    /// none if it has never run.
    pub(crate) fn schedule_done(&self, name: &str) -> ApiResult<Option<i64>> {
        let connection = self.lock();
        let mut find = connection.prepare_cached("SELECT done_ms FROM schedule WHERE name = ?")?;
        Ok(find.query_row([name], |row| row.get(0)).optional()?)
    }

    /// Records the time up to which the runs of a schedule are done.
    pub(crate) fn set_schedule_done(&self, name: &str, done_unix_ms: i64) -> ApiResult<()> {
        let sql = "INSERT INTO schedule (name, done_ms) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET done_ms = excluded.done_ms";
        self.lock().execute(sql, params![name, done_unix_ms])?;
        Ok(())
    }

    /// Deletes the records of schedules that are not among these. If a schedule of such a name
    /// returns, it starts afresh.
    pub(crate) fn forget_schedules_but(&self, names: &[&str]) -> ApiResult<()> {
        let connection = self.lock();
        let mut all = connection.prepare_cached("SELECT name FROM schedule")?;
        let known: Vec<String> = all.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for gone in known.iter().filter(|known| !names.contains(&known.as_str())) {
            connection.execute("DELETE FROM schedule WHERE name = ?", [gone])?;
        }
        Ok(())
    }
}
