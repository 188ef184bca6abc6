//! For benches and tests: an index of a repository that is far larger than there is data.

use crate::format::run::BlockEntry;
use crate::format::run::CHUNK_KEY_BYTES;
use crate::format::run::ChunkEntry;
use crate::repository::Repository;
use crate::stores::index_writer::write_run;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::PackId;
use crate::words::sizes::CHUNK_BLOCKS_MAX;

/// Blocks in each of the packs that do not exist.
const PACK_BLOCKS: u64 = 1 << 15;
/// Blocks in each of their chunks.
const CHUNK_BLOCKS: u64 = 16;

/// Publishes an index run of `blocks` blocks, up to 2^32, in packs that do not exist, and makes the handle know it.
/// Captures go on as before: what the entries lead to is not there.
///
/// # Errors
/// As for any write.
pub fn write_index(repo: &Repository, blocks: u64) -> Result<()> {
    let packs: Vec<PackId> = (0..blocks.div_ceil(PACK_BLOCKS)).map(|pack| PackId(spread(pack))).collect();
    let chunks = blocks.div_ceil(CHUNK_BLOCKS);
    let place = |block: u64| {
        let pack = u32::try_from(block / PACK_BLOCKS).unwrap_or(u32::MAX);
        let entry = u16::try_from(block % PACK_BLOCKS / CHUNK_BLOCKS).unwrap_or(u16::MAX);
        (pack, entry, u8::try_from(block % CHUNK_BLOCKS).unwrap_or(u8::MAX))
    };
    let chunk = |number: u64| {
        let (pack, entry, _) = place(number * CHUNK_BLOCKS);
        let mut key = [0; CHUNK_KEY_BYTES];
        key[..6].copy_from_slice(&block(number, chunks).0[..6]);
        ChunkEntry { key, pack, entry, present: u16::try_from(CHUNK_BLOCKS_MAX).unwrap_or(0) }
    };
    let entry = |number: u64| {
        let (pack, entry, slot) = place(number);
        let mut key = [0; 6];
        key.copy_from_slice(&block(number, blocks).0[..6]);
        BlockEntry { key, pack, entry, slot }
    };
    let run = write_run(repo.base(), &packs, || (0..chunks).map(chunk), || (0..blocks).map(entry))?;
    repo.store.replace_runs(run, &[]);
    Ok(())
}

/// Returns the id of block `number` of an index of `blocks` blocks, as [`write_index`] makes them: in sorted order.
pub fn block(number: u64, blocks: u64) -> BlockId {
    let step = (1_u128 << 48) / u128::from(blocks.max(1));
    let at = u128::from(number) * step + u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % step.max(1);
    let mut id = [0; 16];
    // Keys sort as byte strings, so the number goes in with its highest byte first.
    for (byte, shift) in id.iter_mut().zip([40_u32, 32, 24, 16, 8, 0]) {
        *byte = u8::try_from(at >> shift & 0xff).unwrap_or(0);
    }
    BlockId(id)
}

/// Returns how many of `ids` the index has hints for.
pub fn look_up(repo: &Repository, ids: &[BlockId]) -> usize {
    repo.store.index().find_blocks(ids).len()
}

fn spread(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}
