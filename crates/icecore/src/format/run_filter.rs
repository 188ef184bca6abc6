//! The filter of an index run: one cache line rules out most blocks that are not in the run.
//!
//! It is a Bloom filter in lines of 64 bytes: a block sets three bits in one line. The leading bits
//! of its key choose the line, so that sorted keys fill one line after another; its lowest bits
//! choose the bits.

use crate::format::run_table::Key;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_usize;

/// The length of a line: a cache line of most processors.
pub(crate) const LINE_BYTES: usize = 64;
/// The most blocks per line on average.
const LINE_BLOCKS: u64 = 96;
/// Bits that a block sets.
const BLOCK_BITS: u32 = 3;
/// Bits of a key that choose one bit of a line.
const POSITION_BITS: u32 = (8 * LINE_BYTES).ilog2();
/// Leading bits of a key that choose its line.
const LEAD_BITS: u32 = 32;

/// Returns the number of lines for a run of `blocks`.
pub(crate) fn line_count(blocks: u64) -> u32 {
    to_u32(blocks.div_ceil(LINE_BLOCKS))
}

/// Returns the lines of the filter over these keys, which are sorted.
pub(crate) fn filter_lines(
    lines: u32,
    keys: impl Iterator<Item = Key>,
) -> impl Iterator<Item = [u8; LINE_BYTES]> {
    let mut keys = keys.peekable();
    (0..lines).map(move |number| {
        let mut line = [0; LINE_BYTES];
        while let Some(key) = keys.next_if(|key| line_of(*key, lines) <= u64::from(number)) {
            positions(key).for_each(|(byte, bit)| line[byte] |= 1 << bit);
        }
        line
    })
}

fn line_of(key: Key, lines: u32) -> u64 {
    ((key.number() >> (Key::BITS - LEAD_BITS)) * u64::from(lines)) >> LEAD_BITS
}

/// Returns the byte of the line and the bit in that byte, for each bit that a key sets.
fn positions(key: Key) -> impl Iterator<Item = (usize, u8)> {
    (0..BLOCK_BITS).map(move |number| {
        let position = (key.number() >> (number * POSITION_BITS)) & ((1 << POSITION_BITS) - 1);
        (to_usize(position / 8), u8::try_from(position % 8).unwrap_or(0))
    })
}

/// The filter of a run, as its encoded bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter<'a> {
    lines: &'a [[u8; LINE_BYTES]],
    /// The number of lines, in the type for calculations.
    count: u32,
}

impl<'a> Filter<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let lines = bytes.as_chunks().0;
        Self { lines, count: to_u32(lines.len()) }
    }

    /// Removes most of the keys that are not in the run.
    ///
    /// It tests all keys before it removes any: no step waits for the content of a line, so that
    /// the waits for memory overlap.
    pub(crate) fn sift(&self, keys: &mut Vec<(usize, Key)>) {
        let mut kept = keys.iter().map(|(_, key)| self.may_have(*key)).collect::<Vec<bool>>().into_iter();
        keys.retain(|_| kept.next().unwrap_or(true));
    }

    /// Returns whether a key may be in the run. Without lines, any key may be.
    fn may_have(&self, key: Key) -> bool {
        let Some(line) = self.lines.get(to_usize(line_of(key, self.count))) else { return true };
        positions(key).fold(true, |all, (byte, bit)| all & (line[byte] >> bit & 1 == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns sorted keys, spread as evenly as those of digests.
    fn keys(seed: u64, count: u64) -> Vec<Key> {
        let id = |number: u64| {
            let digest = blake3::hash(&[seed.to_le_bytes(), number.to_le_bytes()].concat());
            Key::of(digest.as_bytes().first_chunk().unwrap())
        };
        let mut keys: Vec<Key> = (0..count).map(id).collect();
        keys.sort_unstable();
        keys
    }

    fn kept(filter: &[u8], keys: &[Key]) -> usize {
        let mut keys: Vec<_> = keys.iter().copied().enumerate().collect();
        Filter::new(filter).sift(&mut keys);
        keys.len()
    }

    #[test]
    fn what_is_there_passes_and_most_of_what_is_not_does_not() {
        for count in [1, 2, 95, 97, 1000, 200_000] {
            let (there, others) = (keys(1, count), keys(2, 20_000));
            let lines = line_count(count);
            let filter: Vec<u8> = filter_lines(lines, there.iter().copied()).flatten().collect();
            assert_eq!(filter.len() as u64, u64::from(lines) * 64);
            assert_eq!(kept(&filter, &there), there.len(), "of {count}");
            let passed = kept(&filter, &others);
            assert!(passed < others.len() / 10, "{passed} of {} passed a filter of {count}", others.len());
        }
    }

    #[test]
    fn without_a_filter_everything_may_be_there() {
        let keys = keys(1, 100);
        assert_eq!(kept(&[], &keys), 100);
    }
}
