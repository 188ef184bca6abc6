//! The memory that readers of snapshots share. It holds decoded chunks and manifest pages, up to a
//! bound.

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

/// The default size of a cache, in bytes.
const BYTES_DEFAULT: usize = 96 << 20;
/// The number of parts of a cache, each with its own lock. The least size of a part allows for a
/// chunk, which takes up to 1 MiB.
const SHARDS_MAX: usize = 16;
const SHARD_BYTES_MIN: usize = 2 << 20;
/// The size of a cache beside another one: enough for what several threads read at once and what is
/// read ahead.
const BESIDE_BYTES: usize = 8 << 20;
/// The memory that an entry takes beside its value: in the table and in the queue.
const ENTRY_BYTES: usize = 160;

/// The key of a value: its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Chunk(ChunkId),
    /// A page as used at a level. A page of another level is not found under this key.
    Page(PageId, u32),
}

/// A cached value. Its id says what the content is, so a value never becomes wrong.
#[derive(Clone)]
pub(super) enum Value {
    Chunk(Arc<Chunk>),
    Leaf(Arc<LeafMap>),
    Inner(Arc<Inner>),
}

/// Decoded chunks and manifest pages that all readers of a repository share, up to a bound.
///
/// An entry used since the last look at it stays; of the rest, the oldest goes first.
pub struct BlockCache {
    shards: Vec<Shard>,
    bytes_max: usize,
    /// Another cache, whose values are used from there.
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
    /// The keys of the values held, in the order in which the cache looks at them when it needs
    /// space.
    queue: VecDeque<Key>,
    bytes: usize,
}

enum Slot {
    /// A thread is loading it.
    Loading,
    Held {
        value: Value,
        bytes: usize,
        /// Whether anyone asked for it since the last look.
        used: bool,
    },
}

impl BlockCache {
    /// Returns an empty cache of up to `bytes_max` bytes. A reader also works with a size of zero,
    /// but slowly.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self::with(bytes_max, None))
    }

    /// Returns a small cache for a reader that reads much data once. It takes values that `cache`
    /// has from there and adds none, so that the values its other readers return to stay.
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

    /// Returns its maximum size in bytes.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Returns the value of a key, loading it with `load` if it is missing. If another thread is
    /// loading it, this one waits.
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

    /// Loads the value of a key, unless it is there or another thread is loading it.
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

    /// Tells whether a value is there or being loaded.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.shard(key).state.lock().unwrap_or_else(PoisonError::into_inner).slots.contains_key(key)
            || self.held_beside(key).is_some()
    }

    fn held_beside(&self, key: &Key) -> Option<Value> {
        self.beside.as_ref()?.held(key)
    }

    /// Returns the value of a key if it is there. This does not count as a use.
    fn held(&self, key: &Key) -> Option<Value> {
        match self.shard(key).state.lock().unwrap_or_else(PoisonError::into_inner).slots.get(key)? {
            Slot::Held { value, .. } => Some(value.clone()),
            Slot::Loading => None,
        }
    }

    /// Puts a value in place of the one that is there.
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

/// A thread's claim that it is loading a value. The threads that wait are woken when it ends,
/// however it ends.
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
