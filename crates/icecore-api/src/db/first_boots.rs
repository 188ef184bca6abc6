//! What the machines of Droplets are given at their first start, as JSON.

use rusqlite::OptionalExtension;
use rusqlite::params;
use uuid::Uuid;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

impl Db {
    /// Records what a Droplet's machine is given. `disk` is the id of its disk.
    pub(crate) fn keep_first_boot(&self, disk: Uuid, data: &str) -> ApiResult<()> {
        let sql = "INSERT OR REPLACE INTO first_boot (uuid, data) VALUES (?, ?)";
        self.lock().execute(sql, params![disk.as_bytes(), data])?;
        Ok(())
    }

    /// Returns what the machines of the Droplets with these disks are given, in the same order.
    pub(crate) fn first_boots(&self, disks: &[Uuid]) -> ApiResult<Vec<Option<String>>> {
        let connection = self.lock();
        let mut find = connection.prepare_cached("SELECT data FROM first_boot WHERE uuid = ?")?;
        let mut of = |disk: &Uuid| find.query_row([disk.as_bytes()], |row| row.get(0)).optional();
        Ok(disks.iter().map(&mut of).collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes the record of a Droplet that is gone.
    pub(crate) fn forget_first_boot(&self, disk: Uuid) -> ApiResult<()> {
        self.lock().execute("DELETE FROM first_boot WHERE uuid = ?", [disk.as_bytes()])?;
        Ok(())
    }
}
