//! The pack files of a repository.

use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// Returns the ids of all packs, sorted. Files whose names are not ids are left out.
pub(crate) fn list_packs(files: &RepositoryFiles) -> Result<Vec<PackId>> {
    let names = files.list(layout::PACKS)?;
    let mut packs: Vec<PackId> = names.iter().filter_map(|name| layout::id_of(name)).collect();
    packs.sort_unstable();
    Ok(packs)
}

/// A file where packs are kept, which may be no pack at all.
pub(crate) struct PackPlace {
    /// Its name, with the directory before it.
    pub(crate) path: String,
    /// The id, if that is its name.
    pub(crate) id: Option<PackId>,
}

/// Returns everything that is where packs are kept, sorted.
pub(crate) fn list_pack_places(files: &RepositoryFiles) -> Result<Vec<PackPlace>> {
    let mut names = files.list(layout::PACKS)?;
    names.sort();
    let place =
        |name: String| PackPlace { id: layout::id_of(&name), path: format!("{}/{name}", layout::PACKS) };
    Ok(names.into_iter().map(place).collect())
}
