//! Takes hold of a snapshot to read it.

use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::fence::Pin;
use crate::stores::records;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;

/// Pins a snapshot, so that it cannot be deleted while it is read, and returns its record.
pub(crate) fn pinned(store: &Store, id: SnapshotId) -> Result<(Pin, Record)> {
    let pin = Pin::take(&store.base, id)?;
    let record = records::load(&store.base, id)?;
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
