//! Restore: a snapshot becomes an image again.

use std::io::Write;

use crate::repository::Repository;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::progress::Progress;
use crate::world::io::WriteAt;

/// What the target of a restore holds before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreMode {
    /// Nothing: it reads as zeros everywhere, as a new sparse file does.
    Fresh,
    /// Anything. It is read, and only what differs is written.
    InPlace,
}

/// What a restore did, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreReport {
    /// The size of the snapshot's image.
    pub image_bytes: u64,
    /// Data in it.
    pub data_bytes: u64,
    /// Data written to the target.
    pub written_bytes: u64,
    /// Data in the target that was right already.
    pub kept_bytes: u64,
    /// Bytes of the target that had to become zero.
    pub zeroed_bytes: u64,
    /// Stored bytes read from packs.
    pub stored_bytes_read: u64,
}

/// Writes a snapshot's image to `target`, which must be at least as long; what it has beyond the image becomes zero.
/// Everything is verified before it is written. Does not sync the target.
///
/// # Errors
/// `InvalidInput` if the target is too small; `Corrupt` with snapshot, byte range, chunk and pack if stored data is damaged.
pub fn restore(
    _repo: &Repository,
    _from: SnapshotId,
    _target: &dyn WriteAt,
    _mode: RestoreMode,
    _progress: &dyn Progress,
) -> Result<RestoreReport> {
    Err(Error::new(ErrorKind::Unsupported, "restore"))
}

/// Writes a snapshot's image to `out`, from its first byte to its last, zeros included.
pub fn restore_stream(
    _repo: &Repository,
    _from: SnapshotId,
    _out: &mut dyn Write,
    _progress: &dyn Progress,
) -> Result<RestoreReport> {
    Err(Error::new(ErrorKind::Unsupported, "restore"))
}
