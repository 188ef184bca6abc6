//! The SSH keys of accounts.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

/// An SSH key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshKey {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// The whole line, as in a file of OpenSSH.
    pub(crate) public_key: String,
    /// The MD5 digest, with colons.
    pub(crate) fingerprint: String,
}

const COLUMNS: &str = "id, name, public_key, fingerprint";

fn read(row: &Row) -> rusqlite::Result<SshKey> {
    let (id, name, public_key, fingerprint) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(SshKey { id, name, public_key, fingerprint })
}

impl Db {
    /// Records a key, and returns it; none if the account already has it.
    pub(crate) fn make_ssh_key(
        &self,
        account: &str,
        name: &str,
        public_key: &str,
        fingerprint: &str,
    ) -> ApiResult<Option<SshKey>> {
        let sql = format!(
            "INSERT OR IGNORE INTO ssh_key (account, name, public_key, fingerprint) VALUES (?, ?, ?, ?)
            RETURNING {COLUMNS}"
        );
        let values = params![account, name, public_key, fingerprint];
        Ok(self.lock().query_row(&sql, values, read).optional()?)
    }

    /// Returns all keys of an account, oldest first.
    pub(crate) fn ssh_keys(&self, account: &str) -> ApiResult<Vec<SshKey>> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM ssh_key WHERE account = ? ORDER BY id");
        let mut all = connection.prepare_cached(&sql)?;
        let rows = all.query_map([account], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Changes the name of a key.
    pub(crate) fn rename_ssh_key(&self, id: i64, name: &str) -> ApiResult<()> {
        self.lock().execute("UPDATE ssh_key SET name = ? WHERE id = ?", params![name, id])?;
        Ok(())
    }

    /// Deletes a key.
    pub(crate) fn forget_ssh_key(&self, id: i64) -> ApiResult<()> {
        self.lock().execute("DELETE FROM ssh_key WHERE id = ?", [id])?;
        Ok(())
    }
}
