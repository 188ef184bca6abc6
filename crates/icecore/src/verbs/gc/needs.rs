//! The data that snapshots newer than the marks need from the packs that are to go.

use std::collections::HashMap;
use std::collections::HashSet;

use crate::format::pack::SlotBitmap;
use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::known_slots::KnownSlots;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::notes::Damage;
use crate::stores::recovery::copy_with;
use crate::stores::recovery::pages::delta_base;
use crate::verbs::gc::copies::good_slots;
use crate::verbs::gc::mark::Usage;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::ids::PageId;

/// Packs that are to go unless a snapshot needs them. Each page is walked only once, because a pack
/// that was spared does not go later.
pub(crate) struct Needs<'a> {
    store: &'a Store,
    /// The marked data, which stays or was copied.
    marked: &'a Usage,
    /// Packs that this gc has written.
    written: HashSet<PackId>,
    going: HashSet<PackId>,
    /// The good slots of copies in packs that stay; for a page, all or none.
    proven: HashMap<(PackId, u32), SlotBitmap>,
    /// Slots of chunks that are known to stay, used as long as no damage is known.
    kept: KnownSlots,
    seen: HashSet<PageId>,
    /// Pages that were kept because others are made from them.
    bases: HashSet<PageId>,
    /// Whether no damage is known in the marked data. If some is, a snapshot may need another copy
    /// of that data, in a pack that was taken for unused.
    undamaged: bool,
}

impl<'a> Needs<'a> {
    pub(crate) fn new(
        store: &'a Store,
        marked: &'a Usage,
        going: impl IntoIterator<Item = PackId>,
        written: HashSet<PackId>,
    ) -> Self {
        Self {
            store,
            marked,
            written,
            going: going.into_iter().collect(),
            proven: HashMap::new(),
            kept: KnownSlots::default(),
            seen: HashSet::new(),
            bases: HashSet::new(),
            undamaged: false,
        }
    }

    /// Returns the packs that are to go.
    pub(crate) fn going(&self) -> &HashSet<PackId> {
        &self.going
    }

    /// Spares the packs that a snapshot needs.
    ///
    /// # Errors
    /// `Corrupt` if any part of its manifest is missing.
    pub(crate) fn spare(&mut self, record: &Record) -> Result<()> {
        self.undamaged = Damage::load(&self.store.files).is_empty();
        if !self.undamaged {
            self.kept.clear();
        }
        let mut pages = Cursor::checked(self.store, record);
        while let Some(node) = pages.next() {
            if self.keep_page(&node.page)?
                && let Some(leaf) = pages.read(&node)?
            {
                self.keep_leaf(&leaf)?;
            }
        }
        Ok(())
    }

    /// Spares the packs that hold something, unless a pack that stays also holds it undamaged.
    fn keep_one(&mut self, copies: &[&Located], slot: u8) -> Result<()> {
        let going = |copy: &&&Located| self.going.contains(&copy.pack.id);
        let (go, stay): (Vec<&Located>, Vec<&Located>) = copies.iter().partition(going);
        if go.is_empty() {
            return Ok(());
        }
        for copy in stay {
            // Data in packs that this gc has written was checked before.
            if self.written.contains(&copy.pack.id) || self.is_good(copy, slot)? {
                return Ok(());
            }
        }
        for copy in go {
            self.going.remove(&copy.pack.id);
        }
        Ok(())
    }

    /// Spares the packs with these slots of a chunk, as above.
    ///
    /// # Errors
    /// `Corrupt` if no pack has one of them.
    fn keep_slots(&mut self, id: &ChunkId, needed: &SlotBitmap) -> Result<()> {
        let mut copies = self.store.copies(&id.0)?;
        if copies.is_empty() {
            // If the index has lost an entry, a pack that is to go may still have the data.
            copies.push(self.store.need_chunk(id)?);
        }
        for slot in (0..=u8::MAX).filter(|slot| needed.has(*slot)) {
            if copies.iter().all(|copy| !copy.pack.has_slot(&copy.entry, slot)) {
                let copy = copy_with(self.store, &copies[0], slot)?.into_owned();
                copies.push(copy);
            }
            let with_it = copies.iter().filter(|copy| copy.pack.has_slot(&copy.entry, slot));
            self.keep_one(&with_it.collect::<Vec<_>>(), slot)?;
        }
        Ok(())
    }

    fn is_good(&mut self, copy: &Located, slot: u8) -> Result<bool> {
        let at = (copy.pack.id, copy.number);
        let good = match self.proven.get(&at) {
            Some(good) => *good,
            None => good_slots(self.store, copy)?,
        };
        self.proven.insert(at, good);
        Ok(good.has(slot))
    }

    /// Spares the packs with a page and with the pages that it is made from. Returns whether packs
    /// that are to go may hold anything below it.
    fn keep_page(&mut self, page: &PageRef) -> Result<bool> {
        if self.seen.contains(&page.id) {
            return Ok(false);
        }
        let copies = self.store.copies(&page.id.0)?;
        if self.undamaged && copies.iter().any(|copy| self.marked.has_entry(copy)) {
            // Everything below a marked page was marked.
            return Ok(false);
        }
        self.seen.insert(page.id);
        self.keep_copies(&copies)?;
        Ok(true)
    }

    /// Spares the packs with some copies of a page, and those with the pages that any of them is
    /// made from.
    fn keep_copies(&mut self, copies: &[Located]) -> Result<()> {
        self.keep_one(&copies.iter().collect::<Vec<_>>(), 0)?;
        for copy in copies {
            if let Ok((Some(base), _)) = delta_base(copy)
                && self.bases.insert(base)
            {
                self.keep_copies(&self.store.copies(&base.0)?)?;
            }
        }
        Ok(())
    }

    fn keep_leaf(&mut self, leaf: &Leaf) -> Result<()> {
        for (id, needed) in leaf.chunks.iter().zip(&leaf.named_slots()) {
            if self.kept.has_all(id, needed) {
                continue;
            }
            self.keep_slots(id, needed)?;
            if self.undamaged {
                self.kept.add(id, needed);
            }
        }
        Ok(())
    }
}
