//! Reads chunks and pages in pack order on all cores, and checks them against their ids.

use std::collections::HashSet;
use std::sync::Arc;

use rayon::prelude::*;

use crate::format::pack::EntryKind;
use crate::format::pack::SlotBitmap;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::pack::file::PackFile;
use crate::stores::planner::Plan;
use crate::stores::recovery::examine::Trouble;
use crate::stores::recovery::examine::examine;
use crate::stores::recovery::pages::has_its_bases;
use crate::stores::recovery::pages::is_sound_delta;
use crate::stores::recovery::reader::ItemReader;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::findings::Object;
use crate::verbs::verify::findings::problem_of;
use crate::verbs::verify::packs::next_step;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::next_step::NextStep;
use crate::words::progress::Meter;
use crate::words::progress::Progress;

/// Entries between two checks for interruption.
const ENTRIES_AT_ONCE: usize = 2048;
/// The fewest entries that a thread takes, so that it does not create a decoder for each.
const ENTRIES_A_THREAD: usize = 16;

/// A reader of packs that reads each at most once.
pub(crate) struct Reader<'a> {
    pub(crate) store: &'a Store,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) done: HashSet<PackId>,
    /// The packs, of those, that were read completely.
    pub(crate) whole: HashSet<PackId>,
    /// Unusable chunks and pages: pack, number, id, slots.
    pub(crate) bad: Vec<(PackId, u32, [u8; 16], SlotBitmap)>,
    pub(crate) chunks_read: u64,
    pub(crate) stored_bytes_read: u64,
}

/// An entry that was read. If it is sound, only its length is kept.
struct Examined {
    is_chunk: bool,
    stored_bytes: u64,
    trouble: Option<(Located, Trouble)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(store: &'a Store, progress: &'a dyn Progress) -> Self {
        Self {
            store,
            progress,
            done: HashSet::new(),
            whole: HashSet::new(),
            bad: Vec::new(),
            chunks_read: 0,
            stored_bytes_read: 0,
        }
    }

    /// Reads the wanted entries of a pack. Returns false if the pack is gone.
    pub(crate) fn read(
        &mut self,
        id: PackId,
        wanted: &dyn Fn(&PackFile) -> Vec<u32>,
        findings: &mut Findings,
    ) -> Result<bool> {
        let pack = match self.store.pack(id) {
            Ok(pack) => pack,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                findings.add(Object::Pack(id), || problem_of(&error, next_step(&error)));
                self.done.insert(id);
                return Ok(true);
            }
        };
        let wanted = wanted(&pack);
        for numbers in wanted.chunks(ENTRIES_AT_ONCE) {
            let mut plan = Plan::default();
            numbers
                .iter()
                .filter_map(|number| pack.entry(*number).ok())
                .for_each(|entry| plan.add(id, &entry));
            plan.announce(self.store);
            if self.progress.cancelled() {
                return Err(Error::interrupted());
            }
            self.read_some(&pack, numbers, findings)?;
        }
        if wanted.len() == pack.entries() as usize {
            self.whole.insert(id);
        }
        self.done.insert(id);
        Ok(true)
    }

    fn read_some(&mut self, pack: &Arc<PackFile>, numbers: &[u32], findings: &mut Findings) -> Result<()> {
        let (store, progress) = (self.store, self.progress);
        let one = |reader: &mut Result<ItemReader>, number: &u32| {
            let reader = reader.as_mut().map_err(|error| Error::new(error.kind(), error.to_string()))?;
            // An entry that does not decode is reported as a finding of its pack.
            let Ok(entry) = pack.entry(*number) else { return Ok(None) };
            let located = Located { pack: Arc::clone(pack), number: *number, entry };
            // A page may be left behind by what it is made from. If a snapshot needs it, the walk
            // through the snapshots finds that out.
            let trouble = examine(reader, store, &located).filter(|_| !is_left_behind(store, &located));
            let stored_bytes = u64::from(entry.stored_bytes);
            progress.advance(Meter::Checked, stored_bytes);
            let is_chunk = entry.kind() == EntryKind::Chunk;
            Ok(Some(Examined { is_chunk, stored_bytes, trouble: trouble.map(|trouble| (located, trouble)) }))
        };
        let examined = numbers.par_iter().with_min_len(ENTRIES_A_THREAD).map_init(ItemReader::new, one);
        let examined: Vec<Option<Examined>> = examined.collect::<Result<_>>()?;
        for Examined { is_chunk, stored_bytes, trouble } in examined.into_iter().flatten() {
            self.chunks_read += u64::from(is_chunk);
            self.stored_bytes_read += stored_bytes;
            if let Some((located, trouble)) = trouble {
                let slots = note(&located, &trouble, findings);
                self.bad.extend(slots.map(|slots| (pack.id, located.number, located.entry.id, slots)));
            }
        }
        Ok(())
    }
}

/// Tells whether a page is a sound record of what differs from a page that is gone.
fn is_left_behind(store: &Store, located: &Located) -> bool {
    located.entry.kind() == EntryKind::Page
        && is_sound_delta(located)
        && has_its_bases(store, located).is_ok_and(|has| !has)
}

/// Adds a finding. Returns the unusable slots, if any.
fn note(located: &Located, trouble: &Trouble, findings: &mut Findings) -> Option<SlotBitmap> {
    let Trouble { error, slots } = trouble;
    let kind = located.entry.kind();
    let object = Object::of(kind, located.entry.id);
    let is_lost = slots.count() > 0;
    let finding = findings.add(object, || {
        problem_of(error, if is_lost { NextStep::RepairPacks } else { NextStep::RepairPackRecords })
    });
    if kind == EntryKind::Chunk && is_lost {
        findings.add_damage(located.pack.id, located.number, finding, *slots);
    }
    is_lost.then_some(*slots)
}
