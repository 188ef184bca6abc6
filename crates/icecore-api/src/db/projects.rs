//! Projects, and the resources that were assigned to them.

use std::collections::HashMap;

use rusqlite::Row;
use rusqlite::params;
use uuid::Uuid;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Project {
    pub(crate) uuid: Uuid,
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) purpose: String,
    pub(crate) environment: String,
    /// Whether it has the resources that are in no other; one project of each account.
    pub(crate) is_default: bool,
    pub(crate) created_unix_ms: i64,
    pub(crate) updated_unix_ms: i64,
}

/// The project of a resource, and when it was assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) project: Uuid,
    pub(crate) unix_ms: i64,
}

const COLUMNS: &str =
    "uuid, account, name, description, purpose, environment, is_default, created_ms, updated_ms";

fn read(row: &Row) -> rusqlite::Result<Project> {
    Ok(Project {
        uuid: Uuid::from_bytes(row.get(0)?),
        account: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        purpose: row.get(4)?,
        environment: row.get(5)?,
        is_default: row.get(6)?,
        created_unix_ms: row.get(7)?,
        updated_unix_ms: row.get(8)?,
    })
}

impl Db {
    /// Records a new project, or the changes of one. A new default project takes the place of the
    /// old one.
    pub(crate) fn keep_project(&self, project: &Project) -> ApiResult<()> {
        let mut connection = self.lock();
        let step = connection.transaction()?;
        if project.is_default {
            step.execute("UPDATE project SET is_default = 0 WHERE account = ?", [&project.account])?;
        }
        let sql = format!("INSERT OR REPLACE INTO project ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
        step.execute(
            &sql,
            params![
                project.uuid.as_bytes(),
                project.account,
                project.name,
                project.description,
                project.purpose,
                project.environment,
                project.is_default,
                project.created_unix_ms,
                project.updated_unix_ms
            ],
        )?;
        Ok(step.commit()?)
    }

    /// Returns all projects of an account, oldest first.
    pub(crate) fn projects(&self, account: &str) -> ApiResult<Vec<Project>> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM project WHERE account = ? ORDER BY created_ms, uuid");
        let mut all = connection.prepare_cached(&sql)?;
        let rows = all.query_map([account], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes a project.
    pub(crate) fn forget_project(&self, uuid: Uuid) -> ApiResult<()> {
        let mut connection = self.lock();
        let step = connection.transaction()?;
        step.execute("DELETE FROM project_resource WHERE project = ?", [uuid.as_bytes()])?;
        step.execute("DELETE FROM project WHERE uuid = ?", [uuid.as_bytes()])?;
        Ok(step.commit()?)
    }

    /// Moves resources of an account to a project.
    pub(crate) fn assign(&self, account: &str, urns: &[String], to: Assignment) -> ApiResult<()> {
        let mut connection = self.lock();
        let step = connection.transaction()?;
        for urn in urns {
            let sql = "INSERT OR REPLACE INTO project_resource (account, urn, project, assigned_ms) VALUES (?, ?, ?, ?)";
            step.execute(sql, params![account, urn, to.project.as_bytes(), to.unix_ms])?;
        }
        Ok(step.commit()?)
    }

    /// Returns the projects of an account's resources, by URN. Some of the resources may be gone.
    pub(crate) fn assignments(&self, account: &str) -> ApiResult<HashMap<String, Assignment>> {
        let connection = self.lock();
        let sql = "SELECT urn, project, assigned_ms FROM project_resource WHERE account = ?";
        let mut all = connection.prepare_cached(sql)?;
        let rows = all.query_map([account], |row| {
            Ok((row.get(0)?, Assignment { project: Uuid::from_bytes(row.get(1)?), unix_ms: row.get(2)? }))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
