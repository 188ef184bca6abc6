//! What stands in for a chunk that is damaged where it was found: what is still good of it there, the same chunk in other
//! packs, the same blocks in other chunks, and parity. Every block is proven by its id, so that it does not matter where it is from.

use std::collections::BTreeMap;

use crate::pure::compress::Decoder;
use crate::stores::base::Base;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::Digest;
use crate::words::sizes::BLOCK_BYTES;

/// A block that was proven by its id.
pub(crate) struct Saved {
    pub(crate) bytes: Box<[u8; BLOCK_BYTES]>,
    pub(crate) digest: Digest,
}

/// Blocks of a chunk that could be had, by slot.
pub(crate) type SavedBlocks = BTreeMap<u8, Saved>;

/// Returns those blocks of a chunk, of the slots in `wanted`, that can be had from anywhere.
pub(crate) fn rescue(store: &Store, found: &Located, wanted: &[u8]) -> Result<SavedBlocks> {
    let decoder = Decoder::new().map_err(|error| Error::stored_io("preparing decompression", error))?;
    let mut search = Search { base: &store.base, decoder, wanted, saved: SavedBlocks::new() };
    search.same_chunk(found);
    for copy in other_copies(store, found) {
        if search.is_over() {
            break;
        }
        search.same_chunk(&copy);
    }
    for slot in wanted {
        for (place, of_block) in same_block_elsewhere(store, found, *slot)? {
            if !search.saved.contains_key(slot) {
                search.same_block(*slot, &place, of_block);
            }
        }
    }
    if !search.is_over() {
        store.rescued_copies(&found.entry.id).iter().for_each(|copy| search.same_chunk(copy));
    }
    Ok(search.saved)
}

/// Returns the other places where sound packs have the chunk.
pub(crate) fn other_copies(store: &Store, found: &Located) -> Vec<Located> {
    let mut copies = store.copies_at_hand(&found.entry.id);
    copies.retain(|copy| !copy.is_at(found));
    copies
}

/// Returns where other chunks have the block that belongs in a slot, each with the slot there. None where the ids of the
/// chunk's blocks cannot be trusted.
pub(crate) fn same_block_elsewhere(store: &Store, found: &Located, slot: u8) -> Result<Vec<(Located, u8)>> {
    let Some(id) = found.trusted_block_id(&store.base, slot) else { return Ok(Vec::new()) };
    let hints = store.block_hints(&[id])?;
    let proven = hints.into_iter().filter_map(|(_, hint)| store.prove_block(&id, hint).ok().flatten());
    Ok(proven.filter(|(place, _)| place.entry.id != found.entry.id).collect())
}

struct Search<'a> {
    base: &'a Base,
    decoder: Decoder,
    wanted: &'a [u8],
    saved: SavedBlocks,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.saved.len() == self.wanted.len()
    }

    fn same_chunk(&mut self, copy: &Located) {
        for (slot, saved) in good_blocks(self.base, copy, &mut self.decoder) {
            if self.wanted.contains(&slot) {
                self.saved.entry(slot).or_insert(saved);
            }
        }
    }

    fn same_block(&mut self, slot: u8, place: &Located, of_block: u8) {
        let good = good_blocks(self.base, place, &mut self.decoder);
        if let Some((_, saved)) = good.into_iter().find(|(slot, _)| *slot == of_block) {
            self.saved.insert(slot, saved);
        }
    }
}

/// Reads a chunk that may be damaged, or lie in part on sectors that cannot be read, and returns those of its blocks that
/// are what their ids say.
pub(crate) fn good_blocks(base: &Base, located: &Located, decoder: &mut Decoder) -> Vec<(u8, Saved)> {
    let Located { pack, entry, .. } = located;
    let slots = pack.present_slots(entry);
    if !located.has_trusted_ids(base) || slots.len() * BLOCK_BYTES != entry.raw_bytes as usize {
        return Vec::new();
    }
    let stored = pack.read_stored_in_parts(entry);
    let Ok(raw) = decoder.decode(entry.codec, &stored, entry.raw_bytes as usize) else { return Vec::new() };
    let blocks: Vec<&[u8; BLOCK_BYTES]> = raw.as_chunks().0.iter().collect();
    let digests = base.hasher.blocks(&blocks);
    let all = slots.into_iter().zip(blocks).zip(digests);
    all.filter(|((slot, _), digest)| pack.block_id(entry, *slot) == Some(digest.block_id()))
        .map(|((slot, bytes), digest)| (slot, Saved { bytes: Box::new(*bytes), digest }))
        .collect()
}

impl Located {
    /// Tells whether the block ids in the directory are those that gave the chunk its id.
    fn has_trusted_ids(&self, base: &Base) -> bool {
        base.hasher.chunk(&self.pack.block_ids_of(&self.entry)).0 == self.entry.id
    }

    fn trusted_block_id(&self, base: &Base, slot: u8) -> Option<BlockId> {
        let id = self.pack.block_id(&self.entry, slot)?;
        self.has_trusted_ids(base).then_some(id)
    }
}
