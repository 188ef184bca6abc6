//! For benches and tests: a repository index far larger than its data, packs far smaller than usual,
//! and what no verb shows.

use std::sync::Arc;

use crate::format::record::Record;
use crate::format::run_table::Entry;
use crate::format::run_table::Key;
use crate::repository::Repository;
use crate::stores::index::run_writer::prepare_run;
use crate::stores::pack::list::list_packs;
use crate::stores::recovery::record_copies::record_copies as copies_in;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::PackId;
use crate::words::sizes::to_u8;
use crate::words::sizes::to_u16;
use crate::words::sizes::to_u32;

/// Blocks in each of the packs, which do not exist.
const PACK_BLOCKS: u64 = 1 << 15;
/// Blocks in each of their chunks.
const CHUNK_BLOCKS: u64 = 16;

/// Publishes an index run of `blocks` blocks, up to 2^32, in packs that do not exist, and loads it
/// into the handle. Captures work as before, because nothing is found where the entries point.
///
/// # Errors
/// As for any write.
pub fn write_index(repo: &Repository, blocks: u64) -> Result<()> {
    let packs: Vec<PackId> = (0..blocks.div_ceil(PACK_BLOCKS)).map(|pack| PackId(spread(pack))).collect();
    let chunks = blocks.div_ceil(CHUNK_BLOCKS);
    let entry = |id: BlockId, block: u64, detail: u64| Entry {
        key: Key::of(&id.0),
        pack: to_u32(block / PACK_BLOCKS),
        entry: to_u16(block % PACK_BLOCKS / CHUNK_BLOCKS),
        detail: to_u8(detail),
    };
    let of_chunk = |number: u64| entry(block(number, chunks), number * CHUNK_BLOCKS, CHUNK_BLOCKS - 1);
    let of_block = |number: u64| entry(block(number, blocks), number, number % CHUNK_BLOCKS);
    let run = prepare_run(repo.files(), &packs, || (0..chunks).map(of_chunk), || (0..blocks).map(of_block))?
        .publish()?;
    repo.store.replace_runs(run, &[]);
    Ok(())
}

/// Returns the id of block `number` in an index of `blocks` blocks as [`write_index`] makes it. Ids
/// are in sorted order.
pub fn block(number: u64, blocks: u64) -> BlockId {
    let step = (1_u128 << 48) / u128::from(blocks.max(1));
    let at = u128::from(number) * step + u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % step.max(1);
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at.to_le_bytes()[..6]);
    BlockId(id)
}

/// Returns for how many of `ids` the index has hints.
pub fn look_up(repo: &Repository, ids: &[BlockId]) -> usize {
    repo.store.block_hints(ids).map_or(0, |hints| hints.len())
}

/// Makes a handle close packs at a length of `bytes`, so that little data fills several. Chunks and
/// pages are in packs of their own then, as in large captures.
pub fn close_packs_at(repo: &mut Repository, bytes: u64) {
    if let Some(store) = Arc::get_mut(&mut repo.store) {
        store.files.pack_bytes = bytes;
    }
    keep_pages_apart(repo);
}

/// Makes the captures of a handle put chunks and pages into packs of their own, however few.
pub fn keep_pages_apart(repo: &mut Repository) {
    if let Some(store) = Arc::get_mut(&mut repo.store) {
        store.files.mixed_bytes = 0;
    }
}

/// Returns the records of which packs have sound copies.
///
/// # Errors
/// As for any read.
pub fn record_copies(repo: &Repository) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for id in list_packs(repo.files())? {
        records.extend(copies_in(repo.files(), &repo.store.pack(id)?)?);
    }
    Ok(records)
}

/// Makes a handle write index runs of at most `entries` entries.
pub fn limit_runs_to(repo: &mut Repository, entries: u64) {
    if let Some(store) = Arc::get_mut(&mut repo.store) {
        store.files.run_entries = entries;
    }
}

/// Makes a handle make a checkpoint after `entries` entries of the journal.
pub fn checkpoint_after(repo: &mut Repository, entries: u64) {
    if let Some(store) = Arc::get_mut(&mut repo.store) {
        store.files.tail = (entries, entries);
    }
}

fn spread(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}
