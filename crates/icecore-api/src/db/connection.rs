//! Opening the database.

use std::path::Path;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use icecore_host::config::Config;
use icecore_host::config::DATABASE;
use rusqlite::Connection;

use crate::db::schema;
use crate::words::private::make_private;
use crate::words::private::make_private_dir;
use crate::words::private::make_private_file;

/// How long a statement waits while another process writes, such as `icecore token create`.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server's database, an SQLite file.
pub struct Db(Mutex<Connection>);

impl Db {
    /// Opens the database in a file, and creates or upgrades it if needed.
    ///
    /// # Errors
    /// `Unsupported` if a newer program made it; those of SQLite otherwise.
    pub fn open(path: &Path) -> icecore::Result<Self> {
        let failed = |error: rusqlite::Error| {
            icecore::Error::new(icecore::ErrorKind::Io, format!("opening the database {}", path.display()))
                .with_source(error)
                .with_hint(
                    "if it is damaged, move it away: the server rebuilds it from the repositories, without tokens",
                )
        };
        make_private_file(path)?;
        // SQLite gives its other files the permissions of the database.
        for end in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            make_private(Path::new(&name))?;
        }
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        schema::bring_up_to_date(&mut connection)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Locks the connection. SQLite rolls back a statement that fails, so a panic elsewhere leaves
    /// nothing half done.
    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the database answers.
    pub(crate) fn is_alive(&self) -> bool {
        self.lock().query_row("SELECT 1", [], |_| Ok(())).is_ok()
    }
}

/// Opens the database of a configuration, and creates it if there is none.
///
/// # Errors
/// Those of the file system and of SQLite; `InvalidInput` if it would be in a repository.
pub fn open_database(config: &Config) -> icecore::Result<Db> {
    let dir = &config.server.state_dir;
    icecore::image::check_outside_repository(dir, None)?;
    make_private_dir(dir)?;
    let database = dir.join(DATABASE);
    if database.exists() {
        // The directory is the server's own.
        make_private(dir)?;
    }
    Db::open(&database)
}
