//! Tokens of accounts. The database stores digests, from which no token can be recovered.

use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::db::connection::Db;
use crate::words::error::ApiResult;
use crate::words::text::hex;

/// The prefix of tokens. People, and programs that search for leaked tokens, recognize it.
const PREFIX: &str = "icecore_v1_";

/// The facts about a token that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its number.
    pub id: i64,
    /// The name of the account that it belongs to.
    pub account: String,
    /// The name that its creator gave it.
    pub name: String,
    /// When it was created, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// When it was last used, to the minute, in milliseconds since 1970.
    pub used_unix_ms: Option<i64>,
}

/// Returns the digest of a token. Tokens have 256 random bits and cannot be guessed, so one pass of
/// a hash is enough.
fn digest(token: &str) -> [u8; 32] {
    blake3::derive_key("icecore 2026 token of the API", token.as_bytes())
}

impl Db {
    /// Creates a token for an account, and returns its number and the token. The token cannot be
    /// read again.
    ///
    /// # Errors
    /// Those of SQLite, and of a system without random numbers.
    pub fn new_token(&self, account: &str, name: &str, now_unix_ms: i64) -> icecore::Result<(i64, String)> {
        let failed = |message: String| icecore::Error::new(icecore::ErrorKind::Io, message);
        let token = format!("{PREFIX}{}", hex(&icecore_host::repository::secret()?));
        let sql = "INSERT INTO token (account, name, digest, created_ms) VALUES (?, ?, ?, ?)";
        let connection = self.lock();
        connection
            .execute(sql, params![account, name, digest(&token), now_unix_ms])
            .map_err(|error| failed("writing a token to the database".to_owned()).with_source(error))?;
        Ok((connection.last_insert_rowid(), token))
    }

    /// Returns all tokens, oldest first.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn tokens(&self) -> icecore::Result<Vec<TokenInfo>> {
        let read = || {
            let connection = self.lock();
            let mut all =
                connection.prepare("SELECT id, account, name, created_ms, used_ms FROM token ORDER BY id")?;
            let rows = all.query_map([], |row| {
                let (id, account, name) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(TokenInfo { id, account, name, created_unix_ms: row.get(3)?, used_unix_ms: row.get(4)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| {
            icecore::Error::new(icecore::ErrorKind::Io, "reading the tokens in the database")
                .with_source(error)
        })
    }

    /// Revokes a token, and returns whether one with this number existed.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn revoke_token(&self, id: i64) -> icecore::Result<bool> {
        let done = self.lock().execute("DELETE FROM token WHERE id = ?", [id]);
        done.map(|rows| rows > 0).map_err(|error| {
            icecore::Error::new(icecore::ErrorKind::Io, "removing a token from the database")
                .with_source(error)
        })
    }

    /// Returns the number and account of a token, if it exists.
    ///
    /// An index compares digests, so the time this takes reveals nothing about a token that is not
    /// already known.
    pub(crate) fn token(&self, token: &str, now_unix_ms: i64) -> ApiResult<Option<(i64, String)>> {
        const MINUTE_MS: i64 = 60_000;
        let connection = self.lock();
        let mut find =
            connection.prepare_cached("SELECT id, account, used_ms FROM token WHERE digest = ?")?;
        let found = find
            .query_row([digest(token)], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?)));
        let Some((id, account, used)) = found.optional()? else { return Ok(None) };
        if used.is_none_or(|used| used / MINUTE_MS != now_unix_ms / MINUTE_MS) {
            let sql = "UPDATE token SET used_ms = ? WHERE id = ?";
            // A valid token is accepted even when the disk is too full to record its use: its owner
            // may want to delete something.
            if let Err(error) = connection.execute(sql, params![now_unix_ms - now_unix_ms % MINUTE_MS, id]) {
                tracing::warn!(token = id, %error, "could not record the use of a token");
            }
        }
        Ok(Some((id, account)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_though_its_use_cannot_be_noted() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("db")).unwrap();
        let (id, token) = db.new_token("ann", "test", 0).unwrap();
        db.lock().pragma_update(None, "query_only", true).unwrap();
        assert_eq!(db.token(&token, 1).unwrap(), Some((id, "ann".to_owned())));
        db.lock().pragma_update(None, "query_only", false).unwrap();
        assert_eq!(db.tokens().unwrap()[0].used_unix_ms, None);
        db.token(&token, 60_001).unwrap();
        assert_eq!(db.tokens().unwrap()[0].used_unix_ms, Some(60_000));
    }
}
