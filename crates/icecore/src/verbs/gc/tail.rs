//! The end of a gc: under the commit lock, the index is changed, running captures are told, and
//! packs are removed. A capture that began before finds the generation moved, and one that begins
//! after finds nothing of what is gone.
//!
//! Everybody who publishes a snapshot waits for that lock. So what takes long is done outside of
//! it, and looked at again inside.

use std::collections::HashSet;

use crate::format::layout;
use crate::format::record::ManifestKey;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::SetAside;
use crate::stores::index::writer::prepare_merged;
use crate::stores::index::writer::set_runs_aside;
use crate::stores::locks;
use crate::stores::locks::Held;
use crate::stores::locks::NextGeneration;
use crate::stores::volumes;
use crate::verbs::gc::needs::Needs;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// Packs that go in one hold of the commit lock: a renaming each.
const PACKS_AT_ONCE: usize = 64;
/// How often records that appeared meanwhile are gone through outside of the lock. Those that come
/// after that are gone through inside, so that a gc beside captures without end has an end.
const ROUNDS_MAX: usize = 32;

/// Takes packs out of the repository, but for those that snapshots need which were made since the
/// others were marked.
pub(crate) struct Tail<'a> {
    store: &'a Store,
    /// Records of which it is known what they need of the packs that go.
    known: HashSet<ManifestKey>,
    needs: Needs<'a>,
}

impl<'a> Tail<'a> {
    pub(crate) fn new(store: &'a Store, marked: &HashSet<ManifestKey>, needs: Needs<'a>) -> Self {
        Self { store, known: marked.clone(), needs }
    }

    /// Returns the packs that were removed. The caller holds the index lock.
    pub(crate) fn take_out(mut self) -> Result<Vec<PackId>> {
        if self.needs.going().is_empty() {
            return Ok(Vec::new());
        }
        let files = &self.store.files;
        self.store.reload()?;
        self.spare_new()?;
        let runs = self.store.index().runs().to_vec();
        let generation = NextGeneration::prepare(files)?;
        let (commit, run) = loop {
            let mut prepared = prepare_merged(files, &runs, self.needs.going())?;
            prepared.sync()?;
            let indexed = self.needs.going().len();
            let commit = self.settle()?;
            // Where packs were spared, the index must know them.
            if self.needs.going().len() == indexed {
                break (commit, prepared.publish()?);
            }
        };
        let old: Vec<_> = runs.iter().map(|run| run.id).filter(|id| *id != run.id).collect();
        generation.publish()?;
        self.store.replace_runs(run, &old);
        let mut aside = SetAside::new(files);
        set_runs_aside(&mut aside, &old)?;
        self.remove_packs(commit, aside)
    }

    /// The same on a full disk, for packs that nothing uses: nothing is written but the generation,
    /// for which the reserve is given back. The index keeps entries that lead nowhere, which is
    /// harmless.
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

    /// Returns the commit lock, held, when no record needs any of the packs that go.
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

    /// Spares what records need that nobody has looked at.
    fn spare_new(&mut self) -> Result<()> {
        let records = self.new_records()?;
        if !records.is_empty() {
            // What they refer to was published before they were, and after the index was loaded.
            self.store.reload()?;
        }
        for record in records {
            self.needs.spare(&record)?;
            self.known.insert(record.manifest_key());
        }
        Ok(())
    }

    /// Takes the packs from where they are, many at a time, and lets others commit in between, then
    /// removes all that was set aside. In the hold that `commit` is, the generation has moved.
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
                    // A capture may have written a pack anew that has the same content, and so the
                    // same name, and others have found it since: they learn that it goes.
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
        let dirs: HashSet<String> = gone.iter().map(|pack| layout::pack_dir(*pack)).collect();
        dirs.iter().try_for_each(|dir| files.sync_dir(dir))?;
        self.store.reload()?;
        Ok(gone)
    }
}

/// Removes what dead processes left behind: temporary files and locks. Returns how many files that
/// were.
pub(crate) fn remove_leftovers(files: &RepositoryFiles) -> Result<u64> {
    // Under the commit lock no record is being written; whoever writes anything else holds a
    // writer's lock.
    let _commit = locks::lock_commit(files)?;
    let mut removed = locks::remove_dead_locks(files)?;
    // The files first: a writer that began after they were listed has none among them.
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
