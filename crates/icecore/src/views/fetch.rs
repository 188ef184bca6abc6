//! Gets chunks and manifest pages into the cache: from the pack that has them, or from a
//! replacement.

use std::sync::Arc;

use crate::format::page::Inner;
use crate::format::page::Page;
use crate::stores::chunks::Store;
use crate::stores::manifest::cursor::Node;
use crate::stores::manifest::cursor::Pages;
use crate::stores::manifest::load_page;
use crate::stores::recovery::reader::with_reader;
use crate::stores::recovery::recover;
use crate::views::cache::BlockCache;
use crate::views::cache::Key;
use crate::views::cache::Value;
use crate::views::chunk::Chunk;
use crate::views::leaf_map::LeafMap;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::ChunkId;

/// Returns a chunk from the cache, or else as stored. Its blocks are not proven yet.
pub(super) fn chunk(store: &Store, cache: &BlockCache, id: &ChunkId) -> Result<Arc<Chunk>> {
    match cache.get(Key::Chunk(*id), || load(store, id))? {
        Value::Chunk(chunk) => Ok(chunk),
        Value::Leaf(_) | Value::Inner(_) => Err(Error::corrupt(format!("chunk {id} is a manifest page"))),
    }
}

/// Reads a chunk and proves it, so that it is in the cache when a reader asks for it. Leaves damage
/// to that reader.
pub(super) fn fill(store: &Store, cache: &BlockCache, id: &ChunkId) {
    let _ = cache.fill(Key::Chunk(*id), || {
        let value = load(store, id)?;
        if let Value::Chunk(chunk) = &value {
            chunk.prove_all(&store.files.hasher);
        }
        Ok(value)
    });
}

/// Recovers blocks of a chunk, given by their slots, that are missing or damaged where the chunk is
/// read from. Returns the chunk with the blocks recovered, and the error if some could not be.
pub(super) fn recover_chunk(
    store: &Store,
    cache: &BlockCache,
    id: &ChunkId,
    wanted: &[u8],
) -> Result<(Arc<Chunk>, Option<Error>)> {
    let located = store.need_chunk(id)?;
    let saved = recover(store, &located, wanted, Store::reload)?;
    let known = match cache.get(Key::Chunk(*id), || Err(Error::corrupt("not in the cache"))) {
        Ok(Value::Chunk(chunk)) => Some(chunk),
        _ => None,
    };
    let chunk = Arc::new(Chunk::joined(known.as_deref(), &saved));
    if !saved.is_empty() {
        cache.replace(Key::Chunk(*id), Value::Chunk(Arc::clone(&chunk)));
    }
    let error = (saved.len() < wanted.len()).then(|| located.damaged());
    Ok((chunk, error))
}

fn load(store: &Store, id: &ChunkId) -> Result<Value> {
    let located = store.need_chunk(id)?;
    let (slots, bytes) = with_reader(|reader| reader.take_chunk(&store.files, &located))?;
    Ok(Value::Chunk(Arc::new(Chunk::new(&located, &slots, bytes))))
}

/// The pages of a manifest, from the cache or else as stored.
pub(super) struct CachedPages<'a> {
    pub(super) store: &'a Store,
    pub(super) cache: &'a BlockCache,
}

impl CachedPages<'_> {
    fn load(&self, node: &Node) -> Result<Value> {
        self.cache.get(Key::Page(node.page.id, node.level), || {
            Ok(match load_page(self.store, &node.page.id, node.level)? {
                Page::Leaf(leaf) => Value::Leaf(Arc::new(LeafMap::new(leaf))),
                Page::Inner(inner) => Value::Inner(Arc::new(inner)),
            })
        })
    }

    fn misplaced(node: &Node) -> Error {
        Error::corrupt(format!("manifest page {} is in the place of another level", node.page.id))
    }
}

impl Pages for CachedPages<'_> {
    type Leaf = Arc<LeafMap>;

    fn inner(&self, node: &Node) -> Result<Arc<Inner>> {
        match self.load(node)? {
            Value::Inner(inner) => Ok(inner),
            Value::Leaf(_) | Value::Chunk(_) => Err(Self::misplaced(node)),
        }
    }

    fn leaf(&self, node: &Node) -> Result<Arc<LeafMap>> {
        match self.load(node)? {
            Value::Leaf(leaf) => Ok(leaf),
            Value::Inner(_) | Value::Chunk(_) => Err(Self::misplaced(node)),
        }
    }
}
