//! Copy: a snapshot appears in another repository too.

mod common;
mod proven;

use std::sync::Arc;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::live_records::pinned;
use crate::stores::records;
use crate::verbs::capture::CaptureOptions;
use crate::verbs::capture::CaptureReport;
use crate::verbs::capture::CopyOptions;
use crate::verbs::capture::Dating;
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

/// What a copy did.
#[derive(Debug, Clone)]
pub struct CopyReport {
    /// The snapshot as it is in the other repository; its `stats` say what was new there.
    pub snapshot: Snapshot,
    /// The snapshot that both repositories have and that this one was compared with: only what
    /// differs was read.
    pub parent: Option<SnapshotId>,
    /// Bytes of the image that were read.
    pub read_bytes: u64,
}

/// Copies a snapshot to another repository, where it has the same id, time, name, resource, tags
/// and labels. It is not protected there. When it returns, the snapshot survives a power cut. The
/// repositories may have other keys and levels.
///
/// What differs from a snapshot that both have is read, or all of it where they have none in
/// common; each span that is read is proven by its digest. Of that, what the other repository does
/// not have is written.
///
/// # Errors
/// `NotFound` if there is no such snapshot; `AlreadyExists` if the other repository has one of this
/// id, or, unless names may repeat, one of this name; `Corrupt` if something of it is damaged;
/// `Interrupted` if `progress` says so. What was stored until then is found again by the next copy.
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
    // What a capture says of an image that cannot be read is meant for other images.
    let report = report.map_err(|error| match error.kind() {
        ErrorKind::Interrupted => error,
        _ => disk.take_failure().unwrap_or(error),
    })?;
    Ok(CopyReport { snapshot: report.snapshot, parent: report.parent, read_bytes: report.read_bytes })
}

fn check_not_there(target: &Repository, id: SnapshotId) -> Result<()> {
    match records::load(target.files(), id) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.in_context("in the other repository")),
        Ok(there) => {
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
    if let Some(common) = common_snapshot(source, target, record, progress)? {
        let (there, changed) = (Some(&common.there), &common.changed);
        let report = capture_changed(target, disk, there, changed, &options, Dating::AsGiven, progress);
        match report {
            // Pages of it are damaged there: all is read.
            Err(error) if error.kind() == ErrorKind::Corrupt && !disk.has_failed() => {}
            report => return report,
        }
    }
    capture_dated(target, disk, &options, Dating::AsGiven, progress)
}
