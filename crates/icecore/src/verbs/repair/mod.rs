//! Repair: rebuilds the index from the packs, repairs packs, and reports which parts of which
//! snapshots are lost.

mod catalog;
mod damaged_packs;
mod packs;
mod parity;
mod recover_pack;
pub(crate) mod report;
mod runs;

use crate::format::layout;
use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::pack::audit::open_sound;
pub use crate::verbs::repair::catalog::RepairCatalogReport;
pub use crate::verbs::repair::catalog::repair_catalog;
use crate::verbs::repair::damaged_packs::put_aside;
use crate::verbs::repair::packs::repair_damaged_packs;
use crate::verbs::repair::packs::with_locks;
use crate::verbs::repair::parity::Look;
use crate::verbs::repair::parity::put_back;
use crate::verbs::repair::parity::renew;
use crate::verbs::repair::runs::Rebuild;
use crate::verbs::verify::Depth;
use crate::verbs::verify::Finding;
use crate::verbs::verify::LostRange;
use crate::verbs::verify::Scope;
use crate::verbs::verify::survey;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::progress::Progress;

pub use crate::verbs::repair::report::RepairIndexReport;
pub use crate::verbs::repair::report::RepairPacksReport;
pub use crate::verbs::repair::report::RepairSnapshotsReport;

/// Rebuilds the index from the packs alone. Reads damaged packs record by record, and writes the
/// records that match their ids to new packs.
///
/// # Errors
/// `InUse` if a gc or another repair runs; `Interrupted` if `progress` says so: the old index is
/// then still there.
pub fn repair_index(repo: &Repository, progress: &dyn Progress) -> Result<RepairIndexReport> {
    with_locks(repo, |writer| {
        let files = repo.files();
        let shortages = files.place.shortages.count();
        let put_back = put_back(repo, Look::Directories, false, progress)?;
        // The order matters: packs are listed after these runs, so the list includes the packs of
        // all runs here. A capture that publishes meanwhile adds a run that is not among these.
        let old: Vec<RunId> =
            files.list(layout::INDEX)?.iter().filter_map(|name| layout::id_of(name)).collect();
        let mut rebuild = Rebuild::new(repo, writer);
        rebuild.go_through_packs(progress)?;
        // A read that failed for want of descriptors or memory does not mean damage.
        files.place.shortages.check(shortages)?;
        let (mut report, damaged) = rebuild.publish(&old)?;
        report.damaged_packs = put_aside(repo, damaged, &|id| is_sound(files, id))?;
        report.put_back = put_back;
        repo.store.forget_index();
        repo.store.reload()?;
        Ok(report)
    })
}

/// Tells whether a pack is sound as a whole.
fn is_sound(files: &RepositoryFiles, id: PackId) -> Result<bool> {
    match open_sound(files, id) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
        // The state of the file with this name is unknown.
        Err(error) => Err(error),
    }
}

/// Reads all packs. If a pack is missing or damaged and parity can rebuild it completely, it is put
/// back. For any other damaged pack, repair writes a new pack with all good data and with
/// everything that other packs have of the rest, and moves the damaged file to `damaged/`. A chunk
/// with only some blocks available keeps those. With `dry_run` it changes nothing, and reports what
/// it would do.
///
/// # Errors
/// `InUse` if a gc or another repair runs; `Interrupted` if `progress` says so: the damaged packs
/// are then still there.
pub fn repair_packs(repo: &Repository, dry_run: bool, progress: &dyn Progress) -> Result<RepairPacksReport> {
    let mut report = if dry_run {
        let put_back = put_back(repo, Look::Whole, true, progress)?;
        RepairPacksReport { put_back, ..repair_damaged_packs(repo, None, progress)? }
    } else {
        with_locks(repo, |writer| {
            let put_back = put_back(repo, Look::Whole, false, progress)?;
            let report = repair_damaged_packs(repo, Some(writer), progress)?;
            Ok(RepairPacksReport { put_back, groups_made: renew(repo, progress)?, ..report })
        })?
    };
    // Lost data is now gone from the packs, so finding it takes no second read.
    let depth = if dry_run { Depth::ReadData } else { Depth::Structure };
    let survey = survey(repo, Scope::AllSnapshots, depth, progress)?;
    report.lost = lost_ranges(survey.report.findings);
    Ok(report)
}

/// Reads everything that snapshots need, and returns the byte ranges of each that cannot be
/// restored.
///
/// # Errors
/// `Interrupted` if `progress` says so.
pub fn repair_snapshots(repo: &Repository, progress: &dyn Progress) -> Result<RepairSnapshotsReport> {
    let survey = survey(repo, Scope::AllSnapshots, Depth::ReadData, progress)?;
    let lost = lost_ranges(survey.report.findings);
    Ok(RepairSnapshotsReport { snapshots: survey.report.snapshots, lost })
}

/// Returns all lost ranges, by snapshot and offset. Adjacent ranges are joined.
fn lost_ranges(findings: Vec<Finding>) -> Vec<LostRange> {
    let mut all: Vec<LostRange> = findings.into_iter().flat_map(|finding| finding.lost).collect();
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
    lost
}
