//! Marks everything that snapshots use: a bit for each page, and for each slot of each chunk.

use std::collections::HashMap;
use std::collections::HashSet;

use crate::format::pack::SlotBitmap;
use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::stores::known_slots::KnownSlots;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::pack::file::PackFile;
use crate::stores::recovery::pages::delta_base;
use crate::stores::recovery::same_block_elsewhere;
use crate::verbs::gc::copies::Chunk;
use crate::verbs::gc::copies::Copies;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::ids::PageId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;

/// A bit set of fixed size.
#[derive(Default, Clone)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    fn new(count: u32) -> Self {
        Self(vec![0; (count as usize).div_ceil(64)])
    }

    fn full(count: u32) -> Self {
        Self(vec![u64::MAX; (count as usize).div_ceil(64)])
    }

    pub(crate) fn has(&self, at: u32) -> bool {
        self.0.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Sets a bit. Returns whether it was clear before.
    fn set(&mut self, at: u32) -> bool {
        let Some(word) = self.0.get_mut(at as usize / 64) else { return false };
        let bit = 1 << (at % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// The used parts of a pack.
pub(crate) struct PackUse {
    /// By entry number: used pages, copies of records, and chunks with any used slot.
    entries: Bits,
    /// By entry number: pages that used ones are made from. Nothing below them is marked for that.
    bases: Bits,
    /// By the block id's number in the directory.
    pub(crate) slots: Bits,
}

impl PackUse {
    /// Returns that all of a pack is used.
    pub(crate) fn whole(pack: &PackFile) -> Self {
        let none = Bits::default();
        Self { entries: Bits::full(pack.entries()), bases: none, slots: Bits::full(pack.block_ids()) }
    }

    /// Marks one copy of each record of the snapshots in `kept`, which then leave it.
    pub(crate) fn mark_records(&mut self, pack: &PackFile, kept: &mut HashSet<[u8; 16]>) -> Result<()> {
        for number in 0..pack.entries() {
            let entry = pack.entry(number)?;
            if entry.is_record && kept.remove(&entry.id) {
                self.entries.set(number);
            }
        }
        Ok(())
    }

    /// Tells whether an entry, or any part of it, is needed.
    pub(crate) fn needs_entry(&self, number: u32) -> bool {
        self.entries.has(number) || self.bases.has(number)
    }
}

/// The used parts of each pack that existed when gc began.
#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) packs: HashMap<PackId, PackUse>,
    /// Slots that are marked.
    marked: KnownSlots,
}

/// Pages below which everything was walked. An image may name the same page any number of times.
type Seen = HashSet<PageId>;

impl Usage {
    /// Starts to keep account of a pack.
    pub(crate) fn watch(&mut self, pack: &PackFile) {
        let bits = || Bits::new(pack.entries());
        let unused = PackUse { entries: bits(), bases: bits(), slots: Bits::new(pack.block_ids()) };
        self.packs.insert(pack.id, unused);
    }

    fn set(&mut self, located: &Located, slot: u8) {
        self.set_entry(located);
        if let Some(used) = self.packs.get_mut(&located.pack.id) {
            used.slots.set(located.entry.first_block + u32::from(slot));
        }
    }

    /// Marks a page, or a chunk for the sake of its directory entry. Returns true if it was not
    /// marked before, or if its pack is not watched.
    fn set_entry(&mut self, located: &Located) -> bool {
        self.packs.get_mut(&located.pack.id).is_none_or(|used| used.entries.set(located.number))
    }

    /// Tells whether a page, or any part of a chunk, is marked.
    pub(crate) fn has_entry(&self, located: &Located) -> bool {
        self.packs.get(&located.pack.id).is_some_and(|used| used.entries.has(located.number))
    }

    /// Marks everything that a snapshot needs.
    ///
    /// # Errors
    /// `Corrupt` if any of it is missing.
    pub(crate) fn mark(
        &mut self,
        copies: &mut Copies<'_>,
        record: &Record,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut marker =
            Marker { copies, usage: self, unwatched: Seen::new(), unwatched_bases: Seen::new(), progress };
        let marked = marker.mark(record);
        marked.map_err(|error| error.in_context(format!("snapshot {} ({})", record.id, record.name)))
    }
}

struct Marker<'a, 'b> {
    copies: &'a mut Copies<'b>,
    usage: &'a mut Usage,
    /// Pages in packs that were published later and are not watched.
    unwatched: Seen,
    unwatched_bases: Seen,
    progress: &'a dyn Progress,
}

impl Marker<'_, '_> {
    fn mark(&mut self, record: &Record) -> Result<()> {
        let mut pages = Cursor::checked(self.copies.store, record);
        while let Some(node) = pages.next() {
            if self.mark_page(&node.page)?
                && let Some(leaf) = pages.read(&node)?
            {
                self.mark_leaf(&leaf)?;
            }
        }
        Ok(())
    }

    /// Marks a page. Returns whether the pages and chunks below it must be marked too.
    fn mark_page(&mut self, page: &PageRef) -> Result<bool> {
        if self.progress.cancelled() {
            return Err(Error::interrupted());
        }
        self.progress.advance(Meter::Pages, 1);
        let located = self.copies.page(&page.id)?;
        // Everything below a marked page is already marked.
        let new = match self.usage.packs.get_mut(&located.pack.id) {
            Some(used) => used.entries.set(located.number),
            None => self.unwatched.insert(page.id),
        };
        if new {
            self.mark_bases(&located)?;
        }
        Ok(new)
    }

    /// Marks the pages that a page is made from.
    fn mark_bases(&mut self, page: &Located) -> Result<()> {
        let mut base = delta_base(page)?.0;
        while let Some(id) = base {
            let located = self.copies.page(&id)?;
            let new = match self.usage.packs.get_mut(&located.pack.id) {
                Some(used) => used.bases.set(located.number),
                None => self.unwatched_bases.insert(id),
            };
            base = if new { delta_base(&located)?.0 } else { None };
        }
        Ok(())
    }

    fn mark_leaf(&mut self, leaf: &Leaf) -> Result<()> {
        leaf.chunks.iter().zip(&leaf.named_slots()).try_for_each(|(id, needed)| self.mark_slots(id, needed))
    }

    /// Marks slots of a chunk, but for those that an earlier page had marked.
    fn mark_slots(&mut self, id: &ChunkId, needed: &SlotBitmap) -> Result<()> {
        if self.usage.marked.has_all(id, needed) {
            return Ok(());
        }
        let chunk = self.copies.chunk(id)?;
        for slot in (0..=u8::MAX).filter(|slot| needed.has(*slot)) {
            match chunk.with(slot) {
                Some(located) => self.usage.set(located, slot),
                None => self.without_sound_copy(&chunk, slot)?,
            }
        }
        self.usage.marked.add(id, needed);
        Ok(())
    }

    /// Marks everything that may still provide a block for which no sound copy of its chunk exists:
    /// other chunks with the block, and the damaged data, which a repair may bring back.
    fn without_sound_copy(&mut self, chunk: &Chunk, slot: u8) -> Result<()> {
        let Some(first) = chunk.first() else { return Ok(()) };
        // The directory entry is needed to find the block elsewhere.
        self.usage.set_entry(first);
        let elsewhere = same_block_elsewhere(self.copies.store, first, slot)?;
        if elsewhere.is_empty() && !chunk.has(slot) {
            let (id, pack) = (ChunkId(first.entry.id), first.pack.id);
            let missing = format!("slot {slot} of chunk {id} is needed, but pack {pack} does not have it");
            return Err(Error::corrupt(missing));
        }
        elsewhere.iter().for_each(|(place, slot)| self.usage.set(place, *slot));
        chunk.all_with(slot).for_each(|damaged| self.usage.set(damaged, slot));
        Ok(())
    }
}
