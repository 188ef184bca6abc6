//! The memory that readers of snapshots share: decoded chunks and manifest pages, as many as there
//! is room for.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::format::page::Inner;
use crate::views::chunk::Chunk;
use crate::views::leaf_map::LeafMap;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::PageId;
use crate::words::sync::Condvar;
use crate::words::sync::Mutex;

/// Bytes of a cache where nothing else is chosen.
const BYTES_DEFAULT: usize = 96 << 20;
/// Parts of a cache, each with a lock of its own, and the least room of one: a chunk takes up to 1
/// MiB.
const SHARDS_MAX: usize = 16;
const SHARD_BYTES_MIN: usize = 2 << 20;
/// Bytes of a cache that stands beside another one: for what several threads read at once, and what
/// is read ahead.
const BESIDE_BYTES: usize = 8 << 20;
/// What an entry takes beside its value: in the table and in the queue.
const ENTRY_BYTES: usize = 160;

/// What is kept, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Chunk(ChunkId),
    /// A page as it is used at a level: a page that is not of that level is not found under it.
    Page(PageId, u32),
}

/// What is kept. Ids say what the content is, so that a value never becomes wrong.
#[derive(Clone)]
pub(super) enum Value {
    Chunk(Arc<Chunk>),
    Leaf(Arc<LeafMap>),
    Inner(Arc<Inner>),
}

/// Decoded chunks and manifest pages that all readers of a repository share, within a bound.
///
/// What was used since it was last looked at stays; of the rest, the oldest goes first.
pub struct BlockCache {
    shards: Vec<Shard>,
    bytes_max: usize,
    /// Another one whose values are used as they are found there.
    beside: Option<Arc<BlockCache>>,
}

#[derive(Default)]
struct Shard {
    state: Mutex<Entries>,
    landed: Condvar,
}

#[derive(Default)]
struct Entries {
    slots: HashMap<Key, Slot>,
    /// The keys of what is held, in the order in which they are looked at when room is needed.
    queue: VecDeque<Key>,
    bytes: usize,
}

enum Slot {
    /// A thread is loading it.
    Loading,
    Held {
        value: Value,
        bytes: usize,
        /// Whether it was asked for since it was last looked at.
        used: bool,
    },
}

impl BlockCache {
    /// Returns an empty cache that takes up to `bytes_max` bytes. A reader also works with none at
    /// all, slowly.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self::with(bytes_max, None))
    }

    /// Returns a small cache for who reads much once. What `cache` has is taken from there, and
    /// nothing goes into it: what its readers come back to stays.
    pub(super) fn beside(cache: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self::with(BESIDE_BYTES.min(cache.bytes_max), Some(Arc::clone(cache))))
    }

    fn with(bytes_max: usize, beside: Option<Arc<Self>>) -> Self {
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        Self { shards: (0..shards).map(|_| Shard::default()).collect(), bytes_max, beside }
    }

    /// Returns an empty cache of the usual size, 96 MiB.
    pub fn usual() -> Arc<Self> {
        Self::new(BYTES_DEFAULT)
    }

    /// Returns how many bytes it takes at most.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Returns what is kept under a key, loaded by `load` if it is not there. Where another thread
    /// is loading it, this one waits.
    pub(super) fn get(&self, key: Key, load: impl FnOnce() -> Result<Value>) -> Result<Value> {
        if let Some(value) = self.held_beside(&key) {
            return Ok(value);
        }
        let shard = self.shard(&key);
        let mut state = shard.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match state.slots.get_mut(&key) {
                Some(Slot::Held { value, used, .. }) => {
                    *used = true;
                    return Ok(value.clone());
                }
                // A worker of the pool must not wait for a thread that may be waiting for the pool.
                Some(Slot::Loading) if rayon::current_thread_index().is_some() => {
                    drop(state);
                    return load();
                }
                Some(Slot::Loading) => {
                    state = shard.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        state.slots.insert(key, Slot::Loading);
        drop(state);
        self.load(shard, key, load)
    }

    /// Loads what belongs under a key, unless it is there or on its way.
    pub(super) fn fill(&self, key: Key, load: impl FnOnce() -> Result<Value>) -> Result<()> {
        if self.held_beside(&key).is_some() {
            return Ok(());
        }
        let shard = self.shard(&key);
        let mut state = shard.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.slots.contains_key(&key) {
            return Ok(());
        }
        state.slots.insert(key, Slot::Loading);
        drop(state);
        self.load(shard, key, load).map(drop)
    }

    /// Tells whether something is there or on its way.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.shard(key).state.lock().unwrap_or_else(PoisonError::into_inner).slots.contains_key(key)
            || self.held_beside(key).is_some()
    }

    fn held_beside(&self, key: &Key) -> Option<Value> {
        self.beside.as_ref()?.held(key)
    }

    /// Returns what is kept under a key, if it is there, which counts as no use of it.
    fn held(&self, key: &Key) -> Option<Value> {
        match self.shard(key).state.lock().unwrap_or_else(PoisonError::into_inner).slots.get(key)? {
            Slot::Held { value, .. } => Some(value.clone()),
            Slot::Loading => None,
        }
    }

    /// Puts a value in the place of what is there.
    pub(super) fn replace(&self, key: Key, value: Value) {
        let bytes_max = self.bytes_max / self.shards.len();
        self.shard(&key).state.lock().unwrap_or_else(PoisonError::into_inner).hold(key, value, bytes_max);
    }

    fn load(&self, shard: &Shard, key: Key, load: impl FnOnce() -> Result<Value>) -> Result<Value> {
        let _claim = Claim { shard, key };
        let value = load()?;
        let bytes_max = self.bytes_max / self.shards.len();
        let mut state = shard.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.hold(key, value.clone(), bytes_max);
        drop(state);
        Ok(value)
    }

    fn shard(&self, key: &Key) -> &Shard {
        let (Key::Chunk(ChunkId(id)) | Key::Page(PageId(id), _)) = key;
        // Ids are digests: any byte of them spreads well.
        &self.shards[usize::from(id[15]) % self.shards.len()]
    }
}

/// A thread's word that it loads something; those that wait are told when it ends, however it ends.
struct Claim<'a> {
    shard: &'a Shard,
    key: Key,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.shard.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Slot::Loading) = state.slots.get(&self.key) {
            state.slots.remove(&self.key);
        }
        drop(state);
        self.shard.landed.notify_all();
    }
}

impl Entries {
    fn hold(&mut self, key: Key, value: Value, bytes_max: usize) {
        let bytes = value.memory() + ENTRY_BYTES;
        match self.slots.insert(key, Slot::Held { value, bytes, used: false }) {
            Some(Slot::Held { bytes: before, .. }) => self.bytes -= before,
            _ => self.queue.push_back(key),
        }
        self.bytes += bytes;
        while self.bytes > bytes_max {
            let Some(key) = self.queue.pop_front() else { return };
            match self.slots.get_mut(&key) {
                Some(Slot::Held { used, .. }) if *used => {
                    *used = false;
                    self.queue.push_back(key);
                }
                Some(Slot::Held { bytes, .. }) => {
                    self.bytes -= *bytes;
                    self.slots.remove(&key);
                }
                _ => {}
            }
        }
    }
}

impl Value {
    fn memory(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.memory(),
            Self::Leaf(leaf) => leaf.memory(),
            Self::Inner(inner) => size_of::<Inner>() + size_of_val(&*inner.children),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::words::error::Error;

    fn key(number: u32) -> Key {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_le_bytes());
        id[15] = u8::try_from(number % 251).unwrap();
        Key::Page(PageId(id), 0)
    }

    fn value() -> Value {
        Value::Inner(Arc::new(Inner { level: 1, data_children: [1, 0], children: Vec::new() }))
    }

    #[test]
    fn the_bound_is_kept_and_what_is_used_stays() {
        let cache = BlockCache::new(1 << 20);
        let load = || Ok(value());
        for number in 0..100_000 {
            cache.get(key(number), load).unwrap();
            cache.get(key(7), load).unwrap();
        }
        let bytes: usize = cache.shards.iter().map(|shard| shard.state.lock().unwrap().bytes).sum();
        let held: usize = cache.shards.iter().map(|shard| shard.state.lock().unwrap().slots.len()).sum();
        let queued: usize = cache.shards.iter().map(|shard| shard.state.lock().unwrap().queue.len()).sum();
        assert!((900_000..=1 << 20).contains(&bytes), "{bytes}");
        assert_eq!((held, bytes), (queued, held * (value().memory() + ENTRY_BYTES)));
        assert!(cache.has(&key(7)) && cache.has(&key(99_999)) && !cache.has(&key(8)));
    }

    #[test]
    fn what_many_ask_for_at_once_is_loaded_once() {
        let (cache, barrier, loads) = (BlockCache::usual(), Barrier::new(6), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            for _ in 0..6 {
                threads.spawn(|| {
                    for number in 0..200 {
                        barrier.wait();
                        let load = || {
                            loads.fetch_add(1, Ordering::Relaxed);
                            std::thread::yield_now();
                            Ok(value())
                        };
                        cache.get(key(number), load).unwrap();
                    }
                });
            }
        });
        assert_eq!(loads.into_inner(), 200);
    }

    #[test]
    fn who_reads_beside_a_cache_finds_what_is_there_and_leaves_it_as_it_is() {
        let cache = BlockCache::new(1 << 20);
        cache.get(key(0), || Ok(value())).unwrap();
        let beside = BlockCache::beside(&cache);
        let from_elsewhere = || -> Result<Value> { panic!("it is in the cache") };
        beside.get(key(0), from_elsewhere).unwrap();
        beside.fill(key(0), from_elsewhere).unwrap();
        assert!(beside.has(&key(0)) && !beside.has(&key(1)));
        for number in 1..100_000 {
            beside.get(key(number), || Ok(value())).unwrap();
            assert!(beside.has(&key(number)));
        }
        let held = |cache: &BlockCache| -> usize {
            cache.shards.iter().map(|shard| shard.state.lock().unwrap().slots.len()).sum()
        };
        assert_eq!(held(&cache), 1);
        assert!(
            held(&beside) * (value().memory() + ENTRY_BYTES) <= 1 << 20,
            "no more than the other may take"
        );
    }

    #[test]
    fn what_could_not_be_loaded_is_tried_again() {
        let cache = BlockCache::usual();
        assert!(cache.get(key(1), || Err(Error::interrupted())).is_err());
        assert!(!cache.has(&key(1)));
        cache.get(key(1), || Ok(value())).unwrap();
        cache.fill(key(1), || Err(Error::interrupted())).unwrap();
    }
}
