//! The snapshot that an image is compared with, leaf by leaf.

use std::sync::Arc;

use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::manifest::cursor::RecentPages;
use crate::stores::notes::Damage;
use crate::verbs::capture::draft::BlockPlace;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::NodeDigest;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::to_u64;
use crate::words::units::LeafNumber;
use crate::words::units::slots;

/// A reader of the parent's manifest, in step with the image.
pub(crate) struct ParentReader<'a> {
    store: &'a Store,
    damage: &'a Damage,
    tree: Cursor<Arc<RecentPages<'a>>>,
    /// Set when reading failed. The parent only saves time: unreadable parts count as different.
    broken: bool,
    /// Set when a page cannot be read. Other pages that exist may then be damaged too.
    pub(crate) met_damage: bool,
}

/// A leaf of the parent.
pub(crate) struct ParentLeaf {
    pub(crate) page: PageRef,
    pub(crate) spans: [NodeDigest; LEAF_SPANS],
    leaf: Leaf,
}

/// The parent's content in a leaf region.
pub(crate) enum Found {
    /// Zeros.
    Nothing,
    /// A leaf. The index knows all its chunks, in packs that exist, and none is known to be
    /// damaged.
    Sound(ParentLeaf),
    /// A leaf with chunks that are unknown or damaged.
    Unsound(ParentLeaf),
    /// A leaf that cannot be read.
    Unreadable,
}

impl<'a> ParentReader<'a> {
    pub(crate) fn new(
        store: &'a Store,
        damage: &'a Damage,
        parent: &Record,
        pages: Arc<RecentPages<'a>>,
    ) -> Self {
        let tree = Cursor::new(pages, Node::root(parent));
        Self { store, damage, tree, broken: false, met_damage: false }
    }

    /// Returns the parent's leaf with this number, if it exists and is sound. An unreadable leaf
    /// counts as missing.
    pub(crate) fn leaf(&mut self, number: LeafNumber) -> Option<ParentLeaf> {
        if self.broken {
            return None;
        }
        match self.find(number) {
            Ok(Found::Sound(leaf)) => Some(leaf),
            Ok(_) => None,
            Err(_) => {
                (self.broken, self.met_damage) = (true, true);
                None
            }
        }
    }

    /// Returns the number of the first leaf that may have data, at or after `from`.
    pub(crate) fn next_number(&mut self, from: LeafNumber) -> Option<LeafNumber> {
        self.tree.seek(from);
        match self.tree.next_leaf() {
            Ok(found) => found.map(|node| node.first_leaf()),
            Err(unread) => Some(unread.node.first_leaf().max(from)),
        }
    }

    /// Returns the parent's content in a leaf region. Fails if a page above it cannot be read.
    pub(crate) fn find(&mut self, number: LeafNumber) -> Result<Found> {
        let found = self.tree.find(number).map_err(|unread| unread.error)?;
        let Some(node) = found else { return Ok(Found::Nothing) };
        let Ok(Some(leaf)) = self.tree.read(&node) else {
            self.met_damage = true;
            return Ok(Found::Unreadable);
        };
        let mut known = true;
        for id in &leaf.chunks {
            known = known && self.is_known(id)?;
        }
        let leaf = ParentLeaf { page: node.page, spans: leaf.span_digests(), leaf };
        Ok(if known { Found::Sound(leaf) } else { Found::Unsound(leaf) })
    }

    /// Tells whether a new manifest may refer to a chunk. It may not refer to a lost chunk: the
    /// capture stores the lost blocks again from the image. A hint into an existing pack is proof
    /// enough: the odds that another chunk has the same key are 1 in 2^48 for each chunk.
    fn is_known(&self, id: &ChunkId) -> Result<bool> {
        if self.damage.has_id(&id.0) {
            // Its blocks are looked up one by one, because another copy may have them.
            return Ok(false);
        }
        for hint in self.store.chunk_hints(&id.0)? {
            if !self.damage.has_pack(hint.pack) && self.store.has_pack(hint.pack)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl ParentLeaf {
    /// Returns how many blocks of the spans in `mask` are not zero.
    pub(crate) fn data_blocks(&self, mask: u64) -> u64 {
        let places = self.leaf.places().enumerate();
        let data = places.filter(|(block, place)| place.is_some() && mask >> (block / SPAN_BLOCKS) & 1 == 1);
        to_u64(data.count())
    }

    /// Returns the parent's place for each block.
    pub(crate) fn places(&self) -> Vec<BlockPlace> {
        let mut places = Vec::with_capacity(LEAF_BLOCKS);
        for extent in &self.leaf.extents {
            match extent.place {
                Place::Zero => places.extend((0..extent.blocks).map(|_| BlockPlace::Zero)),
                Place::Chunk { chunk, slot } => {
                    let id = self.leaf.chunks[usize::from(chunk)];
                    let slots = slots(slot, extent.blocks);
                    places.extend(slots.map(|slot| BlockPlace::Chunk(id, slot)));
                }
            }
        }
        places
    }
}
