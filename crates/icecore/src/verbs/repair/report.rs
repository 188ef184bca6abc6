//! The reports of repairs.

use crate::verbs::verify::LostRange;
use crate::words::ids::PackId;

/// The report of `repair index`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairIndexReport {
    /// Packs in the new index.
    pub packs: u64,
    /// Chunks and pages in it.
    pub chunks: u64,
    /// Blocks in it.
    pub blocks: u64,
    /// Damaged packs by id, each with its problem. Their readable data was written to new packs,
    /// and they were moved to `damaged/`.
    pub damaged_packs: Vec<(String, String)>,
    /// Chunks and pages that were saved from damaged packs.
    pub chunks_saved: u64,
    /// Packs that were missing or unopenable and that parity put back.
    pub put_back: Vec<PackId>,
}

/// The report of `repair packs`, or of its dry run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairPacksReport {
    /// Packs that were read.
    pub packs: u64,
    /// Packs that were missing or damaged and that parity put back, or would put back.
    pub put_back: Vec<PackId>,
    /// Groups of packs whose parity was made again.
    pub groups_made: u64,
    /// Packs with damaged records, by id, each with its first problem. Their recoverable data was
    /// written to new packs, and they were moved to `damaged/`.
    pub damaged_packs: Vec<(String, String)>,
    /// Chunks and pages of damaged packs that were good.
    pub chunks_kept: u64,
    /// Chunks and pages that were damaged and are whole again.
    pub chunks_brought_back: u64,
    /// Blocks that no other place has. Some of them may be unused.
    pub blocks_lost: u64,
    /// Manifest pages that no other pack has.
    pub pages_lost: u64,
    /// Packs that cannot be read at all, by id, each with the reason. They were left in place.
    pub unopened: Vec<(String, String)>,
    /// The lost ranges, by snapshot and offset.
    pub lost: Vec<LostRange>,
}

/// The report of `repair snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairSnapshotsReport {
    /// Snapshots checked.
    pub snapshots: u64,
    /// The lost ranges, by snapshot and offset.
    pub lost: Vec<LostRange>,
}
