//! Diff: which byte ranges differ between two snapshots.

use crate::repository::Repository;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;

/// What a changed range holds in the second snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Other data than in the first.
    Data,
    /// Zeros, where the first has data.
    Zero,
    /// Nothing: the second image is shorter.
    Gone,
}

/// A range that differs. Ranges come in order, do not overlap, and are as long as they can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedRange {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// What is there in the second snapshot.
    pub change: Change,
}

/// The sums of a diff, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffTotals {
    /// Ranges.
    pub ranges: u64,
    /// Bytes with other data.
    pub data_bytes: u64,
    /// Bytes that became zero.
    pub zero_bytes: u64,
    /// Bytes beyond the end of the second image that had data or zeros in the first.
    pub gone_bytes: u64,
    /// Manifest pages that were read.
    pub pages_read: u64,
}

/// Calls `each` for every range of the images that differs between two snapshots, in steps of 4 KiB blocks, and returns
/// the sums. Reads only manifest pages that differ.
pub fn diff(
    _repo: &Repository,
    _from: SnapshotId,
    _to: SnapshotId,
    _each: &mut dyn FnMut(ChangedRange) -> Result<()>,
) -> Result<DiffTotals> {
    Err(Error::new(ErrorKind::Unsupported, "diff"))
}
