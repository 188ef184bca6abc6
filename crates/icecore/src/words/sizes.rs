//! The fixed sizes of the format, and arithmetic with them.

/// Bytes in a block, the unit of deduplication.
pub const BLOCK_BYTES: usize = 4096;
/// Blocks in a span.
pub(crate) const SPAN_BLOCKS: usize = 16;
/// Bytes in a span, the unit of change detection and of verification.
pub const SPAN_BYTES: usize = BLOCK_BYTES * SPAN_BLOCKS;
/// Spans in the region of an image that one leaf page of a manifest maps.
pub(crate) const LEAF_SPANS: usize = 64;
/// Blocks in the region of an image that one leaf page of a manifest maps.
pub(crate) const LEAF_BLOCKS: usize = LEAF_SPANS * SPAN_BLOCKS;
/// Bytes in the region of an image that one leaf page of a manifest maps (4 MiB).
pub(crate) const LEAF_BYTES: usize = LEAF_BLOCKS * BLOCK_BYTES;
/// Children of an inner page of a manifest.
pub(crate) const FANOUT: usize = 128;
/// The most blocks in a new chunk.
pub(crate) const CHUNK_BLOCKS: usize = 16;
/// The most blocks that the format allows in a chunk.
pub(crate) const CHUNK_BLOCKS_MAX: usize = 256;
/// The largest image, in bytes: 2^62, so that no sum of an offset and a length overflows.
pub const IMAGE_BYTES_MAX: u64 = 1 << 62;

pub(crate) const BLOCK_U64: u64 = BLOCK_BYTES as u64;
pub(crate) const SPAN_U64: u64 = SPAN_BYTES as u64;
pub(crate) const LEAF_U64: u64 = LEAF_BYTES as u64;

/// Returns the number of leaf pages of an image of `image_bytes`.
pub(crate) fn leaf_count(image_bytes: u64) -> u64 {
    image_bytes.div_ceil(LEAF_U64)
}

/// Returns the number of levels of inner pages above the leaves of an image of `image_bytes`.
pub(crate) fn tree_height(image_bytes: u64) -> u32 {
    let mut height = 0;
    let mut reach = 1_u64;
    while reach < leaf_count(image_bytes) {
        reach = reach.saturating_mul(FANOUT as u64);
        height += 1;
    }
    height
}

/// Converts a count that is known to be small to a `usize`; saturates on targets where it does not
/// fit.
pub(crate) fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Converts a count that is known to be small to a `u32`; saturates where it does not fit.
pub(crate) fn to_u32(n: impl TryInto<u32>) -> u32 {
    n.try_into().unwrap_or(u32::MAX)
}

/// Converts a count that is known to be small to a `u16`; saturates where it does not fit.
pub(crate) fn to_u16(n: impl TryInto<u16>) -> u16 {
    n.try_into().unwrap_or(u16::MAX)
}

/// Converts a count that is known to be small to a `u8`; saturates where it does not fit.
pub(crate) fn to_u8(n: impl TryInto<u8>) -> u8 {
    n.try_into().unwrap_or(u8::MAX)
}

/// Converts a length in memory to a `u64`.
pub(crate) const fn to_u64(n: usize) -> u64 {
    n as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_grows_a_level_where_128_children_are_not_enough() {
        assert_eq!(tree_height(0), 0);
        assert_eq!(tree_height(LEAF_U64), 0);
        assert_eq!(tree_height(LEAF_U64 + 1), 1);
        assert_eq!(tree_height(LEAF_U64 * 128), 1);
        assert_eq!(tree_height(LEAF_U64 * 128 + 1), 2);
        assert_eq!(tree_height(16 << 40), 4);
        assert_eq!(tree_height(IMAGE_BYTES_MAX), 6);
    }
}
