//! Actions: the records of running and ended operations on a resource.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::ToSql;
use rusqlite::params;
use uuid::Uuid;

use crate::db::connection::Db;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The status of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActionStatus {
    InProgress,
    Completed,
    Errored,
}

impl ActionStatus {
    /// Returns the API's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Errored => "errored",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "completed" => Self::Completed,
            "errored" => Self::Errored,
            _ => Self::InProgress,
        }
    }
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) id: i64,
    pub(crate) account: String,
    pub(crate) status: ActionStatus,
    /// The API's word for the operation: `snapshot`, `attach_volume`.
    pub(crate) kind: String,
    pub(crate) started_unix_ms: i64,
    pub(crate) completed_unix_ms: Option<i64>,
    /// `droplet`, `image` or `volume`.
    pub(crate) resource_type: String,
    pub(crate) resource: Uuid,
    /// None for volumes.
    pub(crate) resource_id: Option<i64>,
    pub(crate) region: String,
    /// The work to do, for the next server.
    pub(crate) job: Option<String>,
    /// The reason for its failure.
    pub(crate) message: String,
}

/// The initial values of an action.
#[derive(Debug, Clone)]
pub(crate) struct NewAction<'a> {
    pub(crate) account: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) now_unix_ms: i64,
    pub(crate) resource_type: &'a str,
    pub(crate) resource: Uuid,
    pub(crate) resource_id: Option<i64>,
    pub(crate) region: &'a str,
    pub(crate) job: Option<String>,
}

const COLUMNS: &str = "id, account, status, type, started_ms, completed_ms, resource_type, resource, resource_id, region, job, message";

fn read(row: &Row<'_>) -> rusqlite::Result<Action> {
    Ok(Action {
        id: row.get(0)?,
        account: row.get(1)?,
        status: ActionStatus::parse(&row.get::<_, String>(2)?),
        kind: row.get(3)?,
        started_unix_ms: row.get(4)?,
        completed_unix_ms: row.get(5)?,
        resource_type: row.get(6)?,
        resource: Uuid::from_bytes(row.get(7)?),
        resource_id: row.get(8)?,
        region: row.get(9)?,
        job: row.get(10)?,
        message: row.get(11)?,
    })
}

impl Db {
    /// Records that an action begins.
    ///
    /// # Errors
    /// 422 if the resource has an unfinished action.
    pub(crate) fn begin_action(&self, new: &NewAction<'_>) -> ApiResult<Action> {
        let sql = format!(
            "INSERT INTO action (account, status, type, started_ms, resource_type, resource, resource_id, region, job)
             VALUES (?, 'in-progress', ?, ?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}"
        );
        let (resource, job) = (new.resource.as_bytes(), &new.job);
        let begun = self.lock().query_row(
            &sql,
            params![
                new.account,
                new.kind,
                new.now_unix_ms,
                new.resource_type,
                resource,
                new.resource_id,
                new.region,
                job
            ],
            read,
        );
        begun.map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => {
                ApiError::unprocessable(match new.resource_type {
                    "droplet" => "Droplet already has a pending event.",
                    "image" => "Image already has a pending event.",
                    _ => "Volume already has a pending event.",
                })
            }
            _ => error.into(),
        })
    }

    /// Records that an action has ended; `problem` says why, if it failed. Returns the updated
    /// action.
    pub(crate) fn end_action(&self, id: i64, problem: Option<&str>, now_unix_ms: i64) -> ApiResult<Action> {
        let status = if problem.is_some() { ActionStatus::Errored } else { ActionStatus::Completed };
        let sql = format!(
            "UPDATE action SET status = ?, completed_ms = ?, message = ?, job = NULL WHERE id = ? RETURNING {COLUMNS}"
        );
        let problem = problem.unwrap_or_default();
        Ok(self.lock().query_row(&sql, params![status.as_str(), now_unix_ms, problem, id], read)?)
    }

    /// Returns an action of an account.
    pub(crate) fn action(&self, account: &str, id: i64) -> ApiResult<Option<Action>> {
        let sql = format!("SELECT {COLUMNS} FROM action WHERE id = ? AND account = ?");
        Ok(self.lock().query_row(&sql, params![id, account], read).optional()?)
    }

    /// Returns the number of actions of an account, of one resource or all, and one page of them,
    /// newest first.
    pub(crate) fn actions(
        &self,
        account: &str,
        resource: Option<Uuid>,
        offset: usize,
        count: usize,
    ) -> ApiResult<(usize, Vec<Action>)> {
        let resource = resource.map(|uuid| uuid.as_bytes().to_vec());
        let which = "account = ?1 AND (?2 IS NULL OR resource = ?2)";
        let connection = self.lock();
        let total: i64 = connection.query_row(
            &format!("SELECT count(*) FROM action WHERE {which}"),
            params![account, resource],
            |row| row.get(0),
        )?;
        let limits = [offset, count].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let values: [&dyn ToSql; 4] = [&account, &resource, &limits[1], &limits[0]];
        let mut some = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM action WHERE {which} ORDER BY started_ms DESC, id DESC LIMIT ?3 OFFSET ?4"
        ))?;
        let rows = some.query_map(values, read)?;
        Ok((usize::try_from(total).unwrap_or(0), rows.collect::<rusqlite::Result<_>>()?))
    }

    /// Returns all unfinished actions of all accounts, oldest first.
    pub(crate) fn unfinished_actions(&self) -> ApiResult<Vec<Action>> {
        let connection = self.lock();
        let mut all = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM action WHERE status = 'in-progress' ORDER BY id"
        ))?;
        let rows = all.query_map([], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
