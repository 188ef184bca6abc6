//! The slots of chunks of which something is known already. Successive snapshots have much the same
//! chunks, so whoever walks through their manifests need not look at these again.

use crate::format::pack::SlotBitmap;
use crate::words::ids::ChunkId;
use crate::words::ids::IdMap;

/// The most chunks to remember: 64 MiB.
const CHUNKS_MAX: usize = 1 << 20;

/// Slots of the chunks that were met last.
#[derive(Default)]
pub(crate) struct KnownSlots(IdMap<ChunkId, SlotBitmap>);

impl KnownSlots {
    /// Tells whether all of these slots are known.
    pub(crate) fn has_all(&self, id: &ChunkId, slots: &SlotBitmap) -> bool {
        self.0.get(id).copied().unwrap_or_default().has_all(slots)
    }

    /// Adds slots. If there are too many chunks, all are forgotten first.
    pub(crate) fn add(&mut self, id: &ChunkId, slots: &SlotBitmap) {
        if self.0.len() >= CHUNKS_MAX {
            self.0.clear();
        }
        let known = self.0.entry(*id).or_default();
        *known = known.with(slots);
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
