//! The handle of a repository.

use std::sync::Arc;

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::RepositoryId;
use crate::world::storage::Storage;

/// What a new repository is made of.
#[derive(Clone)]
pub struct InitOptions {
    /// Its id, random.
    pub id: RepositoryId,
    /// The secret behind every digest in it, random. Whoever knows it can aim at collisions.
    pub key: [u8; 32],
    /// The time, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// The zstd level for new data where a capture does not choose another.
    pub level: i32,
}

/// An open repository. Verbs are functions over it.
pub struct Repository {
    _p: (),
}

impl Repository {
    /// Makes a repository in `storage`, which must not hold one. `session` as for [`open`](Self::open).
    pub fn init(_storage: Arc<dyn Storage>, _session: uuid::Uuid, _options: &InitOptions) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "init"))
    }

    /// Opens the repository in `storage`. `session` is a random id that no other process uses: it names temporary
    /// files and locks.
    pub fn open(_storage: Arc<dyn Storage>, _session: uuid::Uuid) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "open"))
    }

    /// Returns the repository's id.
    pub fn id(&self) -> RepositoryId {
        RepositoryId(uuid::Uuid::nil())
    }

    /// Returns when it was made, in milliseconds since 1970.
    pub fn created_unix_ms(&self) -> i64 {
        0
    }
}
