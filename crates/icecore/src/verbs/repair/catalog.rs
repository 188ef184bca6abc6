//! Brings back what is lost of the catalog: the config, entries of the journal, checkpoints.

use std::sync::Arc;

use crate::format::checkpoint::Checkpoint;
use crate::format::checkpoint::config_in;
use crate::format::journal::Change;
use crate::format::journal::Settings;
use crate::format::layout;
use crate::format::record::Record;
use crate::format::sealed::looks_sealed;
use crate::pure::keys::MasterKey;
use crate::pure::record_cipher::Kind;
use crate::repository::Repository;
use crate::repository::Session;
use crate::stores::config;
use crate::stores::config::Opened;
use crate::stores::files::RepositoryFiles;
use crate::stores::journal;
use crate::stores::journal::audit::audit;
use crate::stores::journal::catalog::Catalog;
use crate::stores::journal::files;
use crate::stores::locks;
use crate::stores::pack::list::list_packs;
use crate::stores::recovery::record_copies::record_copies;
use crate::stores::seals::Seals;
use crate::stores::slots;
use crate::stores::slots::Unlock;
use crate::verbs::capture::all_there;
use crate::verbs::catalog::Snapshot;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::world::objects::Objects;
use crate::world::place::Place;
use crate::world::sessions::Work;
use crate::world::storage::read_all;

/// The report of `repair catalog`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairCatalogReport {
    /// What was lost or damaged, by file, each with the reason. It is mended.
    pub mended: Vec<(String, String)>,
    /// Entries of the journal that are lost for good, by number: what they said is unknown.
    pub lost: Vec<u64>,
    /// Snapshots that only copies in packs still knew. They are in the catalog again, as they were
    /// when they were made.
    pub found: Vec<Snapshot>,
    /// The snapshots that there are now.
    pub snapshots: u64,
}

/// Mends the catalog of the repository in this place, which may have lost its config. A dry run
/// changes nothing and reports the same.
///
/// # Errors
/// `NotFound` if there is no repository; `Corrupt` if its config is lost and no checkpoint has a
/// copy; `InUse` if a gc or another repair runs.
pub fn repair_catalog(
    place: impl Into<Place>,
    session: impl Into<Session>,
    dry_run: bool,
) -> Result<RepairCatalogReport> {
    let (place, session) = (place.into(), session.into());
    let mut report = RepairCatalogReport::default();
    if let Some(LostConfig { bytes, opened, why }) = lost_config(&*place.objects, &session.unlock)? {
        report.mended.push((layout::CONFIG.to_owned(), why.to_string()));
        if dry_run {
            return Ok(report);
        }
        Repository::put_back_config(&place, &session, &opened, &bytes)?;
    }
    let repo = Repository::open(place, session)?;
    let files = repo.files();
    let _gc = if dry_run { None } else { Some(locks::only_gc(files)?) };
    let turn = match dry_run {
        true => None,
        false => Some(locks::only(files, Work::Commit)?),
    };
    let found = audit(files)?;
    let told = found.wrong.iter().map(|(file, error)| (file.clone(), error.to_string()));
    report.mended.extend(told);
    let known = repo.catalog().and_then(|catalog| catalog.prove().map(|()| catalog));
    let is_whole = known.is_ok();
    let catalog = match known {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let (catalog, lost) = salvage(files, found.newest.as_deref(), Settings::of(&repo.config))?;
            report.lost = lost;
            report.found = known_to_packs(&repo, &catalog)?;
            Arc::new(catalog)
        }
        known => known?,
    };
    report.snapshots = (catalog.all()?.len() + report.found.len()) as u64;
    let mended = slots::mend_copies(files, &catalog.settings.slots, dry_run)?;
    report.mended.extend(mended.into_iter().map(|file| (file, "it is lost or damaged".to_owned())));
    if dry_run {
        return Ok(report);
    }
    config::check_writable(&catalog.settings.features, catalog.minor)?;
    for number in &found.copied {
        copy_back(files, *number)?;
    }
    for number in &found.without_copy {
        if let Ok(bytes) = files::entry_bytes(files, *number) {
            let _ = files::copy_entry(files, *number, &bytes);
        }
    }
    if found.wrong.len() > found.copied.len() || !is_whole {
        // Two new checkpoints take the place of everything else.
        journal::replace_checkpoint(files, &catalog)?;
        drop(turn);
        repo.commit_mark()?;
    }
    if !report.found.is_empty() {
        repo.commit(|_| {
            Ok((report.found.iter().map(|record| Change::Made(Box::new(record.clone()))).collect(), ()))
        })?;
    }
    Ok(report)
}

/// Returns the snapshots that are not in the catalog, of which a pack has a copy of the record, and
/// of which everything is there. They may have been deleted by a lost entry.
fn known_to_packs(repo: &Repository, catalog: &Catalog) -> Result<Vec<Record>> {
    let store = &repo.store;
    let mut found: Vec<Record> = Vec::new();
    for id in list_packs(&store.files)? {
        let pack = match store.pack(id) {
            Ok(pack) => pack,
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => continue,
            Err(error) => return Err(error),
        };
        for record in record_copies(&store.files, &pack)? {
            let is_known = catalog.find(record.id)?.is_some()
                || catalog.find_deleted(record.id)?.is_some()
                || found.iter().any(|other| other.id == record.id);
            if !is_known && all_there(store, &record)? {
                found.push(record);
            }
        }
    }
    found.sort_by_key(|record| (record.created_unix_ms, record.id));
    Ok(found)
}

/// A config that a checkpoint has, and what is wrong with the file.
struct LostConfig {
    bytes: Vec<u8>,
    opened: Opened,
    why: Error,
}

/// A checkpoint that can be read, as it is stored.
struct StoredCheckpoint {
    number: u64,
    bytes: Vec<u8>,
}

/// Returns the config as a checkpoint has it if the file is lost, damaged, or of another
/// repository.
fn lost_config(objects: &dyn Objects, unlock: &Unlock) -> Result<Option<LostConfig>> {
    let checkpoints = checkpoints(objects)?;
    let (why, is_sound) = match config::open(objects, unlock) {
        Err(error) if error.says_nothing_of_what_is_stored() => return Err(error),
        Err(error) => (error, false),
        Ok(opened) if checkpoints.iter().any(|checkpoint| checkpoint.proves(&opened)) => return Ok(None),
        Ok(_) => (Error::corrupt("it is the config of another repository"), true),
    };
    let plain = checkpoints.iter().find_map(|checkpoint| {
        let bytes = config_in(&checkpoint.bytes).ok()?.to_vec();
        Some((config::opened_plain(&bytes).ok()?, bytes)).filter(|(opened, _)| checkpoint.proves(opened))
    });
    let found = match plain {
        None if checkpoints.iter().any(|checkpoint| looks_sealed(&checkpoint.bytes)) => {
            let of = |master: &Arc<MasterKey>| checkpoints.iter().find_map(|it| it.sealed_config(master));
            let fits = |id, master: &MasterKey| {
                of(&Arc::new(MasterKey::new(master.expose())))
                    .is_some_and(|(opened, _)| opened.config.id == id)
            };
            of(&slots::master_key(objects, unlock, &fits)?)
        }
        plain => plain,
    };
    match found {
        Some((opened, bytes)) => Ok(Some(LostConfig { bytes, opened, why })),
        // Without a checkpoint there is nothing to compare a sound config with.
        None if is_sound => Ok(None),
        None => Err(why),
    }
}

impl StoredCheckpoint {
    /// Tells whether it was written with the keys of this repository.
    fn proves(&self, opened: &Opened) -> bool {
        let bytes = opened.seals.open(Kind::Checkpoint, self.number, self.bytes.clone());
        bytes.is_ok_and(|bytes| Checkpoint::open(&bytes[..], &opened.hasher).is_ok())
    }

    /// Returns the config that it holds, if this master key opens it.
    fn sealed_config(&self, master: &Arc<MasterKey>) -> Option<(Opened, Vec<u8>)> {
        let seals = Seals::new(Arc::clone(master));
        let bytes = seals.open(Kind::Checkpoint, self.number, self.bytes.clone()).ok()?;
        let config = config_in(&bytes).ok()?.to_vec();
        Some((config::opened_sealed(&config, Arc::clone(master)).ok()?, config))
    }
}

/// Returns the checkpoints that can be read, the newest first.
fn checkpoints(objects: &dyn Objects) -> Result<Vec<StoredCheckpoint>> {
    let listing = |error| Error::stored_io(format!("listing {}", layout::CHECKPOINTS), error);
    let names = objects.list(layout::CHECKPOINTS).map_err(listing)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| layout::number_of(name)).collect();
    numbers.sort_unstable();
    let read = |number| {
        let path = layout::numbered(layout::CHECKPOINTS, number);
        let bytes = read_all(objects.open(&path), files::CHECKPOINT_BYTES_MAX).ok()?;
        Some(StoredCheckpoint { number, bytes })
    };
    Ok(numbers.into_iter().rev().filter_map(read).collect())
}

/// Writes an entry from its copy.
fn copy_back(files: &RepositoryFiles, number: u64) -> Result<()> {
    let bytes = files::copy_bytes(files, number)?;
    files.put_back(&layout::numbered(layout::JOURNAL, number), &bytes)
}

/// Returns the catalog as far as it can be known, and the numbers of the entries that are missing
/// from it.
fn salvage(
    files: &RepositoryFiles,
    newest: Option<&Catalog>,
    settings: Settings,
) -> Result<(Catalog, Vec<u64>)> {
    let mut catalog = newest.cloned().unwrap_or_else(|| Catalog::empty(&files.hasher, settings));
    let mut lost = Vec::new();
    let last = files::last_entry(files, 0)?;
    for number in catalog.number + 1..=last {
        match files::read_entry(files, number) {
            Ok((entry, digest, minor)) => catalog.take(&entry, digest, minor)?,
            Err(error) if error.kind() == ErrorKind::Corrupt => lost.push(number),
            Err(error) => return Err(error),
        }
    }
    Ok((catalog.without_entries_to(last), lost))
}
