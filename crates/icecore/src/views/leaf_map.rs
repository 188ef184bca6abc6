//! A manifest's leaf, prepared for looking up blocks in it.

use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::page::Place;
use crate::words::ids::ChunkId;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::to_u16;

/// A map of where the blocks of an image's 4 MiB region are.
pub(crate) struct LeafMap {
    /// The first block of each extent, in order, then the end of the region.
    starts: Vec<u16>,
    places: Vec<Place>,
    chunks: Vec<ChunkId>,
}

/// A part of a region that lies in one place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// So many zero bytes.
    Zero(usize),
    /// Bytes in a chunk.
    Chunk(ChunkPart),
}

/// Bytes of a region that lie in consecutive slots of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkPart {
    pub(super) chunk: ChunkId,
    /// The first slot, and the number of slots.
    pub(super) slot: u8,
    pub(super) blocks: u16,
    /// Bytes of the first slot before the wanted ones.
    pub(super) skip: usize,
    /// The number of wanted bytes.
    pub(super) bytes: usize,
}

impl LeafMap {
    pub(super) fn new(leaf: Leaf) -> Self {
        let mut end = 0;
        let starts = leaf.extents.iter().map(|extent| {
            let start = end;
            end += extent.blocks;
            start
        });
        let mut starts: Vec<u16> = starts.collect();
        starts.push(end);
        Self { starts, places: leaf.extents.iter().map(|extent| extent.place).collect(), chunks: leaf.chunks }
    }

    /// Returns the memory it takes in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.starts.len() * (size_of::<u16>() + size_of::<Place>())
            + self.chunks.len() * size_of::<ChunkId>()
    }

    /// Returns where the bytes of a range are. The range counts from the region's start and ends
    /// within the region.
    pub(super) fn parts(&self, range: Range<usize>) -> impl Iterator<Item = Part> + '_ {
        let mut at = range.start;
        let mut number = self.extent_at(at);
        std::iter::from_fn(move || {
            let (start, end) = self.extent(number).filter(|_| at < range.end)?;
            let bytes = end.min(range.end) - at;
            let part = match *self.places.get(number)? {
                Place::Zero => Part::Zero(bytes),
                Place::Chunk { chunk, slot } => {
                    let (first, last) =
                        ((at - start) / BLOCK_BYTES, (at + bytes - start).div_ceil(BLOCK_BYTES));
                    Part::Chunk(ChunkPart {
                        chunk: *self.chunks.get(usize::from(chunk))?,
                        // The sum is a valid slot: the page's decoder checked that.
                        slot: slot.saturating_add(u8::try_from(first).ok()?),
                        blocks: u16::try_from(last - first).ok()?,
                        skip: at % BLOCK_BYTES,
                        bytes,
                    })
                }
            };
            at += bytes;
            number += 1;
            Some(part)
        })
    }

    /// Returns the first bytes at or after `from` that are not known to be zero.
    pub(super) fn next_data(&self, from: usize) -> Option<Range<usize>> {
        let first = self.extent_at(from);
        let is_data = |number: &usize| self.places.get(*number).is_some_and(|place| *place != Place::Zero);
        let number = (first..self.places.len()).find(is_data)?;
        let (start, mut end) = self.extent(number)?;
        for next in (number + 1..self.places.len()).take_while(is_data) {
            end = self.extent(next)?.1;
        }
        Some(start.max(from)..end)
    }

    /// Returns the number of the extent that contains a byte.
    fn extent_at(&self, at: usize) -> usize {
        let block = to_u16(at.min(LEAF_BYTES) / BLOCK_BYTES);
        self.starts.partition_point(|start| *start <= block).saturating_sub(1)
    }

    /// Returns the start and end of an extent in bytes.
    fn extent(&self, number: usize) -> Option<(usize, usize)> {
        let (start, end) = (self.starts.get(number)?, self.starts.get(number + 1)?);
        Some((usize::from(*start) * BLOCK_BYTES, usize::from(*end) * BLOCK_BYTES))
    }
}
