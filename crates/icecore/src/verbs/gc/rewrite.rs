//! Copies the used parts of packs into new packs, chunks and pages into packs of their own. Chunks
//! with only some used slots are punched.

use rayon::prelude::*;

use crate::format::pack::PackKind;
use crate::format::pack::SlotBitmap;
use crate::pure::compress::Codec;
use crate::pure::compress::Encoded;
use crate::pure::compress::Encoder;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::files::RepositoryFiles;
use crate::stores::index::writer::write_run_of;
use crate::stores::locks::Writer;
use crate::stores::pack::writer::Item;
use crate::stores::pack::writer::PackWriter;
use crate::stores::planner::Plan;
use crate::stores::recovery::reader::ItemReader;
use crate::verbs::gc::mark::PackUse;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::BLOCK_BYTES;

/// Chunks that are in memory at a time.
const CHUNKS_AT_ONCE: u32 = 256;

/// A writer of new packs. It records which old packs they replace.
pub(crate) struct Rewriter<'a> {
    store: &'a Store,
    writer: &'a Writer,
    level: i32,
    data: Option<PackWriter<'a>>,
    pages: Option<PackWriter<'a>>,
    rewritten: Rewritten,
}

/// What a rewriter has done.
#[derive(Default)]
pub(crate) struct Rewritten {
    /// The old packs.
    pub(crate) replaced: Vec<PackId>,
    /// The new packs.
    pub(crate) published: Vec<PackId>,
    pub(crate) new_bytes: u64,
}

impl<'a> Rewriter<'a> {
    pub(crate) fn new(store: &'a Store, writer: &'a Writer, level: i32) -> Self {
        Self { store, writer, level, data: None, pages: None, rewritten: Rewritten::default() }
    }

    /// Copies the used parts of a pack.
    pub(crate) fn copy(&mut self, id: PackId, used: &PackUse, progress: &dyn Progress) -> Result<()> {
        let pack = self.store.pack(id)?;
        let (files, level) = (&self.store.files, self.level);
        let mut plan = Plan::default();
        let entries = (0..pack.entries()).filter(|number| used.needs_entry(*number));
        entries.filter_map(|number| pack.entry(number).ok()).for_each(|entry| plan.add(id, &entry));
        plan.announce(self.store);
        let mut number = 0;
        while number < pack.entries() {
            if progress.cancelled() {
                return Err(Error::interrupted());
            }
            let upto = pack.entries().min(number + CHUNKS_AT_ONCE);
            let located =
                |number| pack.entry(number).map(|entry| Located { pack: pack.clone(), number, entry });
            let items: Vec<Option<Item>> = (number..upto)
                .into_par_iter()
                .map(|number| used_part(files, &located(number)?, used, level))
                .collect::<Result<_>>()?;
            for item in items.iter().flatten() {
                progress.advance(Meter::Rewritten, item.packed_bytes(&files.seals));
                self.append(item)?;
            }
            number = upto;
        }
        self.rewritten.replaced.push(id);
        Ok(())
    }

    fn append(&mut self, item: &Item) -> Result<()> {
        let (kind, open) = match item.blocks.is_empty() {
            true => (PackKind::Pages, &mut self.pages),
            false => (PackKind::Data, &mut self.data),
        };
        let mut pack = match open.take() {
            Some(pack) => pack,
            None => PackWriter::begin(&self.store.files, kind)?,
        };
        pack.append(item)?;
        if pack.is_full() {
            return self.publish(pack);
        }
        *open = Some(pack);
        Ok(())
    }

    fn publish(&mut self, pack: PackWriter<'_>) -> Result<()> {
        let pack = pack.finish(self.writer)?;
        self.rewritten.new_bytes += pack.bytes;
        self.rewritten.published.push(pack.id);
        let run = write_run_of(&self.store.files, &pack)?;
        self.store.replace_runs(run, &[]);
        Ok(())
    }

    /// Publishes the open packs: everything that was copied is then in its new place.
    pub(crate) fn finish(mut self) -> Result<Rewritten> {
        for pack in [self.data.take(), self.pages.take()].into_iter().flatten() {
            self.publish(pack)?;
        }
        Ok(self.rewritten)
    }
}

/// Returns the part of an entry to copy; none if it is unused.
fn used_part(files: &RepositoryFiles, located: &Located, used: &PackUse, level: i32) -> Result<Option<Item>> {
    if !used.needs_entry(located.number) {
        return Ok(None);
    }
    let present = located.pack.present_slots(&located.entry);
    let kept = |slot: &u8| used.slots.has(located.entry.first_block + u32::from(*slot));
    if present.iter().all(kept) {
        Item::stored_in(&located.pack, located.number, &located.entry).map(Some)
    } else {
        punched(files, located, &present.into_iter().filter(kept).collect::<Vec<_>>(), level).map(Some)
    }
}

/// Returns a chunk with the data of only the `kept` slots.
fn punched(files: &RepositoryFiles, located: &Located, kept: &[u8], level: i32) -> Result<Item> {
    let failed =
        |error| Error::stored_io(format!("recompressing chunk {}", ChunkId(located.entry.id)), error);
    let blocks = located.pack.block_ids_of(&located.entry);
    let bitmap = SlotBitmap::from_slots(kept.iter().copied());
    if kept.is_empty() {
        // Only the list of its blocks is needed.
        let nothing = Encoded { codec: Codec::Raw, bytes: Vec::new() };
        return Ok(Item { bitmap: Some(bitmap), ..Item::new(located.entry.id, nothing, 0, blocks) });
    }
    let mut reader = ItemReader::new()?;
    let (slots, raw) = reader.chunk(files, located)?;
    let pairs = slots.iter().copied().zip(raw.as_chunks::<BLOCK_BYTES>().0);
    let content: Vec<(u8, &[u8; BLOCK_BYTES])> = pairs.filter(|(slot, _)| kept.contains(slot)).collect();
    located.prove(files, &content)?;
    let bytes: Vec<u8> = content.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let encoded = Encoder::new(level, true).and_then(|mut encoder| encoder.encode(&bytes)).map_err(failed)?;
    Ok(Item { bitmap: Some(bitmap), ..Item::new(located.entry.id, encoded, bytes.len(), blocks) })
}
