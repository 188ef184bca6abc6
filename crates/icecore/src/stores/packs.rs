//! The pack files of a repository.

use crate::format::layout;
use crate::stores::base::Base;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// Returns the ids of all packs, sorted. Files whose names are not ids are left out.
pub(crate) fn list_packs(base: &Base) -> Result<Vec<PackId>> {
    let mut packs = Vec::new();
    for first in 0..=u8::MAX {
        let mut id = [0; 32];
        id[0] = first;
        let names = base.list(&layout::pack_dir(PackId(id)))?;
        packs.extend(
            names.iter().filter_map(|name| name.parse::<PackId>().ok()).filter(|id| id.0[0] == first),
        );
    }
    packs.sort_unstable();
    Ok(packs)
}
