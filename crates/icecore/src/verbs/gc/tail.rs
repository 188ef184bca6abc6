//! The end of a gc: under the commit lock, the index is changed, running captures are told, and packs are removed. A
//! capture that began before finds the generation moved, and one that begins after finds nothing of what is gone.

use std::collections::HashSet;

use crate::format::layout;
use crate::format::record::ManifestKey;
use crate::stores::base::Base;
use crate::stores::chunks::Store;
use crate::stores::fence;
use crate::stores::fence::Held;
use crate::stores::index_writer::prepare_merged;
use crate::stores::index_writer::remove_runs;
use crate::stores::volumes;
use crate::verbs::gc::mark::needed_of;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// Takes packs out of the repository: those of `going` that no snapshot made since `marked` needs. Returns them.
/// The caller holds the index lock.
pub(crate) fn take_out(
    store: &Store,
    mut going: Vec<PackId>,
    marked: &HashSet<ManifestKey>,
) -> Result<Vec<PackId>> {
    if going.is_empty() {
        return Ok(going);
    }
    let base = &store.base;
    store.reload()?;
    let runs = store.index().runs().to_vec();
    let merged = runs.iter().map(|run| run.id).collect::<Vec<_>>();
    let mut prepared = prepare_merged(base, &runs, &going.iter().copied().collect())?;
    {
        let _commit = fence::lock_commit(base)?;
        if spare_needed(store, &mut going, marked)? {
            prepared = prepare_merged(base, &runs, &going.iter().copied().collect())?;
        }
        let run = prepared.publish()?;
        let old: Vec<_> = merged.into_iter().filter(|id| *id != run.id).collect();
        fence::next_generation(base)?;
        store.replace_runs(run, &old);
        remove_runs(base, &old)?;
        // Still under the lock: a capture could write a pack anew that has the same content, and so the same name.
        remove_packs(base, &going)?;
    }
    store.reload()?;
    Ok(going)
}

/// The same on a full disk, for packs that nothing uses: nothing is written but the generation, for which the reserve is
/// given back. The index keeps entries that lead nowhere, which is harmless; so the packs go under the lock.
pub(crate) fn take_out_on_full_disk(
    store: &Store,
    mut going: Vec<PackId>,
    marked: &HashSet<ManifestKey>,
) -> Result<Vec<PackId>> {
    if going.is_empty() {
        return Ok(going);
    }
    let base = &store.base;
    let _commit: Held = fence::lock_commit(base)?;
    base.remove(layout::RESERVE)?;
    base.sync_dir("")?;
    spare_needed(store, &mut going, marked)?;
    fence::next_generation(base)?;
    remove_packs(base, &going)?;
    store.reload()?;
    Ok(going)
}

/// Takes off the list the packs that snapshots made since `marked` need. Returns whether there were any.
fn spare_needed(store: &Store, going: &mut Vec<PackId>, marked: &HashSet<ManifestKey>) -> Result<bool> {
    let before = going.len();
    let records = volumes::all_that_is_kept(&store.base)?;
    let new: Vec<_> = records.iter().filter(|record| !marked.contains(&record.manifest_key())).collect();
    if !new.is_empty() {
        store.reload()?;
    }
    for record in new {
        // Sparing one pack can make another copy in it the one that stays, so each record is looked at with what is left.
        let needed = needed_of(store, record, going)?;
        going.retain(|pack| !needed.contains(pack));
    }
    Ok(going.len() < before)
}

fn remove_packs(base: &Base, packs: &[PackId]) -> Result<()> {
    packs.iter().try_for_each(|pack| base.remove(&layout::pack(*pack)))?;
    let dirs: HashSet<String> = packs.iter().map(|pack| layout::pack_dir(*pack)).collect();
    dirs.iter().try_for_each(|dir| base.sync_dir(dir))
}

/// Removes what dead processes left behind: temporary files and locks. Returns how many files that were.
pub(crate) fn remove_leftovers(base: &Base) -> Result<u64> {
    // Under the commit lock no record is being written; whoever writes anything else holds a writer's lock.
    let _commit = fence::lock_commit(base)?;
    let mut removed = fence::remove_dead_locks(base)?;
    // The files first: a writer that began after they were listed has none among them.
    let temps = base.list(layout::TMP)?;
    let locks = base.list(layout::LOCKS)?;
    let living: Vec<&str> = locks.iter().filter_map(|file| layout::writer_of_lock(file)).collect();
    for file in temps {
        let session = file.split('-').next().unwrap_or_default();
        if !living.contains(&session) {
            match base.remove(&format!("{}/{file}", layout::TMP)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => removed += 1,
            }
        }
    }
    Ok(removed)
}
