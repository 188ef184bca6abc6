//! How verify is asked, and what it answers.

use crate::words::ids::SnapshotId;
use crate::words::next_step::NextStep;

/// How much of the data is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Depth {
    /// None: records, manifests, directories and index.
    Structure,
    /// A part of the chunks, chosen by `seed`.
    Sample {
        /// Which part, 0.0 to 1.0.
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
    /// Of which snapshot.
    pub snapshot: SnapshotId,
    /// The snapshot's name.
    pub name: String,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which object: a snapshot, page, chunk, pack or index run, by id.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub next: Option<NextStep>,
    /// What of which snapshots it makes unreadable; empty where none is affected.
    pub lost: Vec<LostRange>,
}

/// What a verification looked at, and found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Snapshots looked at.
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
    /// Packs all of which was read.
    pub packs_read: u64,
    /// Packs that were to be read, and for which no time was left.
    pub packs_left: u64,
    /// Packs that were never read whole, as far as that was noted.
    pub packs_never_read: u64,
    /// When the pack was read that was not read for the longest time, in milliseconds since 1970.
    /// None where nothing was noted.
    pub oldest_read_unix_ms: Option<i64>,
    /// Packs that do not have the parity that they should have, which the next capture that stores
    /// something or gc makes.
    pub packs_without_parity: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}
