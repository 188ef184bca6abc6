//! Repair: makes the index again from the packs, repairs packs, and says what of which snapshots is
//! lost.

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

/// Makes the index again from the packs alone. Packs that are damaged are read record by record,
/// and what is proven of them is written to new packs.
///
/// # Errors
/// `InUse` if a gc or another repair runs; `Interrupted` if `progress` says so: the old index is
/// still there then.
pub fn repair_index(repo: &Repository, progress: &dyn Progress) -> Result<RepairIndexReport> {
    with_locks(repo, |writer| {
        let files = repo.files();
        let shortages = files.shortages.count();
        let put_back = put_back(repo, Look::Directories, false, progress)?;
        // The order matters: the packs of all runs that are listed here are among those that are
        // listed after them, and what a capture publishes meanwhile has a run that is not among
        // these.
        let old: Vec<RunId> =
            files.list(layout::INDEX)?.iter().filter_map(|name| layout::id_of(name)).collect();
        let mut rebuild = Rebuild::new(repo, writer);
        rebuild.go_through_packs(progress)?;
        // What could not be read for want of descriptors or memory is not damaged.
        files.shortages.check(shortages)?;
        let (mut report, damaged) = rebuild.publish(&old)?;
        report.damaged_packs = put_aside(files, damaged, &|id| is_sound(files, id))?;
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
        // Nothing is known of what has the name now.
        Err(error) => Err(error),
    }
}

/// Reads all packs. Those that are missing or damaged and that parity gives whole are put back. Of
/// each other one in which something is damaged, everything that is good, and everything that other
/// packs have of the rest, is written to a new pack, and the damaged file is moved to `damaged/`. A
/// chunk of which only some blocks can be had keeps those. With `dry_run` nothing is changed, and
/// the report says what would be.
///
/// # Errors
/// `InUse` if a gc or another repair runs; `Interrupted` if `progress` says so: the damaged packs
/// are still there then.
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
    // What is lost is gone from the packs now, and need not be read again to be found.
    let depth = if dry_run { Depth::ReadData } else { Depth::Structure };
    let survey = survey(repo, Scope::AllSnapshots, depth, progress)?;
    report.lost = lost_ranges(survey.report.findings);
    Ok(report)
}

/// Reads everything that snapshots need and says which byte ranges of which of them cannot be
/// restored.
///
/// # Errors
/// `Interrupted` if `progress` says so.
pub fn repair_snapshots(repo: &Repository, progress: &dyn Progress) -> Result<RepairSnapshotsReport> {
    let survey = survey(repo, Scope::AllSnapshots, Depth::ReadData, progress)?;
    let lost = lost_ranges(survey.report.findings);
    Ok(RepairSnapshotsReport { snapshots: survey.report.snapshots, unreadable: survey.unreadable, lost })
}

/// Returns all that is lost, by snapshot and offset; ranges that meet are one.
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
