//! Verify: looks for everything that is not as it must be, and goes on.

mod findings;
mod manifests;
mod packs;
mod parity;
mod places;
mod read;
pub(crate) mod report;
mod sample;

use std::collections::HashSet;

use crate::format::layout;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::fence::Pin;
use crate::stores::pack_file::PackFile;
use crate::stores::records;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::findings::Object;
use crate::verbs::verify::findings::problem_of;
use crate::verbs::verify::manifests::Manifests;
use crate::verbs::verify::packs::check_packs;
use crate::verbs::verify::packs::check_runs;
use crate::verbs::verify::parity::check_parity;
use crate::verbs::verify::read::Reader;
use crate::verbs::verify::sample::Sample;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;

pub use crate::verbs::verify::report::Depth;
pub use crate::verbs::verify::report::Finding;
pub use crate::verbs::verify::report::LostRange;
pub use crate::verbs::verify::report::VerifyReport;

const RESCUED: &str = "it is missing or damaged, and is read through parity; run `icecore repair packs`";

/// How often what gc moved meanwhile is looked for again.
const ROUNDS_MAX: usize = 8;

/// Verifies the snapshots with these ids, or the whole repository where none is given.
///
/// # Errors
/// `NotFound` if there is no snapshot with one of the ids; `Interrupted` if `progress` says so. What is wrong with the
/// repository is no error but a finding.
pub fn verify(
    repo: &Repository,
    snapshots: Option<&[SnapshotId]>,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<VerifyReport> {
    let scope = match snapshots {
        None => Scope::Everything,
        Some(ids) => Scope::These(ids),
    };
    survey(repo, scope, depth, progress).map(|survey| survey.report)
}

/// What is looked at.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// All snapshots, and all packs and index runs whether a snapshot uses them or not.
    Everything,
    /// All snapshots, and what they need.
    AllSnapshots,
    /// Some snapshots, and what they need.
    These(&'a [SnapshotId]),
}

/// What was found.
pub(crate) struct Survey {
    pub(crate) report: VerifyReport,
    /// Files of snapshot records that cannot be read, each with the reason.
    pub(crate) unreadable: Vec<(String, String)>,
}

/// Looks at everything in `scope`.
pub(crate) fn survey(
    repo: &Repository,
    scope: Scope<'_>,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Survey> {
    let sample = Sample::new(depth)?;
    let mut findings = Findings::default();
    let mut report = VerifyReport::default();
    let mut reader =
        Reader { store: &repo.store, progress, done: HashSet::new(), chunks_read: 0, stored_bytes_read: 0 };
    let whole = matches!(scope, Scope::Everything);
    if whole {
        check_runs(repo, &mut findings)?;
        let sound = check_packs(repo, sample, &mut findings, progress)?;
        report.packs = sound.ids.len() as u64;
        check_parity(repo, depth == Depth::ReadData, &mut findings, progress)?;
        progress.total(Meter::Pages, sound.pages);
        progress.total(Meter::Checked, sound.wanted_bytes);
        if !sample.is_empty() {
            for id in sound.ids {
                reader.read(id, &|pack| chosen(pack, sample, 0..pack.entries()), &mut findings)?;
            }
        }
    }
    let mut snapshots = Snapshots::list(repo, scope, &mut findings)?;
    for _ in 0..ROUNDS_MAX {
        findings.forget_lost();
        let manifests = snapshots.walk(repo, sample, &mut findings, progress)?;
        (report.pages, report.chunks) = (manifests.pages, manifests.chunks);
        if sample.is_empty() {
            break;
        }
        if !whole && reader.done.is_empty() {
            progress.total(Meter::Checked, manifests.wanted_bytes);
        }
        let damaged = findings.damaged();
        let mut all_there = true;
        let packs: Vec<PackId> = manifests.named.packs().filter(|id| !reader.done.contains(id)).collect();
        for id in packs {
            let numbers = |pack: &PackFile| chosen(pack, sample, manifests.named.numbers(id));
            all_there &= reader.read(id, &numbers, &mut findings)?;
        }
        // Damage that was not known yet: which ranges are lost by it is told by another walk.
        if all_there && findings.damaged() == damaged {
            break;
        }
    }
    for pack in repo.store.rescued() {
        findings.add(Object::Pack(pack.id), || RESCUED.to_owned());
    }
    report.snapshots = snapshots.records.len() as u64;
    report.chunks_read = reader.chunks_read;
    report.stored_bytes_read = reader.stored_bytes_read;
    report.findings = findings.finish(&snapshots.records);
    Ok(Survey { report, unreadable: snapshots.unreadable })
}

/// Returns those of the entries of a pack that are in the sample.
fn chosen(pack: &PackFile, sample: Sample, numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    numbers.filter(|number| sample.has(pack.id, *number)).collect()
}

/// The snapshots that are looked at.
struct Snapshots {
    records: Vec<Record>,
    unreadable: Vec<(String, String)>,
}

impl Snapshots {
    fn list(repo: &Repository, scope: Scope<'_>, findings: &mut Findings) -> Result<Self> {
        const NEXT: &str = "its data may still be there: look for a copy of the record";
        let base = repo.base();
        let loaded = match scope {
            Scope::Everything | Scope::AllSnapshots => records::load_all(base)?,
            Scope::These(ids) => {
                let mut loaded: Vec<records::Loaded> = Vec::new();
                for id in ids {
                    match records::load(base, *id) {
                        Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
                        record => loaded.push((id.to_string(), record)),
                    }
                }
                loaded
            }
        };
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for (file, record) in loaded {
            match record {
                Ok(record) => records.push(record),
                Err(error) => {
                    let object = match file.parse::<SnapshotId>() {
                        Ok(_) => Object::Snapshot(file.clone()),
                        Err(_) => Object::File(format!("{}/{file}", layout::SNAPSHOTS)),
                    };
                    findings.add(object, || problem_of(&error, NEXT));
                    unreadable.push((file, error.to_string()));
                }
            }
        }
        records.sort_by_key(|record: &Record| (record.created_unix_ms, record.id));
        records.dedup_by_key(|record| record.id);
        unreadable.sort();
        Ok(Self { records, unreadable })
    }

    /// Goes through all manifests. A snapshot that was deleted meanwhile is left out from then on.
    fn walk<'a>(
        &mut self,
        repo: &'a Repository,
        sample: Sample,
        findings: &mut Findings,
        progress: &'a dyn Progress,
    ) -> Result<Manifests<'a>> {
        let mut manifests = Manifests::begin(&repo.store, sample, progress)?;
        let mut kept = Vec::with_capacity(self.records.len());
        for record in self.records.drain(..) {
            let _pin = Pin::take(repo.base(), record.id)?;
            match records::load(repo.base(), record.id) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                // It can be damaged since it was read first; what it said is still worth a look.
                _ => manifests.check(kept.len(), &record, findings)?,
            }
            kept.push(record);
        }
        self.records = kept;
        Ok(manifests)
    }
}
