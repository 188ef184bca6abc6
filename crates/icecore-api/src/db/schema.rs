//! The tables, and their upgrades from older versions.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use rusqlite::Connection;

/// The upgrade steps. A database's version is the number of steps taken. A released step never
/// changes.
const STEPS: [&str; 7] = [
    "
    -- Bearer tokens: only their digests.
    CREATE TABLE token (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        name TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL,
        used_ms INTEGER
    ) STRICT;

    -- The integer ids of Droplets and images, which the engine knows by UUIDs.
    CREATE TABLE number (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        uuid BLOB NOT NULL UNIQUE
    ) STRICT;

    -- Tags that were made, whether or not something has them.
    CREATE TABLE tag (
        account TEXT NOT NULL,
        name TEXT NOT NULL COLLATE NOCASE,
        PRIMARY KEY (account, name)
    ) STRICT;

    CREATE TABLE action (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('in-progress', 'completed', 'errored')),
        type TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        completed_ms INTEGER,
        -- What it is done to: droplet, image, volume.
        resource_type TEXT NOT NULL,
        -- The UUID of that, as the engine knows it.
        resource BLOB NOT NULL,
        -- The integer id of that; none for volumes.
        resource_id INTEGER,
        region TEXT NOT NULL,
        -- What is to be done, for a server that starts anew; JSON.
        job TEXT,
        -- Why it went wrong, for people.
        message TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX action_resource ON action (resource);
    CREATE INDEX action_account ON action (account, started_ms, id);
    -- One at a time.
    CREATE UNIQUE INDEX action_alone ON action (resource) WHERE status = 'in-progress';
",
    "
    -- Images that are being imported, or could not be.
    CREATE TABLE import (
        uuid BLOB PRIMARY KEY NOT NULL,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        name TEXT NOT NULL,
        url TEXT NOT NULL,
        distribution TEXT NOT NULL,
        description TEXT NOT NULL,
        -- With commas between them.
        tags TEXT NOT NULL,
        -- Why it could not be; none while it may still be.
        problem TEXT
    ) STRICT;

    -- Images that one account has offered to another.
    CREATE TABLE offer (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        uuid BLOB NOT NULL UNIQUE,
        sender TEXT NOT NULL,
        recipient TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        -- Whether it was accepted, and is on its way through the regions.
        accepted INTEGER NOT NULL DEFAULT 0
    ) STRICT;
",
    "
    -- Sessions of the control panel: only digests of their secrets. They end with the token that they were begun with.
    CREATE TABLE session (
        digest BLOB PRIMARY KEY NOT NULL,
        token INTEGER NOT NULL REFERENCES token (id) ON DELETE CASCADE,
        account TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL
    ) STRICT;

    -- How much an account had in a region, from time to time.
    CREATE TABLE usage (
        time_ms INTEGER NOT NULL,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        snapshots INTEGER NOT NULL,
        disks INTEGER NOT NULL,
        logical_bytes INTEGER NOT NULL,
        data_bytes INTEGER NOT NULL,
        -- All files of the repository, whoever they are of.
        stored_bytes INTEGER NOT NULL,
        PRIMARY KEY (account, time_ms, region)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Up to when the runs of a schedule are done.
    CREATE TABLE schedule (
        name TEXT PRIMARY KEY,
        done_ms INTEGER NOT NULL
    ) STRICT;
",
    "
    -- What the machine of a Droplet is given at its first start, as JSON. Keyed by the id of its disk.
    CREATE TABLE first_boot (
        uuid BLOB PRIMARY KEY NOT NULL,
        data TEXT NOT NULL
    ) STRICT;

    -- Droplets that were destroyed with what belonged to them, and what became of it, as JSON.
    CREATE TABLE destruction (
        droplet INTEGER PRIMARY KEY NOT NULL,
        account TEXT NOT NULL,
        report TEXT NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE ssh_key (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        name TEXT NOT NULL,
        public_key TEXT NOT NULL,
        -- The MD5 digest, with colons.
        fingerprint TEXT NOT NULL,
        UNIQUE (account, fingerprint)
    ) STRICT;
",
    "
    CREATE TABLE vpc (
        uuid BLOB PRIMARY KEY NOT NULL,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        -- In CIDR notation.
        ip_range TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        is_default INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE project (
        uuid BLOB PRIMARY KEY NOT NULL,
        account TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        purpose TEXT NOT NULL,
        environment TEXT NOT NULL,
        is_default INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL
    ) STRICT;

    -- Resources that were assigned to a project; all others are in the default one.
    CREATE TABLE project_resource (
        account TEXT NOT NULL,
        urn TEXT NOT NULL,
        project BLOB NOT NULL,
        assigned_ms INTEGER NOT NULL,
        PRIMARY KEY (account, urn)
    ) STRICT;
",
];

/// Upgrades a database to the newest version.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> Result<()> {
    let failed = |error: rusqlite::Error| {
        Error::new(ErrorKind::Io, "upgrading the server's database").with_source(error)
    };
    // The lock is taken before the version is read, because two programs may start at once.
    let step =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let version: i64 = step.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let Some(missing) = usize::try_from(version).ok().and_then(|version| STEPS.get(version..)) else {
        let message =
            format!("the server's database has version {version}, but this program knows {}", STEPS.len());
        return Err(Error::new(ErrorKind::Unsupported, message).with_hint("use a newer version of icecore"));
    };
    for sql in missing {
        step.execute_batch(sql).map_err(failed)?;
    }
    let newest = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    step.pragma_update(None, "user_version", newest).map_err(failed)?;
    step.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(connection: &Connection) -> Vec<String> {
        let mut all = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = all.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.filter_map(|row| row.unwrap()).collect()
    }

    #[test]
    fn a_database_of_each_version_is_upgraded() {
        let mut new = Connection::open_in_memory().unwrap();
        bring_up_to_date(&mut new).unwrap();
        for version in 0..=STEPS.len() {
            let mut old = Connection::open_in_memory().unwrap();
            STEPS[..version].iter().for_each(|sql| old.execute_batch(sql).unwrap());
            old.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
            if version > 0 {
                let sql = "INSERT INTO tag (account, name) VALUES ('ann', 'kept')";
                old.execute(sql, []).unwrap();
            }
            bring_up_to_date(&mut old).unwrap();
            assert_eq!(tables(&old), tables(&new), "{version}");
            let tags: i64 = old.query_row("SELECT count(*) FROM tag", [], |row| row.get(0)).unwrap();
            assert_eq!(tags, i64::from(version > 0), "{version}");
        }
    }
}
