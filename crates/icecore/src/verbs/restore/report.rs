//! What a restore tells of itself, and what of an image it could not restore.

use std::ops::Range;

/// Ranges that are told one by one. What is bad beyond that is counted, so that a large image of
/// which nothing is left does not fill the memory.
const RANGES_MAX: usize = 20_000;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreReport {
    /// The size of the snapshot's image.
    pub image_bytes: u64,
    /// Data in it.
    pub data_bytes: u64,
    /// Data written to the target.
    pub written_bytes: u64,
    /// Data in the target that was right already.
    pub kept_bytes: u64,
    /// Bytes of the target that were made zero: what was not, and of a device also large regions
    /// that it makes zero unread.
    pub zeroed_bytes: u64,
    /// Stored bytes read from packs.
    pub stored_bytes_read: u64,
    /// Packs that were missing or damaged and that parity put back in order.
    pub packs_healed: u64,
    /// The ranges that could not be restored; none unless the restore was to continue after damage
    /// (`OnDamage::GoOn`).
    pub bad: BadRanges,
}

/// A range of an image that could not be restored, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRange {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// What is wrong: which chunk or page of which pack.
    pub problem: String,
}

/// All that could not be restored of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BadRanges {
    /// In the order of the image. Where there are more than 20 000, these are the first that were
    /// found.
    pub ranges: Vec<BadRange>,
    /// How many bytes could not be restored in all, those of ranges that are not listed included.
    pub bytes: u64,
}

/// Collects bad ranges.
pub(crate) struct Collector {
    image_bytes: u64,
    bad: BadRanges,
    /// Up to where regions without pages were told; a window looks again at what stopped the one
    /// before it.
    regions_upto: u64,
}

impl Collector {
    pub(crate) fn new(image_bytes: u64) -> Self {
        Self { image_bytes, bad: BadRanges::default(), regions_upto: 0 }
    }

    /// Notes a region that has no leaf because a page above it cannot be read. They come in the
    /// order of the image.
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

    /// Returns all, in order; those that meet and are bad for one reason are one.
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
