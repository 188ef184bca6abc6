//! Sessions of the control panel. The database stores digests of their secrets, as for tokens.

use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

/// A new session.
#[derive(Debug, Clone)]
pub(crate) struct NewSession<'a> {
    /// The digest of its secret.
    pub(crate) digest: [u8; 32],
    /// The token that began it. The session ends with the token.
    pub(crate) token: i64,
    pub(crate) account: &'a str,
    pub(crate) now_unix_ms: i64,
    pub(crate) expires_unix_ms: i64,
}

impl Db {
    /// Records a session, and deletes expired ones.
    pub(crate) fn begin_session(&self, new: &NewSession<'_>) -> ApiResult<()> {
        let connection = self.lock();
        connection.execute("DELETE FROM session WHERE expires_ms <= ?", [new.now_unix_ms])?;
        connection.execute(
            "INSERT INTO session (digest, token, account, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?)",
            params![new.digest, new.token, new.account, new.now_unix_ms, new.expires_unix_ms],
        )?;
        Ok(())
    }

    /// Returns the account of an unexpired session.
    pub(crate) fn session(&self, digest: [u8; 32], now_unix_ms: i64) -> ApiResult<Option<String>> {
        let connection = self.lock();
        let mut find =
            connection.prepare_cached("SELECT account FROM session WHERE digest = ? AND expires_ms > ?")?;
        Ok(find.query_row(params![digest, now_unix_ms], |row| row.get(0)).optional()?)
    }

    /// Ends a session.
    pub(crate) fn end_session(&self, digest: [u8; 32]) -> ApiResult<()> {
        self.lock().execute("DELETE FROM session WHERE digest = ?", [digest])?;
        Ok(())
    }
}
