//! The units that an image is counted in: leaves of 4 MiB, spans of 64 KiB, blocks of 4 KiB, and
//! bytes. They are converted into each other here and nowhere else.

use std::ops::Range;

use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::LEAF_U64;
use crate::words::sizes::SPAN_U64;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;

/// The number of a leaf of an image, and of the region of 4 MiB that it maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct LeafNumber(pub(crate) u64);

impl LeafNumber {
    /// Returns the leaf that an offset is in.
    pub(crate) fn of(offset: u64) -> Self {
        Self(offset / LEAF_U64)
    }

    /// Returns the leaves that a range is in.
    pub(crate) fn all_of(range: &Range<u64>) -> impl Iterator<Item = Self> + use<> {
        let first = range.start / LEAF_U64;
        let end = if range.is_empty() { first } else { range.end.div_ceil(LEAF_U64) };
        (first..end).map(Self)
    }

    /// Returns the leaf that follows.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the offset at which it begins.
    pub(crate) fn offset(self) -> u64 {
        self.0.saturating_mul(LEAF_U64)
    }

    /// Returns the offsets that are in it.
    pub(crate) fn range(self) -> Range<u64> {
        self.offset()..self.next().offset()
    }

    /// Returns the part of a range that is in it.
    pub(crate) fn part_of(self, range: &Range<u64>) -> Range<u64> {
        let own = self.range();
        own.start.max(range.start)..own.end.min(range.end)
    }

    /// Returns the offsets of some of its blocks, given by their numbers in it.
    pub(crate) fn blocks(self, blocks: Range<usize>) -> Range<u64> {
        let at = |block| self.offset() + block_bytes(to_u64(block));
        at(blocks.start)..at(blocks.end)
    }

    /// Returns the offsets of a block.
    pub(crate) fn block(self, block: usize) -> Range<u64> {
        self.blocks(block..block + 1)
    }

    /// Returns the offsets of a span, given by its number in it.
    pub(crate) fn span(self, span: usize) -> Range<u64> {
        let begin = self.offset() + to_u64(span) * SPAN_U64;
        begin..begin + SPAN_U64
    }

    /// Returns the numbers, in it, of the blocks that a range touches.
    pub(crate) fn blocks_of(self, range: &Range<u64>) -> Range<usize> {
        self.units_of(range, BLOCK_U64)
    }

    /// Returns the numbers, in it, of the spans that a range touches.
    pub(crate) fn spans_of(self, range: &Range<u64>) -> Range<usize> {
        self.units_of(range, SPAN_U64)
    }

    /// Returns a bit for each of its spans that a range touches.
    pub(crate) fn span_mask(self, range: &Range<u64>) -> u64 {
        self.spans_of(range).fold(0, |mask, span| mask | 1 << span)
    }

    fn units_of(self, range: &Range<u64>, unit: u64) -> Range<usize> {
        let part = self.part_of(range);
        let begin = self.offset();
        let from = part.start.saturating_sub(begin) / unit;
        to_usize(from)..to_usize(part.end.saturating_sub(begin).div_ceil(unit).max(from))
    }
}

/// Returns how far behind the beginning of its leaf an offset is.
pub(crate) fn offset_in_leaf(offset: u64) -> usize {
    to_usize(offset % LEAF_U64)
}

/// Returns how many bytes so many blocks are.
pub(crate) fn block_bytes(blocks: u64) -> u64 {
    blocks * BLOCK_U64
}

/// Returns the beginning of the block that an offset is in.
pub(crate) fn block_start(offset: u64) -> u64 {
    offset / BLOCK_U64 * BLOCK_U64
}

/// Returns the end of the last block that begins before an offset.
pub(crate) fn block_end(offset: u64) -> u64 {
    offset.next_multiple_of(BLOCK_U64)
}

/// Returns so many slots of a chunk, from one on.
pub(crate) fn slots(first: u8, blocks: u16) -> impl Iterator<Item = u8> + Clone {
    (first..=u8::MAX).take(usize::from(blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_blocks_and_spans_of_a_leaf_are_the_same_places() {
        let leaf = LeafNumber::of(3 * LEAF_U64 + 70_000);
        assert_eq!((leaf, leaf.next()), (LeafNumber(3), LeafNumber::of(4 * LEAF_U64)));
        assert_eq!(leaf.range(), 3 * LEAF_U64..4 * LEAF_U64);
        assert_eq!(leaf.block(17), leaf.offset() + 17 * 4096..leaf.offset() + 18 * 4096);
        assert_eq!(leaf.span(1), leaf.blocks(16..32));
        assert_eq!(leaf.blocks_of(&leaf.blocks(5..9)), 5..9);
        assert_eq!(leaf.blocks_of(&(leaf.offset() + 4095..leaf.offset() + 4097)), 0..2);
        assert_eq!(leaf.blocks_of(&(0..u64::MAX)), 0..1024);
        assert_eq!(leaf.spans_of(&(leaf.span(2).start + 1..leaf.span(3).start + 1)), 2..4);
        assert_eq!(leaf.spans_of(&(0..leaf.offset())), 0..0);
        assert_eq!(leaf.span_mask(&leaf.span(63)), 1 << 63);
        assert_eq!(leaf.part_of(&(5..leaf.offset() + 5)), leaf.offset()..leaf.offset() + 5);
        assert!(LeafNumber::all_of(&(LEAF_U64 - 1..LEAF_U64 + 1)).eq([LeafNumber(0), LeafNumber(1)]));
        for end in [0, 4, 5] {
            assert!(LeafNumber::all_of(&(5..end)).next().is_none(), "{end}");
        }
    }

    #[test]
    fn offsets_are_cut_at_blocks() {
        assert_eq!([0, 1, 4095, 4096].map(block_start), [0, 0, 0, 4096]);
        assert_eq!([0, 1, 4096, 4097].map(block_end), [0, 4096, 4096, 8192]);
        assert_eq!((offset_in_leaf(LEAF_U64 + 7), block_bytes(3)), (7, 12288));
        assert!(slots(250, 9).eq(250..=255));
    }
}
