//! Decides which copy of a chunk or page to keep if there are several. Reads the copies before
//! giving one up, since the other may have unnoticed damage.

use std::collections::HashMap;

use crate::format::pack::EntryKind;
use crate::format::pack::SlotBitmap;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::notes::ALL_SLOTS;
use crate::stores::notes::Damage;
use crate::stores::recovery::examine::examine;
use crate::stores::recovery::pages::delta_base;
use crate::stores::recovery::reader::with_reader;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::ids::PageId;

/// The useful copies of a chunk, best first, each with its good slots.
pub(crate) struct Chunk(Vec<(Located, SlotBitmap)>);

impl Chunk {
    /// Returns the copy to keep for a slot, if any copy is good.
    pub(crate) fn with(&self, slot: u8) -> Option<&Located> {
        let has =
            |(copy, good): &&(Located, SlotBitmap)| good.has(slot) && copy.pack.has_slot(&copy.entry, slot);
        self.0.iter().find(has).map(|(copy, _)| copy)
    }

    /// Returns the first copy.
    pub(crate) fn first(&self) -> Option<&Located> {
        self.0.first().map(|(copy, _)| copy)
    }

    /// Tells whether any copy has the slot, damaged or not.
    pub(crate) fn has(&self, slot: u8) -> bool {
        self.all_with(slot).next().is_some()
    }

    /// Returns all copies that have the slot, damaged or not.
    pub(crate) fn all_with(&self, slot: u8) -> impl Iterator<Item = &Located> {
        self.0.iter().map(|(copy, _)| copy).filter(move |copy| copy.pack.has_slot(&copy.entry, slot))
    }
}

/// A chooser of copies. It remembers choices for which it had to read.
pub(crate) struct Copies<'a> {
    pub(crate) store: &'a Store,
    damage: &'a Damage,
    /// Only the places of the copies are kept, because that many packs cannot be open at once.
    read: HashMap<[u8; 16], Vec<(PackId, u32, SlotBitmap)>>,
}

impl<'a> Copies<'a> {
    pub(crate) fn new(store: &'a Store, damage: &'a Damage) -> Self {
        Self { store, damage, read: HashMap::new() }
    }

    /// Returns the copies of a chunk.
    ///
    /// # Errors
    /// `Corrupt` if there are none.
    pub(crate) fn chunk(&mut self, id: &ChunkId) -> Result<Chunk> {
        let store = self.store;
        self.choose(&id.0, || store.need_chunk(id))
    }

    /// Returns the copy of a page to keep.
    pub(crate) fn page(&mut self, id: &PageId) -> Result<Located> {
        let store = self.store;
        let copies = self.choose(&id.0, || store.need_page(id))?;
        let good = copies.0.iter().find(|(_, good)| good.has(0));
        // If no copy is good, the reader of the page finds out.
        match good.or(copies.0.first()) {
            Some((copy, _)) => Ok(copy.clone()),
            None => store.need_page(id),
        }
    }

    fn choose(&mut self, id: &[u8; 16], need: impl FnOnce() -> Result<Located>) -> Result<Chunk> {
        if let Some(known) = self.read.get(id) {
            let open = |(pack, number, good): &(PackId, u32, SlotBitmap)| {
                let pack = self.store.pack(*pack)?;
                let entry = pack.entry(*number)?;
                Ok((Located { pack, number: *number, entry }, *good))
            };
            return Ok(Chunk(known.iter().map(open).collect::<Result<_>>()?));
        }
        let mut copies: Vec<Located> = Vec::new();
        for copy in self.store.copies(id)? {
            if !copies.iter().any(|other| other.is_at(&copy)) {
                copies.push(copy);
            }
        }
        if copies.is_empty() {
            copies.push(need()?);
        }
        if copies.len() == 1 && !self.damage.has_id(id) {
            return Ok(Chunk(copies.into_iter().map(|copy| (copy, ALL_SLOTS)).collect()));
        }
        let best_first =
            |copy: &Located| (std::cmp::Reverse(copy.entry.raw_bytes), copy.pack.id, copy.number);
        copies.sort_by_key(best_first);
        let mut proven = Vec::with_capacity(copies.len());
        for copy in copies {
            let good = good_slots(self.store, &copy)?;
            let depth = if good.count() == 0 { 0 } else { delta_base(&copy)?.1 };
            proven.push((copy, good, depth));
        }
        // The copy with the most good slots comes first. If nothing is damaged, the others are not
        // needed. Of a page, the copy with the fewest deltas is kept: then no page that is kept is
        // made from itself.
        proven.sort_by_key(|(copy, good, depth)| (std::cmp::Reverse(good_count(copy, good)), *depth));
        let proven: Vec<_> = proven.into_iter().map(|(copy, good, _)| (copy, good)).collect();
        let known = proven.iter().map(|(copy, good)| (copy.pack.id, copy.number, *good));
        self.read.insert(*id, known.collect());
        Ok(Chunk(proven))
    }
}

fn good_count(copy: &Located, good: &SlotBitmap) -> usize {
    copy.pack.present_slots(&copy.entry).iter().filter(|slot| good.has(**slot)).count()
}

/// Reads a copy and returns its good slots; for a page, all or none.
pub(crate) fn good_slots(store: &Store, copy: &Located) -> Result<SlotBitmap> {
    let Some(trouble) = with_reader(|reader| Ok(examine(reader, store, copy)))? else { return Ok(ALL_SLOTS) };
    Ok(match copy.entry.kind() {
        EntryKind::Chunk => SlotBitmap::from_slots((0..=u8::MAX).filter(|slot| !trouble.slots.has(*slot))),
        _ if trouble.slots.count() == 0 => ALL_SLOTS,
        _ => SlotBitmap::from_slots(std::iter::empty()),
    })
}
