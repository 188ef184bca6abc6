//! Stores what clients of a volume have read of the snapshot below it.

use crate::format::reads::Reads;
use crate::stores::reads;
use crate::views::volume::Volume;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::sizes::SPAN_U64;

/// What was stored of the reads of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredReads {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The number of parts of the image.
    pub ranges: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Whether more was read than a record can hold.
    pub is_full: bool,
}

/// Stores what was read of the snapshot below a volume since
/// [`Volume::record_reads`](crate::volume::Volume::record_reads) or the last call, for all machines
/// that use the repository. Returns none if nothing was read, or nothing is recorded.
///
/// # Errors
/// What keeps it from being written.
pub fn store_reads(volume: &Volume) -> Result<Option<StoredReads>> {
    let Some((found, is_full)) = volume.take_reads() else { return Ok(None) };
    let Reads { snapshot, ranges } = &found;
    if ranges.is_empty() {
        return Ok(None);
    }
    let spans: u64 = ranges.iter().map(|range| u64::from(range.spans)).sum();
    let stored =
        StoredReads { snapshot: *snapshot, ranges: ranges.len() as u64, bytes: spans * SPAN_U64, is_full };
    let repo = volume.repo();
    repo.check_writable()?;
    reads::add(repo.files(), &found)?;
    Ok(Some(stored))
}
