//! Examines chunks and pages where they are stored.

use crate::format::pack::EntryKind;
use crate::format::pack::SlotBitmap;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::notes::ALL_SLOTS;
use crate::stores::recovery::pages::check_page;
use crate::stores::recovery::reader::ItemReader;
use crate::words::error::Error;

/// The damage found in a chunk or a page.
pub(crate) struct Trouble {
    pub(crate) error: Error,
    /// The slots that cannot be used: all of them for a page, none if only the record's header is
    /// damaged.
    pub(crate) slots: SlotBitmap,
}

/// Reads and proves a chunk or a page, and checks its record's header, which a repair would
/// rely on.
pub(crate) fn examine(reader: &mut ItemReader, store: &Store, located: &Located) -> Option<Trouble> {
    let files = &store.files;
    let kind = located.entry.kind();
    let content = match kind {
        EntryKind::Chunk => reader.bad_slots(files, located),
        EntryKind::Page => check_page(store, located).map(|()| Vec::new()),
        EntryKind::Record => reader.record(files, located).map(|_| Vec::new()),
    };
    match content {
        Err(error) if kind != EntryKind::Chunk => Some(Trouble { error, slots: ALL_SLOTS }),
        Err(error) => {
            // Single blocks may still match their ids.
            let good = reader.good_blocks(files, located);
            let is_bad = |slot: &u8| good.iter().all(|(good, ..)| good != slot);
            let present = located.pack.present_slots(&located.entry).into_iter();
            Some(Trouble { error, slots: SlotBitmap::from_slots(present.filter(is_bad)) })
        }
        Ok(bad) if !bad.is_empty() => {
            let error = located
                .damaged()
                .in_context(format!("the content of slots {bad:?} does not match their ids"));
            Some(Trouble { error, slots: SlotBitmap::from_slots(bad.into_iter()) })
        }
        Ok(_) => {
            let error = located.pack.check_record(&located.entry).err()?;
            Some(Trouble { error, slots: SlotBitmap::from_slots(std::iter::empty()) })
        }
    }
}
