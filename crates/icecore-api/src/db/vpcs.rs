//! VPCs: records of private networks.

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;
use uuid::Uuid;

use crate::db::connection::Db;
use crate::words::error::ApiResult;

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vpc {
    pub(crate) uuid: Uuid,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// In CIDR notation.
    pub(crate) ip_range: String,
    pub(crate) created_unix_ms: i64,
    /// Whether new Droplets of the region are in it; one VPC of each region.
    pub(crate) is_default: bool,
}

const COLUMNS: &str = "uuid, account, region, name, description, ip_range, created_ms, is_default";

fn read(row: &Row) -> rusqlite::Result<Vpc> {
    Ok(Vpc {
        uuid: Uuid::from_bytes(row.get(0)?),
        account: row.get(1)?,
        region: row.get(2)?,
        name: row.get(3)?,
        description: row.get(4)?,
        ip_range: row.get(5)?,
        created_unix_ms: row.get(6)?,
        is_default: row.get(7)?,
    })
}

impl Db {
    /// Records a new VPC, or the changes of one. A new default VPC takes the place of the old one.
    pub(crate) fn keep_vpc(&self, vpc: &Vpc) -> ApiResult<()> {
        let mut connection = self.lock();
        let step = connection.transaction()?;
        if vpc.is_default {
            let sql = "UPDATE vpc SET is_default = 0 WHERE account = ? AND region = ?";
            step.execute(sql, params![vpc.account, vpc.region])?;
        }
        write(&step, vpc)?;
        Ok(step.commit()?)
    }

    /// Returns all VPCs of an account, oldest first.
    pub(crate) fn vpcs(&self, account: &str) -> ApiResult<Vec<Vpc>> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM vpc WHERE account = ? ORDER BY created_ms, uuid");
        let mut all = connection.prepare_cached(&sql)?;
        let rows = all.query_map([account], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes a VPC.
    pub(crate) fn forget_vpc(&self, uuid: Uuid) -> ApiResult<()> {
        self.lock().execute("DELETE FROM vpc WHERE uuid = ?", [uuid.as_bytes()])?;
        Ok(())
    }
}

fn write(step: &Connection, vpc: &Vpc) -> rusqlite::Result<usize> {
    let sql = format!("INSERT OR REPLACE INTO vpc ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    step.execute(
        &sql,
        params![
            vpc.uuid.as_bytes(),
            vpc.account,
            vpc.region,
            vpc.name,
            vpc.description,
            vpc.ip_range,
            vpc.created_unix_ms,
            vpc.is_default
        ],
    )
}
