//! Stats: what a repository holds and what each snapshot costs.

use crate::repository::Repository;
use crate::verbs::catalog::Snapshot;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::progress::Progress;

/// What all snapshots together are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RepositoryStats {
    /// Snapshots.
    pub snapshots: u64,
    /// The sizes of their images.
    pub logical_bytes: u64,
    /// Data in their images, without holes and zeros.
    pub data_bytes: u64,
    /// Different data in them: each block counted once.
    pub unique_bytes: u64,
    /// What that takes, compressed, in data packs.
    pub stored_bytes: u64,
    /// Manifests, directories of packs, index and records.
    pub metadata_bytes: u64,
    /// Chunks and pages in packs that no snapshot uses; gc can give most of it back.
    pub unused_bytes: u64,
    /// All files of the repository.
    pub total_bytes: u64,
}

/// What one snapshot is, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStats {
    /// Which.
    pub snapshot: Snapshot,
    /// Data in its image.
    pub data_bytes: u64,
    /// Different data in it: each block counted once.
    pub unique_bytes: u64,
    /// Of that, what no other snapshot has.
    pub own_bytes: u64,
    /// Of that, what others have too.
    pub shared_bytes: u64,
    /// What its own data takes in packs: about what deleting it gives back.
    pub own_stored_bytes: u64,
}

/// The result of [`stats`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatsReport {
    /// All together.
    pub repository: RepositoryStats,
    /// Each, oldest first.
    pub snapshots: Vec<SnapshotStats>,
}

/// Counts what the repository holds. Reads manifests and directories, not data.
pub fn stats(_repo: &Repository, _progress: &dyn Progress) -> Result<StatsReport> {
    Err(Error::new(ErrorKind::Unsupported, "stats"))
}
