//! The report of a restore, and the ranges of an image that it could not restore.

use std::ops::Range;

/// Ranges that are reported one by one. Further bad ranges are only counted, so that a large image
/// with nothing left does not fill the memory.
const RANGES_MAX: usize = 20_000;

/// The report of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreReport {
    /// The size of the snapshot's image.
    pub image_bytes: u64,
    /// Data in it.
    pub data_bytes: u64,
    /// Data written to the target.
    pub written_bytes: u64,
    /// Data that was already right in the target.
    pub kept_bytes: u64,
    /// Bytes of the target that were zeroed: those that were not zero and, on a device, also large
    /// regions that it zeroes unread.
    pub zeroed_bytes: u64,
    /// Stored bytes read from packs.
    pub stored_bytes_read: u64,
    /// Packs that were missing or damaged and that parity repaired.
    pub packs_healed: u64,
    /// The ranges that could not be restored; none unless the restore was to continue after damage
    /// (`OnDamage::GoOn`).
    pub bad: BadRanges,
}

/// A range of an image that could not be restored, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRange {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// The problem: which chunk or page of which pack.
    pub problem: String,
}

/// The ranges of an image that could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BadRanges {
    /// The ranges in image order. If there are more than 20 000, these are the first that were
    /// found.
    pub ranges: Vec<BadRange>,
    /// The bytes that could not be restored in total, including ranges that are not listed.
    pub bytes: u64,
}

/// A collector of bad ranges.
pub(crate) struct Collector {
    image_bytes: u64,
    bad: BadRanges,
    /// The end of the last reported region without pages. A window meets the region again that
    /// stopped the window before.
    regions_upto: u64,
}

impl Collector {
    pub(crate) fn new(image_bytes: u64) -> Self {
        Self { image_bytes, bad: BadRanges::default(), regions_upto: 0 }
    }

    /// Notes a region that has no leaf because a page above it is unreadable. Regions come in image
    /// order.
    pub(crate) fn add_region(&mut self, range: Range<u64>, problem: &str) {
        let from = range.start.max(self.regions_upto);
        self.regions_upto = range.end.max(from);
        self.add(from..range.end, problem);
    }

    /// Notes a range.
    pub(crate) fn add(&mut self, range: Range<u64>, problem: &str) {
        let range = range.start..range.end.min(self.image_bytes);
        if range.is_empty() {
            return;
        }
        let bytes = range.end - range.start;
        self.bad.bytes += bytes;
        if self.bad.ranges.len() < RANGES_MAX {
            self.bad.ranges.push(BadRange { offset: range.start, bytes, problem: problem.to_owned() });
        }
    }

    /// Returns all ranges, in order. Adjacent ranges that are bad for the same reason are joined.
    pub(crate) fn finish(mut self) -> BadRanges {
        self.bad.ranges.sort_by_key(|range| range.offset);
        self.bad.ranges.dedup_by(|next, last| {
            let joins = last.offset + last.bytes == next.offset && last.problem == next.problem;
            if joins {
                last.bytes += next.bytes;
            }
            joins
        });
        self.bad
    }
}
