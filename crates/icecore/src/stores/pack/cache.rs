//! The cache of open packs: it closes the least recently used ones when there are many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::stores::files::RepositoryFiles;
use crate::stores::pack::file::PackFile;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::sync::Mutex;

/// The most open packs: bounds descriptors, and the memory of their directories (about 1 MiB each).
const OPEN_MAX: usize = 96;

#[derive(Default)]
pub(crate) struct PackCache(Mutex<OpenPacks>);

#[derive(Default)]
struct OpenPacks {
    packs: HashMap<PackId, (Arc<PackFile>, u64)>,
    clock: u64,
    /// The number of times that all packs were forgotten.
    cleared: u64,
}

impl PackCache {
    /// Returns a pack, opened if it is not open.
    pub(crate) fn get(&self, files: &RepositoryFiles, id: PackId) -> Result<Arc<PackFile>> {
        let cleared = match self.touch(id) {
            Ok(pack) => return Ok(pack),
            Err(cleared) => cleared,
        };
        let pack = Arc::new(PackFile::open(files, id)?);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.cleared != cleared {
            // The pack may be gone by now: a thread that forgot all packs must not find it here.
            return Ok(pack);
        }
        if state.packs.len() >= OPEN_MAX {
            let oldest = state.packs.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            oldest.map(|id| state.packs.remove(&id));
        }
        let now = state.clock;
        state.packs.insert(id, (Arc::clone(&pack), now));
        Ok(pack)
    }

    /// Forgets all packs, so that removed ones are noticed.
    pub(crate) fn clear(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.packs.clear();
        state.cleared += 1;
    }

    /// Returns an open pack, or how often all packs were forgotten so far.
    fn touch(&self, id: PackId) -> std::result::Result<Arc<PackFile>, u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let (now, cleared) = (state.clock, state.cleared);
        let (pack, used) = state.packs.get_mut(&id).ok_or(cleared)?;
        *used = now;
        Ok(Arc::clone(pack))
    }
}
