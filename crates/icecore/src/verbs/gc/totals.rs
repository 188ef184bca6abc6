//! What a gc is asked for, and what comes of it.

/// How thorough a gc is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GcOptions {
    /// The part of the packs' bytes that may stay unused, 0.0 to 1.0. Packs are rewritten until no more than that is.
    pub max_unused: f64,
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
