//! Takes chunks and pages out of packs as they are, to be put into others.

use crate::format::pack::SlotBitmap;
use crate::pure::compress::Encoded;
use crate::stores::chunks::Located;
use crate::stores::pack_writer::Item;
use crate::words::error::Result;

/// Returns a chunk or a page as it is stored, its checksum compared.
pub(crate) fn whole(located: &Located) -> Result<Item> {
    let Located { pack, entry, .. } = located;
    let mut bytes = Vec::new();
    pack.read_stored(entry, &mut bytes)?;
    let encoded = Encoded { codec: entry.codec, bytes };
    let mut item = Item::new(entry.id, encoded, entry.raw_bytes, pack.block_ids_of(entry));
    item.bitmap = entry.bitmap.map(|_| SlotBitmap::from_slots(pack.present_slots(entry).into_iter()));
    Ok(item)
}
