//! Packs that are open, the least recently used of them closed when there are many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::stores::base::Base;
use crate::stores::pack_file::PackFile;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// Open packs at a time: bounds descriptors, and the memory that mapped directories take (about 1 MiB each).
const OPEN_MAX: usize = 96;

#[derive(Default)]
pub(crate) struct PackCache(Mutex<State>);

#[derive(Default)]
struct State {
    packs: HashMap<PackId, (Arc<PackFile>, u64)>,
    clock: u64,
}

impl PackCache {
    /// Returns a pack, opened if it is not open.
    pub(crate) fn get(&self, base: &Base, id: PackId) -> Result<Arc<PackFile>> {
        if let Some(pack) = self.touch(id) {
            return Ok(pack);
        }
        let pack = Arc::new(PackFile::open(base, id)?);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.packs.len() >= OPEN_MAX {
            let oldest = state.packs.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            oldest.map(|id| state.packs.remove(&id));
        }
        let now = state.clock;
        state.packs.insert(id, (Arc::clone(&pack), now));
        Ok(pack)
    }

    /// Forgets all packs, so that those that are gone are noticed.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).packs.clear();
    }

    fn touch(&self, id: PackId) -> Option<Arc<PackFile>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let (pack, used) = state.packs.get_mut(&id)?;
        *used = now;
        Some(Arc::clone(pack))
    }
}
