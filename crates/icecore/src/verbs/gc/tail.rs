//! The end of a gc: under the commit lock, gc changes the index, notifies running captures and
//! removes packs. A capture that began earlier finds the generation changed, and a capture that
//! begins later finds no removed data.
//!
//! Everyone who publishes a snapshot waits for that lock, so gc does all slow work outside of it
//! and checks the result again inside.

use std::collections::HashSet;

use crate::format::layout;
use crate::format::record::ManifestKey;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::SetAside;
use crate::stores::index::run_writer::PreparedRun;
use crate::stores::index::writer::prepare_all;
use crate::stores::index::writer::set_runs_aside;
use crate::stores::locks;
use crate::stores::locks::Held;
use crate::stores::locks::NextGeneration;
use crate::stores::volumes;
use crate::verbs::gc::needs::Needs;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::RunId;

/// Packs that are removed during one hold of the commit lock. Each takes a rename.
const PACKS_AT_ONCE: usize = 64;
/// How often records that appeared meanwhile are walked without the lock. Later ones are walked
/// under the lock, so that gc ends even if captures never stop.
const ROUNDS_MAX: usize = 32;

/// The removal of packs from the repository, except those needed by snapshots that are newer than
/// the marks.
pub(crate) struct Tail<'a> {
    store: &'a Store,
    /// Records that were already checked for packs that they need.
    known: HashSet<ManifestKey>,
    needs: Needs<'a>,
}

impl<'a> Tail<'a> {
    pub(crate) fn new(store: &'a Store, marked: &HashSet<ManifestKey>, needs: Needs<'a>) -> Self {
        Self { store, known: marked.clone(), needs }
    }

    /// Removes the packs and returns them. The caller holds the index lock.
    pub(crate) fn take_out(mut self) -> Result<Vec<PackId>> {
        if self.needs.going().is_empty() {
            return Ok(Vec::new());
        }
        let files = &self.store.files;
        self.store.reload()?;
        self.spare_new()?;
        let runs = self.store.index().runs().to_vec();
        let generation = NextGeneration::prepare(files)?;
        let (commit, new) = loop {
            let mut prepared = prepare_all(files, &runs, self.needs.going())?;
            prepared.iter_mut().try_for_each(PreparedRun::sync)?;
            let indexed = self.needs.going().len();
            let commit = self.settle()?;
            // Spared packs must be in the index.
            if self.needs.going().len() == indexed {
                let new = prepared.into_iter().map(PreparedRun::publish).collect::<Result<Vec<_>>>()?;
                break (commit, new);
            }
        };
        let is_new = |id: &RunId| new.iter().any(|run| run.id == *id);
        let old: Vec<_> = runs.iter().map(|run| run.id).filter(|id| !is_new(id)).collect();
        generation.publish()?;
        new.into_iter().for_each(|run| self.store.replace_runs(run, &old));
        let mut aside = SetAside::new(files);
        set_runs_aside(&mut aside, &old)?;
        self.remove_packs(commit, aside)
    }

    /// Does the same on a full disk, for packs that nothing uses. It writes only the generation and
    /// frees the reserve for that. The index keeps entries that lead nowhere, which is harmless.
    pub(crate) fn take_out_on_full_disk(mut self) -> Result<Vec<PackId>> {
        if self.needs.going().is_empty() {
            return Ok(Vec::new());
        }
        let files = &self.store.files;
        let commit = self.settle()?;
        files.give_back_reserve()?;
        NextGeneration::prepare(files)?.publish()?;
        self.remove_packs(commit, SetAside::new(files))
    }

    /// Returns the held commit lock once no record needs any of the packs that are to go.
    fn settle(&mut self) -> Result<Held> {
        for _ in 0..ROUNDS_MAX {
            let commit = locks::lock_commit(&self.store.files)?;
            if self.new_records()?.is_empty() {
                return Ok(commit);
            }
            drop(commit);
            self.spare_new()?;
        }
        let commit = locks::lock_commit(&self.store.files)?;
        self.spare_new()?;
        Ok(commit)
    }

    fn new_records(&self) -> Result<Vec<Record>> {
        let mut records = volumes::all_that_is_kept(&self.store.files)?;
        records.retain(|record| !self.known.contains(&record.manifest_key()));
        Ok(records)
    }

    /// Spares the packs that not yet examined records need.
    fn spare_new(&mut self) -> Result<()> {
        let records = self.new_records()?;
        if !records.is_empty() {
            // These records refer to data that was published before them, but after the index was
            // loaded.
            self.store.reload()?;
        }
        for record in records {
            self.needs.spare(&record)?;
            self.known.insert(record.manifest_key());
        }
        Ok(())
    }

    /// Moves the packs aside, many at a time, and lets others commit in between. Then removes
    /// everything that was set aside. The generation has already changed under the hold `commit`.
    fn remove_packs(mut self, commit: Held, mut aside: SetAside<'_>) -> Result<Vec<PackId>> {
        let files = &self.store.files;
        let mut held = Some(commit);
        let mut left: Vec<PackId> = self.needs.going().iter().copied().collect();
        left.sort_unstable();
        let mut gone = Vec::new();
        while !left.is_empty() {
            let _commit = match held.take() {
                Some(commit) => commit,
                None => {
                    // A damaged pack may have been put back since, and others may have found it.
                    // The new generation tells them that it goes.
                    let generation = NextGeneration::prepare(files)?;
                    let commit = self.settle()?;
                    generation.publish()?;
                    commit
                }
            };
            left.retain(|pack| self.needs.going().contains(pack));
            for pack in left.drain(..left.len().min(PACKS_AT_ONCE)) {
                aside.take(&layout::pack(pack))?;
                gone.push(pack);
            }
        }
        aside.remove()?;
        files.sync_dir(layout::PACKS)?;
        self.store.reload()?;
        Ok(gone)
    }
}

/// Removes the files that dead processes left behind: temporary files and locks. Returns how many
/// there were.
pub(crate) fn remove_leftovers(files: &RepositoryFiles) -> Result<u64> {
    // Under the commit lock nobody writes a record, and everyone who writes anything else holds a
    // writer's lock.
    let _commit = locks::lock_commit(files)?;
    let mut removed = locks::remove_dead_locks(files)?;
    // Files are listed first: a writer that began afterwards owns none of them.
    let temps = files.list(layout::TMP)?;
    let locks = files.list(layout::LOCKS)?;
    let living: Vec<&str> = locks.iter().filter_map(|file| layout::writer_of_lock(file)).collect();
    for file in temps {
        let session = file.split('-').next().unwrap_or_default();
        if !living.contains(&session) {
            match files.remove(&format!("{}/{file}", layout::TMP)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => removed += 1,
            }
        }
    }
    Ok(removed)
}
