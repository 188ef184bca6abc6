//! Fetching of chunks into the cache by several threads together: those ahead of a reader, and
//! those of a large read.

use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::repository::Repository;
use crate::views::cache::BlockCache;
use crate::views::fetch;
use crate::words::ids::ChunkId;

/// A queue of chunks to fetch. The first thread that comes to a chunk fetches it.
pub(super) struct Queue {
    chunks: Vec<ChunkId>,
    next: AtomicUsize,
}

/// The source and the target of fetched chunks. Readers hold it; the pool's threads check whether
/// any reader still does.
pub(super) struct Fetcher {
    pub(super) repo: Arc<Repository>,
    pub(super) cache: Arc<BlockCache>,
}

impl Queue {
    pub(super) fn new(chunks: Vec<ChunkId>) -> Arc<Self> {
        Arc::new(Self { chunks, next: AtomicUsize::new(0) })
    }

    /// Fetches chunks on the pool's threads while `fetcher` exists.
    pub(super) fn spawn(self: &Arc<Self>, fetcher: &Arc<Fetcher>) {
        for _ in 0..rayon::current_num_threads().min(self.chunks.len()) {
            let (queue, fetcher) = (Arc::clone(self), Arc::downgrade(fetcher));
            rayon::spawn_fifo(move || while queue.step(&fetcher) {});
        }
    }

    /// Fetches chunks on this thread until every chunk has been begun.
    pub(super) fn work(&self, fetcher: &Fetcher) {
        while let Some(id) = self.take() {
            fetch::fill(&fetcher.repo.store, &fetcher.cache, id);
        }
    }

    fn step(&self, fetcher: &Weak<Fetcher>) -> bool {
        let Some((fetcher, id)) = fetcher.upgrade().zip(self.take()) else { return false };
        fetch::fill(&fetcher.repo.store, &fetcher.cache, id);
        true
    }

    fn take(&self) -> Option<&ChunkId> {
        self.chunks.get(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
