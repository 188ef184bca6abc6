//! Gc: gives back the space of what no snapshot uses. Plan, then apply.

use crate::repository::Repository;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::progress::Progress;

/// How thorough a gc is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GcOptions {
    /// The part of the packs' bytes that may stay unused, 0.0 to 1.0. Packs are rewritten until no more than that is.
    pub max_unused: f64,
}

/// What a gc would do.
#[derive(Debug)]
pub struct GcPlan {
    /// Sums, for people.
    pub totals: GcTotals,
}

/// Sums of a plan or of what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GcTotals {
    /// Packs in the repository before.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Bytes of chunks and pages that some snapshot uses.
    pub used_bytes: u64,
    /// Packs that nothing uses, which are removed.
    pub packs_removed: u64,
    /// Packs of which a part is used, which are rewritten without the rest.
    pub packs_rewritten: u64,
    /// Chunks that lose some of their slots.
    pub chunks_punched: u64,
    /// Bytes that are given back. In a plan, the best estimate.
    pub freed_bytes: u64,
    /// Unused bytes that stay, because rewriting their packs would not be worth it.
    pub unused_bytes_kept: u64,
    /// Files that dead processes left behind (temporary files, locks), which are removed.
    pub leftovers_removed: u64,
}

/// Finds out what can be given back. Only reads.
///
/// # Errors
/// `Corrupt` if something that a snapshot needs is missing: gc deletes nothing then. `InUse` if another gc runs.
pub fn plan(_repo: &Repository, _options: &GcOptions, _progress: &dyn Progress) -> Result<GcPlan> {
    Err(Error::new(ErrorKind::Unsupported, "gc"))
}

/// Does what `plan` says, as far as it still holds.
pub fn apply(_repo: &Repository, _plan: GcPlan, _progress: &dyn Progress) -> Result<GcTotals> {
    Err(Error::new(ErrorKind::Unsupported, "gc"))
}
