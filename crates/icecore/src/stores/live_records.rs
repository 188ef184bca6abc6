//! The live snapshot records: those of snapshots, pinned while they are read, and those inside the
//! records of volumes.

use std::collections::HashSet;

use crate::format::record::ManifestKey;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::journal::catalog::Catalog;
use crate::stores::locks::Pin;
use crate::stores::volumes;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;

/// Pins a snapshot, so that it cannot be deleted while it is read, and returns its record.
pub(crate) fn pinned(store: &Store, id: SnapshotId) -> Result<(Pin, Record)> {
    let pin = Pin::take(&store.files, id)?;
    let record = store.catalog()?.get(id)?;
    store.reload()?;
    Ok((pin, record))
}

/// Adds the snapshot that needs the bytes to an error about stored bytes.
pub(crate) fn name_snapshot(record: &Record, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => error.in_context(format!("snapshot {} ({})", record.id, record.name)),
        _ => error,
    }
}

/// How often a walk begins again because gc took out what it came to.
const WALKS_MAX: usize = 8;

/// Walks through manifests of a catalog without pins: what it comes to may be gone, because its
/// snapshot was deleted and gc has come. Then it begins again, with the catalog as it is now.
///
/// # Errors
/// Those of `walk`.
pub(crate) fn walk_unpinned<T>(store: &Store, mut walk: impl FnMut(&Catalog) -> Result<T>) -> Result<T> {
    let mut walks = 1;
    loop {
        let catalog = store.catalog()?;
        store.reload()?;
        let walked = walk(&catalog);
        let misses_something = walked.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt);
        if walks == WALKS_MAX || !misses_something || !store.catalog()?.lost_since(catalog.number) {
            return walked;
        }
        walks += 1;
    }
}

/// Calls `each` with every snapshot of a catalog except those in `except`, and with records that only
/// volumes stand on.
///
/// # Errors
/// `Corrupt` if a record is unreadable; any error of `each`.
pub(crate) fn each_other(
    store: &Store,
    catalog: &Catalog,
    except: &[ManifestKey],
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<()> {
    let snapshots = catalog.all()?;
    let others = snapshots.iter().filter(|record| except.iter().all(|key| key.id != record.id));
    others.into_iter().try_for_each(&mut *each)?;
    let known: HashSet<ManifestKey> =
        except.iter().copied().chain(snapshots.iter().map(Record::manifest_key)).collect();
    let is_known = |key| known.contains(&key);
    each_below_volumes(store, &is_known, each)
}

/// Calls `each` with the records that volumes stand on and that `is_known` does not know. These
/// have no pins, and may go when their volume no longer needs them: failures of such records are
/// left out.
///
/// # Errors
/// `Corrupt` if a record is unreadable; any error of `each`.
pub(crate) fn each_below_volumes(
    store: &Store,
    is_known: &dyn Fn(ManifestKey) -> bool,
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<()> {
    for record in all_that_is_kept(store)? {
        let key = record.manifest_key();
        if is_known(key) {
            continue;
        }
        let Err(error) = each(&record) else { continue };
        if all_that_is_kept(store)?.iter().any(|kept| kept.manifest_key() == key) {
            return Err(error);
        }
    }
    Ok(())
}

/// Returns everything that gc must leave alone: the records of all snapshots, oldest first, then
/// those below volumes whose manifest no snapshot has. A record that cannot be read is an error.
pub(crate) fn all_that_is_kept(store: &Store) -> Result<Vec<Record>> {
    all_that_is_kept_by(store, &*store.catalog()?)
}

/// Returns the same as the catalog says.
pub(crate) fn all_that_is_kept_by(store: &Store, catalog: &Catalog) -> Result<Vec<Record>> {
    let mut kept = catalog.all()?;
    let mut known: HashSet<ManifestKey> = kept.iter().map(Record::manifest_key).collect();
    let mut keep = |record: &Record| {
        if known.insert(record.manifest_key()) {
            kept.push(record.clone());
        }
    };
    let mut settled = HashSet::new();
    for (name, volume) in volumes::load_all(&store.files)? {
        let volume = volume.map_err(|error| error.in_context(format!("volume {name}")))?;
        volume.origin.iter().chain(&volume.base).for_each(&mut keep);
        // The record of a volume says what it stands on, unless a newer entry is about to change
        // that.
        if catalog.volumes().get(&volume.id).is_some_and(|stood| stood.number <= volume.stands_at) {
            settled.insert(volume.id);
        }
    }
    for stood in catalog.volumes().values().filter(|stood| !settled.contains(&stood.of.volume)) {
        if !volumes::is_lost(&store.files, &stood.of)? {
            stood.of.records().for_each(&mut keep);
        }
    }
    Ok(kept)
}
