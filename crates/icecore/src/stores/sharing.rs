//! Which blocks of some leaves other snapshots have too.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::fence::Pin;
use crate::stores::pinned::name_snapshot;
use crate::stores::records;
use crate::stores::volumes;
use crate::stores::walk::Visitor;
use crate::stores::walk::walk;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::PageId;
use crate::words::ids::SnapshotId;

/// Slots that share an entry: all of a chunk, as captures write them.
const GROUP_SLOTS: u16 = 16;

/// A chunk, and a number of its slots: which sixteenth of those that a chunk can have.
type Group = (ChunkId, u16);

/// The blocks of some leaves. Takes about 40 bytes for each chunk that they name.
#[derive(Default)]
pub(crate) struct Sharing {
    /// The slots of each group that others have too, a bit for each.
    elsewhere: HashMap<Group, u16>,
}

/// Consecutive blocks of a leaf that are in consecutive slots of one group.
struct Piece {
    group: Group,
    /// Its slots, a bit for each.
    slots: u16,
    /// Where its blocks are in the leaf.
    blocks: Range<u16>,
}

/// Returns the blocks of a leaf that have data.
fn pieces(leaf: &Leaf) -> impl Iterator<Item = Piece> + '_ {
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
            Piece { group: (id, number), slots, blocks: begin..begin + count }
        })
    })
}

impl Sharing {
    /// Returns how many chunks are known, or parts of very large ones.
    pub(crate) fn len(&self) -> usize {
        self.elsewhere.len()
    }

    /// Adds the blocks of a leaf, and calls `each` with the blocks of it that have data, in order.
    pub(crate) fn add(&mut self, leaf: &Leaf, mut each: impl FnMut(Range<u16>)) {
        for piece in pieces(leaf) {
            self.elsewhere.entry(piece.group).or_default();
            each(piece.blocks);
        }
    }

    /// Finds out which of the blocks that were added any other snapshot names, or anything that a volume stands on. Reads each
    /// manifest page once.
    ///
    /// # Errors
    /// `Corrupt` if a record cannot be read or a manifest page is missing or damaged.
    pub(crate) fn mark_others(&mut self, store: &Store, except: SnapshotId) -> Result<()> {
        let mut seen = HashSet::new();
        let snapshots = records::load_all_sound(&store.base)?;
        for id in snapshots.iter().map(|record| record.id).filter(|id| *id != except) {
            let _pin = Pin::take(&store.base, id)?;
            match records::load(&store.base, id) {
                Ok(record) => self.mark(store, &record, &mut seen)?,
                // It was deleted meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let is_snapshot = |id| snapshots.iter().any(|record| record.id == id);
        for record in volumes::all_that_is_kept(&store.base)? {
            if record.id == except || is_snapshot(record.id) {
                continue;
            }
            // It has no pin, and goes when its volume needs it no longer.
            let Err(error) = self.mark(store, &record, &mut seen) else { continue };
            if volumes::all_that_is_kept(&store.base)?.iter().any(|kept| kept.id == record.id) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn mark(&mut self, store: &Store, record: &Record, seen: &mut HashSet<PageId>) -> Result<()> {
        walk(store, record, &mut Marker { sharing: self, seen }).map_err(|error| name_snapshot(record, error))
    }

    /// Tells whether others have any of the blocks.
    pub(crate) fn is_any_shared(&self) -> bool {
        self.elsewhere.values().any(|slots| *slots != 0)
    }

    /// Calls `each` with the blocks of a leaf that others have too, in order.
    pub(crate) fn each_shared(&self, leaf: &Leaf, mut each: impl FnMut(Range<u16>)) {
        for piece in pieces(leaf) {
            let elsewhere = self.elsewhere.get(&piece.group).copied().unwrap_or_default();
            if elsewhere & piece.slots == piece.slots {
                each(piece.blocks);
                continue;
            }
            let slots = (0..GROUP_SLOTS).filter(|slot| piece.slots >> slot & 1 == 1);
            for (slot, block) in slots.zip(piece.blocks) {
                if elsewhere >> slot & 1 == 1 {
                    each(block..block + 1);
                }
            }
        }
    }
}

/// Marks what one snapshot names.
struct Marker<'a> {
    sharing: &'a mut Sharing,
    /// Pages that were gone through, with all that is below them.
    seen: &'a mut HashSet<PageId>,
}

impl Visitor for Marker<'_> {
    fn enter(&mut self, page: &PageRef, _range: &Range<u64>) -> Result<bool> {
        Ok(self.seen.insert(page.id))
    }

    fn leaf(&mut self, _page: &PageRef, leaf: &Leaf, _offset: u64) -> Result<()> {
        for piece in pieces(leaf) {
            if let Some(elsewhere) = self.sharing.elsewhere.get_mut(&piece.group) {
                *elsewhere |= piece.slots;
            }
        }
        Ok(())
    }

    fn broken(&mut self, _page: &PageRef, _range: &Range<u64>, error: Error) -> Result<()> {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::page::Extent;
    use crate::words::ids::Digest;
    use crate::words::sizes::LEAF_BLOCKS;

    /// Returns a leaf of these runs: how many blocks, and the chunk and the slot of the first; none where they are zero.
    fn leaf(runs: &[(u16, Option<(u16, u8)>)]) -> Leaf {
        let extent = |(blocks, place): &(u16, Option<(u16, u8)>)| Extent {
            blocks: *blocks,
            place: place.map_or(Place::Zero, |(chunk, slot)| Place::Chunk { chunk, slot }),
        };
        let mut extents: Vec<Extent> = runs.iter().map(extent).collect();
        let covered: u16 = extents.iter().map(|extent| extent.blocks).sum();
        extents.push(Extent { blocks: u16::try_from(LEAF_BLOCKS).unwrap() - covered, place: Place::Zero });
        let chunks = (0..4).map(|n| ChunkId([n; 16])).collect();
        Leaf { data_spans: 1, digests: vec![Digest::ZERO], chunks, extents }
    }

    #[test]
    fn pieces_are_the_blocks_of_a_leaf_with_their_slots() {
        for runs in [
            &[][..],
            &[(16, Some((0, 0)))],
            &[(1, Some((0, 15))), (3, None), (2, Some((1, 15)))],
            &[(256, Some((2, 0))), (1, Some((2, 255))), (7, Some((3, 249)))],
            &[(40, Some((1, 100))), (5, None), (16, Some((1, 8)))],
        ] {
            let leaf = leaf(runs);
            let mut found = vec![None; LEAF_BLOCKS];
            for Piece { group: (chunk, number), slots, blocks } in pieces(&leaf) {
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
        let mut sharing = Sharing::default();
        let own = leaf(&[(2, None), (16, Some((0, 0))), (30, Some((1, 0)))]);
        sharing.add(&own, |_| {});
        let mut shared = |other: &Leaf| {
            let mut seen = HashSet::new();
            let page = PageRef { id: PageId([1; 16]), content: Digest::ZERO };
            Marker { sharing: &mut sharing, seen: &mut seen }.leaf(&page, other, 0).unwrap();
            let mut blocks = Vec::new();
            sharing.each_shared(&own, |range| blocks.extend(range));
            blocks
        };
        assert_eq!(shared(&leaf(&[(9, Some((2, 0)))])), []);
        assert_eq!(shared(&leaf(&[(2, Some((0, 3))), (4, Some((1, 14)))])), [5, 6, 32, 33, 34, 35]);
        assert_eq!(
            shared(&leaf(&[(16, Some((0, 0)))])),
            [&(2..18).collect::<Vec<u16>>()[..], &[32, 33, 34, 35]].concat()
        );
    }
}
