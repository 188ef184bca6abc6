//! The end of a gc: an entry of the journal condemns packs, then the index is changed, and only then
//! the packs are removed. A capture that began earlier finds the entry before it commits, and a
//! capture that begins later refers to no condemned pack.

use std::collections::HashSet;
use std::sync::Arc;

use crate::format::journal::Change;
use crate::format::layout;
use crate::format::record::ManifestKey;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::SetAside;
use crate::stores::index::Index;
use crate::stores::index::RunFile;
use crate::stores::index::run_writer::PreparedRun;
use crate::stores::index::writer::prepare_all;
use crate::stores::index::writer::set_runs_aside;
use crate::stores::journal::catalog::Catalog;
use crate::stores::live_records::all_that_is_kept_by;
use crate::stores::locks;
use crate::stores::volumes;
use crate::verbs::gc::grace::Grace;
use crate::verbs::gc::needs::Needs;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::world::sessions::Work;

/// The part of the packs of an index run that may be gone before gc writes the run again.
const DEAD_PART: usize = 4;
/// The most entries of an index run that is written again anyway.
const SMALL_ENTRIES: u64 = 1 << 16;
/// How often gc looks at records that appeared meanwhile while others commit more of them. Then it
/// makes them wait, so that it ends even if captures never stop.
const ROUNDS_MAX: usize = 32;

/// The removal of packs from the repository, except those needed by snapshots that are newer than
/// the marks.
pub(crate) struct Tail<'a> {
    repo: &'a Repository,
    /// Records that were already checked for packs that they need.
    known: HashSet<ManifestKey>,
    /// The number of the last entry when the first of them were.
    begun: u64,
    needs: Needs<'a>,
}

/// What gc has marked.
pub(crate) struct Marked {
    pub(crate) manifests: HashSet<ManifestKey>,
    /// The number of the last entry then.
    pub(crate) at: u64,
}

/// What became of packs that nothing needs.
pub(crate) struct Taken {
    /// Those that were condemned.
    pub(crate) condemned: Vec<PackId>,
    /// Those that are gone.
    pub(crate) gone: Vec<PackId>,
    /// The bytes of those among these that were condemned before.
    pub(crate) gone_before_bytes: u64,
    /// Those that were to go and that their place keeps for a time, with their bytes.
    pub(crate) retained: Vec<(PackId, u64)>,
}

impl Taken {
    fn at_once(condemned: Vec<PackId>) -> Self {
        Self { gone: condemned.clone(), condemned, gone_before_bytes: 0, retained: Vec::new() }
    }
}

impl<'a> Tail<'a> {
    pub(crate) fn new(repo: &'a Repository, marked: &Marked, needs: Needs<'a>) -> Self {
        Self { repo, known: marked.manifests.clone(), begun: marked.at, needs }
    }

    /// Condemns the packs, and removes them, or those whose grace is over. The caller holds the
    /// index lock.
    pub(crate) fn take_out(mut self, grace: Option<&Grace>) -> Result<Taken> {
        let condemned = self.condemn()?;
        let Some(grace) = grace else {
            if !condemned.is_empty() {
                remove_condemned(self.repo, &condemned, SMALL_ENTRIES)?;
            }
            return Ok(Taken::at_once(condemned));
        };
        let due = grace.due(self.repo.files(), &*self.repo.catalog()?)?;
        let going: Vec<PackId> = due.iter().map(|(pack, _)| *pack).collect();
        // Also without any: captures leave their runs to be merged here.
        let staying = remove_condemned(self.repo, &going, SMALL_ENTRIES)?;
        let (retained, gone): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|(pack, _)| staying.contains(pack));
        let before = gone.iter().filter(|(pack, _)| !condemned.contains(pack));
        let gone_before_bytes = before.map(|(_, bytes)| bytes).sum();
        let gone = gone.into_iter().map(|(pack, _)| pack).collect();
        Ok(Taken { condemned, gone, gone_before_bytes, retained })
    }

    /// Does the same on a full disk, for packs that nothing uses. It writes only the entry. The
    /// index keeps entries that lead nowhere, which is harmless.
    pub(crate) fn take_out_on_full_disk(mut self) -> Result<Taken> {
        let going = self.condemn()?;
        let staying = remove_packs(self.repo.files(), &going)?;
        self.repo.store.reload()?;
        let mut taken = Taken::at_once(going);
        taken.gone.retain(|pack| !staying.contains(pack));
        Ok(taken)
    }

    /// Commits an entry that condemns the packs which no record needs, and returns them.
    fn condemn(&mut self) -> Result<Vec<PackId>> {
        let repo = self.repo;
        for _ in 0..ROUNDS_MAX {
            let catalog = repo.catalog()?;
            self.spare_new(&catalog)?;
            let going = self.going(&catalog)?;
            if going.is_empty() || repo.commit_at(&catalog, Change::condemned(&going))?.is_some() {
                return Ok(going);
            }
        }
        let (_, going) = repo.commit(|catalog| {
            self.spare_new(catalog)?;
            let going = self.going(catalog)?;
            Ok((Change::condemned(&going), going))
        })?;
        Ok(going)
    }

    /// Returns the packs that nothing needs.
    ///
    /// # Errors
    /// `InUse` if others have condemned packs meanwhile: what is to stay in place of these may be
    /// among them.
    fn going(&self, catalog: &Catalog) -> Result<Vec<PackId>> {
        let mut going: Vec<PackId> = self.needs.going().iter().copied().collect();
        // On one machine, its lock keeps others away, and an entry may be its own of a moment ago.
        let are_others = self.repo.files().are_shared() && catalog.condemned_since(self.begun);
        if !going.is_empty() && are_others {
            return Err(overtaken());
        }
        going.sort_unstable();
        Ok(going)
    }

    /// Spares the packs that not yet examined records need.
    fn spare_new(&mut self, catalog: &Catalog) -> Result<()> {
        let store = &self.repo.store;
        let mut records: Vec<Record> = all_that_is_kept_by(store, catalog)?;
        records.retain(|record| !self.known.contains(&record.manifest_key()));
        if !records.is_empty() {
            // These records refer to data that was published before them, but after the index was
            // loaded.
            store.reload()?;
        }
        for record in records {
            self.needs.spare(&record)?;
            self.known.insert(record.manifest_key());
        }
        Ok(())
    }
}

/// Returns the error for a gc that another machine's gc has overtaken.
pub(crate) fn overtaken() -> Error {
    Error::new(ErrorKind::InUse, "another gc has condemned packs meanwhile").with_hint("run gc again")
}

/// Removes condemned packs, and what leads to them from the index. The caller holds the index lock.
/// Returns those that their place keeps for a time.
///
/// Runs of at most `small_entries` entries become one.
pub(crate) fn remove_condemned(
    repo: &Repository,
    going: &[PackId],
    small_entries: u64,
) -> Result<HashSet<PackId>> {
    let (store, files) = (&repo.store, repo.files());
    store.reload()?;
    let gone: HashSet<PackId> = repo.catalog()?.condemned().keys().copied().collect();
    let runs = runs_to_rewrite(&*store.index()?, &gone, small_entries);
    let prepared = prepare_all(files, &runs, &gone)?;
    let new = prepared.into_iter().map(PreparedRun::publish).collect::<Result<Vec<_>>>()?;
    let is_new = |id: &RunId| new.iter().any(|run| run.id == *id);
    let old: Vec<_> = runs.iter().map(|run| run.id).filter(|id| !is_new(id)).collect();
    new.into_iter().for_each(|run| store.replace_runs(run, &old));
    let mut aside = SetAside::new(files);
    set_runs_aside(&mut aside, &old)?;
    let staying = remove_packs(files, going)?;
    aside.remove()?;
    store.reload()?;
    Ok(staying)
}

/// Returns the index runs of which so many packs are gone that it is worth to write them again, and
/// small ones. In the others, what leads nowhere stays: nobody follows it.
fn runs_to_rewrite(index: &Index, gone: &HashSet<PackId>, small_entries: u64) -> Vec<Arc<RunFile>> {
    let is_worth_it = |file: &&Arc<RunFile>| {
        let packs: Vec<PackId> = file.run().iter().flat_map(|run| run.packs()).collect();
        let gone = packs.iter().filter(|pack| gone.contains(pack)).count();
        gone > 0 && gone * DEAD_PART >= packs.len() || file.entries() <= small_entries
    };
    index.runs().iter().filter(is_worth_it).cloned().collect()
}

/// Removes condemned packs. Returns those that their place keeps for a time: they stay condemned.
fn remove_packs(files: &RepositoryFiles, packs: &[PackId]) -> Result<HashSet<PackId>> {
    let mut staying = HashSet::new();
    for pack in packs {
        if !files.delete_unneeded(&layout::pack(*pack))? {
            staying.insert(*pack);
        }
    }
    files.sync(layout::PACKS)?;
    Ok(staying)
}

/// Commits that volumes which are gone stand on nothing any more: their creation or deletion was cut
/// off, or the repository was copied without them.
pub(crate) fn forget_lost_volumes(repo: &Repository) -> Result<()> {
    let files = repo.files();
    let mut lost = Vec::new();
    let catalog = repo.catalog()?;
    for stood in catalog.volumes().values() {
        if volumes::is_lost(files, &stood.of)? {
            lost.push(stood.clone());
        }
    }
    repo.commit(|catalog| {
        let still = lost.iter().filter(|stood| catalog.volumes().get(&stood.of.volume) == Some(stood));
        Ok((still.map(|stood| Change::NoLonger(stood.of.volume)).collect(), ()))
    })?;
    lost.iter().for_each(|stood| volumes::forget_own(files, stood.of.volume));
    // Of a volume that is being made, there may be no entry yet, and its maker has its lock.
    volumes::forget_unmade(files, |id| Ok(repo.catalog()?.volumes().contains_key(&id)))
}

/// Removes the files that dead processes left behind: temporary files and locks. Returns how many
/// there were.
pub(crate) fn remove_leftovers(files: &RepositoryFiles) -> Result<u64> {
    // Under these locks nobody writes an entry or a note, and everyone who writes anything else
    // holds a writer's lock.
    let _journal = locks::only(files, Work::Commit)?;
    let _notes = locks::only(files, Work::Notes)?;
    let mut removed = locks::remove_dead_locks(files)?;
    // Files are listed first: a writer that began afterwards owns none of them.
    let temps = files.list_local(layout::TMP)?;
    let living = locks::writers(files)?;
    for file in temps {
        let session = file.split('-').next().unwrap_or_default();
        if !living.iter().any(|writer| writer == session) {
            match files.remove_local(&format!("{}/{file}", layout::TMP)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => removed += 1,
            }
        }
    }
    Ok(removed)
}
