//! The dirty map of an overlay in memory. It takes a few bytes for each 4 MiB region that was
//! written to, and none for the others.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::format::dirty_map::RegionStates;
use crate::format::dirty_map::STATE_WORDS;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sync::RwLock;
use crate::words::units::LeafNumber;

/// The state of a block in an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockState {
    /// The overlay has nothing: what lies below shows.
    Absent,
    /// The overlay has the block's bytes.
    Data,
    /// The block is zero.
    Zero,
}

impl BlockState {
    fn bits(self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Data => 1,
            Self::Zero => 2,
        }
    }
}

const BLOCKS_PER_WORD: usize = 32;
/// A mask with the lower bit of each block in a word.
const EVERY_BLOCK: u64 = 0x5555_5555_5555_5555;

/// The states of the blocks of a 4 MiB region. Any number of threads may read while one changes it.
pub(crate) struct Region([AtomicU64; STATE_WORDS]);

impl Region {
    fn new(states: &RegionStates) -> Self {
        Self(states.map(AtomicU64::new))
    }

    /// Returns the state of a block, by its number in the region.
    pub(crate) fn get(&self, block: usize) -> BlockState {
        let word = self.0[block / BLOCKS_PER_WORD].load(Ordering::Acquire);
        match word >> (block % BLOCKS_PER_WORD * 2) & 3 {
            1 => BlockState::Data,
            2 => BlockState::Zero,
            _ => BlockState::Absent,
        }
    }

    /// Returns the state of a block, and the first block after it in a different state.
    pub(crate) fn run(&self, block: usize) -> (BlockState, usize) {
        let state = self.get(block);
        let same = state.bits() * EVERY_BLOCK;
        let mut at = block;
        while at < LEAF_BLOCKS {
            let word = self.0[at / BLOCKS_PER_WORD].load(Ordering::Acquire);
            let within = at % BLOCKS_PER_WORD;
            let other = (word ^ same) >> (within * 2);
            if other != 0 {
                return (state, at + other.trailing_zeros() as usize / 2);
            }
            at += BLOCKS_PER_WORD - within;
        }
        (state, LEAF_BLOCKS)
    }

    /// Sets the state of some blocks. Only one thread at a time may do that.
    pub(crate) fn set(&self, blocks: Range<usize>, state: BlockState) {
        let bits = state.bits();
        let mut at = blocks.start;
        while at < blocks.end {
            let end = blocks.end.min((at / BLOCKS_PER_WORD + 1) * BLOCKS_PER_WORD);
            let place = &self.0[at / BLOCKS_PER_WORD];
            let mut word = place.load(Ordering::Acquire);
            for block in at..end {
                let shift = block % BLOCKS_PER_WORD * 2;
                word = word & !(3 << shift) | bits << shift;
            }
            place.store(word, Ordering::Release);
            at = end;
        }
    }

    /// Returns the states as of now.
    pub(crate) fn states(&self) -> RegionStates {
        std::array::from_fn(|word| self.0[word].load(Ordering::Acquire))
    }

    /// Returns one bit for each span, set if the overlay has anything of it.
    pub(crate) fn spans(&self) -> u64 {
        const { assert!(SPAN_BLOCKS * 2 == BLOCKS_PER_WORD) };
        let half = |word: u64, which: u32| u64::from((word >> (32 * which)) & 0xffff_ffff != 0);
        let words = self.states();
        let bits = words.iter().zip((0..).step_by(2));
        bits.fold(0, |mask, (word, at)| mask | half(*word, 0) << at | half(*word, 1) << (at + 1))
    }

    /// Counts the blocks in a state.
    pub(crate) fn count(&self, state: BlockState) -> u64 {
        (0..LEAF_BLOCKS).map(|block| u64::from(self.get(block) == state)).sum()
    }
}

/// The regions of which an overlay has anything.
#[derive(Default)]
pub(crate) struct DirtyMap(RwLock<BTreeMap<LeafNumber, Arc<Region>>>);

impl DirtyMap {
    /// Adds the states read for a region.
    pub(crate) fn insert(&self, number: LeafNumber, states: &RegionStates) {
        let region = Arc::new(Region::new(states));
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(number, region);
    }

    /// Returns a region if the overlay may have something of it.
    pub(crate) fn get(&self, number: LeafNumber) -> Option<Arc<Region>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// Returns a region, creating it if it is missing.
    pub(crate) fn get_or_insert(&self, number: LeafNumber) -> Arc<Region> {
        if let Some(region) = self.get(number) {
            return region;
        }
        let mut regions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(regions.entry(number).or_insert_with(|| Arc::new(Region::new(&[0; STATE_WORDS]))))
    }

    /// Returns the number of the first existing region at or after `from`.
    pub(crate) fn next(&self, from: LeafNumber) -> Option<LeafNumber> {
        let regions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        regions.range(from..).next().map(|(number, _)| *number)
    }

    /// Returns all regions with their numbers, in order.
    pub(crate) fn all(&self) -> Vec<(LeafNumber, Arc<Region>)> {
        let regions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        regions.iter().map(|(number, region)| (*number, Arc::clone(region))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_kept_block_by_block() {
        let map = DirtyMap::default();
        let region = map.get_or_insert(LeafNumber(5));
        region.set(3..70, BlockState::Data);
        region.set(40..41, BlockState::Zero);
        region.set(60..65, BlockState::Absent);
        for block in 0..LEAF_BLOCKS {
            let wanted = match block {
                40 => BlockState::Zero,
                3..60 | 65..70 => BlockState::Data,
                _ => BlockState::Absent,
            };
            assert_eq!(region.get(block), wanted, "block {block}");
            let (state, end) = region.run(block);
            assert!(state == wanted && end > block && (block..end).all(|same| region.get(same) == wanted));
            assert!(end == LEAF_BLOCKS || region.get(end) != wanted, "a run from {block} to {end}");
        }
        assert_eq!((region.count(BlockState::Data), region.count(BlockState::Zero)), (61, 1));
        assert_eq!(region.spans(), 0b1_1111);
        region.set(1023..1024, BlockState::Zero);
        assert_eq!(region.spans(), 0b1_1111 | 1 << 63);
        let next = [0, 5, 6].map(|from| map.next(LeafNumber(from)));
        assert_eq!(next, [Some(LeafNumber(5)), Some(LeafNumber(5)), None]);
    }
}
