//! Repair: makes the index again from the packs, and says what of which snapshots is lost.

pub(crate) mod report;
mod rescue;
mod runs;

use crate::format::layout;
use crate::repository::Repository;
use crate::stores::fence;
use crate::stores::fence::Writer;
use crate::verbs::repair::rescue::put_aside;
use crate::verbs::repair::runs::Rebuild;
use crate::verbs::verify::Depth;
use crate::verbs::verify::LostRange;
use crate::verbs::verify::Scope;
use crate::verbs::verify::survey;
use crate::words::error::Result;
use crate::words::ids::RunId;
use crate::words::progress::Progress;
use crate::world::storage::LockMode;

pub use crate::verbs::repair::report::RepairIndexReport;
pub use crate::verbs::repair::report::RepairSnapshotsReport;

/// Makes the index again from the packs alone. Packs that are damaged are read record by record, and what is proven of
/// them is written to new packs.
///
/// # Errors
/// `InUse` if a gc or another repair runs; `Interrupted` if `progress` says so: the old index is still there then.
pub fn repair_index(repo: &Repository, progress: &dyn Progress) -> Result<RepairIndexReport> {
    repo.check_writable()?;
    let base = repo.base();
    let _gc = fence::lock_gc(base)?;
    let _index = fence::lock(base, layout::LOCK_INDEX, LockMode::Exclusive)?;
    let writer = Writer::begin(base)?;
    // The order matters: the packs of all runs that are listed here are among those that are listed after them, and
    // what a capture publishes meanwhile has a run that is not among these.
    let old: Vec<RunId> = base.list(layout::INDEX)?.iter().filter_map(|name| name.parse().ok()).collect();
    let mut rebuild = Rebuild::new(repo, &writer);
    rebuild.go_through_packs(progress)?;
    let (mut report, damaged) = rebuild.publish(&old)?;
    report.damaged_packs = put_aside(base, damaged)?;
    repo.store.forget_index();
    repo.store.reload()?;
    Ok(report)
}

/// Reads everything that snapshots need and says which byte ranges of which of them cannot be restored.
///
/// # Errors
/// `Interrupted` if `progress` says so.
pub fn repair_snapshots(repo: &Repository, progress: &dyn Progress) -> Result<RepairSnapshotsReport> {
    let survey = survey(repo, Scope::AllSnapshots, Depth::ReadData, progress)?;
    let mut all: Vec<LostRange> =
        survey.report.findings.into_iter().flat_map(|finding| finding.lost).collect();
    all.sort();
    let mut lost: Vec<LostRange> = Vec::with_capacity(all.len());
    for range in all {
        let end = range.offset + range.bytes;
        match lost.last_mut() {
            Some(last) if last.snapshot == range.snapshot && last.offset + last.bytes >= range.offset => {
                last.bytes = last.bytes.max(end - last.offset);
            }
            _ => lost.push(range),
        }
    }
    Ok(RepairSnapshotsReport { snapshots: survey.report.snapshots, unreadable: survey.unreadable, lost })
}
