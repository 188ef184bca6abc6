//! The snapshots that two repositories share. Their data need not be read for a copy.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::live_records::pinned;
use crate::stores::locks::Pin;
use crate::verbs::capture::Changed;
use crate::verbs::diff::Change;
use crate::verbs::diff::diff;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::progress::Progress;

/// A snapshot that both repositories have.
pub(crate) struct Common {
    /// Its record in the target repository.
    pub(crate) there: Record,
    /// The ranges where the copied snapshot may differ from it.
    pub(crate) changed: Changed,
    /// Keeps it from being deleted in the target.
    _pin: Pin,
}

/// Returns the closest snapshot to `record` that both repositories have. It only saves time, so a
/// snapshot with unreadable parts is skipped.
pub(crate) fn common_snapshot(
    source: &Repository,
    target: &Repository,
    record: &Record,
    progress: &dyn Progress,
) -> Result<Option<Common>> {
    for id in candidates(source, target, record)? {
        let (pin, there) = match pinned(&target.store, id) {
            Ok(there) => there,
            Err(error) if may_pass_over(&error) => continue,
            Err(error) => return Err(error),
        };
        match changed_since(source, id, &there, record, progress) {
            Ok(changed) => return Ok(Some(Common { there, changed, _pin: pin })),
            Err(error) if may_pass_over(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Tells whether an error concerns a single snapshot, so that another one can be used.
fn may_pass_over(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt)
}

/// Returns the relatives of `record` that both repositories have, closest first.
fn candidates(source: &Repository, target: &Repository, record: &Record) -> Result<Vec<SnapshotId>> {
    let there: HashMap<SnapshotId, Record> =
        target.catalog()?.all()?.into_iter().map(|there| (there.id, there)).collect();
    let here = source.catalog()?.all()?.into_iter();
    let same_key = source.config.id == target.config.id;
    let is_common = |here: &Record| {
        there.get(&here.id).is_some_and(|there| {
            (here.created_unix_ms, here.size_bytes) == (there.created_unix_ms, there.size_bytes)
                && (!same_key || here.content == there.content)
        })
    };
    let is_same = |other: &Record| (other.kind, &other.resource) == (record.kind, &record.resource);
    let is_relative =
        |other: &Record| is_same(other) || record.parent == Some(other.id) || other.parent == Some(record.id);
    // A base larger than the image is useless.
    let mut common: Vec<Record> = here
        .filter(|other| other.id != record.id && other.size_bytes <= record.size_bytes)
        .filter(|other| is_relative(other) && is_common(other))
        .collect();
    common.sort_by_key(|other| {
        let apart = other.created_unix_ms.abs_diff(record.created_unix_ms);
        (Reverse(is_same(other)), apart, other.id)
    });
    Ok(common.iter().map(|other| other.id).collect())
}

/// Returns the differences between a snapshot and `record` according to the source's manifests.
/// Reads no data.
fn changed_since(
    source: &Repository,
    id: SnapshotId,
    there: &Record,
    record: &Record,
    progress: &dyn Progress,
) -> Result<Changed> {
    let mut changed = Changed::default();
    diff(source, id, record.id, &mut |range| {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        // A range beyond the end of a base is zero unless it is listed as changed.
        if range.change == Change::Zero && range.offset >= there.size_bytes {
            return Ok(());
        }
        changed.add(range.offset..range.offset + range.bytes)
    })?;
    Ok(changed)
}
