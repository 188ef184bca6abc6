//! The middle stage: chooses, for each block of an image in order, where to store it. Runs on one
//! thread.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::index::Hint;
use crate::stores::notes::Damage;
use crate::verbs::capture::draft::BlockPlace;
use crate::verbs::capture::packing::BlockBytes;
use crate::verbs::capture::packing::ChunkJob;
use crate::verbs::capture::scan::ScannedLeaf;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::ChunkId;
use crate::words::ids::IdMap;
use crate::words::sizes::CHUNK_BLOCKS;
use crate::words::sizes::to_u8;

/// Blocks of this capture that are remembered until their index run is published. Forgetting one
/// only costs space. Only a dry run, which publishes nothing, comes near this number.
const PENDING_MAX: usize = 1 << 21;

/// The chooser of places for blocks. It collects new blocks in chunks.
pub(crate) struct Chooser<'a> {
    store: &'a Store,
    /// The known damage of the store. Damaged blocks count as unknown.
    damage: &'a Damage,
    /// New blocks that the index does not know yet, each with its chunk's number and its slot.
    pending: IdMap<BlockId, (u64, u8)>,
    /// The ids of chunks that are closed but not published, from number `first_pending` on.
    pending_ids: VecDeque<ChunkId>,
    first_pending: u64,
    open: OpenChunk,
    /// The place of the last known block: the next block is often right behind it.
    last: Option<(Located, u8)>,
    /// The index's hints for blocks of this leaf, by block number in the leaf.
    hints: Vec<(usize, Hint)>,
    pub(crate) new_blocks: u64,
}

#[derive(Default)]
struct OpenChunk {
    number: u64,
    blocks: Vec<BlockId>,
    sources: Vec<BlockBytes>,
}

impl<'a> Chooser<'a> {
    pub(crate) fn new(store: &'a Store, damage: &'a Damage) -> Self {
        Self {
            store,
            damage,
            pending: IdMap::default(),
            pending_ids: VecDeque::new(),
            first_pending: 0,
            open: OpenChunk::default(),
            last: None,
            hints: Vec::new(),
            new_blocks: 0,
        }
    }

    /// Looks up blocks of a leaf in one batch, before their places are chosen one by one.
    pub(crate) fn look_up(&mut self, leaf: &ScannedLeaf, blocks: impl Iterator<Item = usize>) -> Result<()> {
        let (numbers, ids): (Vec<usize>, Vec<BlockId>) =
            blocks.filter_map(|block| leaf.blocks[block].map(|id| (block, id))).unzip();
        self.hints = self.store.block_hints(&ids)?;
        self.hints.iter_mut().for_each(|(at, _)| *at = numbers[*at]);
        Ok(())
    }

    /// Chooses the place of a block of `leaf` that was looked up. If the block completes a chunk,
    /// returns that chunk for compression.
    pub(crate) fn choose(
        &mut self,
        leaf: &ScannedLeaf,
        block: usize,
    ) -> Result<(BlockPlace, Option<ChunkJob>)> {
        let Some(id) = leaf.blocks[block] else { return Ok((BlockPlace::Zero, None)) };
        if let Some((chunk, slot)) = self.goes_on(&id) {
            return Ok((BlockPlace::Chunk(chunk, slot), None));
        }
        if let Some((number, slot)) = self.pending.get(&id).copied() {
            return Ok((self.pending_place(number, slot), None));
        }
        let first = self.hints.partition_point(|(at, _)| *at < block);
        for (_, hint) in self.hints[first..].iter().take_while(|(at, _)| *at == block) {
            if let Some((located, slot)) = self.store.prove_block(&id, *hint)?
                && !self.damage.has_slot(located.pack.id, located.number, slot)
            {
                let place = BlockPlace::Chunk(ChunkId(located.entry.id), slot);
                self.last = Some((located, slot));
                return Ok((place, None));
            }
        }
        Ok(self.add_new(leaf, block, id))
    }

    /// Returns the block's place if it comes right after the last block found, in the same chunk or
    /// in the next one.
    fn goes_on(&mut self, id: &BlockId) -> Option<(ChunkId, u8)> {
        let (located, slot) = self.last.as_mut()?;
        let next = slot.checked_add(1).filter(|next| u16::from(*next) < located.entry.slots);
        let (number, slot_wanted) = match next {
            Some(next) => (located.number, next),
            None => (located.number + 1, 0),
        };
        if number != located.number {
            let entry = located.pack.entry(number).ok()?;
            if located.pack.block_id(&entry, slot_wanted) != Some(*id) {
                return None;
            }
            *located = Located { pack: Arc::clone(&located.pack), number, entry };
        } else if located.pack.block_id(&located.entry, slot_wanted) != Some(*id) {
            return None;
        }
        if !located.pack.has_slot(&located.entry, slot_wanted)
            || self.damage.has_slot(located.pack.id, located.number, slot_wanted)
        {
            self.last = None;
            return None;
        }
        *slot = slot_wanted;
        Some((ChunkId(located.entry.id), slot_wanted))
    }

    fn pending_place(&self, number: u64, slot: u8) -> BlockPlace {
        let closed =
            usize::try_from(number - self.first_pending).ok().and_then(|at| self.pending_ids.get(at));
        closed.map_or(BlockPlace::Open(slot), |id| BlockPlace::Chunk(*id, slot))
    }

    fn add_new(&mut self, leaf: &ScannedLeaf, block: usize, id: BlockId) -> (BlockPlace, Option<ChunkJob>) {
        self.new_blocks += 1;
        if self.pending.len() >= PENDING_MAX {
            self.pending.clear();
        }
        let slot = to_u8(self.open.blocks.len());
        self.pending.insert(id, (self.open.number, slot));
        self.open.blocks.push(id);
        self.open.sources.push(BlockBytes::Leaf(Arc::clone(&leaf.buffer), block));
        let full = self.open.blocks.len() >= CHUNK_BLOCKS;
        (BlockPlace::Open(slot), if full { self.close() } else { None })
    }

    /// Closes the open chunk, if it has any blocks.
    pub(crate) fn close(&mut self) -> Option<ChunkJob> {
        if self.open.blocks.is_empty() {
            return None;
        }
        let next = OpenChunk { number: self.open.number + 1, ..OpenChunk::default() };
        let OpenChunk { blocks, sources, .. } = std::mem::replace(&mut self.open, next);
        let id = self.store.files.hasher.chunk(&blocks);
        self.pending_ids.push_back(id);
        Some(ChunkJob { id, blocks, sources })
    }

    /// Releases the buffers of the leaf before, so that they can be used again.
    pub(crate) fn detach(&mut self) {
        self.open.sources.iter_mut().for_each(BlockBytes::detach);
    }

    /// Forgets the first `chunks` chunks, which the index knows by now.
    pub(crate) fn forget_published(&mut self, chunks: u64) {
        if chunks <= self.first_pending {
            return;
        }
        self.pending.retain(|_, (number, _)| *number >= chunks);
        while self.first_pending < chunks && self.pending_ids.pop_front().is_some() {
            self.first_pending += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::hash::Hasher;
    use crate::stores::files::RepositoryFiles;
    use crate::stores::journal::Journal;
    use crate::verbs::capture::buffers::BufferPool;
    use crate::words::ids::NodeDigest;
    use crate::words::ids::RepositoryId;
    use crate::words::sizes::LEAF_BLOCKS;
    use crate::words::sizes::LEAF_SPANS;
    use crate::words::units::LeafNumber;
    use crate::world::memory::MemoryStorage;

    fn id(number: usize) -> BlockId {
        BlockId(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap())
    }

    fn leaf(numbers: impl Iterator<Item = usize>) -> ScannedLeaf {
        let mut blocks = Box::new([None; LEAF_BLOCKS]);
        numbers.enumerate().for_each(|(at, number)| blocks[at] = Some(id(number)));
        ScannedLeaf {
            number: LeafNumber(0),
            parent: None,
            buffer: Arc::new(BufferPool::new(1).take(true).unwrap().unwrap()),
            spans: [NodeDigest::ZERO; LEAF_SPANS],
            blocks,
            replaced_blocks: None,
            read_bytes: 0,
        }
    }

    #[test]
    fn a_block_that_comes_again_is_where_it_was_put_whatever_was_published_meanwhile() {
        let hasher = Hasher::new(&[1; 32]);
        let files = RepositoryFiles::new(
            Arc::new(MemoryStorage::new()),
            hasher,
            RepositoryId::from([0; 16]),
            "test".to_owned(),
        );
        let (store, damage) = (Store::new(files, Journal::default()), Damage::default());
        // Three closed chunks, and five blocks of an open one.
        let count = 3 * CHUNK_BLOCKS + 5;
        for published in [&[0][..], &[1], &[2], &[3], &[1, 2], &[1, 1], &[2, 1]] {
            let mut chooser = Chooser::new(&store, &damage);
            let first = leaf(0..count);
            let mut chunks = Vec::new();
            for block in 0..count {
                let (place, chunk) = chooser.choose(&first, block).unwrap();
                assert_eq!(place, BlockPlace::Open(u8::try_from(block % CHUNK_BLOCKS).unwrap()));
                chunks.extend(chunk.map(|chunk| chunk.id));
            }
            assert_eq!((chunks.len(), chooser.new_blocks), (3, 53));
            published.iter().for_each(|chunks| chooser.forget_published(*chunks));
            let known = published.iter().max().map_or(0, |chunks| usize::try_from(*chunks).unwrap());
            assert_eq!(chooser.pending.len(), count - known * CHUNK_BLOCKS, "what is published is forgotten");
            assert_eq!(chooser.pending_ids.len(), 3 - known);
            let again = leaf(0..count);
            for block in known * CHUNK_BLOCKS..count {
                let slot = u8::try_from(block % CHUNK_BLOCKS).unwrap();
                let wanted = match chunks.get(block / CHUNK_BLOCKS) {
                    Some(chunk) => BlockPlace::Chunk(*chunk, slot),
                    None => BlockPlace::Open(slot),
                };
                let (place, chunk) = chooser.choose(&again, block).unwrap();
                assert_eq!(
                    (place, chunk.is_none()),
                    (wanted, true),
                    "block {block}, published {published:?}"
                );
            }
            assert_eq!(chooser.new_blocks, 53, "each is stored once");
        }
    }
}
