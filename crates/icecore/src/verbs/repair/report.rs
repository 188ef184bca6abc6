//! What repairs answer.

use crate::verbs::verify::LostRange;
use crate::words::ids::PackId;

/// What `repair index` did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairIndexReport {
    /// Packs that are in the new index.
    pub packs: u64,
    /// Chunks and pages that are in it.
    pub chunks: u64,
    /// Blocks that are in it.
    pub blocks: u64,
    /// Packs that were damaged, by id, each with what was wrong with it. What could be read of them
    /// was written to new packs, and they were moved to `damaged/`.
    pub damaged_packs: Vec<(String, String)>,
    /// Chunks and pages that were saved from damaged packs.
    pub chunks_saved: u64,
    /// Packs that were missing or could not be opened, and that parity put back.
    pub put_back: Vec<PackId>,
}

/// What `repair packs` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairPacksReport {
    /// Packs that were read.
    pub packs: u64,
    /// Packs that were missing or damaged, and that parity put back, or would put back.
    pub put_back: Vec<PackId>,
    /// Groups of packs of which parity was made again.
    pub groups_made: u64,
    /// Packs with damaged records, by id, each with the first thing that was wrong with it. What
    /// could be had of them was written to new packs, and they were moved to `damaged/`.
    pub damaged_packs: Vec<(String, String)>,
    /// Chunks and pages of damaged packs that were good.
    pub chunks_kept: u64,
    /// Chunks and pages that were damaged and are whole again.
    pub chunks_brought_back: u64,
    /// Blocks that no other place has. Not all of them need be in use.
    pub blocks_lost: u64,
    /// Manifest pages that no other pack has.
    pub pages_lost: u64,
    /// Packs that cannot be read at all, by id, each with the reason; they were left as they are.
    pub unopened: Vec<(String, String)>,
    /// What of which snapshots is lost now, by snapshot and offset.
    pub lost: Vec<LostRange>,
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
