//! Capture: an image becomes a snapshot.

use crate::repository::Repository;
use crate::verbs::catalog::Snapshot;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;
use crate::words::progress::Progress;
use crate::world::io::ReadAt;

/// Which snapshot a capture compares its image with. It saves time only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The newest snapshot of the same resource.
    Newest,
    /// None.
    None,
    /// This one.
    Snapshot(SnapshotId),
}

/// How an image is captured.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// The id of the new snapshot: a fresh UUID of version 7.
    pub id: SnapshotId,
    /// The time, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// The name, unique among the snapshots of the resource.
    pub name: String,
    /// What the image is the disk of.
    pub kind: ResourceKind,
    /// The name of the droplet or volume.
    pub resource: String,
    /// Tags, without duplicates.
    pub tags: Vec<String>,
    /// What to compare with.
    pub parent: Parent,
    /// The zstd level for new data; the repository's where none is given.
    pub level: Option<i32>,
    /// Whether compressed data is decoded and compared before it is written.
    pub check: bool,
    /// Whether a file that has the identity it had at the parent's capture is taken as unchanged and not read.
    pub trust_mtime: bool,
    /// Whether nothing is written, only counted. Counts of new data are then an upper bound for very large images.
    pub dry_run: bool,
}

/// What a capture did.
#[derive(Debug, Clone)]
pub struct CaptureReport {
    /// The new snapshot, with the bytes of data, new data and stored data in its `stats`.
    pub snapshot: Snapshot,
    /// The snapshot that the image was compared with.
    pub parent: Option<SnapshotId>,
    /// Bytes of the image that were read.
    pub read_bytes: u64,
    /// Whether the image is exactly what the parent was.
    pub unchanged: bool,
    /// Whether the image was not read, because its identity was the parent's.
    pub trusted_mtime: bool,
    /// Whether the image was written to while it was read: the snapshot may mix old and new blocks.
    pub changed_while_read: bool,
}

/// Captures `image` as a new snapshot. When it returns, the snapshot survives a power cut.
///
/// # Errors
/// `AlreadyExists` if the resource has a snapshot of that name; `ImageChanged` if the image changed in size; `Io` with
/// the offset if a part of it cannot be read; `Interrupted` if `progress` says so. What was stored until then is found
/// again by the next capture.
pub fn capture(
    _repo: &Repository,
    _image: &dyn ReadAt,
    _options: &CaptureOptions,
    _progress: &dyn Progress,
) -> Result<CaptureReport> {
    Err(Error::new(ErrorKind::Unsupported, "capture"))
}
