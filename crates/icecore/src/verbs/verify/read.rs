//! Reads chunks and pages, in the order of packs and on all cores, and proves them by their ids.

use std::collections::HashSet;
use std::sync::Arc;

use rayon::prelude::*;

use crate::format::pack::PackKind;
use crate::format::pack::SlotBitmap;
use crate::pure::compress::Decoder;
use crate::stores::base::Base;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::pack_file::PackFile;
use crate::stores::substitute::good_blocks;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::findings::Object;
use crate::verbs::verify::findings::problem_of;
use crate::verbs::verify::packs::next_step;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::BLOCK_BYTES;

/// Entries between two looks at whether to stop.
const ENTRIES_AT_ONCE: usize = 2048;
/// Entries that one thread takes at least, so that it does not make a decoder for each.
const ENTRIES_A_THREAD: usize = 16;

const LOST: &str = "it cannot be saved from here: put back a copy of the pack file, if there is one; \
                    `icecore repair snapshots` says what is lost";
const NOT_LOST: &str = "nothing is lost while the pack's directory is sound";

/// Reads packs, each at most once.
pub(crate) struct Reader<'a> {
    pub(crate) store: &'a Store,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) done: HashSet<PackId>,
    pub(crate) chunks_read: u64,
    pub(crate) stored_bytes_read: u64,
}

/// What a worker keeps between chunks.
struct Worker {
    decoder: Decoder,
    stored: Vec<u8>,
}

/// What is wrong with a chunk or a page.
struct Trouble {
    problem: String,
    /// The slots that cannot be used.
    slots: SlotBitmap,
}

/// A chunk or a page that was read. Of those that are sound only the length is kept.
struct Examined {
    stored_bytes: u64,
    trouble: Option<(Located, Trouble)>,
}

impl Reader<'_> {
    /// Reads the wanted ones of a pack's entries. Returns false if the pack is gone.
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
        for numbers in wanted(&pack).chunks(ENTRIES_AT_ONCE) {
            if self.progress.cancelled() {
                return Err(Error::interrupted());
            }
            self.read_some(&pack, numbers, findings)?;
        }
        self.done.insert(id);
        Ok(true)
    }

    fn read_some(&mut self, pack: &Arc<PackFile>, numbers: &[u32], findings: &mut Findings) -> Result<()> {
        let (base, progress) = (&self.store.base, self.progress);
        let one = |worker: &mut Result<Worker>, number: &u32| {
            let worker = worker.as_mut().map_err(|error| Error::new(error.kind(), error.to_string()))?;
            // An entry that does not decode is a finding of the pack.
            let Ok(entry) = pack.entry(*number) else { return Ok(None) };
            let located = Located { pack: Arc::clone(pack), number: *number, entry };
            let trouble = examine(base, &located, worker);
            let stored_bytes = u64::from(entry.stored_bytes);
            progress.advance(Meter::Checked, stored_bytes);
            Ok(Some(Examined { stored_bytes, trouble: trouble.map(|trouble| (located, trouble)) }))
        };
        let examined = numbers.par_iter().with_min_len(ENTRIES_A_THREAD).map_init(Worker::new, one);
        let examined: Vec<Option<Examined>> = examined.collect::<Result<_>>()?;
        for Examined { stored_bytes, trouble } in examined.into_iter().flatten() {
            self.chunks_read += u64::from(pack.kind == PackKind::Data);
            self.stored_bytes_read += stored_bytes;
            if let Some((located, trouble)) = trouble {
                note(&located, trouble, findings);
            }
        }
        Ok(())
    }
}

impl Worker {
    fn new() -> Result<Self> {
        let decoder = Decoder::new().map_err(|error| Error::io("preparing decompression", error))?;
        Ok(Self { decoder, stored: Vec::new() })
    }
}

fn note(located: &Located, trouble: Trouble, findings: &mut Findings) {
    let Trouble { problem, slots } = trouble;
    let object = match located.pack.kind {
        PackKind::Data => Object::Chunk(located.entry.id),
        PackKind::Pages => Object::Page(located.entry.id),
    };
    let finding = findings.add(object, || problem);
    if located.pack.kind == PackKind::Data && slots.count() > 0 {
        findings.add_damage(located.pack.id, located.number, finding, slots);
    }
}

/// Reads and proves a chunk or a page, and looks at the header of its record, which is what a repair would go by.
fn examine(base: &Base, located: &Located, worker: &mut Worker) -> Option<Trouble> {
    let content = match located.pack.kind {
        PackKind::Data => bad_slots(base, located, worker),
        PackKind::Pages => read_page(base, located, worker).map(|()| Vec::new()),
    };
    match content {
        Err(error) => {
            // Single blocks may be what they must be for all that.
            let good = good_blocks(base, located, &mut worker.decoder);
            let is_bad = |slot: &u8| good.iter().all(|(good, _)| good != slot);
            let slots = SlotBitmap::from_slots((0..=u8::MAX).filter(is_bad));
            Some(Trouble { problem: problem_of(&error, LOST), slots })
        }
        Ok(bad) if !bad.is_empty() => {
            let error = located.damaged().in_context(format!("slots {bad:?} have another content"));
            let slots = SlotBitmap::from_slots(bad.into_iter());
            Some(Trouble { problem: problem_of(&error, LOST), slots })
        }
        Ok(_) => {
            let error = located.pack.check_record(&located.entry).err()?;
            let slots = SlotBitmap::from_slots(std::iter::empty());
            Some(Trouble { problem: problem_of(&error, NOT_LOST), slots })
        }
    }
}

/// Reads a chunk and returns the slots that are not what their ids say.
fn bad_slots(base: &Base, located: &Located, worker: &mut Worker) -> Result<Vec<u8>> {
    let (slots, raw) = located.read(base, &mut worker.decoder, &mut worker.stored)?;
    let blocks: Vec<&[u8; BLOCK_BYTES]> = raw.as_chunks::<BLOCK_BYTES>().0.iter().collect();
    let digests = base.hasher.blocks(&blocks);
    let is_bad = |slot: u8, id| located.pack.block_id(&located.entry, slot) != Some(id);
    let proven = slots.into_iter().zip(digests);
    Ok(proven.filter(|(slot, digest)| is_bad(*slot, digest.block_id())).map(|(slot, _)| slot).collect())
}

fn read_page(base: &Base, located: &Located, worker: &mut Worker) -> Result<()> {
    let Worker { decoder, stored } = worker;
    located.pack.read_stored(&located.entry, stored)?;
    let raw = decoder
        .decode(located.entry.codec, stored, located.entry.raw_bytes as usize)
        .map_err(|error| located.damaged().with_source(error))?;
    match base.hasher.page(raw).0 == located.entry.id {
        true => Ok(()),
        false => Err(located.damaged().in_context("the page has another content")),
    }
}
