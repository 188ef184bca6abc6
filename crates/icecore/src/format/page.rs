//! Pages of a manifest: leaves that map 4 MiB of an image each, and inner pages of up to 128
//! children.
//!
//! A page has only one encoding, so that equal regions of images are one page in the repository.

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::pack::SlotBitmap;
use crate::format::serial;
use crate::format::serial::Decode;
use crate::format::serial::Encode;
use crate::pure::hash::Hasher;
use crate::words::ids::ChunkId;
use crate::words::ids::IdMap;
use crate::words::ids::NodeDigest;
use crate::words::ids::PageId;
use crate::words::sizes::CHUNK_BLOCKS_MAX;
use crate::words::sizes::FANOUT;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::to_u16;
use crate::words::sizes::to_usize;
use crate::words::units::slots;

/// A reference to a page: its id, and the digest of the image's content below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub(crate) struct PageRef {
    pub(crate) id: PageId,
    pub(crate) content: NodeDigest,
}

/// A run of blocks of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The number of blocks, 1 to 1024.
    pub(crate) blocks: u16,
    /// The place of the blocks.
    pub(crate) place: Place,
}

/// The place of the blocks of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// None: they are zero.
    Zero,
    /// Consecutive slots of a chunk, starting at `slot`; `chunk` is an index into the leaf's table.
    Chunk { chunk: u16, slot: u8 },
}

impl Place {
    /// Tells whether a block at `next` continues an extent of this place that has `blocks`.
    fn goes_on(self, blocks: u16, next: Self) -> bool {
        match (self, next) {
            (Self::Zero, Self::Zero) => true,
            (Self::Chunk { chunk, slot }, Self::Chunk { chunk: next, slot: next_slot }) => {
                chunk == next && u16::from(slot) + blocks == u16::from(next_slot)
            }
            _ => false,
        }
    }
}

/// An extent as it is encoded. Where an image changes, the places of the other extents keep their
/// encoding, and the page differs little from the one before.
#[derive(Encode, Decode)]
struct StoredExtent {
    blocks: u16,
    place: StoredPlace,
}

#[derive(Encode, Decode)]
enum StoredPlace {
    Zero,
    /// The next chunk of the table, which no extent before names.
    Next {
        slot: u8,
    },
    /// A chunk that an extent before names: the last one that was new then for 0, the one before
    /// for 1, and so on.
    Again {
        back: u16,
        slot: u8,
    },
}

/// A leaf: 64 spans of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Bit `i` is set if span `i` has data.
    pub(crate) data_spans: u64,
    /// The digests of the spans that have data, in order.
    pub(crate) digests: Vec<NodeDigest>,
    /// The chunks that the extents name, in the order of their first use.
    pub(crate) chunks: Vec<ChunkId>,
    /// The extents: they cover all 1024 blocks, in order. Each is as long as possible.
    pub(crate) extents: Vec<Extent>,
}

/// A leaf as it is encoded.
#[derive(Encode, Decode)]
struct StoredLeaf {
    data_spans: u64,
    digests: Vec<NodeDigest>,
    chunks: Vec<ChunkId>,
    extents: Vec<StoredExtent>,
}

impl From<&Leaf> for StoredLeaf {
    fn from(leaf: &Leaf) -> Self {
        let mut named = 0;
        let extents = leaf.extents.iter().map(|extent| {
            let place = match extent.place {
                Place::Zero => StoredPlace::Zero,
                Place::Chunk { chunk, slot } if chunk >= named => {
                    named = chunk.saturating_add(1);
                    StoredPlace::Next { slot }
                }
                Place::Chunk { chunk, slot } => StoredPlace::Again { back: named - 1 - chunk, slot },
            };
            StoredExtent { blocks: extent.blocks, place }
        });
        Self {
            data_spans: leaf.data_spans,
            digests: leaf.digests.clone(),
            chunks: leaf.chunks.clone(),
            extents: extents.collect(),
        }
    }
}

impl TryFrom<StoredLeaf> for Leaf {
    type Error = DecodeError;

    fn try_from(stored: StoredLeaf) -> Result<Self, DecodeError> {
        let mut named = 0_u16;
        let mut extents = Vec::with_capacity(stored.extents.len());
        for StoredExtent { blocks, place } in stored.extents {
            let bad = |back: u16| DecodeError::bad("the chunk of an extent", back);
            let place = match place {
                StoredPlace::Zero => Place::Zero,
                StoredPlace::Next { slot } => {
                    named = named.checked_add(1).ok_or_else(|| bad(u16::MAX))?;
                    Place::Chunk { chunk: named - 1, slot }
                }
                StoredPlace::Again { back, slot } => {
                    let chunk = named.checked_sub(back).and_then(|behind| behind.checked_sub(1));
                    Place::Chunk { chunk: chunk.ok_or_else(|| bad(back))?, slot }
                }
            };
            extents.push(Extent { blocks, place });
        }
        Ok(Self { data_spans: stored.data_spans, digests: stored.digests, chunks: stored.chunks, extents })
    }
}

/// An inner page: the children that have data.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Inner {
    /// The number of levels of inner pages below this one, plus one.
    pub(crate) level: u8,
    /// Bit `i` of the 128 is set if child `i` has data.
    pub(crate) data_children: [u64; 2],
    /// The children that have data, in order.
    pub(crate) children: Vec<PageRef>,
}

/// A page of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    Leaf(Leaf),
    Inner(Inner),
}

/// A page as it is encoded.
#[derive(Encode, Decode)]
enum StoredPage {
    Leaf(StoredLeaf),
    Inner(Inner),
}

impl Page {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        serial::encode_page(&match self {
            Self::Leaf(leaf) => StoredPage::Leaf(leaf.into()),
            Self::Inner(inner) => StoredPage::Inner(inner.clone()),
        })
    }

    /// Decodes a page and checks that it is what an encoder would have written.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match serial::decode_page(bytes)? {
            StoredPage::Leaf(stored) => {
                let leaf = Leaf::try_from(stored)?;
                leaf.check()?;
                Ok(Self::Leaf(leaf))
            }
            StoredPage::Inner(inner) => {
                inner.check()?;
                Ok(Self::Inner(inner))
            }
        }
    }
}

impl Leaf {
    /// Returns which slots of each of its chunks the extents name.
    pub(crate) fn named_slots(&self) -> Vec<SlotBitmap> {
        let mut named = vec![SlotBitmap::default(); self.chunks.len()];
        for extent in &self.extents {
            let Place::Chunk { chunk, slot } = extent.place else { continue };
            let named = &mut named[usize::from(chunk)];
            *named = named.with(&SlotBitmap::from_slots(slots(slot, extent.blocks)));
        }
        named
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.digests.len() != self.data_spans.count_ones() as usize {
            return Err(DecodeError::bad("the number of span digests", self.digests.len() as u64));
        }
        let (mut covered, mut named) = (0, 0);
        for extent in &self.extents {
            let blocks = usize::from(extent.blocks);
            if blocks == 0 || covered + blocks > LEAF_BLOCKS {
                return Err(DecodeError::bad("the length of an extent", extent.blocks));
            }
            match extent.place {
                Place::Zero => {}
                Place::Chunk { chunk, .. } if usize::from(chunk) >= self.chunks.len() => {
                    return Err(DecodeError::bad("the chunk of an extent", chunk));
                }
                Place::Chunk { slot, .. } if usize::from(slot) + blocks > CHUNK_BLOCKS_MAX => {
                    return Err(DecodeError::bad("the slot of an extent", slot));
                }
                Place::Chunk { chunk, .. } => {
                    self.check_has_data(covered, blocks)?;
                    named = named.max(usize::from(chunk) + 1);
                }
            }
            covered += blocks;
        }
        // Gc drops a chunk that no extent uses, even if a table names it.
        if named != self.chunks.len() {
            return Err(DecodeError::bad("the number of chunks", self.chunks.len() as u64));
        }
        if covered != LEAF_BLOCKS {
            return Err(DecodeError::bad("the number of blocks that the extents cover", covered as u64));
        }
        if self.data_spans == 0 {
            return Err(DecodeError::bad("the number of spans with data", 0_u64));
        }
        Ok(())
    }

    /// Checks that the blocks of an extent with data lie in spans marked as having data.
    fn check_has_data(&self, first: usize, blocks: usize) -> Result<(), DecodeError> {
        let spans = first / SPAN_BLOCKS..=(first + blocks - 1) / SPAN_BLOCKS;
        match spans.into_iter().find(|span| self.data_spans >> span & 1 == 0) {
            Some(span) => Err(DecodeError::bad("a span that has an extent and no digest", span as u64)),
            None => Ok(()),
        }
    }

    /// Returns the digest of each span, zero for those without data.
    pub(crate) fn span_digests(&self) -> [NodeDigest; LEAF_SPANS] {
        let mut digests = [NodeDigest::ZERO; LEAF_SPANS];
        let with_data = digests.iter_mut().enumerate().filter(|(span, _)| self.data_spans >> span & 1 == 1);
        for ((_, digest), stored) in with_data.zip(&self.digests) {
            *digest = *stored;
        }
        digests
    }

    /// Returns the place of each block: the chunk in the table and the slot; none if it is zero.
    pub(crate) fn places(&self) -> impl Iterator<Item = Option<(u16, u8)>> + '_ {
        self.extents.iter().flat_map(|extent| {
            let place = extent.place;
            (0..=u8::MAX).cycle().take(usize::from(extent.blocks)).map(move |at| match place {
                Place::Zero => None,
                // The sum is a valid slot: decoding the page has checked that.
                Place::Chunk { chunk, slot } => Some((chunk, slot.saturating_add(at))),
            })
        })
    }

    /// Returns the leaf of these span digests and places: for each block its chunk and slot, or none
    /// if it is zero.
    pub(crate) fn of(
        spans: &[NodeDigest; LEAF_SPANS],
        places: impl Iterator<Item = Option<(ChunkId, u8)>>,
    ) -> Self {
        let with_data = || spans.iter().enumerate().filter(|(_, digest)| **digest != NodeDigest::ZERO);
        let data_spans = with_data().fold(0, |mask, (span, _)| mask | 1 << span);
        let digests = with_data().map(|(_, digest)| *digest).collect();
        let (mut chunks, mut extents) = (NamedChunks::default(), Vec::<Extent>::new());
        for place in places {
            let place = place.map_or(Place::Zero, |(id, slot)| {
                let chunk = chunks.find(&id).unwrap_or_else(|| chunks.add(id));
                Place::Chunk { chunk: to_u16(chunk), slot }
            });
            match extents.last_mut() {
                Some(last) if last.place.goes_on(last.blocks, place) => last.blocks += 1,
                _ => extents.push(Extent { blocks: 1, place }),
            }
        }
        Self { data_spans, digests, chunks: chunks.ids, extents }
    }

    /// Returns the digest of the image's content in this leaf.
    pub(crate) fn content(&self, hasher: &Hasher) -> NodeDigest {
        hasher.node(&self.span_digests())
    }
}

/// The chunks that extents name, in the order of their first use.
#[derive(Default)]
pub(crate) struct NamedChunks {
    pub(crate) ids: Vec<ChunkId>,
    numbers: IdMap<ChunkId, usize>,
}

impl NamedChunks {
    /// Returns the number of a chunk, or none if nothing has named it yet.
    pub(crate) fn find(&self, id: &ChunkId) -> Option<usize> {
        match self.ids.last() == Some(id) {
            true => Some(self.ids.len() - 1),
            false => self.numbers.get(id).copied(),
        }
    }

    /// Adds a chunk that nothing has named yet, and returns its number.
    pub(crate) fn add(&mut self, id: ChunkId) -> usize {
        let number = self.ids.len();
        self.ids.push(id);
        self.numbers.insert(id, number);
        number
    }
}

impl Inner {
    fn check(&self) -> Result<(), DecodeError> {
        let marked: u32 = self.data_children.iter().map(|half| half.count_ones()).sum();
        if self.children.len() != marked as usize || marked == 0 {
            return Err(DecodeError::bad("the number of children", self.children.len() as u64));
        }
        if self.level == 0 || self.level > 8 {
            return Err(DecodeError::bad("the level of a page", self.level));
        }
        Ok(())
    }

    /// Returns an inner page of `level` with the given children, each with its index.
    pub(crate) fn new(level: u8, children: &[(u8, PageRef)]) -> Self {
        let mut data_children = [0; 2];
        for (index, _) in children {
            data_children[usize::from(index / 64)] |= 1_u64 << (index % 64);
        }
        Self { level, data_children, children: children.iter().map(|(_, child)| *child).collect() }
    }

    /// Returns the children that have data, each with its index.
    pub(crate) fn children(&self) -> impl Iterator<Item = (u64, PageRef)> + '_ {
        let marked = (0..FANOUT).filter(|i| self.data_children[i / 64] >> (i % 64) & 1 == 1);
        marked.zip(&self.children).map(|(index, child)| (index as u64, *child))
    }

    /// Returns the first child at or after `index` that has data, with its index.
    pub(crate) fn next_child(&self, index: u64) -> Option<(u64, PageRef)> {
        let [low, high] = self.data_children.map(u128::from);
        let marked = low | high << 64;
        let rest = marked.checked_shr(u32::try_from(index).ok()?)?;
        let at = index + u64::from(rest.trailing_zeros());
        let before = marked & ((1_u128.checked_shl(u32::try_from(at).ok()?)?) - 1);
        Some((at, *self.children.get(before.count_ones() as usize)?))
    }

    /// Returns the digest of the image's content below this page.
    pub(crate) fn content(&self, hasher: &Hasher) -> NodeDigest {
        let mut digests = [NodeDigest::ZERO; FANOUT];
        for (index, child) in self.children() {
            digests[to_usize(index)] = child.content;
        }
        hasher.node(&digests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_child_is_the_first_of_those_that_come_at_or_after_an_index() {
        let child = |at: u8| (at, PageRef { id: PageId([at; 16]), content: NodeDigest::ZERO });
        let all = |step: usize, from: u8| (from..128).step_by(step).map(child).collect::<Vec<_>>();
        for children in [all(1, 0), all(7, 3), all(63, 1), all(128, 127), all(128, 0), all(64, 63)] {
            let inner = Inner::new(1, &children);
            for index in 0..130 {
                assert_eq!(inner.next_child(index), inner.children().find(|(at, _)| *at >= index), "{index}");
            }
        }
    }
}
