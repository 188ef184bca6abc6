//! The pack files of a repository.

use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// Returns the ids of all packs, sorted. Files whose names are not ids are left out.
pub(crate) fn list_packs(files: &RepositoryFiles) -> Result<Vec<PackId>> {
    let mut packs = Vec::new();
    for first in 0..=u8::MAX {
        let mut id = [0; 32];
        id[0] = first;
        let names = files.list(&layout::pack_dir(PackId(id)))?;
        packs.extend(
            names.iter().filter_map(|name| layout::id_of::<PackId>(name)).filter(|id| id.0[0] == first),
        );
    }
    packs.sort_unstable();
    Ok(packs)
}

/// A file where packs are kept, which may be no pack at all.
pub(crate) struct PackPlace {
    /// Its name, with the directories before it.
    pub(crate) path: String,
    /// The id, if that is its name and it is in the directory that the id belongs in.
    pub(crate) id: Option<PackId>,
}

/// Returns everything that is where packs are kept, sorted.
pub(crate) fn list_pack_places(files: &RepositoryFiles) -> Result<Vec<PackPlace>> {
    let mut paths = Vec::new();
    for first in 0..=u8::MAX {
        let mut id = [0; 32];
        id[0] = first;
        let dir = layout::pack_dir(PackId(id));
        paths.extend(files.list(&dir)?.into_iter().map(|file| format!("{dir}/{file}")));
    }
    let is_dir_of_packs = |name: &String| name.len() == 2 && u8::from_str_radix(name, 16).is_ok();
    let strange = files.list(layout::PACKS)?.into_iter().filter(|name| !is_dir_of_packs(name));
    paths.extend(strange.map(|file| format!("{}/{file}", layout::PACKS)));
    paths.sort();
    let place = |path: String| {
        let id = path.rsplit('/').next().and_then(|file| file.parse().ok());
        PackPlace { id: id.filter(|id| layout::pack(*id) == path), path }
    };
    Ok(paths.into_iter().map(place).collect())
}
