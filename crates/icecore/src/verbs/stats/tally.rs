//! Counts which snapshot has which block and which page.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::pack::PackKind;
use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::pack_file::PackFile;
use crate::stores::packs::list_packs;
use crate::stores::pairs::PairVisitor;
use crate::stores::pairs::walk_pair;
use crate::stores::pinned::name_snapshot;
use crate::stores::walk::Visitor;
use crate::stores::walk::walk;
use crate::verbs::stats::owners::Owner;
use crate::verbs::stats::owners::Owners;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::to_u64;

/// Memory is bounded by three bytes for each block in the repository, and two for each page.
pub(crate) struct Tally<'a> {
    store: &'a Store,
    snapshots_max: usize,
    snapshots: u32,
    packs: HashMap<PackId, PackTally>,
    image: Occurrences,
}

struct PackTally {
    /// Owners of its pages, or of its blocks by their number in the directory.
    owners: Owners,
    /// How often each of its blocks is in the image that is looked at, up to [`MANY`].
    occurrences: Vec<u8>,
}

/// An occurrence count that is kept elsewhere.
const MANY: u8 = u8::MAX;

/// What is known of the image that is looked at, beside the counts in the packs.
#[derive(Default)]
struct Occurrences {
    /// The counts of blocks that occur [`MANY`] times or more.
    many: HashMap<(PackId, u32), u64>,
    /// Different blocks.
    blocks: u64,
}

/// What is only in one snapshot.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own {
    pub(crate) blocks: u64,
    pub(crate) stored_bytes: u64,
}

/// What all packs hold.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// Different blocks that snapshots have.
    pub(crate) blocks: u64,
    /// The stored bytes of chunks of which a snapshot has anything.
    pub(crate) stored_bytes: u64,
    /// The stored bytes of what no snapshot has.
    pub(crate) unused_bytes: u64,
    /// The bytes of packs that are neither data nor unused.
    pub(crate) pack_metadata_bytes: u64,
    /// By snapshot.
    pub(crate) own: Vec<Own>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(store: &'a Store, snapshots_max: usize) -> Self {
        Self { store, snapshots_max, snapshots: 0, packs: HashMap::new(), image: Occurrences::default() }
    }

    /// Adds a snapshot, and returns how many different blocks its image has. `before` is the snapshot that was added
    /// last, if this one is likely to be similar.
    ///
    /// # Errors
    /// `Corrupt` if anything that it needs is missing.
    pub(crate) fn add(
        &mut self,
        before: Option<&Record>,
        record: &Record,
        progress: &dyn Progress,
    ) -> Result<u64> {
        if before.is_none() {
            self.packs.values_mut().for_each(|pack| pack.occurrences.fill(0));
            self.image = Occurrences::default();
        }
        walk_pair(self.store, before, Some(record), &mut Counter { tally: self, record, progress })?;
        let number = self.snapshots;
        walk(self.store, record, &mut Marker { tally: self, number, progress })
            .map_err(|error| name_snapshot(record, error))?;
        self.snapshots += 1;
        Ok(self.image.blocks)
    }

    /// Adds up what is in all packs.
    pub(crate) fn sums(&self, progress: &dyn Progress) -> Result<Sums> {
        let mut sums = Sums { own: vec![Own::default(); self.snapshots as usize], ..Sums::default() };
        for id in list_packs(&self.store.base)? {
            check(progress)?;
            let pack = match self.store.pack(id) {
                Ok(pack) => pack,
                // Gc has removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut stored_bytes = 0;
            for number in 0..pack.entries() {
                let entry = pack.entry(number)?;
                stored_bytes += u64::from(entry.stored_bytes);
                match pack.kind {
                    PackKind::Pages if self.owner(&pack, number) == Owner::Nobody => {
                        sums.unused_bytes += u64::from(entry.stored_bytes);
                    }
                    PackKind::Pages => sums.pack_metadata_bytes += u64::from(entry.stored_bytes),
                    PackKind::Data => {
                        self.add_chunk(&Located { pack: pack.clone(), number, entry }, &mut sums)
                    }
                }
            }
            sums.pack_metadata_bytes += pack.bytes - stored_bytes.min(pack.bytes);
        }
        Ok(sums)
    }

    fn owner(&self, pack: &PackFile, at: u32) -> Owner {
        self.packs.get(&pack.id).map_or(Owner::Nobody, |pack| pack.owners.get(at))
    }

    fn add_chunk(&self, chunk: &Located, sums: &mut Sums) {
        let stored_bytes = u64::from(chunk.entry.stored_bytes);
        let slots = chunk.pack.present_slots(&chunk.entry);
        let mut used = 0;
        let mut own: Vec<(u32, u64)> = Vec::new();
        for slot in &slots {
            let owner = self.owner(&chunk.pack, chunk.entry.first_block + u32::from(*slot));
            used += u64::from(owner != Owner::Nobody);
            let Owner::One(snapshot) = owner else { continue };
            match own.iter_mut().find(|(other, _)| *other == snapshot) {
                Some((_, blocks)) => *blocks += 1,
                None => own.push((snapshot, 1)),
            }
        }
        let present = to_u64(slots.len()).max(1);
        sums.blocks += used;
        sums.stored_bytes += if used > 0 { stored_bytes } else { 0 };
        sums.unused_bytes += stored_bytes - stored_bytes * used / present;
        for (snapshot, blocks) in own {
            if let Some(own) = sums.own.get_mut(snapshot as usize) {
                own.blocks += blocks;
                own.stored_bytes += stored_bytes * blocks / present;
            }
        }
    }

    /// Calls `each` with the pack and the number of each block of a leaf.
    fn each_block(
        &mut self,
        leaf: &Leaf,
        mut each: impl FnMut(&mut PackTally, &mut Occurrences, (PackId, u32)),
    ) -> Result<()> {
        let chunks: Vec<Located> =
            leaf.chunks.iter().map(|id| self.store.need_chunk(id)).collect::<Result<_>>()?;
        for extent in &leaf.extents {
            let Place::Chunk { chunk, slot } = extent.place else { continue };
            let chunk = &chunks[usize::from(chunk)];
            for slot in (slot..=u8::MAX).take(usize::from(extent.blocks)) {
                let other;
                let copy = if chunk.pack.has_slot(&chunk.entry, slot) {
                    chunk
                } else {
                    other = self.store.copy_with(chunk, slot)?;
                    &other
                };
                let pack = PackTally::of(&mut self.packs, &copy.pack, self.snapshots_max);
                let at = copy.entry.first_block + u32::from(slot);
                each(pack, &mut self.image, (copy.pack.id, at));
            }
        }
        Ok(())
    }
}

impl PackTally {
    /// Returns the counts of a pack, made when it is first seen.
    fn of<'p>(packs: &'p mut HashMap<PackId, Self>, pack: &PackFile, snapshots_max: usize) -> &'p mut Self {
        packs.entry(pack.id).or_insert_with(|| {
            let (things, blocks) = match pack.kind {
                PackKind::Data => (pack.block_ids(), pack.block_ids()),
                PackKind::Pages => (pack.entries(), 0),
            };
            Self { owners: Owners::new(things, snapshots_max), occurrences: vec![0; blocks as usize] }
        })
    }

    /// Notes one occurrence more of a block in the image.
    fn come(&mut self, image: &mut Occurrences, at: (PackId, u32)) {
        let Some(count) = self.occurrences.get_mut(at.1 as usize) else { return };
        image.blocks += u64::from(*count == 0);
        match *count {
            MANY => *image.many.entry(at).or_default() += 1,
            _ => *count += 1,
        }
    }

    /// Notes one occurrence less of a block in the image.
    fn go(&mut self, image: &mut Occurrences, at: (PackId, u32)) {
        let Some(count) = self.occurrences.get_mut(at.1 as usize) else { return };
        if *count == MANY
            && let Some(more) = image.many.get_mut(&at).filter(|more| **more > 0)
        {
            *more -= 1;
            return;
        }
        image.blocks -= u64::from(*count == 1).min(image.blocks);
        *count = count.saturating_sub(1);
    }
}

/// Turns the counts of one image into those of the next.
struct Counter<'t, 'a> {
    tally: &'t mut Tally<'a>,
    /// The next image.
    record: &'t Record,
    progress: &'t dyn Progress,
}

impl PairVisitor for Counter<'_, '_> {
    fn enter(&mut self, from: Option<&PageRef>, to: Option<&PageRef>, _range: &Range<u64>) -> Result<bool> {
        check(self.progress)?;
        // The pages, not their content: equal content may be stored in other places.
        Ok(from.map(|page| page.id) != to.map(|page| page.id))
    }

    fn leaves(&mut self, from: Option<&Leaf>, to: Option<&Leaf>, _offset: u64) -> Result<()> {
        if let Some(leaf) = to {
            let counted = self.tally.each_block(leaf, PackTally::come);
            counted.map_err(|error| name_snapshot(self.record, error))?;
        }
        match from {
            Some(leaf) => self.tally.each_block(leaf, PackTally::go),
            None => Ok(()),
        }
    }
}

/// Notes what a snapshot has.
struct Marker<'t, 'a> {
    tally: &'t mut Tally<'a>,
    number: u32,
    progress: &'t dyn Progress,
}

impl Visitor for Marker<'_, '_> {
    fn enter(&mut self, page: &PageRef, _range: &Range<u64>) -> Result<bool> {
        check(self.progress)?;
        self.progress.advance(Meter::Pages, 1);
        let found = self.tally.store.need_page(&page.id)?;
        // Where a page has several owners, so has everything below it.
        let pack = PackTally::of(&mut self.tally.packs, &found.pack, self.tally.snapshots_max);
        Ok(match pack.owners.add(found.number, self.number) {
            Owner::Nobody => true,
            Owner::One(other) => other != self.number,
            Owner::Several => false,
        })
    }

    fn leaf(&mut self, _page: &PageRef, leaf: &Leaf, _offset: u64) -> Result<()> {
        let number = self.number;
        self.tally.each_block(leaf, |pack, _, (_, at)| {
            pack.owners.add(at, number);
        })
    }

    fn broken(&mut self, _page: &PageRef, _range: &Range<u64>, error: Error) -> Result<()> {
        Err(error)
    }
}

fn check(progress: &dyn Progress) -> Result<()> {
    if progress.cancelled() { Err(Error::interrupted()) } else { Ok(()) }
}
