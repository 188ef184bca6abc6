//! Created tags, used or not. The repositories say which resource has which tag.

use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

impl Db {
    /// Records a tag, and returns its first spelling.
    pub(crate) fn make_tag(&self, account: &str, name: &str) -> ApiResult<String> {
        let connection = self.lock();
        connection
            .execute("INSERT OR IGNORE INTO tag (account, name) VALUES (?, ?)", params![account, name])?;
        let sql = "SELECT name FROM tag WHERE account = ? AND name = ?";
        Ok(connection.query_row(sql, params![account, name], |row| row.get(0))?)
    }

    /// Returns the first spelling of a tag, if it exists.
    pub(crate) fn tag(&self, account: &str, name: &str) -> ApiResult<Option<String>> {
        let sql = "SELECT name FROM tag WHERE account = ? AND name = ?";
        Ok(self.lock().query_row(sql, params![account, name], |row| row.get(0)).optional()?)
    }

    /// Returns all tags of an account, by name.
    pub(crate) fn tags(&self, account: &str) -> ApiResult<Vec<String>> {
        let connection = self.lock();
        let mut all = connection.prepare_cached("SELECT name FROM tag WHERE account = ? ORDER BY name")?;
        let names = all.query_map([account], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes a tag.
    pub(crate) fn forget_tag(&self, account: &str, name: &str) -> ApiResult<()> {
        self.lock().execute("DELETE FROM tag WHERE account = ? AND name = ?", params![account, name])?;
        Ok(())
    }
}
