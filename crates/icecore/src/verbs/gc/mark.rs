//! Marks what snapshots use: a bit for each page, and for each slot of each chunk.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::pack_file::PackFile;
use crate::stores::walk::Visitor;
use crate::stores::walk::walk;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;

/// A bit for each of a number of things.
#[derive(Default, Clone)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    fn new(count: u32) -> Self {
        Self(vec![0; (count as usize).div_ceil(64)])
    }

    pub(crate) fn has(&self, at: u32) -> bool {
        self.0.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Sets a bit. Returns whether it was not set before.
    fn set(&mut self, at: u32) -> bool {
        let Some(word) = self.0.get_mut(at as usize / 64) else { return false };
        let bit = 1 << (at % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// What of a pack is used.
pub(crate) struct PackUse {
    /// By entry: pages that are used, and chunks of which any slot is.
    pub(crate) entries: Bits,
    /// By number of the block id in the directory.
    pub(crate) slots: Bits,
}

/// What of each pack that was there when gc began is used.
#[derive(Default)]
pub(crate) struct Usage(pub(crate) HashMap<PackId, PackUse>);

impl Usage {
    /// Begins to keep account of a pack.
    pub(crate) fn watch(&mut self, pack: &PackFile) {
        let unused = PackUse { entries: Bits::new(pack.entries()), slots: Bits::new(pack.block_ids()) };
        self.0.insert(pack.id, unused);
    }

    /// Marks everything that a snapshot needs.
    ///
    /// # Errors
    /// `Corrupt` if anything of it is missing.
    pub(crate) fn mark(&mut self, store: &Store, record: &Record, progress: &dyn Progress) -> Result<()> {
        let marked = walk(store, record, &mut Marker { store, usage: self, progress });
        marked.map_err(|error| error.in_context(format!("snapshot {} ({})", record.id, record.name)))
    }

    fn use_slot(&mut self, located: &Located, slot: u8) {
        if let Some(used) = self.0.get_mut(&located.pack.id) {
            used.entries.set(located.number);
            used.slots.set(located.entry.first_block + u32::from(slot));
        }
    }
}

struct Marker<'a> {
    store: &'a Store,
    usage: &'a mut Usage,
    progress: &'a dyn Progress,
}

impl Visitor for Marker<'_> {
    fn enter(&mut self, page: &PageRef, _range: &Range<u64>) -> Result<bool> {
        if self.progress.cancelled() {
            return Err(Error::interrupted());
        }
        self.progress.advance(Meter::Pages, 1);
        let located = self.store.need_page(&page.id)?;
        // Below a page that is marked already, everything is. A pack that came later is not watched: go on below it.
        let used = self.usage.0.get_mut(&located.pack.id);
        Ok(used.is_none_or(|used| used.entries.set(located.number)))
    }

    fn leaf(&mut self, _page: &PageRef, leaf: &Leaf, _offset: u64) -> Result<()> {
        let located: Vec<Located> =
            leaf.chunks.iter().map(|id| self.store.need_chunk(id)).collect::<Result<_>>()?;
        for extent in &leaf.extents {
            let Place::Chunk { chunk, slot } = extent.place else { continue };
            let located = &located[usize::from(chunk)];
            for slot in (slot..=u8::MAX).take(usize::from(extent.blocks)) {
                if located.pack.has_slot(&located.entry, slot) {
                    self.usage.use_slot(located, slot);
                } else {
                    self.usage.use_slot(&self.store.copy_with(located, slot)?, slot);
                }
            }
        }
        Ok(())
    }

    fn broken(&mut self, _page: &PageRef, _range: &Range<u64>, error: Error) -> Result<()> {
        Err(error)
    }
}

/// Finds, among packs that are to go, those that a snapshot needs: made after the others were marked.
pub(crate) fn needed_of(store: &Store, record: &Record, going: &[PackId]) -> Result<Vec<PackId>> {
    let mut needs = Needs { store, going, needed: Vec::new() };
    walk(store, record, &mut needs)?;
    Ok(needs.needed)
}

struct Needs<'a> {
    store: &'a Store,
    going: &'a [PackId],
    needed: Vec<PackId>,
}

impl Needs<'_> {
    /// Notes the packs that have something, unless a pack that stays has it too.
    fn note(&mut self, copies: &[Located], has: impl Fn(&Located) -> bool) {
        let packs: Vec<PackId> = copies.iter().filter(|copy| has(copy)).map(|copy| copy.pack.id).collect();
        if packs.iter().all(|pack| self.going.contains(pack)) {
            self.needed.extend(packs);
        }
    }
}

impl Visitor for Needs<'_> {
    fn enter(&mut self, page: &PageRef, _range: &Range<u64>) -> Result<bool> {
        self.note(&self.store.copies(&page.id.0)?, |_| true);
        Ok(true)
    }

    fn leaf(&mut self, _page: &PageRef, leaf: &Leaf, _offset: u64) -> Result<()> {
        for extent in &leaf.extents {
            let Place::Chunk { chunk, slot } = extent.place else { continue };
            let copies = self.store.copies(&leaf.chunks[usize::from(chunk)].0)?;
            for slot in (slot..=u8::MAX).take(usize::from(extent.blocks)) {
                self.note(&copies, |copy| copy.pack.has_slot(&copy.entry, slot));
            }
        }
        Ok(())
    }

    fn broken(&mut self, _page: &PageRef, _range: &Range<u64>, error: Error) -> Result<()> {
        Err(error)
    }
}
