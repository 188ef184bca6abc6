//! The manifest of a snapshot as it is looked up: only the pages on the path to what is read are loaded, and they stay in the cache.

use std::ops::Range;
use std::sync::Arc;

use crate::format::page::Inner;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::stores::chunks::Store;
use crate::stores::manifest::load_page;
use crate::views::cache::BlockCache;
use crate::views::cache::Key;
use crate::views::cache::Value;
use crate::views::leaf_map::LeafMap;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::sizes::FANOUT;
use crate::words::sizes::LEAF_U64;
use crate::words::sizes::leaf_count;
use crate::words::sizes::tree_height;

/// The bits of a leaf's number that choose a child of one level.
const LEVEL_BITS: u32 = FANOUT.trailing_zeros();

/// The root of a manifest.
pub(super) struct Tree {
    root: Option<PageRef>,
    height: u32,
    leaves: u64,
}

/// What could not be read: a page, and the range of the image below it.
pub(super) struct Unread {
    pub(super) range: Range<u64>,
    pub(super) error: Error,
}

/// A page of a manifest on the way to a leaf.
struct Step {
    page: PageId,
    level: u32,
    /// The number of the leaf that is looked for.
    leaf: u64,
}

impl Tree {
    pub(super) fn new(root: Option<PageRef>, size_bytes: u64) -> Self {
        Self { root, height: tree_height(size_bytes), leaves: leaf_count(size_bytes) }
    }

    /// Returns the leaf with a number; none where the region has no data.
    pub(super) fn leaf(
        &self,
        store: &Store,
        cache: &BlockCache,
        number: u64,
    ) -> Result<Option<Arc<LeafMap>>, Unread> {
        let Some(root) = self.root.filter(|_| number < self.leaves) else { return Ok(None) };
        let mut step = Step { page: root.id, level: self.height, leaf: number };
        while step.level > 0 {
            let wanted = child_number(number, step.level);
            match step.inner(store, cache)?.next_child(wanted) {
                Some((at, child)) if at == wanted => {
                    step = Step { page: child.id, level: step.level - 1, leaf: number };
                }
                _ => return Ok(None),
            }
        }
        step.leaf_map(store, cache).map(Some)
    }

    /// Returns the number of the first leaf with data at or after `from`. Empty parts of the tree are passed over as one.
    pub(super) fn next_leaf(
        &self,
        store: &Store,
        cache: &BlockCache,
        from: u64,
    ) -> Result<Option<u64>, Unread> {
        let Some(root) = self.root else { return Ok(None) };
        let (mut page, mut level, mut from) = (root.id, self.height, from);
        while from < self.leaves {
            if level == 0 {
                return Ok(Some(from));
            }
            let wanted = child_number(from, level);
            let below = LEVEL_BITS * (level - 1);
            match (Step { page, level, leaf: from }).inner(store, cache)?.next_child(wanted) {
                Some((at, child)) => {
                    if at > wanted {
                        from = ((from >> below) + (at - wanted)) << below;
                    }
                    (page, level) = (child.id, level - 1);
                }
                None if level == self.height => return Ok(None),
                None => {
                    let this = LEVEL_BITS * level;
                    from = ((from >> this) + 1) << this;
                    (page, level) = (root.id, self.height);
                }
            }
        }
        Ok(None)
    }
}

impl Step {
    fn inner(&self, store: &Store, cache: &BlockCache) -> Result<Arc<Inner>, Unread> {
        match self.load(store, cache)? {
            Value::Inner(inner) => Ok(inner),
            Value::Leaf(_) | Value::Chunk(_) => Err(self.unread(self.misplaced())),
        }
    }

    fn leaf_map(&self, store: &Store, cache: &BlockCache) -> Result<Arc<LeafMap>, Unread> {
        match self.load(store, cache)? {
            Value::Leaf(leaf) => Ok(leaf),
            Value::Inner(_) | Value::Chunk(_) => Err(self.unread(self.misplaced())),
        }
    }

    fn load(&self, store: &Store, cache: &BlockCache) -> Result<Value, Unread> {
        let value = cache.get(Key::Page(self.page, self.level), || {
            Ok(match load_page(store, &self.page, self.level)? {
                Page::Leaf(leaf) => Value::Leaf(Arc::new(LeafMap::new(leaf))),
                Page::Inner(inner) => Value::Inner(Arc::new(inner)),
            })
        });
        value.map_err(|error| self.unread(error))
    }

    fn misplaced(&self) -> Error {
        Error::corrupt(format!("manifest page {} stands at a level that it is not of", self.page))
    }

    fn unread(&self, error: Error) -> Unread {
        let first = self.leaf >> (LEVEL_BITS * self.level);
        let bytes = |number: u64| (number << (LEVEL_BITS * self.level)).saturating_mul(LEAF_U64);
        Unread { range: bytes(first)..bytes(first + 1), error }
    }
}

/// Returns which child of a page of `level` leads to a leaf.
fn child_number(leaf: u64, level: u32) -> u64 {
    (leaf >> (LEVEL_BITS * (level - 1))) % FANOUT as u64
}
