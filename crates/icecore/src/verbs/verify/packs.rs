//! Checks every pack file and every index run as a whole.

use std::collections::BTreeSet;

use crate::format::layout;
use crate::repository::Repository;
use crate::stores::index::RunFile;
use crate::stores::journal::audit::audit;
use crate::stores::pack::audit::check_pack;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::list::list_pack_places;
use crate::stores::slots::SlotState;
use crate::stores::slots::states;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::findings::Object;
use crate::verbs::verify::findings::Problem;
use crate::verbs::verify::findings::problem_of;
use crate::verbs::verify::sample::Sample;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::names::check_volume_name;
use crate::words::next_step::NextStep;
use crate::words::progress::Progress;

/// The next step for a file whose name is not one of icecore's.
const MOVE_OUT: &str = "nothing of icecore has such a name here; move it out of the repository";

/// The packs that are sound as a whole.
#[derive(Default)]
pub(crate) struct SoundPacks {
    pub(crate) ids: BTreeSet<PackId>,
    /// The stored bytes that are to be read.
    pub(crate) wanted_bytes: u64,
    /// The number of manifest pages.
    pub(crate) pages: u64,
}

/// Checks all pack files. Returns the packs that are sound as a whole.
pub(crate) fn check_packs(
    repo: &Repository,
    sample: Sample,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<SoundPacks> {
    let mut sound = SoundPacks::default();
    for place in list_pack_places(repo.files())? {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        let Some(id) = place.id else {
            findings.add(Object::File(place.path), || MOVE_OUT.into());
            continue;
        };
        let (mut bytes, mut pages) = (0, 0);
        let checked = PackFile::open(repo.files(), id).and_then(|pack| {
            check_pack(repo.files(), &pack, |number, entry| {
                pages += u64::from(entry.slots == 0);
                if sample.has(id, number) {
                    bytes += u64::from(entry.stored_bytes);
                }
            })
        });
        match checked {
            Ok(()) => {
                sound.ids.insert(id);
                sound.wanted_bytes += bytes;
                sound.pages += pages;
            }
            // Gc removed the pack after it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                findings.add(Object::Pack(id), || problem_of(&error, next_step(&error)));
            }
        }
    }
    Ok(sound)
}

/// A test of whether icecore gives such names.
type IsOurs<'a> = &'a dyn Fn(&str) -> bool;

/// Reports files in the directories of the journal and of parity whose names icecore never gives there.
pub(crate) fn check_strays(repo: &Repository, findings: &mut Findings) -> Result<()> {
    let files = repo.files();
    let listing = |error| Error::io(format!("listing {}", layout::VOLUMES), error);
    let volumes = files.place.local.list_dirs(layout::VOLUMES).map_err(listing)?;
    let is_numbered = |file: &str| layout::number_of(file).is_some();
    let is_parity = |file: &str| layout::shard_of_parity(file).is_some();
    let is_volume = |name: &str| check_volume_name(name).is_ok() && volumes.iter().any(|dir| dir == name);
    let ours: [(&str, IsOurs<'_>); 5] = [
        (layout::JOURNAL, &is_numbered),
        (layout::COPIES, &is_numbered),
        (layout::CHECKPOINTS, &is_numbered),
        (layout::PARITY, &is_parity),
        (layout::VOLUMES, &is_volume),
    ];
    for (dir, is_ours) in ours {
        let mut found = match dir {
            layout::VOLUMES => [files.list_local(dir)?, volumes.clone()].concat(),
            _ => files.list(dir)?,
        };
        found.sort();
        found.dedup();
        for file in found.into_iter().filter(|file| !is_ours(file)) {
            findings.add(Object::File(format!("{dir}/{file}")), || MOVE_OUT.into());
        }
    }
    Ok(())
}

/// Checks every file of the journal.
pub(crate) fn check_journal(repo: &Repository, findings: &mut Findings) -> Result<()> {
    for (file, error) in audit(repo.files())?.wrong {
        findings.add(Object::File(file), || problem_of(&error, NextStep::RepairCatalog));
    }
    Ok(())
}

/// Checks the key slots of a sealed repository.
pub(crate) fn check_slots(repo: &Repository, findings: &mut Findings) -> Result<()> {
    let files = repo.files();
    let notes = match repo.catalog() {
        Ok(catalog) if files.seals.are_used() => catalog.settings.slots.clone(),
        // Of a catalog that cannot be read, there is a finding already.
        _ => return Ok(()),
    };
    for slot in states(files, &notes)? {
        let (text, next) = match slot.state {
            SlotState::Sound => continue,
            SlotState::OneCopy => (
                "only one of its two files is as it was written",
                "check the medium, then repair the catalog",
            ),
            SlotState::Lost => (
                "neither of its files can be read",
                "check the medium; if it is lost, remove it from the list",
            ),
            SlotState::Damaged => ("it is damaged", "remove it, and add another slot"),
            SlotState::Unknown => ("the journal does not know this key slot", "remove it"),
        };
        findings.add(Object::File(layout::slot(layout::KEYS, slot.id)), || Problem::new(text, next));
    }
    Ok(())
}

/// Returns the next step for a pack that is unusable as a whole.
pub(crate) fn next_step(error: &Error) -> NextStep {
    match error.kind() {
        ErrorKind::Corrupt => NextStep::RecoverPack,
        ErrorKind::NotFound => NextStep::PutBackOrFindLost,
        _ => "use a newer version of icecore".into(),
    }
}

/// Checks all index runs.
pub(crate) fn check_runs(repo: &Repository, findings: &mut Findings) -> Result<()> {
    let files = repo.files();
    for file in files.list(layout::INDEX)? {
        let Some(id) = layout::id_of::<RunId>(&file) else {
            findings.add(Object::File(format!("{}/{file}", layout::INDEX)), || MOVE_OUT.into());
            continue;
        };
        let is_sound = |run: RunFile| {
            let is_sound = run.is_sound() && run.has_its_id(files);
            run.check().map(|()| is_sound)
        };
        match RunFile::open(files, id).and_then(is_sound) {
            Ok(true) => {}
            Ok(false) => {
                findings.add(Object::Run(id), || {
                    Problem::new("its checksum does not match", NextStep::RepairIndex)
                });
            }
            // The run was merged into another after it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                findings.add(Object::Run(id), || problem_of(&error, NextStep::RepairIndex));
            }
        }
    }
    Ok(())
}
