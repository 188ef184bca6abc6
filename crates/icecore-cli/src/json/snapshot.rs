//! JSON of snapshots and of the commands on them.

use std::collections::BTreeMap;
use std::time::Duration;

use icecore::image::TargetEnd;
use icecore::snapshot::CaptureReport;
use icecore::snapshot::Change;
use icecore::snapshot::CopyReport;
use icecore::snapshot::ImageMap;
use icecore::snapshot::MapCell;
use icecore::snapshot::RestoreReport;
use serde::Serialize;

use crate::units;
use crate::units::rounded;

/// A snapshot.
#[derive(Serialize)]
pub(crate) struct Snapshot {
    id: String,
    name: String,
    created: Option<String>,
    resource: String,
    #[serde(rename = "type")]
    kind: &'static str,
    min_disk_gib: u64,
    size_bytes: u64,
    data_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    manifest_bytes: u64,
    tags: Vec<String>,
    protected: bool,
    parent: Option<String>,
    content: String,
    labels: BTreeMap<String, String>,
}

impl From<&icecore::snapshot::Snapshot> for Snapshot {
    fn from(snapshot: &icecore::snapshot::Snapshot) -> Self {
        Self {
            id: snapshot.id.to_string(),
            name: snapshot.name.clone(),
            created: units::time_exact(snapshot.created_unix_ms),
            resource: snapshot.resource.clone(),
            kind: snapshot.kind.as_str(),
            min_disk_gib: snapshot.min_disk_gib(),
            size_bytes: snapshot.size_bytes,
            data_bytes: snapshot.stats.data_bytes,
            new_bytes: snapshot.stats.new_bytes,
            stored_bytes: snapshot.stats.stored_bytes,
            manifest_bytes: snapshot.stats.manifest_bytes,
            tags: snapshot.tags.clone(),
            protected: snapshot.protected,
            parent: snapshot.parent.map(|id| id.to_string()),
            content: snapshot.content.to_string(),
            labels: snapshot.labels.clone(),
        }
    }
}

/// A deleted snapshot.
#[derive(Serialize)]
pub(crate) struct DeletedSnapshot {
    #[serde(flatten)]
    snapshot: Snapshot,
    deleted: Option<String>,
}

impl From<&icecore::snapshot::DeletedSnapshot> for DeletedSnapshot {
    fn from(deleted: &icecore::snapshot::DeletedSnapshot) -> Self {
        Self {
            snapshot: Snapshot::from(&deleted.snapshot),
            deleted: units::time_exact(deleted.deleted_unix_ms),
        }
    }
}

/// The result of `snapshot list`.
#[derive(Serialize)]
pub(crate) struct ListResult {
    /// The selected snapshots.
    pub(crate) snapshots: Vec<Snapshot>,
    /// The ids of those dated later than now.
    pub(crate) from_the_future: Vec<String>,
}

/// The result of `snapshot list --deleted`.
#[derive(Serialize)]
pub(crate) struct ListDeletedResult {
    /// The selected snapshots.
    pub(crate) snapshots: Vec<DeletedSnapshot>,
}

/// The result of `snapshot undelete`.
#[derive(Serialize)]
pub(crate) struct UndeleteResult {
    /// The restored snapshots.
    pub(crate) restored: Vec<Snapshot>,
}

/// The result of `snapshot get`.
#[derive(Serialize)]
pub(crate) struct SnapshotsResult {
    /// The named snapshots.
    pub(crate) snapshots: Vec<Snapshot>,
}

/// The result of `snapshot rename`, `tag`, `protect` and `unprotect`.
#[derive(Serialize)]
pub(crate) struct SnapshotResult {
    /// The snapshot as it is now.
    pub(crate) snapshot: Snapshot,
}

/// The result of `snapshot delete`.
#[derive(Serialize)]
pub(crate) struct DeleteResult {
    /// The deleted snapshots.
    pub(crate) deleted: Vec<Snapshot>,
}

/// The result of `snapshot create`.
#[derive(Serialize)]
pub(crate) struct CreateResult {
    snapshot: Snapshot,
    dry_run: bool,
    repository_created: bool,
    parent: Option<String>,
    read_bytes: u64,
    unchanged: bool,
    trusted_mtime: bool,
    changed_while_read: bool,
    clock_behind_ms: Option<u64>,
    oddities: Vec<&'static str>,
    dedup_ratio: Option<f64>,
    compression_ratio: Option<f64>,
    elapsed_ms: u64,
}

/// Circumstances of a capture.
pub(crate) struct Made {
    /// Whether nothing was written.
    pub(crate) dry_run: bool,
    /// Whether the command created the repository.
    pub(crate) repository_created: bool,
    /// How far the clock is behind its time.
    pub(crate) behind_ms: Option<u64>,
    /// Oddities of the image.
    pub(crate) oddities: Vec<&'static str>,
}

impl CreateResult {
    pub(crate) fn new(
        report: &CaptureReport,
        Made { dry_run, repository_created, behind_ms, oddities }: Made,
        elapsed: Duration,
    ) -> Self {
        let stats = &report.snapshot.stats;
        Self {
            snapshot: Snapshot::from(&report.snapshot),
            dry_run,
            repository_created,
            parent: report.parent.map(|id| id.to_string()),
            read_bytes: report.read_bytes,
            unchanged: report.unchanged,
            trusted_mtime: report.trusted_mtime,
            changed_while_read: report.changed_while_read,
            clock_behind_ms: behind_ms,
            oddities,
            dedup_ratio: rounded(units::ratio(stats.data_bytes, stats.new_bytes)),
            compression_ratio: rounded(units::ratio(stats.new_bytes, stats.stored_bytes)),
            elapsed_ms: units::milliseconds(elapsed),
        }
    }
}

/// The result of `snapshot copy`.
#[derive(Serialize)]
pub(crate) struct CopyResult {
    /// The copies, in the order of copying.
    pub(crate) copied: Vec<CopiedSnapshot>,
}

/// A snapshot of `snapshot copy`.
#[derive(Serialize)]
pub(crate) struct CopiedSnapshot {
    snapshot: Snapshot,
    was_there: bool,
    parent: Option<String>,
    read_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    manifest_bytes: u64,
    elapsed_ms: u64,
}

impl CopiedSnapshot {
    /// Returns the entry of a snapshot in the other repository; `None` for a report means that it
    /// was already there.
    pub(crate) fn new(snapshot: &icecore::snapshot::Snapshot, done: Option<&(CopyReport, Duration)>) -> Self {
        let stats = done.map(|(report, _)| report.snapshot.stats).unwrap_or_default();
        Self {
            snapshot: Snapshot::from(snapshot),
            was_there: done.is_none(),
            parent: done.and_then(|(report, _)| report.parent).map(|id| id.to_string()),
            read_bytes: done.map_or(0, |(report, _)| report.read_bytes),
            new_bytes: stats.new_bytes,
            stored_bytes: stats.stored_bytes,
            manifest_bytes: stats.manifest_bytes,
            elapsed_ms: done.map_or(0, |(_, elapsed)| units::milliseconds(*elapsed)),
        }
    }
}

/// A range of `snapshot diff`.
#[derive(Serialize)]
pub(crate) struct ChangedRange {
    offset: u64,
    bytes: u64,
    change: &'static str,
}

impl From<icecore::snapshot::ChangedRange> for ChangedRange {
    fn from(range: icecore::snapshot::ChangedRange) -> Self {
        Self { offset: range.offset, bytes: range.bytes, change: change_name(range.change) }
    }
}

/// Returns the word for a change.
pub(crate) fn change_name(change: Change) -> &'static str {
    match change {
        Change::Data => "data",
        Change::Zero => "zero",
        Change::Gone => "gone",
    }
}

/// The totals of `snapshot diff`.
#[derive(Serialize)]
pub(crate) struct DiffTotals {
    ranges: u64,
    data_bytes: u64,
    zero_bytes: u64,
    gone_bytes: u64,
    pages_read: u64,
}

impl From<icecore::snapshot::DiffTotals> for DiffTotals {
    fn from(totals: icecore::snapshot::DiffTotals) -> Self {
        Self {
            ranges: totals.ranges,
            data_bytes: totals.data_bytes,
            zero_bytes: totals.zero_bytes,
            gone_bytes: totals.gone_bytes,
            pages_read: totals.pages_read,
        }
    }
}

/// The result of `snapshot map`.
#[derive(Serialize)]
pub(crate) struct MapResult {
    snapshot: Snapshot,
    against: Option<Snapshot>,
    cell_bytes: u64,
    cells: Vec<Cell>,
}

/// A part of an image.
#[derive(Serialize)]
struct Cell {
    data_bytes: u64,
    shared_bytes: u64,
    changed_bytes: Option<u64>,
}

impl From<&ImageMap> for MapResult {
    fn from(map: &ImageMap) -> Self {
        let cell = |cell: &MapCell| Cell {
            data_bytes: cell.data_bytes,
            shared_bytes: cell.shared_bytes,
            changed_bytes: map.against.as_ref().map(|_| cell.changed_bytes),
        };
        Self {
            snapshot: Snapshot::from(&map.snapshot),
            against: map.against.as_ref().map(Snapshot::from),
            cell_bytes: map.cell_bytes,
            cells: map.cells.iter().map(cell).collect(),
        }
    }
}

/// The result of `restore`.
#[derive(Serialize)]
pub(crate) struct RestoreResult {
    snapshot: Snapshot,
    target: String,
    mode: &'static str,
    image_bytes: u64,
    data_bytes: u64,
    written_bytes: u64,
    kept_bytes: u64,
    zeroed_bytes: u64,
    cut_bytes: u64,
    left_bytes: u64,
    stored_bytes_read: u64,
    packs_healed: u64,
    bad_bytes: u64,
    bad: Vec<BadRange>,
    elapsed_ms: u64,
}

/// The outcome of a restore.
pub(crate) struct Restored {
    pub(crate) report: RestoreReport,
    /// What the target has beyond the requested size.
    pub(crate) end: TargetEnd,
}

/// A range of an image that could not be restored.
#[derive(Serialize)]
struct BadRange {
    offset: u64,
    bytes: u64,
    problem: String,
}

impl RestoreResult {
    pub(crate) fn new(
        snapshot: &icecore::snapshot::Snapshot,
        target: String,
        mode: &'static str,
        restored: &Restored,
        elapsed: Duration,
    ) -> Self {
        let Restored { report, end } = restored;
        let range = |range: &icecore::snapshot::BadRange| BadRange {
            offset: range.offset,
            bytes: range.bytes,
            problem: range.problem.clone(),
        };
        Self {
            snapshot: Snapshot::from(snapshot),
            target,
            mode,
            image_bytes: report.image_bytes,
            data_bytes: report.data_bytes,
            written_bytes: report.written_bytes,
            kept_bytes: report.kept_bytes,
            zeroed_bytes: report.zeroed_bytes,
            cut_bytes: end.cut_bytes,
            left_bytes: end.left_bytes,
            stored_bytes_read: report.stored_bytes_read,
            packs_healed: report.packs_healed,
            bad_bytes: report.bad.bytes,
            bad: report.bad.ranges.iter().map(range).collect(),
            elapsed_ms: units::milliseconds(elapsed),
        }
    }
}
