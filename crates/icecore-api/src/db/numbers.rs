//! Integer ids of Droplets and images. The engine knows them by UUID.

use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;
use uuid::Uuid;

use crate::db::connection::Db;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// A resource that needs a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// Its id in the engine.
    pub(crate) uuid: Uuid,
    /// The number in its labels, from before the database was lost.
    pub(crate) noted: Option<i64>,
}

impl Db {
    /// Returns the number of each resource. A resource without one gets the number in its labels,
    /// if that is free, or a new one.
    pub(crate) fn numbers(&self, all: &[Numbered]) -> ApiResult<HashMap<Uuid, i64>> {
        let mut connection = self.lock();
        let mut numbers = HashMap::with_capacity(all.len());
        let mut missing = Vec::new();
        {
            let mut find = connection.prepare_cached("SELECT id FROM number WHERE uuid = ?")?;
            for item in all {
                match find.query_row([item.uuid.as_bytes()], |row| row.get(0)).optional()? {
                    Some(number) => drop(numbers.insert(item.uuid, number)),
                    None => missing.push(*item),
                }
            }
        }
        if missing.is_empty() {
            return Ok(numbers);
        }
        // Resources with a recorded number go first, so that nobody else gets it.
        missing.sort_by_key(|item| item.noted.is_none());
        let step = connection.transaction()?;
        for item in missing {
            numbers.insert(item.uuid, give(&step, item)?);
        }
        step.commit()?;
        Ok(numbers)
    }

    /// Returns the number of a resource, and assigns one if it has none.
    pub(crate) fn number(&self, uuid: Uuid) -> ApiResult<i64> {
        let numbers = self.numbers(&[Numbered { uuid, noted: None }])?;
        numbers.get(&uuid).copied().ok_or_else(|| ApiError::server("could not assign a number"))
    }

    /// Returns the resource that has, or had, a number.
    pub(crate) fn numbered(&self, number: i64) -> ApiResult<Option<Uuid>> {
        let connection = self.lock();
        let mut find = connection.prepare_cached("SELECT uuid FROM number WHERE id = ?")?;
        let found: Option<[u8; 16]> = find.query_row([number], |row| row.get(0)).optional()?;
        Ok(found.map(Uuid::from_bytes))
    }
}

fn give(step: &Connection, item: Numbered) -> rusqlite::Result<i64> {
    let sql = "INSERT OR IGNORE INTO number (id, uuid) VALUES (?, ?)";
    let with = |number: Option<i64>| step.execute(sql, params![number, item.uuid.as_bytes()]);
    match item.noted.filter(|number| *number > 0) {
        Some(noted) if with(Some(noted))? == 1 => Ok(noted),
        _ => {
            with(None)?;
            step.query_row("SELECT id FROM number WHERE uuid = ?", [item.uuid.as_bytes()], |row| row.get(0))
        }
    }
}
