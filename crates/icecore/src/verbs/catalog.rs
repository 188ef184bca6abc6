//! The catalog of snapshots: list, find, rename, tag, protect, delete.

use crate::format::record::CaptureStats;
use crate::repository::Repository;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::Digest;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;

/// A snapshot, as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// Its name, unique among the snapshots of its resource.
    pub name: String,
    /// What it is a snapshot of.
    pub kind: ResourceKind,
    /// The name of that droplet or volume.
    pub resource: String,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// Whether it is protected from deletion.
    pub protected: bool,
    /// The snapshot that its image was compared with, which may be gone.
    pub parent: Option<SnapshotId>,
    /// The size of the image in bytes.
    pub size_bytes: u64,
    /// The digest of what the image contains: equal for equal images in one repository.
    pub content: Digest,
    /// What its capture did.
    pub stats: CaptureStats,
}

impl Snapshot {
    /// Returns the smallest disk that the image fits on, in GiB.
    pub fn min_disk_gib(&self) -> u64 {
        self.size_bytes.div_ceil(1 << 30)
    }
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The name of its file in `snapshots/`.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// All snapshots of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Those whose records can be read, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Those whose records cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// Returns all snapshots.
pub fn list(_repo: &Repository) -> Result<Listing> {
    Err(Error::new(ErrorKind::Unsupported, "list"))
}

/// Returns the snapshot that `spec` names: an id, a unique beginning of an id (4 characters or more), a name, or
/// `RESOURCE@latest`.
///
/// # Errors
/// `NotFound`; `InvalidInput` if more than one fits.
pub fn find(_repo: &Repository, _spec: &str) -> Result<Snapshot> {
    Err(Error::new(ErrorKind::Unsupported, "find"))
}

/// Gives a snapshot another name.
pub fn rename(_repo: &Repository, _id: SnapshotId, _name: &str) -> Result<Snapshot> {
    Err(Error::new(ErrorKind::Unsupported, "rename"))
}

/// Adds and removes tags of a snapshot.
pub fn retag(_repo: &Repository, _id: SnapshotId, _add: &[String], _remove: &[String]) -> Result<Snapshot> {
    Err(Error::new(ErrorKind::Unsupported, "retag"))
}

/// Protects a snapshot from deletion, or no longer.
pub fn set_protected(_repo: &Repository, _id: SnapshotId, _protected: bool) -> Result<Snapshot> {
    Err(Error::new(ErrorKind::Unsupported, "protect"))
}

/// Deletes a snapshot. Its space is given back by the next gc.
///
/// # Errors
/// `InUse` if it is protected, or if a restore is reading it.
pub fn delete(_repo: &Repository, _id: SnapshotId) -> Result<Snapshot> {
    Err(Error::new(ErrorKind::Unsupported, "delete"))
}
