//! What repairs answer.

use crate::verbs::verify::LostRange;

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
