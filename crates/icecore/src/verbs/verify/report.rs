//! The options and the report of a verification.

use crate::words::ids::SnapshotId;
use crate::words::next_step::NextStep;

/// The share of the data that is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Depth {
    /// None: records, manifests, directories and index.
    Structure,
    /// A part of the chunks, chosen by `seed`.
    Sample {
        /// The share, from 0.0 to 1.0.
        part: f64,
        /// Another seed chooses other chunks.
        seed: u64,
    },
    /// All of it.
    ReadData,
}

/// A range of a snapshot's image that cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostRange {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The snapshot's name.
    pub name: String,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// A defect that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The object: a snapshot, page, chunk, pack or index run, by id.
    pub object: String,
    /// The problem.
    pub problem: String,
    /// The next step to take.
    pub next: Option<NextStep>,
    /// The ranges of snapshots that it makes unreadable; empty if none is affected.
    pub lost: Vec<LostRange>,
}

/// The report of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Snapshots checked.
    pub snapshots: u64,
    /// Manifest pages read.
    pub pages: u64,
    /// Packs whose structure was checked.
    pub packs: u64,
    /// Chunks that the manifests name, each counted once.
    pub chunks: u64,
    /// Chunks that were read and hashed.
    pub chunks_read: u64,
    /// Their stored bytes.
    pub stored_bytes_read: u64,
    /// Packs that were read completely.
    pub packs_read: u64,
    /// Packs that were due to be read when the time ran out.
    pub packs_left: u64,
    /// Packs that were never read whole, as far as the notes say.
    pub packs_never_read: u64,
    /// When the pack that has gone unread for the longest time was last read, in milliseconds since
    /// 1970. None if nothing was noted.
    pub oldest_read_unix_ms: Option<i64>,
    /// Packs without the parity that they should have. Gc makes it, or the next capture that stores
    /// data.
    pub packs_without_parity: u64,
    /// The defects.
    pub findings: Vec<Finding>,
}
