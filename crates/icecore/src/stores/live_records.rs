//! The live snapshot records: those of snapshots, pinned while they are read, and those inside the
//! records of volumes.

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

/// Adds the snapshot that needs the bytes to an error about stored bytes.
pub(crate) fn name_snapshot(record: &Record, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => error.in_context(format!("snapshot {} ({})", record.id, record.name)),
        _ => error,
    }
}

/// Calls `each` with every snapshot except those in `except`, pinned meanwhile, and with records
/// that only volumes stand on. Leaves out snapshots deleted meanwhile.
///
/// # Errors
/// `Corrupt` if a record is unreadable; any error of `each`.
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
