//! The snapshot that an image is compared with, leaf by leaf.

use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::manifest::TreeReader;
use crate::stores::manifest::load_leaf;
use crate::stores::notes::Damage;
use crate::verbs::capture::draft::BlockPlace;
use crate::words::ids::Digest;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_SPANS;

/// Reads the parent's manifest in step with the image.
pub(crate) struct ParentReader<'a> {
    store: &'a Store,
    damage: &'a Damage,
    tree: TreeReader<'a>,
    /// The parent saves time only: what cannot be read of it is taken as different.
    broken: bool,
    /// Is set where a page cannot be read: pages that are there need not be sound then.
    pub(crate) met_damage: bool,
}

/// A leaf of the parent.
pub(crate) struct ParentLeaf {
    pub(crate) page: PageRef,
    pub(crate) spans: [Digest; LEAF_SPANS],
    leaf: Leaf,
}

impl<'a> ParentReader<'a> {
    pub(crate) fn new(store: &'a Store, damage: &'a Damage, parent: &Record) -> Self {
        let tree = TreeReader::new(store, parent.root, parent.size_bytes);
        Self { store, damage, tree, broken: false, met_damage: false }
    }

    /// Returns the parent's leaf with this number, if it has data, can be read, and the index knows all its chunks, none of
    /// which is known to be damaged.
    pub(crate) fn leaf(&mut self, number: u64) -> Option<ParentLeaf> {
        if self.broken {
            return None;
        }
        let found = match self.tree.next_leaf(number) {
            Ok(found) => found,
            Err(_) => {
                (self.broken, self.met_damage) = (true, true);
                None
            }
        };
        let (_, page) = found.filter(|(at, _)| *at == number)?;
        let Ok(leaf) = load_leaf(self.store, &page.id) else {
            self.met_damage = true;
            return None;
        };
        // A chunk that was lost is not referred to again: its blocks are stored anew from the image. A hint is enough to
        // tell: the odds that one of another chunk has the same key are 1 in 2^48 for each chunk.
        let index = self.store.index();
        let known = leaf.chunks.iter().all(|id| {
            let mut hints = index.find_chunk(&id.0);
            if self.damage.is_empty() {
                hints.next().is_some()
            } else {
                // Blocks of a chunk that is damaged here are looked up one by one: another copy may have them.
                !self.damage.has_id(&id.0) && hints.any(|hint| !self.damage.has_pack(hint.pack))
            }
        });
        known.then(|| ParentLeaf { page, spans: leaf.span_digests(), leaf })
    }
}

impl ParentLeaf {
    /// Returns where the parent has each block.
    pub(crate) fn places(&self) -> Vec<BlockPlace> {
        let mut places = Vec::with_capacity(LEAF_BLOCKS);
        for extent in &self.leaf.extents {
            match extent.place {
                Place::Zero => places.extend((0..extent.blocks).map(|_| BlockPlace::Zero)),
                Place::Chunk { chunk, slot } => {
                    let id = self.leaf.chunks[usize::from(chunk)];
                    let slots = (slot..=u8::MAX).take(usize::from(extent.blocks));
                    places.extend(slots.map(|slot| BlockPlace::Chunk(id, slot)));
                }
            }
        }
        places
    }
}
