//! Missing or damaged packs, rebuilt from their parity groups.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::stores::pack::file::PackFile;
use crate::stores::parity::group::Groups;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// The bytes copied at a time.
const COPIED_AT_ONCE: usize = 1 << 20;

/// For each pack looked for: the pack as rebuilt from its parity group, or none if no group can
/// rebuild it.
#[derive(Default)]
pub(crate) struct RebuiltPacks(Mutex<BTreeMap<PackId, Option<Arc<PackFile>>>>);

impl RebuiltPacks {
    fn packs(&self) -> MutexGuard<'_, BTreeMap<PackId, Option<Arc<PackFile>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a pack that was rebuilt earlier.
    pub(crate) fn known(&self, id: PackId) -> Option<Arc<PackFile>> {
        self.packs().get(&id).cloned().flatten()
    }

    /// Returns a pack rebuilt from its parity group. Looks for it only once.
    pub(crate) fn get(&self, files: &RepositoryFiles, id: PackId) -> Option<Arc<PackFile>> {
        let mut packs = self.packs();
        if let Some(known) = packs.get(&id) {
            return known.clone();
        }
        // If parity cannot be read, the pack stays as damaged as it is; its own error is the one to
        // report.
        let pack = Groups::load(files).ok().and_then(|groups| rebuilt(files, &groups, id)).map(Arc::new);
        packs.insert(id, pack.clone());
        pack
    }

    /// Returns all rebuilt packs.
    pub(crate) fn all(&self) -> Vec<Arc<PackFile>> {
        self.packs().values().flatten().cloned().collect()
    }

    /// Forgets the packs that could not be rebuilt, so that the next call looks for them again.
    pub(crate) fn forget_failed(&self) {
        self.packs().retain(|_, pack| pack.is_some());
    }

    /// Forgets a pack.
    pub(crate) fn forget(&self, id: PackId) {
        self.packs().remove(&id);
    }
}

/// Returns a pack rebuilt from its parity group, if the result is the pack of this id.
pub(crate) fn rebuilt(files: &RepositoryFiles, groups: &Groups, id: PackId) -> Option<PackFile> {
    let mut packs = groups
        .rebuilt(files, id)
        .into_iter()
        .filter_map(|file| PackFile::from_file(files, id, Box::new(file)).ok());
    packs.find(|pack| pack.has_its_id(files))
}

/// Writes a rebuilt pack to its proper place, replacing the file there. Every byte is proven to be
/// what was there when the parity was made.
pub(crate) fn write_back(files: &RepositoryFiles, pack: &PackFile) -> Result<()> {
    let mut file = files.temp_file()?;
    let mut buffer = vec![0; COPIED_AT_ONCE];
    let mut offset = 0;
    while offset < pack.bytes {
        let bytes =
            usize::try_from(pack.bytes - offset).map_or(COPIED_AT_ONCE, |rest| rest.min(COPIED_AT_ONCE));
        pack.read_at(offset, &mut buffer[..bytes])?;
        file.append(&buffer[..bytes])?;
        offset += bytes as u64;
    }
    file.publish(&layout::pack(pack.id)).map_err(|error: Error| error.in_context("putting back a pack"))
}
