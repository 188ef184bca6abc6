//! Finds the blocks of some leaves that other snapshots have too.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::ManifestKey;
use crate::stores::chunks::Store;
use crate::stores::live_records::each_other;
use crate::stores::live_records::walk_unpinned;
use crate::stores::manifest::cursor::each_leaf;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::sizes::to_u32;
use crate::words::units::LeafNumber;

/// The slots that share an entry: all slots of a chunk, as captures write chunks.
const GROUP_SLOTS: u16 = 16;

/// A chunk, and the number of a group of 16 slots in it.
type Group = (ChunkId, u16);

/// The number of stretches examined together. This covers 96 GiB of data where nothing was
/// overwritten, at 50 bytes of memory per stretch.
const STRETCHES_MAX: usize = 3 << 19;
/// The number of leaves examined together: 256 GiB of an image.
const LEAVES_MAX: usize = 1 << 16;

/// The blocks of some leaves of an image.
#[derive(Default)]
pub(crate) struct SharedBlocks {
    /// The number of each group that the leaves name.
    groups: HashMap<Group, u32>,
    /// For each group, by number: the slots that others have too, one bit each.
    elsewhere: Vec<u16>,
    /// All stretches, leaf by leaf.
    stretches: Vec<KeptStretch>,
    /// The number of each leaf, and the end of its stretches.
    leaves: Vec<(LeafNumber, usize)>,
}

/// A stretch as it is kept in memory.
struct KeptStretch {
    group: u32,
    slots: u16,
    /// Its first block in the leaf.
    block: u16,
}

/// Consecutive blocks of a leaf that lie in consecutive slots of one group.
struct Stretch {
    group: Group,
    /// Its slots, one bit each.
    slots: u16,
    /// Where its blocks are in the leaf.
    blocks: Range<u16>,
}

/// Returns the blocks of a leaf that have data, stretch by stretch.
fn stretches(leaf: &Leaf) -> impl Iterator<Item = Stretch> + '_ {
    let mut end = 0;
    let extents = leaf.extents.iter().map(move |extent| {
        let begin = end;
        end += extent.blocks;
        (begin..end, extent.place)
    });
    extents.flat_map(|(blocks, place)| {
        let (id, first) = match place {
            Place::Zero => (None, 0),
            Place::Chunk { chunk, slot } => (leaf.chunks.get(usize::from(chunk)).copied(), u16::from(slot)),
        };
        let last = first + (blocks.end - blocks.start) - 1;
        let groups = if id.is_some() { first / GROUP_SLOTS..last / GROUP_SLOTS + 1 } else { 0..0 };
        groups.zip(id.into_iter().cycle()).map(move |(number, id)| {
            let in_group =
                |slot: u16| slot.clamp(number * GROUP_SLOTS, number * GROUP_SLOTS + GROUP_SLOTS - 1);
            let (from, to) = (in_group(first), in_group(last));
            let count = to - from + 1;
            let slots = (u16::MAX >> (GROUP_SLOTS - count)) << (from % GROUP_SLOTS);
            let begin = blocks.start + (from - first);
            Stretch { group: (id, number), slots, blocks: begin..begin + count }
        })
    })
}

impl SharedBlocks {
    /// Tells whether the caller should look at the others now, so that memory stays bounded.
    pub(crate) fn is_full(&self) -> bool {
        self.stretches.len() >= STRETCHES_MAX || self.leaves.len() >= LEAVES_MAX
    }

    /// Adds the blocks of a leaf, and calls `each` with the ranges of the image that have data, in
    /// order.
    pub(crate) fn add(&mut self, number: LeafNumber, leaf: &Leaf, mut each: impl FnMut(Range<u64>)) {
        for stretch in stretches(leaf) {
            let next = to_u32(self.elsewhere.len());
            let group = *self.groups.entry(stretch.group).or_insert(next);
            if group == next {
                self.elsewhere.push(0);
            }
            self.stretches.push(KeptStretch { group, slots: stretch.slots, block: stretch.blocks.start });
            each(number.blocks(usize::from(stretch.blocks.start)..usize::from(stretch.blocks.end)));
        }
        self.leaves.push((number, self.stretches.len()));
    }

    /// Finds which of the added blocks any other snapshot names, or any image below a volume. Reads
    /// each manifest page once, and calls `go_on` at each leaf.
    ///
    /// # Errors
    /// `Corrupt` if a record cannot be read or a manifest page is missing or damaged; whatever
    /// `go_on` returns.
    pub(crate) fn mark_others(
        &mut self,
        store: &Store,
        except: ManifestKey,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        walk_unpinned(store, |catalog| {
            let mut seen = HashSet::new();
            each_other(store, catalog, &[except], &mut |record| {
                let mut is_new = |page: &PageRef| seen.insert(page.id);
                each_leaf(store, record, &mut is_new, &mut |_, leaf| {
                    self.mark_leaf(leaf);
                    go_on()
                })
            })
        })
    }

    fn mark_leaf(&mut self, leaf: &Leaf) {
        for stretch in stretches(leaf) {
            let group = self.groups.get(&stretch.group).map(|number| *number as usize);
            if let Some(elsewhere) = group.and_then(|number| self.elsewhere.get_mut(number)) {
                *elsewhere |= stretch.slots;
            }
        }
    }

    /// Calls `each`, in order, with the ranges of the image that others have too.
    pub(crate) fn each_shared(&self, mut each: impl FnMut(Range<u64>)) {
        let mut begin = 0;
        for (leaf, end) in &self.leaves {
            for stretch in self.stretches.get(begin..*end).unwrap_or_default() {
                let shared =
                    self.elsewhere.get(stretch.group as usize).copied().unwrap_or_default() & stretch.slots;
                // The slots of a stretch are consecutive, as are its blocks.
                let first = stretch.slots.trailing_zeros();
                for slot in (first..u16::BITS).filter(|slot| shared >> slot & 1 == 1) {
                    each(leaf.block(usize::from(stretch.block) + (slot - first) as usize));
                }
            }
            begin = *end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::page::Extent;
    use crate::words::ids::NodeDigest;
    use crate::words::sizes::LEAF_BLOCKS;
    use crate::words::units::block_bytes;

    /// Returns a leaf of these runs. Each run has a number of blocks, and the chunk and slot of the
    /// first block, or none if they are zero.
    fn leaf(runs: &[(u16, Option<(u16, u8)>)]) -> Leaf {
        let extent = |(blocks, place): &(u16, Option<(u16, u8)>)| Extent {
            blocks: *blocks,
            place: place.map_or(Place::Zero, |(chunk, slot)| Place::Chunk { chunk, slot }),
        };
        let mut extents: Vec<Extent> = runs.iter().map(extent).collect();
        let covered: u16 = extents.iter().map(|extent| extent.blocks).sum();
        extents.push(Extent { blocks: u16::try_from(LEAF_BLOCKS).unwrap() - covered, place: Place::Zero });
        let chunks = (0..4).map(|n| ChunkId([n; 16])).collect();
        Leaf { data_spans: 1, digests: vec![NodeDigest::ZERO], chunks, extents }
    }

    #[test]
    fn stretches_are_the_blocks_of_a_leaf_with_their_slots() {
        for runs in [
            &[][..],
            &[(16, Some((0, 0)))],
            &[(1, Some((0, 15))), (3, None), (2, Some((1, 15)))],
            &[(256, Some((2, 0))), (1, Some((2, 255))), (7, Some((3, 249)))],
            &[(40, Some((1, 100))), (5, None), (16, Some((1, 8)))],
        ] {
            let leaf = leaf(runs);
            let mut found = vec![None; LEAF_BLOCKS];
            for Stretch { group: (chunk, number), slots, blocks } in stretches(&leaf) {
                let set = (0..GROUP_SLOTS).filter(|slot| slots >> slot & 1 == 1);
                assert_eq!(usize::from(blocks.end - blocks.start), set.clone().count());
                for (slot, block) in set.zip(blocks) {
                    found[usize::from(block)] = Some((chunk, number * GROUP_SLOTS + slot));
                }
            }
            let place = |(chunk, slot): (u16, u8)| (leaf.chunks[usize::from(chunk)], u16::from(slot));
            assert_eq!(found, leaf.places().map(|it| it.map(place)).collect::<Vec<_>>(), "{runs:?}");
        }
    }

    #[test]
    fn only_the_slots_that_others_name_are_shared() {
        let mut sharing = SharedBlocks::default();
        let mut data = Vec::new();
        sharing.add(LeafNumber(0), &leaf(&[(2, None), (16, Some((0, 0)))]), |range| data.push(range));
        sharing.add(LeafNumber(1), &leaf(&[(1, Some((3, 7))), (30, Some((1, 0)))]), |range| data.push(range));
        assert_eq!(data[0], LeafNumber(0).blocks(2..18));
        assert_eq!(data[1], LeafNumber(1).block(0));
        let mut shared = |other: &Leaf| {
            sharing.mark_leaf(other);
            let mut blocks = Vec::new();
            sharing.each_shared(|range| {
                blocks.extend((range.start / block_bytes(1))..(range.end / block_bytes(1)))
            });
            blocks
        };
        assert!(shared(&leaf(&[(9, Some((2, 0)))])).is_empty());
        let some = [5, 6, 1039, 1040, 1041, 1042];
        assert_eq!(shared(&leaf(&[(2, Some((0, 3))), (4, Some((1, 14)))])), some);
        let all = (2..18).chain(some.into_iter().skip(2));
        assert_eq!(shared(&leaf(&[(16, Some((0, 0)))])), all.collect::<Vec<u64>>());
    }
}
