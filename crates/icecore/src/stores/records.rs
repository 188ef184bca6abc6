//! The records of snapshots, one file each.

use crate::format::layout;
use crate::format::record::Record;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::world::storage::read_all;

/// The longest record file: names, tags and a few numbers.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// Returns one record.
///
/// # Errors
/// `NotFound` if there is none with this id; `Corrupt` if it is unreadable.
pub(crate) fn load(files: &RepositoryFiles, id: SnapshotId) -> Result<Record> {
    let bytes = read_all(&*files.storage, &layout::snapshot(id), RECORD_BYTES_MAX).map_err(|error| {
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}"))
            }
            _ => Error::stored_io(format!("reading the record of snapshot {id}"), error),
        }
    })?;
    let (record, _) = Record::decode(&bytes, &files.hasher).map_err(|error| {
        Error::corrupt(format!("the record of snapshot {id} is damaged: {error}")).with_hint(
            "its data may still exist: keep the repository unchanged and look for a copy of the record",
        )
    })?;
    if record.id != id {
        return Err(Error::corrupt(format!("the record of snapshot {id} belongs to snapshot {}", record.id)));
    }
    Ok(record)
}

/// The result of reading one record: its file's name, and the record or the reason why it is
/// unreadable.
pub(crate) type Loaded = (String, Result<Record>);

/// Returns all records, in no order. Leaves out records that disappear meanwhile, and foreign
/// files, whose names are not ids.
///
/// # Errors
/// `OutOfResources` and `PermissionDenied`: then nothing is known about the records.
pub(crate) fn load_all(files: &RepositoryFiles) -> Result<Vec<Loaded>> {
    let mut loaded = Vec::new();
    for file in files.list(layout::SNAPSHOTS)? {
        let Some(id) = layout::id_of(&file) else { continue };
        match load(files, id) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.says_nothing_of_what_is_stored() => return Err(error),
            record => loaded.push((file, record)),
        }
    }
    Ok(loaded)
}

/// Returns all records, oldest first; an unreadable one is an error.
pub(crate) fn load_all_sound(files: &RepositoryFiles) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for (file, record) in load_all(files)? {
        records.push(record.map_err(|error| error.in_context(format!("snapshots/{file}")))?);
    }
    records.sort_by_key(|record| (record.created_unix_ms, record.id));
    Ok(records)
}

/// Publishes a record: the snapshot exists, or is changed, when this returns. The caller holds the
/// commit lock.
pub(crate) fn save(files: &RepositoryFiles, record: &Record) -> Result<()> {
    let bytes = record
        .encode(&files.hasher)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, format!("cannot encode the record: {error}")))?;
    files.publish_bytes(&layout::snapshot(record.id), &bytes)
}

/// Removes a record. The caller holds the commit lock.
pub(crate) fn remove(files: &RepositoryFiles, id: SnapshotId) -> Result<()> {
    files.remove(&layout::snapshot(id))?;
    files.sync_dir(layout::SNAPSHOTS)
}
