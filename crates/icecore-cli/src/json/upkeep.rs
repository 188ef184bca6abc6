//! JSON of the commands on a whole repository, and of the rest.

use icecore::maintenance::LostRange;
use icecore::maintenance::ParityReport;
use icecore::maintenance::RepairCatalogReport;
use icecore::maintenance::RepairIndexReport;
use icecore::maintenance::RepairPacksReport;
use icecore::maintenance::RepairSnapshotsReport;
use icecore::maintenance::StatsReport;
use icecore::maintenance::VerifyReport;
use icecore::maintenance::gc::GcTotals;
use serde::Serialize;

use crate::hints::problem_of;
use crate::json::repo::Store;
use crate::json::snapshot::Snapshot;
use crate::units;

/// The result of `init`.
#[derive(Serialize)]
pub(crate) struct InitResult {
    /// Its address.
    pub(crate) repository: String,
    /// Its id.
    pub(crate) id: String,
    /// The time of its creation.
    pub(crate) created: Option<String>,
    /// Whether it is sealed.
    pub(crate) sealed: bool,
    /// What its store keeps, if it is in a bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<Store>,
}

/// The result of `parity`.
#[derive(Serialize)]
pub(crate) struct ParityResult {
    scheme: Option<String>,
    packs: u64,
    packs_without: u64,
    groups: u64,
    parity_bytes: u64,
    refused: Vec<DamagedPack>,
}

impl From<&ParityReport> for ParityResult {
    fn from(report: &ParityReport) -> Self {
        let refused = report.refused.iter();
        Self {
            scheme: report.scheme.map(|scheme| scheme.to_string()),
            packs: report.packs,
            packs_without: report.packs_without,
            groups: report.groups,
            parity_bytes: report.parity_bytes,
            refused: refused
                .map(|(pack, problem)| DamagedPack { pack: pack.to_string(), problem: problem.clone() })
                .collect(),
        }
    }
}

/// A lost range of a snapshot.
#[derive(Serialize)]
struct Lost {
    snapshot: String,
    name: String,
    offset: u64,
    bytes: u64,
}

fn lost(ranges: &[LostRange]) -> Vec<Lost> {
    let lost = |range: &LostRange| Lost {
        snapshot: range.snapshot.to_string(),
        name: range.name.clone(),
        offset: range.offset,
        bytes: range.bytes,
    };
    ranges.iter().map(lost).collect()
}

#[derive(Serialize)]
struct Finding {
    object: String,
    problem: String,
    lost: Vec<Lost>,
}

/// The result of `verify`.
#[derive(Serialize)]
pub(crate) struct VerifyResult {
    snapshots: u64,
    pages: u64,
    packs: u64,
    chunks: u64,
    chunks_read: u64,
    stored_bytes_read: u64,
    packs_read: u64,
    packs_left: u64,
    packs_never_read: u64,
    oldest_read: Option<String>,
    packs_without_parity: u64,
    findings: Vec<Finding>,
}

impl From<&VerifyReport> for VerifyResult {
    fn from(report: &VerifyReport) -> Self {
        let finding = |finding: &icecore::maintenance::Finding| Finding {
            object: finding.object.clone(),
            problem: problem_of(finding),
            lost: lost(&finding.lost),
        };
        Self {
            snapshots: report.snapshots,
            pages: report.pages,
            packs: report.packs,
            chunks: report.chunks,
            chunks_read: report.chunks_read,
            stored_bytes_read: report.stored_bytes_read,
            packs_read: report.packs_read,
            packs_left: report.packs_left,
            packs_never_read: report.packs_never_read,
            oldest_read: report.oldest_read_unix_ms.and_then(units::time_exact),
            packs_without_parity: report.packs_without_parity,
            findings: report.findings.iter().map(finding).collect(),
        }
    }
}

/// The result of `gc`.
#[derive(Serialize)]
pub(crate) struct GcResult {
    dry_run: bool,
    packs: u64,
    pack_bytes: u64,
    used_bytes: u64,
    packs_removed: u64,
    packs_rewritten: u64,
    chunks_punched: u64,
    freed_bytes: u64,
    unused_bytes_kept: u64,
    packs_condemned: u64,
    packs_retained: u64,
    retained_bytes: u64,
    leftovers_removed: u64,
}

impl GcResult {
    pub(crate) fn new(totals: &GcTotals, dry_run: bool) -> Self {
        Self {
            dry_run,
            packs: totals.packs,
            pack_bytes: totals.pack_bytes,
            used_bytes: totals.used_bytes,
            packs_removed: totals.packs_removed,
            packs_rewritten: totals.packs_rewritten,
            chunks_punched: totals.chunks_punched,
            freed_bytes: totals.freed_bytes,
            unused_bytes_kept: totals.unused_bytes_kept,
            packs_condemned: totals.packs_condemned,
            packs_retained: totals.packs_retained,
            retained_bytes: totals.retained_bytes,
            leftovers_removed: totals.leftovers_removed,
        }
    }
}

#[derive(Serialize)]
struct DamagedPack {
    pack: String,
    problem: String,
}

/// A file of the catalog.
#[derive(Serialize)]
struct MendedFile {
    file: String,
    problem: String,
}

/// The result of `repair catalog`.
#[derive(Serialize)]
pub(crate) struct RepairCatalogResult {
    dry_run: bool,
    mended: Vec<MendedFile>,
    lost_entries: Vec<u64>,
    found: Vec<String>,
    snapshots: u64,
}

impl RepairCatalogResult {
    pub(crate) fn new(report: RepairCatalogReport, dry_run: bool) -> Self {
        let mended = |(file, problem)| MendedFile { file, problem };
        Self {
            dry_run,
            mended: report.mended.into_iter().map(mended).collect(),
            lost_entries: report.lost,
            found: report.found.iter().map(|snapshot| snapshot.id.to_string()).collect(),
            snapshots: report.snapshots,
        }
    }
}

/// The result of `repair index`.
#[derive(Serialize)]
pub(crate) struct RepairIndexResult {
    packs: u64,
    chunks: u64,
    blocks: u64,
    damaged_packs: Vec<DamagedPack>,
    chunks_saved: u64,
    put_back: Vec<String>,
}

impl From<RepairIndexReport> for RepairIndexResult {
    fn from(report: RepairIndexReport) -> Self {
        let damaged = |(pack, problem)| DamagedPack { pack, problem };
        Self {
            packs: report.packs,
            chunks: report.chunks,
            blocks: report.blocks,
            damaged_packs: report.damaged_packs.into_iter().map(damaged).collect(),
            chunks_saved: report.chunks_saved,
            put_back: report.put_back.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The result of `repair packs`.
#[derive(Serialize)]
pub(crate) struct RepairPacksResult {
    dry_run: bool,
    packs: u64,
    put_back: Vec<String>,
    groups_made: u64,
    damaged_packs: Vec<DamagedPack>,
    chunks_kept: u64,
    chunks_brought_back: u64,
    blocks_lost: u64,
    pages_lost: u64,
    unopened: Vec<DamagedPack>,
    lost: Vec<Lost>,
}

impl RepairPacksResult {
    pub(crate) fn new(report: RepairPacksReport, dry_run: bool) -> Self {
        let damaged = |packs: Vec<(String, String)>| {
            packs.into_iter().map(|(pack, problem)| DamagedPack { pack, problem }).collect()
        };
        Self {
            dry_run,
            packs: report.packs,
            put_back: report.put_back.iter().map(ToString::to_string).collect(),
            groups_made: report.groups_made,
            damaged_packs: damaged(report.damaged_packs),
            chunks_kept: report.chunks_kept,
            chunks_brought_back: report.chunks_brought_back,
            blocks_lost: report.blocks_lost,
            pages_lost: report.pages_lost,
            unopened: damaged(report.unopened),
            lost: lost(&report.lost),
        }
    }
}

/// The result of `repair snapshots`.
#[derive(Serialize)]
pub(crate) struct RepairSnapshotsResult {
    snapshots: u64,
    lost: Vec<Lost>,
}

impl From<RepairSnapshotsReport> for RepairSnapshotsResult {
    fn from(report: RepairSnapshotsReport) -> Self {
        Self { snapshots: report.snapshots, lost: lost(&report.lost) }
    }
}

#[derive(Serialize)]
struct RepositoryStats {
    snapshots: u64,
    logical_bytes: u64,
    data_bytes: u64,
    unique_bytes: u64,
    stored_bytes: u64,
    metadata_bytes: u64,
    parity_bytes: u64,
    volume_bytes: u64,
    unused_bytes: u64,
    total_bytes: u64,
}

#[derive(Serialize)]
struct SnapshotStats {
    snapshot: Snapshot,
    data_bytes: u64,
    unique_bytes: u64,
    own_bytes: u64,
    shared_bytes: u64,
    own_stored_bytes: u64,
}

/// The result of `stats`.
#[derive(Serialize)]
pub(crate) struct StatsResult {
    repository: RepositoryStats,
    snapshots: Vec<SnapshotStats>,
}

impl From<&StatsReport> for StatsResult {
    fn from(report: &StatsReport) -> Self {
        let all = &report.repository;
        let snapshot = |stats: &icecore::snapshot::SnapshotStats| SnapshotStats {
            snapshot: Snapshot::from(&stats.snapshot),
            data_bytes: stats.data_bytes,
            unique_bytes: stats.unique_bytes,
            own_bytes: stats.own_bytes,
            shared_bytes: stats.shared_bytes,
            own_stored_bytes: stats.own_stored_bytes,
        };
        Self {
            repository: RepositoryStats {
                snapshots: all.snapshots,
                logical_bytes: all.logical_bytes,
                data_bytes: all.data_bytes,
                unique_bytes: all.unique_bytes,
                stored_bytes: all.stored_bytes,
                metadata_bytes: all.metadata_bytes,
                parity_bytes: all.parity_bytes,
                volume_bytes: all.volume_bytes,
                unused_bytes: all.unused_bytes,
                total_bytes: all.total_bytes,
            },
            snapshots: report.snapshots.iter().map(snapshot).collect(),
        }
    }
}

/// The result of `completions`.
#[derive(Serialize)]
pub(crate) struct CompletionsResult {
    /// The name of the shell.
    pub(crate) shell: String,
    /// The script for the shell.
    pub(crate) script: String,
}

/// The result of `man`.
#[derive(Serialize)]
pub(crate) struct ManResult {
    /// The pages written.
    pub(crate) files: Vec<String>,
}

/// The result of `markdown`.
#[derive(Serialize)]
pub(crate) struct MarkdownResult {
    /// The reference of all commands.
    pub(crate) markdown: String,
}

/// A snapshot that `demo` made.
#[derive(Serialize)]
pub(crate) struct DemoStep {
    /// The snapshot in the demonstration's repository.
    pub(crate) snapshot: Snapshot,
    /// The duration of the capture.
    pub(crate) capture_ms: u64,
    /// The duration of the restore.
    pub(crate) restore_ms: u64,
    /// Whether the restored file was equal to the image.
    pub(crate) equal: bool,
}

/// The result of `demo`.
#[derive(Serialize)]
pub(crate) struct DemoResult {
    /// The snapshots, oldest first.
    pub(crate) steps: Vec<DemoStep>,
    /// The sizes of the images.
    pub(crate) image_bytes: u64,
    /// The size of the data in them.
    pub(crate) data_bytes: u64,
    /// The size of the repository.
    pub(crate) repository_bytes: u64,
    /// The directory that was kept, if any.
    pub(crate) kept: Option<String>,
}
