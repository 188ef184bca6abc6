//! A chunk in memory: its decoded bytes, and which of its blocks are already proven.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::pure::hash::Hasher;
use crate::stores::chunks::Located;
use crate::stores::recovery::SavedBlocks;
use crate::words::ids::BlockId;
use crate::words::sizes::BLOCK_BYTES;

/// A block of a chunk: its slot, and the id its bytes must have.
type Slot = (u8, BlockId);

/// A decoded chunk. It proves a block at the first request, and never again.
pub(crate) struct Chunk {
    /// The slots it has, in order.
    slots: Vec<Slot>,
    /// The bytes of their blocks, one after another.
    bytes: Vec<u8>,
    /// One bit for each slot above, in the same order: set once the block's bytes were found to
    /// match its id.
    proven: [AtomicU64; 4],
}

impl Chunk {
    /// Creates a chunk as read from a pack; only its ids are proven yet.
    pub(super) fn new(located: &Located, slots: &[u8], bytes: Vec<u8>) -> Self {
        let with_id = |slot: &u8| Some((*slot, located.pack.block_id(&located.entry, *slot)?));
        Self { slots: slots.iter().filter_map(with_id).collect(), bytes, proven: Default::default() }
    }

    /// Joins the proven blocks of another chunk and proven blocks found elsewhere.
    pub(super) fn joined(known: Option<&Self>, saved: &SavedBlocks) -> Self {
        let old = known.into_iter().flat_map(|known| {
            (0..known.slots.len()).filter(|at| known.is_proven(*at)).filter_map(|at| {
                let (slot, id) = known.slots[at];
                Some((slot, (id, known.bytes.as_chunks::<BLOCK_BYTES>().0.get(at)?)))
            })
        });
        let new = saved.iter().map(|(slot, saved)| (*slot, (saved.digest.block_id(), &*saved.bytes)));
        let blocks: BTreeMap<u8, (BlockId, &[u8; BLOCK_BYTES])> = old.chain(new).collect();
        Self {
            slots: blocks.iter().map(|(slot, (id, _))| (*slot, *id)).collect(),
            bytes: blocks.values().flat_map(|(_, bytes)| bytes.iter().copied()).collect(),
            proven: std::array::from_fn(|_| AtomicU64::new(u64::MAX)),
        }
    }

    /// Returns the proven bytes of `blocks` blocks from slot `first` on, or none if one of them is
    /// missing or does not match its id.
    pub(super) fn blocks(&self, hasher: &Hasher, first: u8, blocks: u16) -> Option<&[u8]> {
        let blocks = usize::from(blocks);
        let at = match self.slots.get(usize::from(first)) {
            Some((slot, _)) if *slot == first => usize::from(first),
            _ => self.slots.binary_search_by_key(&first, |(slot, _)| *slot).ok()?,
        };
        let (last, _) = self.slots.get(at + blocks.checked_sub(1)?)?;
        // Slots are sorted and unique: if the last one fits, all do.
        if usize::from(*last) != usize::from(first) + blocks - 1 || !self.prove(hasher, at, blocks) {
            return None;
        }
        self.bytes.get(at * BLOCK_BYTES..(at + blocks) * BLOCK_BYTES)
    }

    /// Proves all blocks that are not proven yet.
    pub(super) fn prove_all(&self, hasher: &Hasher) {
        self.prove(hasher, 0, self.slots.len());
    }

    /// Returns the memory it takes in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.slots.len() * size_of::<Slot>() + self.bytes.len()
    }

    /// Proves blocks, given by their position in this chunk. Returns whether all of them match
    /// their ids.
    fn prove(&self, hasher: &Hasher, at: usize, blocks: usize) -> bool {
        let unproven = |at: &usize| !self.is_proven(*at);
        let Some(first) = (at..at + blocks).find(unproven) else { return true };
        let numbers: Vec<usize> = (first..at + blocks).filter(unproven).collect();
        let stored = self.bytes.as_chunks::<BLOCK_BYTES>().0;
        let bytes: Vec<&[u8; BLOCK_BYTES]> = numbers.iter().filter_map(|at| stored.get(*at)).collect();
        let mut good = bytes.len() == numbers.len();
        for (at, digest) in numbers.into_iter().zip(hasher.blocks(&bytes)) {
            if self.slots[at].1 == digest.block_id() {
                self.proven[at / 64].fetch_or(1 << (at % 64), Ordering::Relaxed);
            } else {
                good = false;
            }
        }
        good
    }

    fn is_proven(&self, at: usize) -> bool {
        // The bytes never change once the chunk is made, so the bit needs no ordering with other
        // memory.
        self.proven[at / 64].load(Ordering::Relaxed) >> (at % 64) & 1 == 1
    }
}
