//! A span of an image: its non-zero blocks and its digests.

use crate::pure::hash::Hasher;
use crate::pure::zero::is_zero;
use crate::words::ids::BlockId;
use crate::words::ids::NodeDigest;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::SPAN_BLOCKS;

/// The non-zero blocks of a span.
pub(crate) struct Span<'a> {
    data: [(usize, &'a [u8; BLOCK_BYTES]); SPAN_BLOCKS],
    count: usize,
}

impl<'a> Span<'a> {
    /// Finds the non-zero blocks of a span.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        let blocks = bytes.as_chunks::<BLOCK_BYTES>().0;
        let mut data = [(0, &[0; BLOCK_BYTES]); SPAN_BLOCKS];
        let mut count = 0;
        for (at, block) in blocks.iter().enumerate().filter(|(_, block)| !is_zero(*block)) {
            data[count] = (at, block);
            count += 1;
        }
        Self { data, count }
    }

    /// Returns the number of non-zero blocks.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Computes the ids of the non-zero blocks and returns the span's digest, zero if the whole
    /// span is zero.
    pub(crate) fn hash(&self, hasher: &Hasher, ids: &mut [Option<BlockId>]) -> NodeDigest {
        if self.count == 0 {
            return NodeDigest::ZERO;
        }
        let inputs = self.data.map(|(_, block)| block);
        let mut digests = [hasher.zero_block(); SPAN_BLOCKS];
        for ((at, _), digest) in self.data.iter().zip(hasher.blocks(&inputs[..self.count])) {
            digests[*at] = digest;
            ids[*at] = Some(digest.block_id());
        }
        hasher.span(&digests)
    }
}
