//! A builder that collects the entries of several packs for one index run.

use std::sync::Arc;

use crate::format::run_table::Entry;
use crate::format::run_table::Key;
use crate::stores::files::RepositoryFiles;
use crate::stores::index::RunFile;
use crate::stores::index::run_writer::PreparedRun;
use crate::stores::index::run_writer::prepare_run;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::writer::NewPack;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::PackId;
use crate::words::sizes::to_u8;
use crate::words::sizes::to_u16;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_u64;

/// The number of entries to hold in memory before writing: about 64 MiB.
const ENTRIES_MAX: usize = 1 << 22;

/// The future content of a run.
#[derive(Default)]
pub(crate) struct RunBuilder {
    packs: Vec<PackId>,
    chunks: Vec<Entry>,
    blocks: Vec<Entry>,
}

impl RunBuilder {
    /// Adds all chunks and pages of a pack.
    pub(crate) fn add_pack(&mut self, pack: &PackFile) -> Result<()> {
        let number = self.begin(pack.id);
        for at in 0..pack.entries() {
            let entry = pack.entry(at)?;
            if entry.is_record {
                continue;
            }
            let slots = pack.present_slots(&entry).into_iter();
            let blocks = slots.filter_map(|slot| Some((pack.block_id(&entry, slot)?, slot)));
            self.add(number, at, &entry.id, &blocks.collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Adds all chunks and pages of a new pack.
    pub(crate) fn add_new(&mut self, pack: &NewPack) {
        let number = self.begin(pack.id);
        for entry in &pack.entries {
            self.add(number, entry.number, &entry.id, &entry.blocks);
        }
    }

    fn begin(&mut self, pack: PackId) -> u32 {
        self.packs.push(pack);
        to_u32(self.packs.len() - 1)
    }

    fn add(&mut self, pack: u32, entry: u32, id: &[u8; 16], blocks: &[(BlockId, u8)]) {
        // A pack has at most 65536 entries.
        let entry = to_u16(entry);
        let more = to_u8(blocks.len().saturating_sub(1));
        self.chunks.push(Entry { key: Key::of(id), pack, entry, detail: more });
        let blocks = blocks.iter();
        self.blocks.extend(blocks.map(|(id, slot)| Entry {
            key: Key::of(&id.0),
            pack,
            entry,
            detail: *slot,
        }));
    }

    /// Returns whether the run should be written before anything more is added.
    pub(crate) fn is_full(&self, files: &RepositoryFiles) -> bool {
        let entries = self.chunks.len() + self.blocks.len();
        entries >= ENTRIES_MAX || to_u64(entries) >= files.run_entries / 2
    }

    /// Returns whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Publishes the run, and starts another one.
    pub(crate) fn write(&mut self, files: &RepositoryFiles) -> Result<Arc<RunFile>> {
        self.prepare(files)?.publish()
    }

    /// Writes the run, and starts another one.
    pub(crate) fn prepare<'a>(&mut self, files: &'a RepositoryFiles) -> Result<PreparedRun<'a>> {
        let Self { packs, mut chunks, mut blocks } = std::mem::take(self);
        chunks.sort_unstable();
        blocks.sort_unstable();
        prepare_run(files, &packs, || chunks.iter().copied(), || blocks.iter().copied())
    }
}
