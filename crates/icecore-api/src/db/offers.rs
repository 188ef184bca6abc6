//! Images that one account has offered to another.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use uuid::Uuid;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) id: i64,
    /// The image.
    pub(crate) uuid: Uuid,
    /// The accounts' names.
    pub(crate) sender: String,
    pub(crate) recipient: String,
}

fn read(row: &Row) -> rusqlite::Result<Offer> {
    let (id, uuid, sender, recipient) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(Offer { id, uuid: Uuid::from_bytes(uuid), sender, recipient })
}

impl Db {
    /// Records an offer, and returns its number; none if the image is already on offer.
    pub(crate) fn make_offer(
        &self,
        uuid: Uuid,
        sender: &str,
        recipient: &str,
        now_unix_ms: i64,
    ) -> ApiResult<Option<i64>> {
        let sql = "INSERT OR IGNORE INTO offer (uuid, sender, recipient, created_ms) VALUES (?, ?, ?, ?) RETURNING id";
        let values = params![uuid.as_bytes(), sender, recipient, now_unix_ms];
        Ok(self.lock().query_row(sql, values, |row| row.get(0)).optional()?)
    }

    /// Returns the offer of an image, if it is on offer.
    pub(crate) fn offer(&self, uuid: Uuid) -> ApiResult<Option<Offer>> {
        let sql = "SELECT id, uuid, sender, recipient FROM offer WHERE uuid = ? AND accepted = 0";
        Ok(self.lock().query_row(sql, [uuid.as_bytes()], read).optional()?)
    }

    /// Returns the offers to an account.
    pub(crate) fn offers_to(&self, recipient: &str) -> ApiResult<Vec<Offer>> {
        let sql =
            "SELECT id, uuid, sender, recipient FROM offer WHERE recipient = ? AND accepted = 0 ORDER BY id";
        self.some_offers(sql, &[&recipient])
    }

    /// Returns the offers that were accepted but are not completed.
    pub(crate) fn accepted_offers(&self) -> ApiResult<Vec<Offer>> {
        self.some_offers("SELECT id, uuid, sender, recipient FROM offer WHERE accepted = 1", &[])
    }

    fn some_offers(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> ApiResult<Vec<Offer>> {
        let connection = self.lock();
        let mut some = connection.prepare_cached(sql)?;
        let rows = some.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Records that an offer was accepted. Returns whether it was still open.
    pub(crate) fn accept_offer(&self, id: i64) -> ApiResult<bool> {
        let sql = "UPDATE offer SET accepted = 1 WHERE id = ? AND accepted = 0";
        Ok(self.lock().execute(sql, [id])? > 0)
    }

    /// Deletes an open offer. Returns whether there was one.
    pub(crate) fn withdraw_offer(&self, id: i64) -> ApiResult<bool> {
        Ok(self.lock().execute("DELETE FROM offer WHERE id = ? AND accepted = 0", [id])? > 0)
    }

    /// Deletes an accepted offer, once all regions have the new owner.
    pub(crate) fn end_offer(&self, id: i64) -> ApiResult<()> {
        self.lock().execute("DELETE FROM offer WHERE id = ?", [id])?;
        Ok(())
    }
}
