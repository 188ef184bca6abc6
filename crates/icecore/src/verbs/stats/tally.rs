//! Counts which snapshots have each block and page.

use std::collections::HashMap;
use std::rc::Rc;

use crate::format::pack::EntryKind;
use crate::format::pack::SlotBitmap;
use crate::format::page::Leaf;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::live_records::name_snapshot;
use crate::stores::manifest::cursor::CheckedPages;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::list::list_packs;
use crate::stores::recovery::copy_with;
use crate::stores::recovery::pages::delta_base;
use crate::verbs::stats::kept_pages::KeptPages;
use crate::verbs::stats::kept_pages::TallyPages;
use crate::verbs::stats::owners::Owner;
use crate::verbs::stats::owners::Owners;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::IdMap;
use crate::words::ids::PackId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_u64;
use crate::words::units::slots;

/// The counts of a repository. Memory is bounded by three bytes per block, chunk and page in it.
pub(crate) struct Tally<'a> {
    store: &'a Store,
    snapshots_max: usize,
    snapshots: u32,
    packs: Vec<PackTally>,
    /// The number of each pack in `packs`.
    numbers: HashMap<PackId, u32>,
    /// The chunks that were met last. Successive snapshots have much the same.
    chunks: IdMap<ChunkId, ChunkPlace>,
    pages: Rc<KeptPages>,
    image: Occurrences,
}

/// Where a chunk is.
#[derive(Clone, Copy)]
struct ChunkPlace {
    /// The number of the pack.
    pack: u32,
    /// The number of its first block in the directory.
    first_block: u32,
    /// The slots that have their data there.
    slots: SlotBitmap,
}

/// The most chunks to remember: 64 MiB.
const CHUNKS_MAX: usize = 1 << 20;

struct PackTally {
    /// The number of the run of images that `occurrences` is about.
    run: u64,
    /// The owners of its blocks, by their number in the directory, and behind them of its entries,
    /// of which the pages count.
    owners: Owners,
    /// The owners of its pages that others are made from, if it has pages.
    bases: Owners,
    /// How often the pages of the current image name each of them, up to [`MANY`]. Equal pages
    /// count as one page here, however often they occur in the image.
    occurrences: Vec<u8>,
}

/// The marker for an occurrence count that is stored elsewhere.
const MANY: u8 = u8::MAX;

/// The direction in which an image is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The image is added.
    Come,
    /// The image is removed.
    Go,
}

/// A block or page: the number of its pack, and its own there.
type At = (u32, u32);

/// The state of the current image, besides the counts in the packs.
#[derive(Default)]
struct Occurrences {
    /// The counts of blocks and pages that occur [`MANY`] times or more.
    many: HashMap<At, u64>,
    /// The number of different blocks.
    blocks: u64,
    /// The number of runs of images before: in a run, each image is counted by what differs from
    /// the one before it.
    run: u64,
}

/// The data that only one snapshot has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own {
    pub(crate) blocks: u64,
    pub(crate) stored_bytes: u64,
    /// The stored bytes of its pages.
    pub(crate) page_bytes: u64,
}

/// The totals of all packs.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// The number of different blocks that snapshots have.
    pub(crate) blocks: u64,
    /// The stored bytes of chunks that a snapshot uses at least in part.
    pub(crate) stored_bytes: u64,
    /// The stored bytes that no snapshot uses.
    pub(crate) unused_bytes: u64,
    /// The bytes of packs that are neither data nor unused.
    pub(crate) pack_metadata_bytes: u64,
    /// The data of each snapshot alone.
    pub(crate) own: Vec<Own>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(store: &'a Store, snapshots_max: usize) -> Self {
        Self {
            store,
            snapshots_max,
            snapshots: 0,
            packs: Vec::new(),
            numbers: HashMap::new(),
            chunks: IdMap::default(),
            pages: Rc::default(),
            image: Occurrences::default(),
        }
    }

    /// Adds a snapshot, and returns how many different blocks its image has. `before` is the last
    /// snapshot added, if this one is likely to be similar.
    ///
    /// # Errors
    /// `Corrupt` if anything that the snapshot needs is missing.
    pub(crate) fn add(
        &mut self,
        before: Option<&Record>,
        record: &Record,
        progress: &dyn Progress,
    ) -> Result<u64> {
        if before.is_none() {
            self.image = Occurrences { run: self.image.run + 1, ..Occurrences::default() };
        }
        // Additions go first, then removals, so that anything in both images stays counted.
        self.count(record, progress, Step::Come)?;
        if let Some(before) = before {
            self.count(before, progress, Step::Go)?;
        }
        self.mark(self.snapshots, record, progress)?;
        Ok(self.image.blocks)
    }

    /// Notes that everything in a snapshot belongs to the owner with this number. Several snapshots
    /// with one number count as one.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(crate) fn mark(&mut self, number: u32, record: &Record, progress: &dyn Progress) -> Result<()> {
        self.snapshots = self.snapshots.max(number.saturating_add(1));
        self.mark_pages(number, record, progress).map_err(|error| name_snapshot(record, error))
    }

    fn mark_pages(&mut self, number: u32, record: &Record, progress: &dyn Progress) -> Result<()> {
        let mut pages = self.pages_of(record);
        while let Some(node) = pages.next() {
            check(progress)?;
            progress.advance(Meter::Pages, 1);
            let found = self.store.need_page(&node.page.id)?;
            let (_, pack) = self.pack(&found.pack);
            let owner = pack.owners.add(page_at(&found.pack, found.number), number);
            // If a page has several owners, so does everything below it.
            if owner == Owner::Several || owner == Owner::One(number) {
                continue;
            }
            self.mark_bases(&found, number)?;
            if let Some(leaf) = pages.read(&node)? {
                self.each_block(&leaf, |pack, _, (_, at)| {
                    pack.owners.add(at, number);
                })?;
            }
        }
        Ok(())
    }

    /// Notes the owner of the pages that a page is made from.
    fn mark_bases(&mut self, page: &Located, number: u32) -> Result<()> {
        let mut base = delta_base(page)?.0;
        while let Some(id) = base {
            let found = match self.store.need_page(&id) {
                // This copy of the page is left behind. If there is no other, reading it fails.
                Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(()),
                found => found?,
            };
            let (_, pack) = self.pack(&found.pack);
            let owner = pack.bases.add(found.number, number);
            let known = owner == Owner::Several || owner == Owner::One(number);
            base = if known { None } else { delta_base(&found)?.0 };
        }
        Ok(())
    }

    /// Adds or removes the counts of a snapshot's image.
    fn count(&mut self, record: &Record, progress: &dyn Progress, step: Step) -> Result<()> {
        self.count_pages(record, progress, step).map_err(|error| name_snapshot(record, error))
    }

    fn count_pages(&mut self, record: &Record, progress: &dyn Progress, step: Step) -> Result<()> {
        let mut pages = self.pages_of(record);
        while let Some(node) = pages.next() {
            check(progress)?;
            let found = self.store.need_page(&node.page.id)?;
            let at = page_at(&found.pack, found.number);
            let (number, _) = self.pack(&found.pack);
            let pack = &mut self.packs[number as usize];
            // The part below a page changes only when its first occurrence comes or its last one
            // goes.
            if !pack.step(&mut self.image, (number, at), step) {
                continue;
            }
            if let Some(leaf) = pages.read(&node)? {
                self.each_block(&leaf, |pack, image, at| {
                    if pack.step(image, at, step) {
                        image.blocks = match step {
                            Step::Come => image.blocks + 1,
                            Step::Go => image.blocks.saturating_sub(1),
                        };
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Adds up the totals of all packs.
    pub(crate) fn sums(&self, progress: &dyn Progress) -> Result<Sums> {
        let mut sums = Sums { own: vec![Own::default(); self.snapshots as usize], ..Sums::default() };
        for id in list_packs(&self.store.files)? {
            check(progress)?;
            let pack = match self.store.pack(id) {
                Ok(pack) => pack,
                // Gc has removed the pack meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut stored_bytes = 0;
            for number in 0..pack.entries() {
                let entry = pack.entry(number)?;
                stored_bytes += u64::from(entry.stored_bytes);
                match entry.kind() {
                    EntryKind::Page => self.add_page(&pack, number, u64::from(entry.stored_bytes), &mut sums),
                    EntryKind::Record => sums.pack_metadata_bytes += u64::from(entry.stored_bytes),
                    EntryKind::Chunk => {
                        self.add_chunk(&Located { pack: pack.clone(), number, entry }, &mut sums)
                    }
                }
            }
            sums.pack_metadata_bytes += pack.bytes - stored_bytes.min(pack.bytes);
        }
        Ok(sums)
    }

    fn owner(&self, pack: &PackFile, at: u32) -> Owner {
        self.known(pack).map_or(Owner::Nobody, |pack| pack.owners.get(at))
    }

    fn add_page(&self, pack: &PackFile, number: u32, stored_bytes: u64, sums: &mut Sums) {
        let of_base = self.known(pack).map_or(Owner::Nobody, |pack| pack.bases.get(number));
        match self.owner(pack, page_at(pack, number)).and(of_base) {
            Owner::Nobody => sums.unused_bytes += stored_bytes,
            Owner::Several => sums.pack_metadata_bytes += stored_bytes,
            Owner::One(snapshot) => {
                sums.pack_metadata_bytes += stored_bytes;
                if let Some(own) = sums.own.get_mut(snapshot as usize) {
                    own.page_bytes += stored_bytes;
                }
            }
        }
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

    /// Returns a cursor over the pages of a snapshot.
    fn pages_of(&self, record: &Record) -> Cursor<TallyPages<'a>> {
        let checked = CheckedPages { store: self.store, image_bytes: record.size_bytes };
        Cursor::new(TallyPages { kept: Rc::clone(&self.pages), checked }, Node::root(record))
    }

    /// Returns the counts of a pack with their number, and creates them on first use.
    fn pack(&mut self, pack: &PackFile) -> (u32, &mut PackTally) {
        let number = *self.numbers.entry(pack.id).or_insert_with(|| {
            self.packs.push(PackTally::new(pack, self.snapshots_max));
            to_u32(self.packs.len() - 1)
        });
        (number, &mut self.packs[number as usize])
    }

    /// Returns the counts of a pack, if there are any.
    fn known(&self, pack: &PackFile) -> Option<&PackTally> {
        self.packs.get(*self.numbers.get(&pack.id)? as usize)
    }

    fn place_of(&mut self, id: &ChunkId) -> Result<ChunkPlace> {
        if let Some(place) = self.chunks.get(id) {
            return Ok(*place);
        }
        let found = self.store.need_chunk(id)?;
        let slots = SlotBitmap::from_slots(found.pack.present_slots(&found.entry).into_iter());
        let place =
            ChunkPlace { pack: self.pack(&found.pack).0, first_block: found.entry.first_block, slots };
        if self.chunks.len() >= CHUNKS_MAX {
            self.chunks.clear();
        }
        self.chunks.insert(*id, place);
        Ok(place)
    }

    /// Calls `each` with the counts of its pack for each block of a leaf.
    fn each_block(
        &mut self,
        leaf: &Leaf,
        mut each: impl FnMut(&mut PackTally, &mut Occurrences, At),
    ) -> Result<()> {
        let chunks: Vec<ChunkPlace> =
            leaf.chunks.iter().map(|id| self.place_of(id)).collect::<Result<_>>()?;
        for extent in &leaf.extents {
            let Place::Chunk { chunk, slot } = extent.place else { continue };
            let (id, place) = (&leaf.chunks[usize::from(chunk)], chunks[usize::from(chunk)]);
            for slot in slots(slot, extent.blocks) {
                let (number, at) = match place.slots.has(slot) {
                    true => (place.pack, place.first_block + u32::from(slot)),
                    false => self.place_elsewhere(id, slot)?,
                };
                each(&mut self.packs[number as usize], &mut self.image, (number, at));
            }
        }
        Ok(())
    }

    /// Returns the place of a slot that the place of its chunk does not have.
    fn place_elsewhere(&mut self, id: &ChunkId, slot: u8) -> Result<At> {
        let chunk = self.store.need_chunk(id)?;
        let copy = copy_with(self.store, &chunk, slot)?;
        Ok((self.pack(&copy.pack).0, copy.entry.first_block + u32::from(slot)))
    }
}

impl PackTally {
    fn new(pack: &PackFile, snapshots_max: usize) -> Self {
        let things = page_at(pack, pack.entries());
        let owners = Owners::new(things, snapshots_max);
        let bases = Owners::new(pack.entries(), snapshots_max);
        Self { run: 0, owners, bases, occurrences: vec![0; things as usize] }
    }

    /// Adds or removes one occurrence of a block or page in the image. Tells whether it is the
    /// first, or was the last.
    fn step(&mut self, image: &mut Occurrences, at: At, step: Step) -> bool {
        // Few packs have anything of the images of one run.
        if self.run != image.run {
            self.occurrences.fill(0);
            self.run = image.run;
        }
        let Some(count) = self.occurrences.get_mut(at.1 as usize) else { return false };
        match step {
            Step::Come => {
                match *count {
                    MANY => *image.many.entry(at).or_default() += 1,
                    _ => *count += 1,
                }
                *count == 1
            }
            Step::Go => {
                if *count == MANY
                    && let Some(more) = image.many.get_mut(&at).filter(|more| **more > 0)
                {
                    *more -= 1;
                    return false;
                }
                let last = *count == 1;
                *count = count.saturating_sub(1);
                last
            }
        }
    }
}

/// Returns the place of a page among the counts of its pack.
fn page_at(pack: &PackFile, number: u32) -> u32 {
    pack.block_ids().saturating_add(number)
}

fn check(progress: &dyn Progress) -> Result<()> {
    if progress.cancelled() { Err(Error::interrupted()) } else { Ok(()) }
}
