//! The snapshot records that are live: one of them, pinned while it is read, and all that a repository keeps beside some of them.

use std::collections::HashSet;

use crate::format::record::ManifestKey;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::locks::Pin;
use crate::stores::records;
use crate::stores::volumes;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;

/// Pins a snapshot, so that it cannot be deleted while it is read, and returns its record.
pub(crate) fn pinned(store: &Store, id: SnapshotId) -> Result<(Pin, Record)> {
    let pin = Pin::take(&store.files, id)?;
    let record = records::load(&store.files, id)?;
    store.reload()?;
    Ok((pin, record))
}

/// Adds to an error about stored bytes which snapshot needs them.
pub(crate) fn name_snapshot(record: &Record, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => error.in_context(format!("snapshot {} ({})", record.id, record.name)),
        _ => error,
    }
}

/// Calls `each` with every snapshot but those of `except`, pinned meanwhile, and with what volumes stand on that no snapshot has.
/// What is deleted meanwhile is left out.
///
/// # Errors
/// `Corrupt` if a record cannot be read; whatever `each` returns.
pub(crate) fn each_other(
    store: &Store,
    except: &[ManifestKey],
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<()> {
    let snapshots = records::load_all_sound(&store.files)?;
    for id in snapshots.iter().map(|record| record.id).filter(|id| except.iter().all(|key| key.id != *id)) {
        let _pin = Pin::take(&store.files, id)?;
        match records::load(&store.files, id) {
            Ok(record) => each(&record)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let known: HashSet<ManifestKey> =
        except.iter().copied().chain(snapshots.iter().map(Record::manifest_key)).collect();
    let is_known = |key| known.contains(&key);
    each_below_volumes(store, &is_known, each)
}

/// Calls `each` with what volumes stand on and `is_known` does not know. It has no pins, and goes when its volume needs it no longer:
/// what fails then is left out.
///
/// # Errors
/// `Corrupt` if a record cannot be read; whatever `each` returns.
pub(crate) fn each_below_volumes(
    store: &Store,
    is_known: &dyn Fn(ManifestKey) -> bool,
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<()> {
    for record in volumes::all_that_is_kept(&store.files)? {
        let key = record.manifest_key();
        if is_known(key) {
            continue;
        }
        let Err(error) = each(&record) else { continue };
        if volumes::all_that_is_kept(&store.files)?.iter().any(|kept| kept.manifest_key() == key) {
            return Err(error);
        }
    }
    Ok(())
}
