//! A snapshot as a disk that you read at any offset.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::chunks::Store;
use crate::stores::live_records::pinned;
use crate::stores::locks::Pin;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::planner::Plan;
use crate::stores::recovery::is_of_the_place;
use crate::views::ahead::Fetcher;
use crate::views::ahead::Queue;
use crate::views::cache::BlockCache;
use crate::views::cache::Key;
use crate::views::fetch;
use crate::views::fetch::CachedPages;
use crate::views::leaf_map::ChunkPart;
use crate::views::leaf_map::LeafMap;
use crate::views::leaf_map::Part;
use crate::views::streams::Streams;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::SnapshotId;
use crate::words::next_step::NextStep;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::SPAN_BYTES;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::sync::Mutex;
use crate::words::units::LeafNumber;
use crate::words::units::block_bytes;
use crate::words::units::offset_in_leaf;
use crate::words::units::slots;
use crate::world::io::ReadAt;

/// The most that is read ahead of one reader.
const AHEAD_BYTES_MAX: u64 = 8 << 20;
/// Read-ahead takes at most one part in this many of the cache.
const AHEAD_PART: u64 = 8;
/// The number of chunks from which one read gets the help of other threads.
const CHUNKS_TO_SHARE: usize = 4;

/// A snapshot as a disk that any number of threads read at any offset. Every byte it returns was
/// proven. Damage that cannot be recovered from elsewhere fails the reads that touch it, and no
/// others.
///
/// It loads only the manifest pages on the way to the bytes read, so a disk of any size opens in
/// milliseconds. It notices sequential reading, and decodes the following chunks ahead on the
/// threads of rayon's global pool.
pub struct SnapshotDisk {
    fetcher: Arc<Fetcher>,
    root: Option<Node>,
    streams: Streams,
    id: SnapshotId,
    name: String,
    size_bytes: u64,
    /// Kept out of `fetcher`, which a thread may hold for a moment after the disk is gone.
    _pin: Mutex<Option<Pin>>,
}

impl SnapshotDisk {
    /// Opens a snapshot. Nobody can delete it while the disk exists.
    ///
    /// # Errors
    /// `NotFound` if the snapshot does not exist; `Corrupt` if its record is damaged.
    pub fn open(repo: Arc<Repository>, id: SnapshotId, cache: Arc<BlockCache>) -> Result<Self> {
        let (pin, record) = pinned(&repo.store, id)?;
        Ok(Self::new(repo, &record, cache, Some(pin)))
    }

    /// Returns the snapshot's id.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Opens the image of a record that the caller protects from deletion and gc.
    pub(crate) fn of_record(repo: Arc<Repository>, record: &Record, cache: Arc<BlockCache>) -> Result<Self> {
        repo.store.reload()?;
        Ok(Self::new(repo, record, cache, None))
    }

    fn new(repo: Arc<Repository>, record: &Record, cache: Arc<BlockCache>, pin: Option<Pin>) -> Self {
        let ahead = AHEAD_BYTES_MAX.min(to_u64(cache.bytes_max()) / AHEAD_PART);
        Self {
            fetcher: Arc::new(Fetcher { repo, cache }),
            root: Node::root(record),
            streams: Streams::new(ahead),
            id: record.id,
            name: record.name.clone(),
            size_bytes: record.size_bytes,
            _pin: Mutex::new(pin),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.fetcher.repo.store
    }

    fn leaf(&self, number: LeafNumber) -> Result<Option<Arc<LeafMap>>> {
        let mut tree = self.tree();
        let found = tree.find(number).map_err(|unread| self.unread(&unread.node, &unread.error))?;
        found.map_or(Ok(None), |node| tree.read(&node).map_err(|error| self.unread(&node, &error)))
    }

    fn tree(&self) -> Cursor<CachedPages<'_>> {
        Cursor::new(CachedPages { store: self.store(), cache: &self.fetcher.cache }, self.root)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let within = offset_in_leaf(at);
            let bytes = (LEAF_BYTES - within).min(rest.len());
            let (region, later) = rest.split_at_mut(bytes);
            match self.leaf(LeafNumber::of(at))? {
                None => region.fill(0),
                Some(leaf) => self.read_region(&leaf, at, within, region)?,
            }
            (at, rest) = (at + to_u64(bytes), later);
        }
        Ok(())
    }

    fn read_region(&self, leaf: &LeafMap, offset: u64, within: usize, mut buffer: &mut [u8]) -> Result<()> {
        let mut at = offset;
        for part in leaf.parts(within..within + buffer.len()) {
            let bytes = match &part {
                Part::Zero(bytes) => *bytes,
                Part::Chunk(part) => part.bytes,
            };
            let (now, later) = buffer.split_at_mut(bytes);
            match part {
                Part::Zero(_) => now.fill(0),
                Part::Chunk(part) => self.read_chunk_part(&part, at, now)?,
            }
            (at, buffer) = (at + to_u64(bytes), later);
        }
        Ok(())
    }

    fn read_chunk_part(&self, part: &ChunkPart, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let (store, cache) = (self.store(), &*self.fetcher.cache);
        let wanted = part.skip..part.skip + part.bytes;
        let found = fetch::chunk(store, cache, &part.chunk);
        if let Ok(chunk) = &found
            && let Some(bytes) = chunk.blocks(&store.files.hasher, part.slot, part.blocks)
        {
            buffer.copy_from_slice(&bytes[wanted]);
            return Ok(());
        }
        self.read_anyhow(part, offset, buffer, found.err())
    }

    /// Reads a range whose chunk is damaged or incomplete where it was found.
    fn read_anyhow(
        &self,
        part: &ChunkPart,
        offset: u64,
        buffer: &mut [u8],
        why: Option<Error>,
    ) -> Result<()> {
        let (store, cache) = (self.store(), &*self.fetcher.cache);
        let slots: Vec<u8> = slots(part.slot, part.blocks).collect();
        let all = offset..offset + to_u64(part.bytes);
        if let Some(error) = why.as_ref().filter(|error| !is_of_the_place(error)) {
            let error = Error::new(error.kind(), error.to_string());
            return Err(self.damaged(&all, &error));
        }
        let recovered = fetch::recover_chunk(store, cache, &part.chunk, &slots);
        let (chunk, lost) = recovered.map_err(|error| self.damaged(&all, why.as_ref().unwrap_or(&error)))?;
        let has = |slot: &u8| chunk.blocks(&store.files.hasher, *slot, 1);
        if let Some(bytes) = chunk.blocks(&store.files.hasher, part.slot, part.blocks) {
            buffer.copy_from_slice(&bytes[part.skip..part.skip + part.bytes]);
            return Ok(());
        }
        let error =
            why.or(lost).unwrap_or_else(|| Error::corrupt(format!("chunk {} is damaged", part.chunk)));
        let first = slots.iter().take_while(|slot| has(slot).is_some()).count();
        let blocks = slots.iter().skip(first).take_while(|slot| has(slot).is_none()).count();
        let start = offset - to_u64(part.skip) + block_bytes(to_u64(first));
        Err(self.damaged(&(start..start + block_bytes(to_u64(blocks))), &error))
    }

    /// Returns the chunks that a range needs and the cache lacks, each once, in the order of the
    /// image.
    fn missing(&self, range: &Range<u64>) -> Result<Vec<ChunkId>> {
        let mut missing = self.chunks(range)?;
        missing.retain(|chunk| !self.fetcher.cache.has(&Key::Chunk(*chunk)));
        Ok(missing)
    }

    /// Returns the chunks that a range needs, each once, in the order of the image.
    pub(super) fn chunks(&self, range: &Range<u64>) -> Result<Vec<ChunkId>> {
        let (mut chunks, mut seen) = (Vec::new(), HashSet::new());
        for number in LeafNumber::all_of(range) {
            if let Some(leaf) = self.leaf(number)? {
                let wanted = number.part_of(range);
                let within = offset_in_leaf(wanted.start);
                for part in leaf.parts(within..within + to_usize(wanted.end - wanted.start)) {
                    if let Part::Chunk(part) = part
                        && seen.insert(part.chunk)
                    {
                        chunks.push(part.chunk);
                    }
                }
            }
        }
        Ok(chunks)
    }

    /// Says what of packs is going to be read for chunks, where that takes a while to come.
    fn announce(&self, chunks: &[ChunkId]) {
        let store = self.store();
        if !store.files.are_shared() {
            return;
        }
        let mut plan = Plan::default();
        for located in chunks.iter().filter_map(|id| store.need_chunk(id).ok()) {
            plan.add(located.pack.id, &located.entry);
        }
        plan.announce(store);
    }

    /// Has other threads fetch the chunks that a range needs. Errors surface only when somebody
    /// reads the range.
    fn fetch_ahead(&self, range: &Range<u64>) {
        let range = range.start..range.end.min(self.size_bytes);
        if let Ok(chunks) = self.missing(&range) {
            self.announce(&chunks);
            Queue::new(chunks).spawn(&self.fetcher);
        }
    }

    /// Fetches the chunks of a large read together with other threads.
    fn fetch_together(&self, range: &Range<u64>) -> Result<()> {
        let chunks = self.missing(range)?;
        self.announce(&chunks);
        let bytes = chunks.len().saturating_mul(SPAN_BYTES);
        if chunks.len() >= CHUNKS_TO_SHARE && bytes <= self.fetcher.cache.bytes_max() / 4 {
            let queue = Queue::new(chunks);
            queue.spawn(&self.fetcher);
            queue.work(&self.fetcher);
        }
        Ok(())
    }

    fn unread(&self, node: &Node, error: &Error) -> Error {
        self.damaged(&node.range(self.size_bytes), error)
    }

    /// Returns the error for a range of the image that cannot be recovered.
    fn damaged(&self, range: &Range<u64>, why: &Error) -> Error {
        let Range { start, end } = range;
        let (id, name) = (self.id, &self.name);
        let error = Error::new(why.kind(), format!("snapshot {id} ({name}): bytes {start} to {end}: {why}"));
        match (why.kind(), why.next_step()) {
            (ErrorKind::Corrupt, _) => error.with_hint(NextStep::VerifyDataThenRepairPacks),
            (_, Some(next)) => error.with_hint(next.clone()),
            (_, None) => error,
        }
    }
}

impl ReadAt for SnapshotDisk {
    fn len(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(to_u64(buffer.len())).filter(|end| *end <= self.size_bytes);
        let read = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if let Some(ahead) = self.streams.note(&read) {
            self.fetch_ahead(&ahead);
        }
        if read.end - read.start >= to_u64(CHUNKS_TO_SHARE * SPAN_BYTES) {
            self.fetch_together(&read)?;
        }
        Ok(self.read(offset, buffer)?)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let mut tree = self.tree();
        tree.seek(LeafNumber::of(offset));
        loop {
            let found = tree.next_leaf().map_err(|unread| self.unread(&unread.node, &unread.error))?;
            let Some(node) = found.filter(|node| node.offset() < self.size_bytes) else { return Ok(None) };
            let begin = node.offset();
            let leaf = tree.read(&node).map_err(|error| self.unread(&node, &error))?;
            if let Some(data) = leaf.and_then(|leaf| leaf.next_data(to_usize(offset.saturating_sub(begin)))) {
                let range = begin + to_u64(data.start)..(begin + to_u64(data.end)).min(self.size_bytes);
                return Ok((!range.is_empty()).then_some(range));
            }
        }
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        let ahead = AHEAD_BYTES_MAX.min(to_u64(self.fetcher.cache.bytes_max()) / AHEAD_PART);
        self.fetch_ahead(&(range.start..range.end.min(range.start.saturating_add(ahead))));
        false
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::repository::InitOptions;
    use crate::repository::Secrets;
    use crate::words::ids::RepositoryId;
    use crate::words::names::ResourceKind;
    use crate::world::memory::MemoryStorage;
    use crate::world::storage::Storage;

    #[test]
    fn a_record_that_is_kept_elsewhere_is_read_without_one_in_the_repository_and_without_a_lock() {
        let storage = MemoryStorage::new();
        let id = RepositoryId(Uuid::from_u128(1));
        let options =
            InitOptions { id, secrets: Secrets::Plain([1; 32]), created_unix_ms: 0, level: 1, parity: None };
        let repo = Repository::init(Arc::new(storage.clone()), Uuid::from_u128(2), &options).unwrap();
        let id = SnapshotId(Uuid::from_u128(3));
        let record = Record { size_bytes: 5000, ..Record::new(id, 0, ResourceKind::Volume, "disk", "empty") };
        let locks = storage.list("local/locks").unwrap();
        let disk = SnapshotDisk::of_record(Arc::new(repo), &record, BlockCache::usual()).unwrap();
        let mut bytes = [7; 5000];
        disk.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 5000]);
        assert_eq!(disk.next_data(0).unwrap(), None);
        assert_eq!(storage.list("local/locks").unwrap(), locks);
    }
}
