//! A snapshot of a volume: what was written since the last one is read, and nothing else, while the volume is used.

use std::collections::BTreeMap;

use crate::stores::fence::Pin;
use crate::stores::records;
use crate::verbs::capture::CaptureOptions;
use crate::verbs::capture::CaptureReport;
use crate::verbs::capture::Changed;
use crate::verbs::capture::Parent;
use crate::verbs::capture::capture_changed;
use crate::verbs::catalog::check_name_is_free;
use crate::views::volume::Volume;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::progress::Progress;
use crate::words::sync::thread;
use crate::world::io::ReadAt;

/// How a snapshot of a volume is taken.
#[derive(Debug, Clone)]
pub struct VolumeSnapshotOptions {
    /// The id of the new snapshot: a fresh UUID of version 7.
    pub id: SnapshotId,
    /// The time, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// The name.
    pub name: String,
    /// Whether another snapshot of the volume may have that name.
    pub name_may_repeat: bool,
    /// Tags, without duplicates.
    pub tags: Vec<String>,
    /// What programs note about it.
    pub labels: BTreeMap<String, String>,
    /// The zstd level for new data; the repository's where none is given.
    pub level: Option<i32>,
    /// Whether compressed data is decoded and compared before it is written.
    pub check: bool,
}

/// Takes a snapshot of a volume as it is at this moment, while others read and write it. When it returns, the snapshot survives
/// a power cut, and what was written before lies in it and no longer in an overlay.
///
/// # Errors
/// As those of [`capture`](crate::capture). Nothing of the volume is lost by one: the next snapshot takes in what this one would have.
pub fn snapshot_volume(
    volume: &Volume,
    options: &VolumeSnapshotOptions,
    progress: &dyn Progress,
) -> Result<CaptureReport> {
    let _alone = volume.one_snapshot();
    let repo = volume.repo();
    let options = CaptureOptions {
        id: options.id,
        created_unix_ms: options.created_unix_ms,
        name: options.name.clone(),
        name_may_repeat: options.name_may_repeat,
        kind: volume.kind(),
        resource: volume.name().to_owned(),
        tags: options.tags.clone(),
        labels: options.labels.clone(),
        parent: Parent::None,
        level: options.level,
        check: options.check,
        trust_mtime: false,
        dry_run: false,
    };
    if !options.name_may_repeat {
        let records = records::load_all(repo.base())?;
        check_name_is_free(&records, options.kind, &options.resource, &options.name, options.id)?;
    }
    // Before the seal, which replaces the volume's record.
    repo.check_writable()?;
    let frozen = volume.freeze()?;
    // Until the volume's record names it, nobody may delete it.
    let _pin = Pin::take(repo.base(), options.id)?;
    let mut changed = Changed::default();
    for range in frozen.image.changed_spans() {
        changed.add(range)?;
    }
    let report = capture_changed(repo, &frozen.image, frozen.base.as_ref(), &changed, &options, progress)?;
    let grown = frozen.base.as_ref().is_some_and(|base| base.size_bytes < frozen.image.len());
    if !frozen.sealed.is_empty() || grown {
        volume.fold(&frozen, &records::load(repo.base(), options.id)?)?;
        // The files of the overlays are gone by name, and go by content when they are closed: with many holes in them, that can
        // take a file system seconds, for which nobody needs to wait.
        thread::spawn(move || drop(frozen));
    }
    Ok(report)
}
