//! The last stages for new chunks: compress them on all cores, append them to packs in order, and
//! publish packs and index runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::format::layout;
use crate::format::pack::PackKind;
use crate::pure::compress::Encoder;
use crate::stores::chunks::Store;
use crate::stores::config;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::SetAside;
use crate::stores::index::RunFile;
use crate::stores::index::writer::prepare_merged;
use crate::stores::index::writer::prepare_run_of;
use crate::stores::index::writer::runs_to_merge;
use crate::stores::index::writer::set_runs_aside;
use crate::stores::index::writer::write_run_of;
use crate::stores::locks;
use crate::stores::locks::Writer;
use crate::stores::pack::writer::Item;
use crate::stores::pack::writer::PackWriter;
use crate::stores::parity::cover::ParityKeeper;
use crate::verbs::capture::buffers::LeafBuffer;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::parity::ParityScheme;
use crate::words::pool::start;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::CHUNK_BLOCKS;
use crate::words::sizes::to_u64;
use crate::words::sync::Mutex;
use crate::words::sync::mpsc;
use crate::words::sync::thread;
use crate::world::sessions::Work;

/// The settings that chunks are compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compression {
    pub(crate) level: i32,
    pub(crate) check: bool,
}

/// A chunk whose blocks are chosen and which is not compressed yet.
pub(crate) struct ChunkJob {
    pub(crate) id: ChunkId,
    pub(crate) blocks: Vec<BlockId>,
    pub(crate) sources: Vec<BlockBytes>,
}

/// The place of a block's bytes.
pub(crate) enum BlockBytes {
    /// In the buffer that the block was read into.
    Leaf(Arc<LeafBuffer>, usize),
    /// Copied, so that the buffer could be returned to its pool.
    Copy(Box<[u8; BLOCK_BYTES]>),
}

thread_local! {
    /// Contexts are large and slow to create, so each worker keeps its own.
    static ENCODER: RefCell<Option<(Compression, Encoder)>> = const { RefCell::new(None) };
}

impl ChunkJob {
    /// Compresses the chunk.
    pub(crate) fn run(self, compression: Compression) -> Result<Item> {
        let raw_bytes = self.sources.len() * BLOCK_BYTES;
        let mut gathered = Vec::new();
        let raw = match self.contiguous() {
            Some(raw) => raw,
            None => {
                gathered.reserve(CHUNK_BLOCKS * BLOCK_BYTES);
                self.sources.iter().for_each(|source| gathered.extend_from_slice(source.bytes()));
                &gathered
            }
        };
        let encoded = ENCODER.with_borrow_mut(|slot| {
            if slot.as_ref().is_none_or(|(with, _)| *with != compression) {
                *slot = Some((compression, Encoder::new(compression.level, compression.check)?));
            }
            match slot {
                Some((_, encoder)) => encoder.encode(raw),
                None => Err(std::io::ErrorKind::Other.into()),
            }
        });
        let encoded = encoded.map_err(|error| Error::io(format!("compressing chunk {}", self.id), error))?;
        Ok(Item::new(self.id.0, encoded, raw_bytes, self.blocks))
    }

    /// Returns the bytes in place if all blocks lie one after another in one buffer.
    fn contiguous(&self) -> Option<&[u8]> {
        let Some(BlockBytes::Leaf(buffer, first)) = self.sources.first() else { return None };
        let in_order = self.sources.iter().enumerate().all(|(at, source)| {
            matches!(source, BlockBytes::Leaf(other, block) if Arc::ptr_eq(buffer, other) && *block == first + at)
        });
        let bytes = first * BLOCK_BYTES..(first + self.sources.len()) * BLOCK_BYTES;
        if in_order { buffer.bytes().get(bytes) } else { None }
    }
}

impl BlockBytes {
    pub(crate) fn bytes(&self) -> &[u8; BLOCK_BYTES] {
        match self {
            Self::Leaf(buffer, block) => &buffer.blocks()[*block],
            Self::Copy(bytes) => bytes,
        }
    }

    /// Copies the block and releases its buffer.
    pub(crate) fn detach(&mut self) {
        if let Self::Leaf(..) = self {
            *self = Self::Copy(Box::new(*self.bytes()));
        }
    }
}

/// The progress of publishing, as the stage that chooses chunks sees it.
#[derive(Default)]
pub(crate) struct Published {
    /// The number of chunks, counted from the first, whose pack and index run are published.
    pub(crate) chunks: AtomicU64,
    /// Packs that are published before one that was begun earlier: the number of the first chunk of
    /// each, and of the first chunk behind it.
    ahead: Mutex<BTreeMap<u64, u64>>,
}

impl Published {
    /// Notes that these chunks are published.
    fn note(&self, chunks: Range<u64>) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.insert(chunks.start, chunks.end);
        let mut known = self.chunks.load(Ordering::Relaxed);
        while let Some(end) = ahead.remove(&known) {
            known = end;
        }
        self.chunks.store(known, Ordering::Release);
    }
}

/// A pack that is ready to be published, and the numbers of its chunks.
type Ready<'a> = (PackWriter<'a>, Range<u64>);

/// The totals of what was stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stored {
    pub(crate) items: u64,
    pub(crate) packed_bytes: u64,
}

/// An appender for packs of one kind. It holds the first items back: if there are no more, chunks
/// and pages go into one pack.
pub(crate) struct Packer<'a> {
    store: &'a Store,
    kind: PackKind,
    /// Whether packs are written; otherwise items are only counted.
    writes: bool,
    waiting: Vec<Item>,
    open: Option<PackWriter<'a>>,
    pub(crate) stored: Stored,
}

/// What a packer leaves for others to publish.
pub(crate) enum Rest<'a> {
    /// The last of its packs, if it is not published yet.
    Pack(Option<Box<PackWriter<'a>>>),
    /// All of its items, which are few.
    Few(Vec<Item>),
}

impl<'a> Packer<'a> {
    pub(crate) fn new(store: &'a Store, kind: PackKind, writes: bool) -> Self {
        Self { store, kind, writes, waiting: Vec::new(), open: None, stored: Stored::default() }
    }

    /// Tells whether this item, which comes next, starts a new pack.
    fn begins(&self, item: &Item) -> bool {
        let packed_bytes = self.stored.packed_bytes + item.packed_bytes(&self.store.files.seals);
        self.writes && self.open.is_none() && packed_bytes > self.store.files.mixed_bytes
    }

    /// Appends an item. Returns the pack, ready to be published, if it is now full.
    pub(crate) fn append(&mut self, item: Item) -> Result<Option<PackWriter<'a>>> {
        self.stored.items += 1;
        self.stored.packed_bytes += item.packed_bytes(&self.store.files.seals);
        if !self.writes {
            return Ok(None);
        }
        if self.stored.packed_bytes <= self.store.files.mixed_bytes {
            self.waiting.push(item);
            return Ok(None);
        }
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => PackWriter::begin(&self.store.files, self.kind)?,
        };
        self.waiting.drain(..).chain([item]).try_for_each(|item| pack.append(&item))?;
        if pack.is_full() {
            return Ok(Some(pack));
        }
        self.open = Some(pack);
        Ok(None)
    }

    /// Returns what is left to publish.
    pub(crate) fn finish(self) -> Rest<'a> {
        if self.waiting.is_empty() { Rest::Pack(self.open.map(Box::new)) } else { Rest::Few(self.waiting) }
    }
}

/// A publisher of packs. It gives each pack an index run and takes care of parity.
pub(crate) struct Publisher<'a> {
    writer: Writer,
    parity: Option<ParityKeeper<'a>>,
}

impl<'a> Publisher<'a> {
    pub(crate) fn begin(files: &'a RepositoryFiles, parity: Option<ParityScheme>) -> Result<Self> {
        let parity = parity.map(|scheme| ParityKeeper::new(files, scheme));
        Ok(Self { writer: Writer::begin(files)?, parity })
    }

    /// Returns once every pack has the parity that it should have.
    pub(crate) fn finish_parity(&self, progress: &dyn Progress) -> Result<()> {
        self.parity.as_ref().map_or(Ok(()), |parity| parity.finish(progress))
    }
}

/// Publishes a pack and its index run.
pub(crate) fn publish(store: &Store, publisher: Option<&Publisher<'_>>, pack: PackWriter<'_>) -> Result<()> {
    let Some(publisher) = publisher else { return Ok(()) };
    let pack = pack.finish(&publisher.writer)?;
    let run = store.publish_run(|| write_run_of(&store.files, &pack))?;
    store.replace_runs(run, &[]);
    publisher.parity.as_ref().map_or(Ok(()), |parity| parity.add(pack.id))
}

/// Publishes a few chunks and pages in one pack. Its index run is merged with others at once if there
/// are enough.
pub(crate) fn publish_few(
    store: &Store,
    publisher: Option<&Publisher<'_>>,
    kind: PackKind,
    items: &[Item],
) -> Result<()> {
    let Some(publisher) = publisher else { return Ok(()) };
    let mut pack = PackWriter::begin(&store.files, kind)?;
    items.iter().try_for_each(|item| pack.append(item))?;
    let pack = pack.finish(&publisher.writer)?;
    let mut run = prepare_run_of(&store.files, &pack)?;
    if !merge(store, Some(run.open()?))? {
        let run = store.publish_run(|| run.publish())?;
        store.replace_runs(run, &[]);
    }
    publisher.parity.as_ref().map_or(Ok(()), |parity| parity.add(pack.id))
}

/// Merges several index runs of about the same size, unless someone else is doing so.
pub(crate) fn merge_runs(store: &Store) -> Result<()> {
    merge(store, None).map(|_| ())
}

/// Does the same with a new run that has no name yet. Returns whether anything was merged: then the
/// new run is not needed.
fn merge(store: &Store, new: Option<Arc<RunFile>>) -> Result<bool> {
    let to_merge = || -> Result<Vec<_>> {
        let runs: Vec<_> = store.index()?.runs().iter().chain(&new).cloned().collect();
        let runs = runs_to_merge(&runs, store.files.run_entries);
        let is_in = |new: &Arc<RunFile>| runs.iter().any(|run| run.id == new.id);
        Ok(if new.as_ref().is_none_or(is_in) { runs } else { Vec::new() })
    };
    // Where others write too, a capture removes nothing, and gc merges.
    if store.files.are_shared() || to_merge()?.is_empty() {
        return Ok(false);
    }
    // Held until the merged runs are gone; otherwise others would merge them again.
    let Some(_merge) = locks::try_only(&store.files, Work::Merge)? else { return Ok(false) };
    let Some(index) = locks::try_only(&store.files, Work::Index)? else { return Ok(false) };
    // A run that gc or another capture has replaced must not return through this merge: it would
    // make entries look known that gc is about to remove.
    store.reload()?;
    let runs = to_merge()?;
    if runs.is_empty() {
        return Ok(false);
    }
    // What leads to packs that are gone goes as well.
    let gone: HashSet<PackId> = store.index()?.condemned().keys().copied().collect();
    let merged = match prepare_merged(&store.files, &runs, &gone) {
        // Nothing depends on this merge: a full disk may still have room for writes that matter.
        Err(error) if error.kind() == ErrorKind::NoSpace => return Ok(false),
        merged => store.publish_run(|| merged?.publish())?,
    };
    let id = merged.id;
    let has_name = |run: &RunId| *run != id && new.as_ref().is_none_or(|new| *run != new.id);
    let replaced: Vec<RunId> = runs.iter().map(|run| run.id).filter(has_name).collect();
    store.replace_runs(merged, &replaced);
    // Gc waits for this lock. It must not also wait for everyone who waits for the other lock.
    drop(index);
    remove_merged(&store.files, id, &replaced)?;
    Ok(true)
}

/// Removes runs that were merged into another one, unless gc or a repair has replaced the merged
/// run or is about to. Gc and repair replace all runs, and a run that they write can have the name
/// of one of these.
fn remove_merged(files: &RepositoryFiles, merged: RunId, replaced: &[RunId]) -> Result<()> {
    let mut aside = SetAside::new(files);
    {
        let Some(_index) = locks::try_only(files, Work::Index)? else { return Ok(()) };
        if !files.list(layout::INDEX)?.iter().any(|file| layout::id_of(file) == Some(merged)) {
            return Ok(());
        }
        config::check_again(files)?;
        set_runs_aside(&mut aside, replaced)?;
    }
    aside.remove()
}

/// Takes compressed chunks in the order in which they were chosen, and packs them. It runs on its
/// own thread. A second thread publishes, so that a pack fills while the one before it is synced, or
/// several do where packs go over a link. Another thread merges index runs, because that can take a
/// while when there are very many blocks. It merges whenever a pack begins: the capture need not
/// wait for the merge that its last pack causes, and the next capture does that one. Returns what
/// was stored, and the chunks that were not, because they are so few that they share a pack with the
/// pages.
pub(crate) fn pack_in_order(
    store: &Store,
    publisher: Option<&Publisher<'_>>,
    chunks: mpsc::Receiver<mpsc::Receiver<Result<Vec<Item>>>>,
    published: &Published,
    progress: &dyn Progress,
) -> Result<(Stored, Vec<Item>)> {
    let (to_publisher, packs) = mpsc::sync_channel::<Ready<'_>>(0);
    // None once a publisher has failed: whoever packs ends then, too.
    let packs = &Mutex::new(Some(packs));
    let lock = move || packs.lock().unwrap_or_else(PoisonError::into_inner);
    let next = move || lock().as_ref().and_then(|packs| packs.recv().ok());
    let publish_all = move || -> Result<()> {
        while let Some((pack, chunks)) = next() {
            publish(store, publisher, pack).inspect_err(|_| *lock() = None)?;
            published.note(chunks);
        }
        Ok(())
    };
    let (to_merger, calls) = mpsc::sync_channel(1);
    thread::scope(|threads| {
        let merging = start(threads, move || calls.into_iter().try_for_each(|()| merge_runs(store)))?;
        let at_once = 0..store.files.packs_at_once;
        let publishing = at_once.map(|_| start(threads, publish_all)).collect::<Result<Vec<_>>>()?;
        let packer = Packer::new(store, PackKind::Data, publisher.is_some());
        let packed = pack_all(packer, chunks, to_publisher, to_merger, progress);
        // If publishing or merging failed, its error caused the other one.
        let ended = publishing.into_iter().map(|thread| thread.join().map_err(|_| Error::worker_lost())?);
        ended.collect::<Result<Vec<()>>>()?;
        merging.join().map_err(|_| Error::worker_lost())??;
        packed
    })
}

fn pack_all<'a>(
    mut packer: Packer<'a>,
    chunks: mpsc::Receiver<mpsc::Receiver<Result<Vec<Item>>>>,
    to_publisher: mpsc::SyncSender<Ready<'a>>,
    to_merger: mpsc::SyncSender<()>,
    progress: &dyn Progress,
) -> Result<(Stored, Vec<Item>)> {
    let mut sent = 0;
    for chunks in chunks {
        for item in chunks.recv().map_err(|_| Error::worker_lost())?? {
            progress.advance(Meter::New, u64::from(item.raw_bytes));
            progress.advance(Meter::Stored, to_u64(item.encoded.bytes.len()));
            if packer.begins(&item) {
                // If a merge is requested but has not started, it also sees the runs published
                // meanwhile.
                let _ = to_merger.try_send(());
            }
            if let Some(pack) = packer.append(item)? {
                let chunks = sent..packer.stored.items;
                sent = chunks.end;
                to_publisher.send((pack, chunks)).map_err(|_| Error::worker_lost())?;
            }
        }
    }
    let stored = packer.stored;
    match packer.finish() {
        Rest::Few(chunks) => return Ok((stored, chunks)),
        Rest::Pack(Some(pack)) => {
            to_publisher.send((*pack, sent..stored.items)).map_err(|_| Error::worker_lost())?;
        }
        Rest::Pack(None) => {}
    }
    Ok((stored, Vec::new()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::repository::InitOptions;
    use crate::repository::Repository;
    use crate::repository::Secrets;
    use crate::words::ids::RepositoryId;
    use crate::world::memory::MemoryStorage;
    use crate::world::storage::LockMode;
    use crate::world::storage::Storage;
    use crate::world::storage::Wait;

    const REPLACED: [RunId; 2] = [RunId([1; 32]), RunId([2; 32])];
    const MERGED: RunId = RunId([3; 32]);

    /// Removes the merged runs that exist. Returns the runs that are left.
    fn left_of(there: &[RunId], index_is_locked: bool) -> Vec<String> {
        let storage = MemoryStorage::new();
        let options = InitOptions {
            id: RepositoryId::from([0; 16]),
            created_unix_ms: 0,
            secrets: Secrets::Plain([1; 32]),
            level: 1,
            parity: None,
        };
        let repo = Repository::init(Arc::new(storage.clone()), Uuid::from_u128(1), &options).unwrap();
        there.iter().for_each(|run| storage.put(&layout::run(*run), Vec::new()));
        let lock = || storage.lock("local/locks/index", LockMode::Exclusive, Wait::No).unwrap().unwrap();
        let locked = index_is_locked.then(lock);
        remove_merged(&repo.store.files, MERGED, &REPLACED).unwrap();
        drop(locked);
        assert!(storage.files().keys().all(|name| !name.starts_with(layout::TMP)));
        storage.files().into_keys().filter(|name| name.starts_with(layout::INDEX)).collect()
    }

    #[test]
    fn merged_runs_stay_where_gc_has_replaced_what_they_were_merged_into() {
        let [first, second] = REPLACED;
        let names = |runs: &[RunId]| runs.iter().map(|run| layout::run(*run)).collect::<Vec<_>>();
        assert_eq!(left_of(&[first, second, MERGED], false), names(&[MERGED]));
        assert_eq!(left_of(&[first, MERGED], false), names(&[MERGED]));
        // Gc has rewritten all runs as the first one, so the data of the second is gone.
        assert_eq!(left_of(&[first], false), names(&[first]));
        // Gc or a repair has written the first one again and not yet removed the others.
        assert_eq!(left_of(&[first, second, MERGED], true), names(&[first, second, MERGED]));
    }
}
