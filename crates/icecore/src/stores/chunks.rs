//! Finds and reads chunks, pages and blocks. The index gives hints; the packs' directories prove
//! them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::format::bytes::DecodeError;
use crate::format::layout;
use crate::format::pack::Entry;
use crate::stores::files::RepositoryFiles;
use crate::stores::index::Hint;
use crate::stores::index::Index;
use crate::stores::index::RunFile;
use crate::stores::journal::Journal;
use crate::stores::journal::catalog::Catalog;
use crate::stores::pack::cache::PackCache;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::file::look_at;
use crate::stores::pack::list::list_packs;
use crate::stores::recent_pages::RecentPages;
use crate::stores::recovery::rebuilt_packs::RebuiltPacks;
use crate::stores::recovery::rebuilt_packs::write_back;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::ids::PageId;
use crate::words::ids::RunId;
use crate::words::next_step::NextStep;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sync::Mutex;
use crate::words::sync::MutexGuard;
use crate::words::sync::RwLock;

/// The packs and the index over them.
pub(crate) struct Store {
    pub(crate) files: RepositoryFiles,
    pub(crate) journal: Journal,
    packs: PackCache,
    pub(crate) recent_pages: RecentPages,
    rebuilt: RebuiltPacks,
    index: RwLock<Held>,
    /// The packs looked for since the index was loaded.
    there: Mutex<There>,
    loads: Mutex<Loads>,
    /// The number of the journal's last entry at the last [`look_again`](Store::look_again).
    looked_at: Mutex<Option<u64>>,
}

/// The index as this handle knows it.
#[derive(Default)]
struct Held {
    index: Arc<Index>,
    /// Whether its runs were listed. Until somebody needs it, it has at most what another handle
    /// knew.
    is_loaded: bool,
}

/// Packs, and whether each exists.
#[derive(Default)]
struct There {
    known: HashMap<PackId, bool>,
    /// Whether all packs were listed: each look takes a while where others write too.
    listed: bool,
}

/// Counts of index loads that brought in runs published by others, perhaps not yet durable.
#[derive(Default)]
struct Loads {
    /// The number of loads.
    done: u64,
    /// The number of loads before the last sync of the index began.
    synced: u64,
}

/// A chunk or a page, found in a pack.
#[derive(Clone)]
pub(crate) struct Located {
    pub(crate) pack: Arc<PackFile>,
    /// The number of its entry in the pack's directory.
    pub(crate) number: u32,
    pub(crate) entry: Entry,
}

impl Store {
    pub(crate) fn new(files: RepositoryFiles, journal: Journal) -> Self {
        Self {
            files,
            journal,
            packs: PackCache::default(),
            recent_pages: RecentPages::default(),
            rebuilt: RebuiltPacks::default(),
            index: RwLock::default(),
            there: Mutex::default(),
            loads: Mutex::default(),
            looked_at: Mutex::default(),
        }
    }

    /// Returns the store for another handle of the same repository, with the parts of the index that
    /// this one knows.
    pub(crate) fn beside(&self, files: RepositoryFiles, journal: Journal) -> Self {
        let index = Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner).index);
        let index = RwLock::new(Held { index, is_loaded: false });
        Self { index, ..Self::new(files, journal) }
    }

    /// Returns the catalog as it is now.
    ///
    /// # Errors
    /// `Corrupt` if a part of it is lost or damaged; `NotFound` if the repository is gone.
    pub(crate) fn catalog(&self) -> Result<Arc<Catalog>> {
        self.journal.catalog(&self.files)
    }

    /// Returns the index as this handle knows it. It is loaded when it is needed for the first time.
    pub(crate) fn index(&self) -> Result<Arc<Index>> {
        {
            let held = self.index.read().unwrap_or_else(PoisonError::into_inner);
            if held.is_loaded {
                return Ok(Arc::clone(&held.index));
            }
        }
        self.load_runs()
    }

    /// Returns where a chunk or a page may be. If a part of the index cannot be read, only this
    /// call fails: the next one opens that part anew, or leaves it out if it is damaged.
    pub(crate) fn chunk_hints(&self, id: &[u8; 16]) -> Result<Vec<Hint>> {
        self.index()?.find_chunk(id).inspect_err(|_| self.open_broken_anew())
    }

    /// Returns where blocks may be. Each hint comes with the number of its block in `ids`. Fails as
    /// `chunk_hints` does.
    pub(crate) fn block_hints(&self, ids: &[BlockId]) -> Result<Vec<(usize, Hint)>> {
        self.index()?.find_blocks(ids).inspect_err(|_| self.open_broken_anew())
    }

    fn open_broken_anew(&self) {
        // If this fails, the next lookup reports it and tries again.
        let _ = self.load_runs();
    }

    /// Opens the runs that are not open yet, and reopens those that have become unusable.
    pub(crate) fn load_runs(&self) -> Result<Arc<Index>> {
        // Lock before listing the runs, so that a run that another thread adds meanwhile is added
        // to the outcome.
        let mut held = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let known = self.journal.known();
        let condemned = known.map(|catalog| Arc::clone(catalog.condemned())).unwrap_or_default();
        let index = Arc::new(Index::load(&self.files, &held.index)?.without(condemned));
        // What another handle has opened, this one may not take for durable either.
        let before = if held.is_loaded { held.index.runs() } else { &[] };
        if index.runs().iter().any(|run| before.iter().all(|known| known.id != run.id)) {
            self.loads().done += 1;
        }
        *held = Held { index: Arc::clone(&index), is_loaded: true };
        Ok(index)
    }

    /// Adds a run to the index in memory, replacing others.
    pub(crate) fn replace_runs(&self, added: Arc<RunFile>, removed: &[RunId]) {
        let mut held = self.index.write().unwrap_or_else(PoisonError::into_inner);
        held.index = Arc::new(held.index.with(added, removed));
    }

    /// Forgets the whole index, so that runs are opened anew even if they have the names of old
    /// ones.
    pub(crate) fn forget_index(&self) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Held::default();
    }

    /// Loads the runs that other processes have added to the index, and forgets packs that they may
    /// have removed.
    pub(crate) fn reload(&self) -> Result<()> {
        let _index = self.load_runs()?;
        *self.there.lock().unwrap_or_else(PoisonError::into_inner) = There::default();
        self.packs.clear();
        self.recent_pages.clear();
        self.rebuilt.forget_failed();
        Ok(())
    }

    fn loads(&self) -> MutexGuard<'_, Loads> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a run with `publish`, which syncs the index and so all runs loaded before.
    pub(crate) fn publish_run<T>(&self, publish: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.loads().done;
        let published = publish()?;
        let mut loads = self.loads();
        // Another thread's load may have come too late for that sync.
        loads.synced = loads.synced.max(before);
        Ok(published)
    }

    /// Makes the runs that this handle knows durable. A record must not outlive a run it relies on,
    /// and a process that publishes a run does not sync it before others see it. If this handle has
    /// published a run of its own since it loaded the others, they are already durable.
    pub(crate) fn sync_runs(&self) -> Result<()> {
        let synced = {
            let loads = self.loads();
            loads.synced == loads.done
        };
        if synced { Ok(()) } else { self.publish_run(|| self.files.sync(layout::INDEX)) }
    }

    /// Tells whether a pack exists and has both its ends. Looks at each pack once per load of the
    /// index.
    ///
    /// # Errors
    /// Fails if this process cannot look, for lack of permission or descriptors.
    pub(crate) fn has_pack(&self, id: PackId) -> Result<bool> {
        {
            let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
            if self.files.are_shared() && !there.listed {
                there.known.extend(list_packs(&self.files)?.into_iter().map(|pack| (pack, true)));
                there.listed = true;
            }
            if let Some(there) = there.known.get(&id) {
                return Ok(*there);
            }
        }
        let there = match look_at(&self.files, id) {
            Ok(()) => true,
            // To a caller that has the content at hand, an unreadable pack is as good as lost.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::InvalidInput | ErrorKind::Io
                ) =>
            {
                false
            }
            Err(error) => return Err(error),
        };
        self.there.lock().unwrap_or_else(PoisonError::into_inner).known.insert(id, there);
        Ok(there)
    }

    /// Tells whether all packs that the index names exist, but for those that gc has removed.
    pub(crate) fn has_all_packs(&self) -> Result<bool> {
        let index = self.index()?;
        for file in index.runs() {
            for pack in file.run().iter().flat_map(|run| run.packs()) {
                if !index.is_condemned(&pack) && !self.has_pack(pack)? {
                    return Ok(false);
                }
            }
            file.check()?;
        }
        Ok(true)
    }

    /// Loads the index anew if gc may have moved something since the last call. A caller that finds
    /// a chunk incomplete calls this and searches again. A damaged repository is not reloaded for
    /// each chunk.
    pub(crate) fn look_again(&self) -> Result<()> {
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.catalog()?.number;
        if *looked_at != Some(now) {
            self.reload()?;
            *looked_at = Some(now);
        }
        Ok(())
    }

    pub(crate) fn pack(&self, id: PackId) -> Result<Arc<PackFile>> {
        self.packs.get(&self.files, id).or_else(|error| self.rebuilt.known(id).ok_or(error))
    }

    /// Returns the packs that were rebuilt from their parity groups.
    pub(crate) fn rebuilt_packs(&self) -> Vec<Arc<PackFile>> {
        self.rebuilt.all()
    }

    /// Writes rebuilt packs back to the repository, as far as that is possible now; a pack that
    /// cannot be written stays as it is. Returns how many packs are sound again.
    pub(crate) fn write_back_rebuilt(&self) -> u64 {
        let mut written = 0;
        // What was condemned is not needed, and may not come back.
        let Ok(index) = self.index() else { return 0 };
        for pack in self.rebuilt_packs().iter().filter(|pack| !index.is_condemned(&pack.id)) {
            if write_back(&self.files, pack).is_ok() {
                self.rebuilt.forget(pack.id);
                written += 1;
            }
        }
        if written > 0 {
            self.packs.clear();
        }
        written
    }

    /// Returns the chunk from the pack that has most of its slots, or none if no sound pack has it.
    pub(crate) fn find_chunk(&self, id: &ChunkId) -> Result<Option<Located>> {
        self.find_stored(&id.0)
    }

    /// Returns the page, or none if no sound pack has it.
    pub(crate) fn find_page(&self, id: &PageId) -> Result<Option<Located>> {
        self.find_stored(&id.0)
    }

    /// Returns a chunk that a snapshot needs. If it is not found at once, looks again at what other
    /// processes did.
    pub(crate) fn need_chunk(&self, id: &ChunkId) -> Result<Located> {
        self.need(&id.0, "chunk")
    }

    /// Returns a page that a snapshot needs.
    pub(crate) fn need_page(&self, id: &PageId) -> Result<Located> {
        self.need(&id.0, "manifest page")
    }

    fn need(&self, id: &[u8; 16], what: &str) -> Result<Located> {
        let first = match self.find_stored(id) {
            Ok(Some(found)) => return Ok(found),
            not_found => not_found,
        };
        self.reload()?;
        let found = self.find_stored(id);
        if let Ok(Some(found)) = found {
            return Ok(found);
        }
        if let Some(rebuilt) = self.rebuilt_copies(id).into_iter().next() {
            return Ok(rebuilt);
        }
        // A read error says more than "found nowhere else".
        found.and_then(|found| first.map(|_| found))?.ok_or_else(|| {
            Error::corrupt(format!("{what} {} is missing from the repository", ChunkId(*id)))
                .with_hint(NextStep::FindMissing)
        })
    }

    fn find_stored(&self, id: &[u8; 16]) -> Result<Option<Located>> {
        let mut hints = self.chunk_hints(id)?;
        hints.sort_by_key(|hint| std::cmp::Reverse(hint.detail));
        let mut failed = None;
        for hint in hints {
            match self.follow(hint) {
                Ok(Some(found)) if found.entry.id == *id => return Ok(Some(found)),
                Ok(_) => {}
                // Another pack's copy serves as well.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Returns all copies of a chunk or a page in sound packs.
    pub(crate) fn copies(&self, id: &[u8; 16]) -> Result<Vec<Located>> {
        let mut copies = Vec::new();
        for hint in self.chunk_hints(id)? {
            if let Some(found) = self.follow(hint)?
                && found.entry.id == *id
            {
                copies.push(found);
            }
        }
        Ok(copies)
    }

    /// Returns copies of a chunk or a page in missing or damaged packs, rebuilt from their parity
    /// groups.
    pub(crate) fn rebuilt_copies(&self, id: &[u8; 16]) -> Vec<Located> {
        let located = |hint: Hint| {
            let pack = self.rebuilt.get(&self.files, hint.pack)?;
            let entry = pack.entry(hint.entry).ok().filter(|entry| entry.id == *id)?;
            Some(Located { pack, number: hint.entry, entry })
        };
        self.chunk_hints(id).unwrap_or_default().into_iter().filter_map(located).collect()
    }

    /// Returns all copies of a chunk or a page that can be read now.
    pub(crate) fn copies_at_hand(&self, id: &[u8; 16]) -> Vec<Located> {
        let hints = self.chunk_hints(id).unwrap_or_default().into_iter();
        let found = hints.filter_map(|hint| self.follow(hint).ok().flatten());
        found.filter(|found| found.entry.id == *id).collect()
    }

    /// Returns the chunk and the slot that a hint for a block leads to, or none if the block is not
    /// there.
    pub(crate) fn prove_block(&self, id: &BlockId, hint: Hint) -> Result<Option<(Located, u8)>> {
        let slot = hint.detail;
        let found = self.follow(hint)?.filter(|found| {
            found.pack.block_id(&found.entry, slot) == Some(*id) && found.pack.has_slot(&found.entry, slot)
        });
        Ok(found.map(|found| (found, slot)))
    }

    /// Returns how many of these blocks are stored. Looks them up as a capture does for a leaf.
    pub(crate) fn count_known(&self, ids: &[BlockId]) -> Result<usize> {
        let mut known = 0;
        for ids in ids.chunks(LEAF_BLOCKS) {
            let hints = self.block_hints(ids)?;
            for of_block in hints.chunk_by(|(a, _), (b, _)| a == b) {
                let mut proofs = of_block.iter().map(|(at, hint)| self.prove_block(&ids[*at], *hint));
                known += usize::from(proofs.try_fold(false, |found, proof| Ok(found || proof?.is_some()))?);
            }
        }
        Ok(known)
    }

    /// Opens the entry that a hint points to. Treats a missing or damaged pack as no hint; other
    /// failures are errors.
    fn follow(&self, hint: Hint) -> Result<Option<Located>> {
        let located = self.pack(hint.pack).and_then(|pack| {
            let entry = pack.entry(hint.entry)?;
            Ok(Located { pack, number: hint.entry, entry })
        });
        match located {
            Ok(located) => Ok(Some(located)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::InvalidInput
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Located {
    /// Tells whether the other is the same entry of the same pack.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        (self.pack.id, self.number) == (other.pack.id, other.number)
    }

    /// Returns the error for a damaged chunk or page.
    pub(crate) fn damaged(&self) -> Error {
        let why = DecodeError::BadChecksum { what: "content" };
        Error::corrupt(format!(
            "chunk {} in pack {} at offset {} is damaged: {why}",
            ChunkId(self.entry.id),
            self.pack.id,
            self.entry.offset
        ))
        .with_hint(NextStep::VerifyDataThenRepairPacks)
    }
}
