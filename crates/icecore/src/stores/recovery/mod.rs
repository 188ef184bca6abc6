//! The only way to recover blocks and pages that cannot be read where they were found. It tries the
//! good parts there, the same chunk or page in other packs, the same blocks in other chunks, and
//! parity. Every block is proven by its id, so its source does not matter.

pub(crate) mod broken_pack;
pub(crate) mod examine;
pub(crate) mod pages;
pub(crate) mod reader;
pub(crate) mod rebuilt_packs;
pub(crate) mod record_copies;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::files::RepositoryFiles;
use crate::stores::recovery::reader::ItemReader;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::next_step::NextStep;
use crate::words::sizes::BLOCK_BYTES;

/// A block proven by its id.
pub(crate) struct Saved {
    pub(crate) bytes: Box<[u8; BLOCK_BYTES]>,
    pub(crate) digest: Digest,
}

/// The blocks of a chunk that could be recovered, by slot.
pub(crate) type SavedBlocks = BTreeMap<u8, Saved>;

/// Tells whether an error may concern only the place that was read, so that other places are worth
/// trying.
pub(crate) fn is_of_the_place(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io)
}

/// Tells whether an error says that stored data is unavailable. Any other error stops the
/// caller in any case.
pub(crate) fn is_of_the_repository(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Corrupt
        | ErrorKind::Io
        | ErrorKind::NotFound
        | ErrorKind::InvalidInput
        | ErrorKind::PermissionDenied
        | ErrorKind::Unsupported => true,
        ErrorKind::AlreadyExists
        | ErrorKind::InUse
        | ErrorKind::NoSpace
        | ErrorKind::ImageChanged
        | ErrorKind::OutOfResources
        | ErrorKind::Interrupted => false,
    }
}

/// Returns those blocks of a chunk, among the slots in `wanted`, that can be recovered from
/// anywhere. If some are missing, searches again after `look_again`, because gc may have moved a
/// copy that has them.
pub(crate) fn recover(
    store: &Store,
    found: &Located,
    wanted: &[u8],
    look_again: impl FnOnce(&Store) -> Result<()>,
) -> Result<SavedBlocks> {
    let mut saved = recover_as_known(store, found, wanted)?;
    if saved.len() < wanted.len()
        && look_again(store).is_ok()
        && let Ok(now) = store.need_chunk(&ChunkId(found.entry.id))
    {
        saved.extend(recover_as_known(store, &now, wanted)?);
    }
    Ok(saved)
}

/// Recovers blocks like [`recover`], relying on the index as known now.
pub(crate) fn recover_as_known(store: &Store, found: &Located, wanted: &[u8]) -> Result<SavedBlocks> {
    let mut search =
        Search { files: &store.files, reader: ItemReader::new()?, wanted, saved: SavedBlocks::new() };
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
        store.rebuilt_copies(&found.entry.id).iter().for_each(|copy| search.same_chunk(copy));
    }
    Ok(search.saved)
}

/// Returns a copy of the chunk that has the data of a slot: the one found, or another if that one
/// lacks it. Reads none of them.
pub(crate) fn copy_with<'a>(store: &Store, found: &'a Located, slot: u8) -> Result<Cow<'a, Located>> {
    let has = |copy: &Located| copy.pack.has_slot(&copy.entry, slot);
    if has(found) {
        return Ok(Cow::Borrowed(found));
    }
    let find = || Ok(store.copies(&found.entry.id)?.into_iter().find(has));
    if let Some(copy) = find()? {
        return Ok(Cow::Owned(copy));
    }
    store.look_again()?;
    find()?.map(Cow::Owned).ok_or_else(|| {
        let (id, pack) = (ChunkId(found.entry.id), found.pack.id);
        Error::corrupt(format!("slot {slot} of chunk {id} is needed, but pack {pack} does not have it"))
            .with_hint(NextStep::RepairIndexThenVerify)
    })
}

/// Returns the other places where packs have a block, in the same chunk or in others, with the
/// slots there. Reads none of them. Skips parts of the index that cannot be read.
pub(crate) fn other_places(store: &Store, found: &Located, slot: u8) -> impl Iterator<Item = (Located, u8)> {
    let copies = other_copies(store, found).into_iter().map(move |copy| (copy, slot));
    let places = copies.filter(|(copy, slot)| copy.pack.has_slot(&copy.entry, *slot));
    places.chain(same_block_elsewhere(store, found, slot).unwrap_or_default())
}

/// Tells whether parity can rebuild a block that is damaged where it was found.
pub(crate) fn parity_gives(store: &Store, found: &Located, slot: u8) -> bool {
    let Ok(mut reader) = ItemReader::new() else { return false };
    let rebuilt = store.rebuilt_copies(&found.entry.id);
    rebuilt.iter().any(|copy| reader.good_blocks(&store.files, copy).iter().any(|(good, ..)| *good == slot))
}

/// Returns the other places where sound packs have the chunk or page.
fn other_copies(store: &Store, found: &Located) -> Vec<Located> {
    let mut copies = store.copies_at_hand(&found.entry.id);
    copies.retain(|copy| !copy.is_at(found));
    copies
}

/// Returns the other chunks that have the block of a slot, each with the slot there; none if the
/// ids of the chunk's blocks cannot be trusted.
pub(crate) fn same_block_elsewhere(store: &Store, found: &Located, slot: u8) -> Result<Vec<(Located, u8)>> {
    let id = found.pack.block_id(&found.entry, slot).filter(|_| found.has_trusted_ids(&store.files));
    let Some(id) = id else { return Ok(Vec::new()) };
    let hints = store.block_hints(&[id])?;
    let proven = hints.into_iter().filter_map(|(_, hint)| store.prove_block(&id, hint).ok().flatten());
    Ok(proven.filter(|(place, _)| place.entry.id != found.entry.id).collect())
}

struct Search<'a> {
    files: &'a RepositoryFiles,
    reader: ItemReader,
    wanted: &'a [u8],
    saved: SavedBlocks,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.saved.len() == self.wanted.len()
    }

    fn same_chunk(&mut self, copy: &Located) {
        for (slot, digest, bytes) in self.reader.good_blocks(self.files, copy) {
            if self.wanted.contains(&slot) {
                self.saved.entry(slot).or_insert_with(|| Saved { bytes: Box::new(*bytes), digest });
            }
        }
    }

    fn same_block(&mut self, slot: u8, place: &Located, of_block: u8) {
        let good = self.reader.good_blocks(self.files, place);
        if let Some((_, digest, bytes)) = good.into_iter().find(|(slot, ..)| *slot == of_block) {
            self.saved.insert(slot, Saved { bytes: Box::new(*bytes), digest });
        }
    }
}
