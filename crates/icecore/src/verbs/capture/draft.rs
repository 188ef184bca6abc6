//! A leaf page whose last chunks have no ids yet.

use std::collections::HashMap;

use crate::format::page::Extent;
use crate::format::page::Leaf;
use crate::format::page::Place;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::NodeDigest;
use crate::words::ids::PageId;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::to_u16;
use crate::words::units::LeafNumber;

/// The place of a block, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockPlace {
    /// None: the block is zero.
    Zero,
    /// In a slot of a chunk that has an id.
    Chunk(ChunkId, u8),
    /// In a slot of the chunk that is still open.
    Open(u8),
}

/// A leaf that is built block by block.
pub(crate) struct Draft {
    pub(crate) number: LeafNumber,
    /// The parent's page in its place.
    pub(crate) before: Option<PageId>,
    spans: [NodeDigest; LEAF_SPANS],
    extents: Vec<(u16, BlockPlace)>,
    /// Extents before this index have no open chunk.
    resolved: usize,
}

impl Draft {
    pub(crate) fn new(number: LeafNumber, before: Option<PageId>, spans: [NodeDigest; LEAF_SPANS]) -> Self {
        Self { number, before, spans, extents: Vec::with_capacity(128), resolved: 0 }
    }

    /// Adds the next block. It extends the last extent if it continues it.
    pub(crate) fn push(&mut self, place: BlockPlace) {
        if let Some((blocks, first)) = self.extents.last_mut() {
            let goes_on = match (*first, place) {
                (BlockPlace::Zero, BlockPlace::Zero) => true,
                (BlockPlace::Chunk(id, slot), BlockPlace::Chunk(next_id, next)) => {
                    id == next_id && u16::from(slot) + *blocks == u16::from(next)
                }
                (BlockPlace::Open(slot), BlockPlace::Open(next)) => {
                    u16::from(slot) + *blocks == u16::from(next)
                }
                _ => false,
            };
            if goes_on {
                *blocks += 1;
                return;
            }
        }
        self.extents.push((1, place));
    }

    /// Gives the open chunk its id.
    pub(crate) fn resolve(&mut self, id: ChunkId) {
        for (_, place) in &mut self.extents[self.resolved..] {
            if let BlockPlace::Open(slot) = *place {
                *place = BlockPlace::Chunk(id, slot);
            }
        }
        self.resolved = self.extents.len().saturating_sub(1);
    }

    /// Tells whether some block is still in the open chunk.
    pub(crate) fn is_open(&self) -> bool {
        self.extents[self.resolved..].iter().any(|(_, place)| matches!(place, BlockPlace::Open(_)))
    }

    /// Tells whether all blocks are zero, so that the leaf is removed from the tree.
    pub(crate) fn is_zero(&self) -> bool {
        self.spans.iter().all(|digest| *digest == NodeDigest::ZERO)
    }

    /// Returns the leaf once all its chunks have ids.
    pub(crate) fn finish(&self) -> Result<Leaf> {
        let mut numbers = HashMap::new();
        let mut chunks = Vec::new();
        let mut extents: Vec<Extent> = Vec::with_capacity(self.extents.len());
        for (blocks, place) in &self.extents {
            let place = match place {
                BlockPlace::Zero => Place::Zero,
                BlockPlace::Chunk(id, slot) => {
                    let chunk = *numbers.entry(*id).or_insert_with(|| {
                        chunks.push(*id);
                        to_u16(chunks.len() - 1)
                    });
                    Place::Chunk { chunk, slot: *slot }
                }
                BlockPlace::Open(_) => return Err(Error::corrupt("a leaf was finished before its chunks")),
            };
            push_extent(&mut extents, Extent { blocks: *blocks, place });
        }
        let data = self.spans.iter().enumerate().filter(|(_, digest)| **digest != NodeDigest::ZERO);
        let data_spans = data.clone().fold(0, |mask, (span, _)| mask | 1 << span);
        Ok(Leaf { data_spans, digests: data.map(|(_, digest)| *digest).collect(), chunks, extents })
    }
}

/// Adds an extent and joins it with the one before, if that became possible when an open chunk got
/// its id.
fn push_extent(extents: &mut Vec<Extent>, next: Extent) {
    if let Some(last) = extents.last_mut()
        && let (Place::Chunk { chunk, slot }, Place::Chunk { chunk: next_chunk, slot: next_slot }) =
            (last.place, next.place)
        && chunk == next_chunk
        && u16::from(slot) + last.blocks == u16::from(next_slot)
    {
        last.blocks += next.blocks;
        return;
    }
    extents.push(next);
}
