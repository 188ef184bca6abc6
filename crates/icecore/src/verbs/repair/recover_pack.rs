//! Reassembles the content of a damaged pack from its good parts and from the copies of the rest in
//! other places. Only this module decides where to look for those copies.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::format::pack::EntryKind;
use crate::format::pack::SlotBitmap;
use crate::pure::compress::Encoder;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;

use crate::stores::pack::file::PackFile;
use crate::stores::pack::writer::Item;
use crate::stores::recovery::examine::Trouble;
use crate::stores::recovery::examine::examine as examine_one;
use crate::stores::recovery::pages::is_sound_delta;
use crate::stores::recovery::pages::read_page;
use crate::stores::recovery::reader::ItemReader;
use crate::stores::recovery::recover_as_known;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;

/// Entries between two checks for interruption.
const ENTRIES_AT_ONCE: u32 = 2048;
/// The fewest entries that a thread takes, so that it does not create a decoder for each.
const ENTRIES_A_THREAD: usize = 16;

/// The problems with entries of a pack, by entry number.
pub(crate) type Troubles = BTreeMap<u32, Trouble>;

/// The outcome for the entries of a damaged pack.
#[derive(Default)]
pub(crate) struct RecoveredPack {
    /// Chunks and pages that were good.
    pub(crate) kept: u64,
    /// Chunks and pages that were damaged and are whole again.
    pub(crate) brought_back: u64,
    pub(crate) blocks_lost: u64,
    pub(crate) pages_lost: u64,
    /// Chunks that are no longer whole, with their lost slots.
    pub(crate) incomplete: Vec<([u8; 16], SlotBitmap)>,
}

/// Reads a pack and returns the problems with its entries.
pub(crate) fn examine(store: &Store, pack: &Arc<PackFile>, progress: &dyn Progress) -> Result<Troubles> {
    let mut troubles = Troubles::new();
    let mut from = 0;
    while from < pack.entries() {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        let upto = pack.entries().min(from + ENTRIES_AT_ONCE);
        let one = |reader: &mut Result<ItemReader>, number: u32| {
            let reader = reader.as_mut().map_err(|error| Error::new(error.kind(), error.to_string()))?;
            let located = Located { pack: Arc::clone(pack), number, entry: pack.entry(number)? };
            progress.advance(Meter::Checked, u64::from(located.entry.stored_bytes));
            // Reading the base of a delta is not this pack's trouble.
            let trouble = examine_one(reader, store, &located).filter(|_| !is_sound_delta(&located));
            Ok(trouble.map(|trouble| (number, trouble)))
        };
        let numbers = (from..upto).into_par_iter().with_min_len(ENTRIES_A_THREAD);
        let found: Vec<Option<(u32, Trouble)>> =
            numbers.map_init(ItemReader::new, one).collect::<Result<_>>()?;
        troubles.extend(found.into_iter().flatten());
        from = upto;
    }
    Ok(troubles)
}

/// Passes all entries of a pack that are good or recoverable to `append`, one after another.
pub(crate) fn recover_pack(
    store: &Store,
    pack: &Arc<PackFile>,
    troubles: &Troubles,
    level: i32,
    mut append: impl FnMut(Item) -> Result<()>,
) -> Result<RecoveredPack> {
    let failed = |error| Error::stored_io("preparing compression", error);
    let mut encoder = Encoder::new(level, true).map_err(failed)?;
    let mut recovered = RecoveredPack::default();
    for number in 0..pack.entries() {
        let located = Located { pack: Arc::clone(pack), number, entry: pack.entry(number)? };
        let item = match troubles.get(&number) {
            None => {
                recovered.kept += u64::from(!located.entry.is_record);
                Some(Item::stored_in(&located.pack, located.number, &located.entry)?)
            }
            // Its record's header is damaged and is written anew.
            Some(trouble)
                if trouble.slots.count() == 0
                    && Item::stored_in(&located.pack, located.number, &located.entry).is_ok() =>
            {
                recovered.brought_back += 1;
                Some(Item::stored_in(&located.pack, located.number, &located.entry)?)
            }
            Some(_) => match located.entry.kind() {
                EntryKind::Chunk => Some(chunk(store, &located, &mut encoder, &mut recovered)?),
                EntryKind::Page => page(store, &located, &mut encoder, &mut recovered)?,
                // The record itself is elsewhere.
                EntryKind::Record => None,
            },
        };
        item.map_or(Ok(()), &mut append)?;
    }
    Ok(recovered)
}

/// Returns a copy of a damaged page from another pack, if there is one.
fn page(
    store: &Store,
    located: &Located,
    encoder: &mut Encoder,
    recovered: &mut RecoveredPack,
) -> Result<Option<Item>> {
    let Ok(bytes) = read_page(store, &PageId(located.entry.id)) else {
        recovered.pages_lost += 1;
        return Ok(None);
    };
    recovered.brought_back += 1;
    let encoded = encoder.encode(&bytes).map_err(|error| Error::stored_io("compressing a page", error))?;
    Ok(Some(Item::new(located.entry.id, encoded, bytes.len(), Vec::new())))
}

/// Returns a damaged chunk with all available blocks, punched where some are unavailable. It may
/// have none left. It then still lists the blocks that it had, so that the same blocks can stand in
/// for them when a capture stores them again.
fn chunk(
    store: &Store,
    located: &Located,
    encoder: &mut Encoder,
    recovered: &mut RecoveredPack,
) -> Result<Item> {
    let Located { pack, entry, .. } = located;
    let wanted = pack.present_slots(entry);
    let saved = recover_as_known(store, located, &wanted)?;
    let lost: Vec<u8> = wanted.iter().copied().filter(|slot| !saved.contains_key(slot)).collect();
    if lost.is_empty() {
        recovered.brought_back += 1;
    } else {
        recovered.blocks_lost += lost.len() as u64;
        recovered.incomplete.push((entry.id, SlotBitmap::from_slots(lost.iter().copied())));
    }
    let bytes: Vec<u8> = saved.values().flat_map(|saved| saved.bytes.iter().copied()).collect();
    let encoded = encoder.encode(&bytes).map_err(|error| Error::stored_io("compressing a chunk", error))?;
    let mut item = Item::new(entry.id, encoded, bytes.len(), pack.block_ids_of(entry));
    if saved.len() < usize::from(entry.slots) {
        item.bitmap = Some(SlotBitmap::from_slots(saved.keys().copied()));
    }
    Ok(item)
}
