//! Copy: copies a snapshot to another repository.

mod common;
mod proven;

use std::sync::Arc;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::live_records::pinned;
use crate::verbs::capture::CaptureOptions;
use crate::verbs::capture::CaptureReport;
use crate::verbs::capture::CopyOptions;
use crate::verbs::capture::Dating;
use crate::verbs::capture::Ending;
use crate::verbs::capture::capture_changed;
use crate::verbs::capture::capture_dated;
use crate::verbs::catalog::Snapshot;
use crate::verbs::copy::common::common_snapshot;
use crate::verbs::copy::proven::ProvenDisk;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::progress::Progress;

/// The report of a copy.
#[derive(Debug, Clone)]
pub struct CopyReport {
    /// The snapshot in the other repository; its `stats` count the data that was new there.
    pub snapshot: Snapshot,
    /// The snapshot in both repositories that this one was compared with; only the differences were
    /// read.
    pub parent: Option<SnapshotId>,
    /// Bytes of the image that were read.
    pub read_bytes: u64,
}

/// Copies a snapshot to another repository. The copy has the same id and everything else that
/// was chosen for it, but is not protected. When this returns, the copy survives a power cut. The
/// repositories may have different keys and levels.
///
/// If both repositories have a snapshot in common, only the differences from it are read; otherwise
/// everything is. Each span that is read is checked against its digest. Only data that the other
/// repository lacks is written.
///
/// # Errors
/// `NotFound` if there is no such snapshot; `AlreadyExists` if the other repository has one with
/// this id or, unless names may repeat, with this name; `Corrupt` if any of it is damaged;
/// `Interrupted` if `progress` says so. The next copy reuses everything stored until then.
pub fn copy(
    source: &Arc<Repository>,
    id: SnapshotId,
    target: &Repository,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<CopyReport> {
    target.check_writable()?;
    let (_pin, record) = pinned(&source.store, id)?;
    check_not_there(target, id)?;
    let disk = ProvenDisk::open(source, &record)?;
    let report = copy_image(source, &record, target, &disk, options, progress);
    // A capture's advice about an unreadable image does not apply to a snapshot.
    let report = report.map_err(|error| match error.kind() {
        ErrorKind::Interrupted => error,
        _ => disk.take_failure().unwrap_or(error),
    })?;
    Ok(CopyReport { snapshot: report.snapshot, parent: report.parent, read_bytes: report.read_bytes })
}

fn check_not_there(target: &Repository, id: SnapshotId) -> Result<()> {
    let there = target.catalog().and_then(|catalog| catalog.find(id));
    match there.map_err(|error| error.in_context("in the other repository"))? {
        None => Ok(()),
        Some(there) => {
            let message = format!("the other repository already has snapshot {id} ({})", there.name);
            Err(Error::new(ErrorKind::AlreadyExists, message).with_hint("there is nothing to copy"))
        }
    }
}

fn copy_image(
    source: &Repository,
    record: &Record,
    target: &Repository,
    disk: &ProvenDisk<'_>,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<CaptureReport> {
    let options = CaptureOptions::of_copy(record, options);
    let ending = Ending { dating: Dating::AsGiven, volume: None };
    if let Some(common) = common_snapshot(source, target, record, progress)? {
        let (there, changed) = (Some(&common.there), &common.changed);
        let report = capture_changed(target, disk, there, changed, &options, &ending, progress);
        match report {
            // Its pages in the target are damaged, so everything is read.
            Err(error) if error.kind() == ErrorKind::Corrupt && !disk.has_failed() => {}
            report => return report,
        }
    }
    capture_dated(target, disk, &options, &ending, progress)
}
