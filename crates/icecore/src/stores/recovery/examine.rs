//! Reads chunks and pages to see whether they are what their ids say.

use crate::format::pack::PackKind;
use crate::format::pack::SlotBitmap;
use crate::stores::base::Base;
use crate::stores::chunks::Located;
use crate::stores::notes::ALL_SLOTS;
use crate::stores::recovery::reader::ItemReader;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::BLOCK_BYTES;

/// What is wrong with a chunk or a page.
pub(crate) struct Trouble {
    pub(crate) error: Error,
    /// The slots that cannot be used, all of them for a page; none where only the header of the record is damaged.
    pub(crate) slots: SlotBitmap,
}

impl ItemReader {
    /// Reads and proves a chunk or a page, and looks at the header of its record, which is what a repair would go by.
    pub(crate) fn examine(&mut self, base: &Base, located: &Located) -> Option<Trouble> {
        let content = match located.pack.kind {
            PackKind::Data => self.bad_slots(base, located),
            PackKind::Pages => self.page(base, located).map(|_| Vec::new()),
        };
        match content {
            Err(error) if located.pack.kind == PackKind::Pages => Some(Trouble { error, slots: ALL_SLOTS }),
            Err(error) => {
                // Single blocks may be what they must be for all that.
                let good = self.good_blocks(base, located);
                let is_bad = |slot: &u8| good.iter().all(|(good, ..)| good != slot);
                let present = located.pack.present_slots(&located.entry).into_iter();
                Some(Trouble { error, slots: SlotBitmap::from_slots(present.filter(is_bad)) })
            }
            Ok(bad) if !bad.is_empty() => {
                let error = located.damaged().in_context(format!("slots {bad:?} have another content"));
                Some(Trouble { error, slots: SlotBitmap::from_slots(bad.into_iter()) })
            }
            Ok(_) => {
                let error = located.pack.check_record(&located.entry).err()?;
                Some(Trouble { error, slots: SlotBitmap::from_slots(std::iter::empty()) })
            }
        }
    }

    /// Reads a chunk and returns the slots that are not what their ids say.
    fn bad_slots(&mut self, base: &Base, located: &Located) -> Result<Vec<u8>> {
        let (slots, raw) = self.chunk(base, located)?;
        let blocks: Vec<&[u8; BLOCK_BYTES]> = raw.as_chunks::<BLOCK_BYTES>().0.iter().collect();
        let digests = base.hasher.blocks(&blocks);
        let is_bad = |slot: u8, id| located.pack.block_id(&located.entry, slot) != Some(id);
        let proven = slots.into_iter().zip(digests);
        Ok(proven.filter(|(slot, digest)| is_bad(*slot, digest.block_id())).map(|(slot, _)| slot).collect())
    }
}
