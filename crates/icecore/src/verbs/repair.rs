//! Repair: makes the index again from the packs, and says what of which snapshots is lost.

use crate::repository::Repository;
use crate::verbs::verify::LostRange;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::progress::Progress;

/// What `repair index` did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairIndexReport {
    /// Packs that are in the new index.
    pub packs: u64,
    /// Chunks and pages that are in it.
    pub chunks: u64,
    /// Blocks that are in it.
    pub blocks: u64,
    /// Packs that were damaged, by id, each with what was wrong with it. What could be read of them was written to new
    /// packs, and they were moved to `damaged/`.
    pub damaged_packs: Vec<(String, String)>,
    /// Chunks and pages that were saved from damaged packs.
    pub chunks_saved: u64,
}

/// What `repair snapshots` found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairSnapshotsReport {
    /// Snapshots that were looked at.
    pub snapshots: u64,
    /// Records that cannot be read, each with the reason.
    pub unreadable: Vec<(String, String)>,
    /// What is lost, by snapshot and offset.
    pub lost: Vec<LostRange>,
}

/// Makes the index again from the packs alone.
pub fn repair_index(_repo: &Repository, _progress: &dyn Progress) -> Result<RepairIndexReport> {
    Err(Error::new(ErrorKind::Unsupported, "repair index"))
}

/// Reads everything that snapshots need and says which byte ranges of which of them cannot be restored.
pub fn repair_snapshots(_repo: &Repository, _progress: &dyn Progress) -> Result<RepairSnapshotsReport> {
    Err(Error::new(ErrorKind::Unsupported, "repair snapshots"))
}
