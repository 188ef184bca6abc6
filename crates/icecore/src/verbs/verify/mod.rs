//! Verify: looks for every defect, and goes on when it finds one.

mod findings;
mod manifests;
mod packs;
mod parity;
mod places;
mod quick;
mod read;
pub(crate) mod report;
mod sample;

use std::collections::BTreeSet;
use std::collections::HashSet;

use crate::format::layout;
use crate::format::pack::EntryKind;
use crate::format::pack::SlotBitmap;
use crate::format::record::ManifestKey;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::chunks::Store;
use crate::stores::locks::Pin;
use crate::stores::notes::Checked;
use crate::stores::notes::Damage;
use crate::stores::notes::change;
use crate::stores::notes::load_checked;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::list::list_packs;
use crate::stores::volumes;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::findings::Object;
use crate::verbs::verify::findings::Problem;
use crate::verbs::verify::findings::problem_of;
use crate::verbs::verify::manifests::Manifests;
use crate::verbs::verify::packs::check_journal;
use crate::verbs::verify::packs::check_packs;
use crate::verbs::verify::packs::check_runs;
use crate::verbs::verify::packs::check_slots;
use crate::verbs::verify::packs::check_strays;
use crate::verbs::verify::parity::check_parity;
use crate::verbs::verify::read::Reader;
use crate::verbs::verify::sample::Sample;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::next_step::NextStep;
use crate::words::progress::Meter;
use crate::words::progress::Progress;

pub use crate::verbs::verify::report::Depth;
pub use crate::verbs::verify::report::Finding;
pub use crate::verbs::verify::report::LostRange;
pub use crate::verbs::verify::report::VerifyReport;

const REBUILT: &str = "it is missing or damaged, and is read through parity";

/// How often verify looks again for chunks and pages that gc moved meanwhile.
const ROUNDS_MAX: usize = 8;

/// Verifies the snapshots with these ids, or the whole repository if there are none.
///
/// # Errors
/// `NotFound` if no snapshot has one of the ids; `Interrupted` if `progress` says so;
/// `OutOfResources` if this process has too few descriptors or too little memory to tell,
/// `PermissionDenied` if it may not read something. A defect of the repository is not an error but
/// a finding.
pub fn verify(
    repo: &Repository,
    snapshots: Option<&[SnapshotId]>,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<VerifyReport> {
    survey(repo, scope_of(snapshots), depth, progress).map(|survey| survey.report)
}

/// Verifies like [`verify`]. If the repository is writable, also notes which packs were read whole
/// at `now_unix_ms` (milliseconds since 1970) and what was found damaged or missing. When a capture
/// meets data noted as damaged, it stores the data again, and gc keeps other copies of it.
///
/// If all data is to be read and [`time_is_up`](Progress::time_is_up) says so, the run ends after
/// the current pack. Packs that were not read for the longest time come first, so the next run
/// continues from there.
///
/// # Errors
/// As [`verify`].
pub fn verify_and_note(
    repo: &Repository,
    snapshots: Option<&[SnapshotId]>,
    depth: Depth,
    now_unix_ms: i64,
    progress: &dyn Progress,
) -> Result<VerifyReport> {
    let mut survey = survey(repo, scope_of(snapshots), depth, progress)?;
    note(repo, &survey.seen, now_unix_ms)?;
    if !Sample::new(depth)?.is_empty() {
        tell_what_was_read(repo, &mut survey)?;
    }
    Ok(survey.report)
}

fn scope_of(snapshots: Option<&[SnapshotId]>) -> Scope<'_> {
    match snapshots {
        None => Scope::Everything,
        Some(ids) => Scope::These(ids),
    }
}

/// The extent of a verification.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// All snapshots, and all packs and index runs whether or not a snapshot uses them.
    Everything,
    /// All snapshots, and the data that they need.
    AllSnapshots,
    /// Some snapshots, and the data that they need.
    These(&'a [SnapshotId]),
}

/// The result of a survey.
pub(crate) struct Survey {
    pub(crate) report: VerifyReport,
    /// The observations to note in the repository.
    seen: Seen,
}

/// Observations about packs.
#[derive(Default)]
struct Seen {
    /// The packs that exist, if all of them were checked.
    present: Option<BTreeSet<PackId>>,
    whole: HashSet<PackId>,
    bad: Vec<(PackId, u32, [u8; 16], SlotBitmap)>,
    broken: Vec<PackId>,
}

/// Examines everything in `scope`.
pub(crate) fn survey(
    repo: &Repository,
    scope: Scope<'_>,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Survey> {
    let sample = Sample::new(depth)?;
    let shortages = repo.files().place.shortages.count();
    let mut findings = Findings::default();
    let mut report = VerifyReport::default();
    let mut reader = Reader::new(&repo.store, progress);
    let mut seen = Seen::default();
    let whole = matches!(scope, Scope::Everything);
    let mut in_time = true;
    if whole {
        check_runs(repo, &mut findings)?;
        check_journal(repo, &mut findings)?;
        check_slots(repo, &mut findings)?;
        check_strays(repo, &mut findings)?;
        let sound = check_packs(repo, sample, &mut findings, progress)?;
        report.packs = sound.ids.len() as u64;
        report.packs_without_parity = check_parity(repo, depth == Depth::ReadData, &mut findings, progress)?;
        progress.total(Meter::Pages, sound.pages);
        progress.total(Meter::Checked, sound.wanted_bytes);
        if !sample.is_empty() {
            in_time = read_packs(&mut reader, &sound.ids, sample, &mut findings, &mut report)?;
        }
        seen.present = Some(sound.ids);
    }
    let mut snapshots = Snapshots::list(repo, scope, &mut findings)?;
    for _ in 0..ROUNDS_MAX {
        findings.forget_lost();
        let manifests = snapshots.walk(repo, sample, &mut findings, progress)?;
        (report.pages, report.chunks) = (manifests.pages, manifests.chunks);
        if sample.is_empty() || !in_time {
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
        // This damage is new: another walk finds the ranges that are lost through it.
        if all_there && findings.damaged() == damaged {
            break;
        }
    }
    for pack in repo.store.rebuilt_packs() {
        findings.add(Object::Pack(pack.id), || Problem::new(REBUILT, NextStep::RepairPacks));
    }
    // A read that failed for want of descriptors or memory says nothing about the stored data.
    repo.files().place.shortages.check(shortages)?;
    report.snapshots = snapshots.records.len() as u64;
    report.chunks_read = reader.chunks_read;
    report.stored_bytes_read = reader.stored_bytes_read;
    report.packs_read = reader.whole.len() as u64;
    seen.broken = findings.broken_packs().collect();
    report.findings = findings.finish(&snapshots.records);
    (seen.whole, seen.bad) = (reader.whole, reader.bad);
    Ok(Survey { report, seen })
}

/// Reads packs, starting with those not read for the longest time, until the time is up. Returns
/// whether the time sufficed.
fn read_packs(
    reader: &mut Reader<'_>,
    packs: &BTreeSet<PackId>,
    sample: Sample,
    findings: &mut Findings,
    report: &mut VerifyReport,
) -> Result<bool> {
    let checked = load_checked(&reader.store.files);
    let mut in_order: Vec<PackId> = packs.iter().copied().collect();
    in_order.sort_by_key(|id| (checked.get(id).copied(), *id));
    let mut left = in_order.into_iter();
    let mut first = true;
    while let Some(id) = left.next() {
        // At least one pack, so that all are read eventually, however short the time is.
        if !first && reader.progress.time_is_up() {
            report.packs_left = left.len() as u64 + 1;
            let unread = std::iter::once(id).chain(left);
            known_damage(reader.store, unread, findings);
            return Ok(false);
        }
        reader.read(id, &|pack| chosen(pack, sample, 0..pack.entries()), findings)?;
        first = false;
    }
    Ok(true)
}

/// Takes known damage from the notes for packs that are not read for lack of time.
fn known_damage(store: &Store, packs: impl Iterator<Item = PackId>, findings: &mut Findings) {
    let damage = Damage::load(&store.files);
    for pack in packs {
        let Ok(file) = store.pack(pack) else { continue };
        for (number, id, slots) in damage.of(pack) {
            let Ok(kind) = file.entry(number).map(|entry| entry.kind()) else { continue };
            let object = Object::of(kind, id);
            let finding = findings.add(object, || {
                let text = format!("in pack {pack}: it was found damaged when it was last read");
                Problem::new(text, NextStep::RepairPacks)
            });
            if kind == EntryKind::Chunk {
                findings.add_damage(pack, number, finding, slots);
            }
        }
    }
}

/// Notes the observations if the repository is writable here.
fn note(repo: &Repository, seen: &Seen, now_unix_ms: i64) -> Result<()> {
    const FINE: [ErrorKind; 3] = [ErrorKind::PermissionDenied, ErrorKind::Unsupported, ErrorKind::NoSpace];
    let files = repo.files();
    let update = |damage: &mut Damage, checked: &mut Checked| {
        let there = |id: &PackId| seen.present.as_ref().is_none_or(|present| present.contains(id));
        damage.retain(|pack, number| match number {
            Some(_) => there(&pack) && !seen.whole.contains(&pack),
            None => seen.present.is_none() && !seen.whole.contains(&pack),
        });
        seen.bad.iter().for_each(|(pack, number, id, slots)| damage.add(*pack, *number, *id, *slots));
        seen.broken.iter().for_each(|pack| damage.add_pack(*pack));
        checked.retain(|pack, _| there(pack));
        checked.extend(seen.whole.iter().map(|pack| (*pack, now_unix_ms)));
    };
    let noted = match repo.check_writable() {
        Ok(_) => change(files, update),
        Err(error) => Err(error),
    };
    match noted {
        // The medium or this program is read-only, or there is no room for a note. Nothing depends
        // on the note.
        Err(error) if !FINE.contains(&error.kind()) => Err(error),
        _ => Ok(()),
    }
}

/// Adds to the report when the packs were last read.
fn tell_what_was_read(repo: &Repository, survey: &mut Survey) -> Result<()> {
    let files = repo.files();
    let checked = load_checked(files);
    let packs: BTreeSet<PackId> = match &survey.seen.present {
        Some(present) => present.clone(),
        None => list_packs(files)?.into_iter().collect(),
    };
    let times = packs.iter().filter_map(|pack| checked.get(pack));
    survey.report.oldest_read_unix_ms = times.clone().min().copied();
    survey.report.packs_never_read = (packs.len() - times.count()) as u64;
    Ok(())
}

/// Returns the entries of a pack that are in the sample.
fn chosen(pack: &PackFile, sample: Sample, numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    numbers.filter(|number| sample.has(pack.id, *number)).collect()
}

/// The snapshots to check.
struct Snapshots {
    records: Vec<Record>,
    /// The snapshots that volumes are based on. They may be deleted as snapshots.
    of_volumes: HashSet<ManifestKey>,
}

impl Snapshots {
    fn list(repo: &Repository, scope: Scope<'_>, findings: &mut Findings) -> Result<Self> {
        let files = repo.files();
        let snapshots = match scope {
            Scope::Everything | Scope::AllSnapshots => match repo.catalog().and_then(|catalog| catalog.all())
            {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let object = Object::File(layout::JOURNAL.to_owned());
                    findings.add(object, || problem_of(&error, NextStep::RepairCatalog));
                    Vec::new()
                }
                all => all?,
            },
            Scope::These(ids) => {
                let catalog = repo.catalog()?;
                ids.iter().map(|id| catalog.get(*id)).collect::<Result<_>>()?
            }
        };
        let (mut records, mut of_volumes) = (Vec::new(), HashSet::new());
        if matches!(scope, Scope::Everything | Scope::AllSnapshots) {
            for (name, volume) in volumes::load_all(files)? {
                match volume {
                    Ok(volume) => records.extend(volume.origin.into_iter().chain(volume.base)),
                    Err(error) => {
                        let object = Object::File(layout::volume_record(&name));
                        findings.add(object, || problem_of(&error, "look for a copy of the record"));
                    }
                }
            }
            of_volumes.extend(records.iter().map(Record::manifest_key));
        }
        records.extend(snapshots);
        records.sort_by_key(|record: &Record| (record.created_unix_ms, record.manifest_key()));
        records.dedup_by_key(|record| record.manifest_key());
        Ok(Self { records, of_volumes })
    }

    /// Walks all manifests. Drops snapshots that were deleted meanwhile.
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
            if manifests.is_whole(&record, findings)? {
                kept.push(record);
                continue;
            }
            let _pin = Pin::take(repo.files(), record.id)?;
            let key = record.manifest_key();
            let record = match repo.catalog().and_then(|catalog| catalog.find(record.id)) {
                // It was deleted, and perhaps copied again with another manifest.
                Ok(Some(now)) if now.manifest_key() != key && !self.of_volumes.contains(&key) => now,
                Ok(None) if !self.of_volumes.contains(&key) => continue,
                // The catalog may have become damaged since it was first read. The record is still
                // worth checking.
                _ => record,
            };
            manifests.check(kept.len(), &record, findings)?;
            kept.push(record);
        }
        self.records = kept;
        Ok(manifests)
    }
}
