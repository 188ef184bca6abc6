//! Running and failed imports. A finished import is a snapshot, and is no longer here.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use uuid::Uuid;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

/// An image that has no snapshot yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// The id that the snapshot will have.
    pub(crate) uuid: Uuid,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) created_unix_ms: i64,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) distribution: String,
    pub(crate) description: String,
    /// The tags, separated by commas.
    pub(crate) tags: String,
    /// The reason for its failure; none while it may still succeed.
    pub(crate) problem: Option<String>,
}

const COLUMNS: &str =
    "uuid, account, region, created_ms, name, url, distribution, description, tags, problem";

fn read(row: &Row) -> rusqlite::Result<Import> {
    Ok(Import {
        uuid: Uuid::from_bytes(row.get(0)?),
        account: row.get(1)?,
        region: row.get(2)?,
        created_unix_ms: row.get(3)?,
        name: row.get(4)?,
        url: row.get(5)?,
        distribution: row.get(6)?,
        description: row.get(7)?,
        tags: row.get(8)?,
        problem: row.get(9)?,
    })
}

impl Db {
    /// Records an import that begins.
    pub(crate) fn begin_import(&self, new: &Import) -> ApiResult<()> {
        let sql = format!("INSERT INTO import ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
        self.lock().execute(
            &sql,
            params![
                new.uuid.as_bytes(),
                new.account,
                new.region,
                new.created_unix_ms,
                new.name,
                new.url,
                new.distribution,
                new.description,
                new.tags,
                new.problem
            ],
        )?;
        Ok(())
    }

    /// Returns all imports of an account, oldest first.
    pub(crate) fn imports(&self, account: &str) -> ApiResult<Vec<Import>> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM import WHERE account = ? ORDER BY created_ms, uuid");
        let mut all = connection.prepare_cached(&sql)?;
        let rows = all.query_map([account], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns all unfinished imports of all accounts, oldest first.
    pub(crate) fn unfinished_imports(&self) -> ApiResult<Vec<Import>> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM import WHERE problem IS NULL ORDER BY created_ms, uuid");
        let mut all = connection.prepare_cached(&sql)?;
        let rows = all.query_map([], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns an import, unless it was cancelled.
    pub(crate) fn import(&self, uuid: Uuid) -> ApiResult<Option<Import>> {
        let sql = format!("SELECT {COLUMNS} FROM import WHERE uuid = ?");
        Ok(self.lock().query_row(&sql, [uuid.as_bytes()], read).optional()?)
    }

    /// Changes the future name of an image.
    pub(crate) fn rename_import(&self, import: &Import) -> ApiResult<()> {
        let sql = "UPDATE import SET name = ?, distribution = ?, description = ? WHERE uuid = ?";
        let Import { name, distribution, description, uuid, .. } = import;
        self.lock().execute(sql, params![name, distribution, description, uuid.as_bytes()])?;
        Ok(())
    }

    /// Records why an import failed.
    pub(crate) fn fail_import(&self, uuid: Uuid, problem: &str) -> ApiResult<()> {
        let sql = "UPDATE import SET problem = ? WHERE uuid = ?";
        self.lock().execute(sql, params![problem, uuid.as_bytes()])?;
        Ok(())
    }

    /// Deletes the record of an import that is finished or cancelled. Returns whether there was
    /// one.
    pub(crate) fn forget_import(&self, uuid: Uuid) -> ApiResult<bool> {
        Ok(self.lock().execute("DELETE FROM import WHERE uuid = ?", [uuid.as_bytes()])? > 0)
    }
}
