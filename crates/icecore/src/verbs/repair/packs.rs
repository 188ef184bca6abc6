//! Repairs packs. Reads all data, writes the good data of damaged packs and the copies that other
//! places still have of the rest into new packs, and moves the damaged files aside.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use crate::format::layout;
use crate::format::pack::SlotBitmap;
use crate::repository::Repository;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::config;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::SetAside;
use crate::stores::index::run_writer::PreparedRun;
use crate::stores::index::writer::prepare_all;
use crate::stores::index::writer::set_runs_aside;
use crate::stores::index::writer::write_run_of;
use crate::stores::locks;
use crate::stores::locks::Writer;
use crate::stores::notes::change;
use crate::stores::pack::audit::open_sound;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::list::PackPlace;
use crate::stores::pack::list::list_packs;
use crate::stores::pack::writer::NewPack;
use crate::stores::pack::writer::PackWriter;
use crate::stores::recovery::examine::examine as examine_one;
use crate::stores::recovery::pages::is_sound_delta;
use crate::stores::recovery::reader::ItemReader;
use crate::verbs::repair::damaged_packs::DamagedPack;
use crate::verbs::repair::damaged_packs::NewPacks;
use crate::verbs::repair::damaged_packs::put_aside;
use crate::verbs::repair::recover_pack::RecoveredPack;
use crate::verbs::repair::recover_pack::Troubles;
use crate::verbs::repair::recover_pack::examine;
use crate::verbs::repair::recover_pack::recover_pack;
use crate::verbs::repair::report::RepairPacksReport;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::progress::Progress;
use crate::world::sessions::Work;

/// The state of a repair of packs.
pub(crate) struct PackRepair<'a> {
    repo: &'a Repository,
    store: &'a Store,
    level: i32,
    /// None in a dry run.
    writer: Option<&'a Writer>,
    report: RepairPacksReport,
    damaged: Vec<DamagedPack>,
    /// The entry numbers that were damaged, to be checked once more.
    numbers: HashMap<PackId, Vec<u32>>,
    published: HashSet<PackId>,
    /// Incomplete chunks of new packs: pack, number, id, lost slots.
    incomplete: Vec<(PackId, u32, [u8; 16], SlotBitmap)>,
}

/// Reads all packs and repairs the damaged ones. The caller holds the locks of gc and of the index,
/// unless there is no writer: then nothing is changed.
pub(crate) fn repair_damaged_packs(
    repo: &Repository,
    writer: Option<&Writer>,
    progress: &dyn Progress,
) -> Result<RepairPacksReport> {
    let shortages = repo.files().place.shortages.count();
    repo.store.reload()?;
    let mut repair = PackRepair {
        repo,
        store: &repo.store,
        level: repo.config.level,
        writer,
        report: RepairPacksReport::default(),
        damaged: Vec::new(),
        numbers: HashMap::new(),
        published: HashSet::new(),
        incomplete: Vec::new(),
    };
    for id in list_packs(repo.files())? {
        repair.look_at(id, progress)?;
    }
    // A read that failed for want of descriptors or memory does not mean damage.
    repo.files().place.shortages.check(shortages)?;
    repair.finish()
}

impl PackRepair<'_> {
    fn look_at(&mut self, id: PackId, progress: &dyn Progress) -> Result<()> {
        let pack = match open_sound(&self.store.files, id) {
            Ok(pack) => Arc::new(pack),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // Its records can still be good, and a medium that returns nothing now may do so later,
            // so the file stays in place.
            Err(error) => {
                self.report.unopened.push((id.to_string(), error.to_string()));
                return Ok(());
            }
        };
        let troubles = examine(self.store, &pack, progress)?;
        self.report.packs += 1;
        let Some(first) = troubles.values().next() else { return Ok(()) };
        let why = first.error.to_string();
        let recovered = match self.writer {
            None => recover_pack(self.store, &pack, &troubles, self.level, |_| Ok(()))?,
            Some(writer) => {
                let (new, recovered) = self.write(&pack, &troubles, writer)?;
                self.publish(new, &recovered)?;
                recovered
            }
        };
        self.count(&recovered);
        self.note(id, why, &troubles, recovered.kept + recovered.brought_back);
        Ok(())
    }

    /// Writes what can be recovered of a pack: the pack itself if that is all of it, otherwise new
    /// ones.
    fn write(
        &self,
        pack: &Arc<PackFile>,
        troubles: &Troubles,
        writer: &Writer,
    ) -> Result<(Vec<NewPack>, RecoveredPack)> {
        let files = &self.store.files;
        let mut same = PackWriter::begin_as(files, pack.header())?;
        let recovered = recover_pack(self.store, pack, troubles, self.level, |item| same.append(&item))?;
        if let Some(same) = same.finish_as(pack.id, writer)? {
            return Ok((vec![same], recovered));
        }
        let mut new = NewPacks::new(files, writer);
        let recovered = recover_pack(self.store, pack, troubles, self.level, |item| new.append(&item))?;
        Ok((new.finish()?, recovered))
    }

    /// Adds the new packs to the index.
    fn publish(&mut self, new: Vec<NewPack>, recovered: &RecoveredPack) -> Result<()> {
        for pack in new {
            let run = write_run_of(&self.store.files, &pack)?;
            self.store.replace_runs(run, &[]);
            self.published.insert(pack.id);
            for entry in &pack.entries {
                let lost = recovered.incomplete.iter().find(|(id, _)| *id == entry.id);
                self.incomplete.extend(lost.map(|(id, slots)| (pack.id, entry.number, *id, *slots)));
            }
        }
        Ok(())
    }

    fn count(&mut self, recovered: &RecoveredPack) {
        let report = &mut self.report;
        report.chunks_kept += recovered.kept;
        report.chunks_brought_back += recovered.brought_back;
        report.blocks_lost += recovered.blocks_lost;
        report.pages_lost += recovered.pages_lost;
    }

    fn note(&mut self, id: PackId, why: String, troubles: &Troubles, saved: u64) {
        self.report.damaged_packs.push((id.to_string(), why.clone()));
        self.numbers.insert(id, troubles.keys().copied().collect());
        let place = PackPlace { path: layout::pack(id), id: Some(id) };
        self.damaged.push(DamagedPack { place, saved, all_read: true, why });
    }

    /// Removes the damaged packs from the index, then moves the files aside.
    fn finish(mut self) -> Result<RepairPacksReport> {
        let files = &self.store.files;
        // A completely recovered pack is the original again.
        let published = &self.published;
        self.damaged.retain(|damaged| damaged.place.id.is_none_or(|id| !published.contains(&id)));
        if self.writer.is_none() || self.report.damaged_packs.is_empty() {
            return Ok(self.report);
        }
        // Noted before the index leads to the new packs alone: a capture must not build on their
        // missing parts.
        change(files, |damage, _| {
            self.incomplete
                .iter()
                .for_each(|(pack, number, id, slots)| damage.add(*pack, *number, *id, *slots));
        })?;
        let gone: HashSet<PackId> = self.damaged.iter().filter_map(|damaged| damaged.place.id).collect();
        let numbers = &self.numbers;
        if !gone.is_empty() {
            self.store.reload()?;
            let runs = self.store.index()?.runs().to_vec();
            let merged = prepare_all(files, &runs, &gone)?;
            let merged: Vec<_> = merged.into_iter().map(PreparedRun::publish).collect::<Result<_>>()?;
            let is_new = |id: &RunId| merged.iter().any(|run| run.id == *id);
            let old: Vec<_> = runs.iter().map(|run| run.id).filter(|id| !is_new(id)).collect();
            remove_replaced(files, &old)?;
            put_aside(self.repo, self.damaged, &|id| Ok(is_good_again(self.store, id, numbers.get(&id))))?;
        }
        change(files, |damage, checked| {
            damage.retain(|pack, _| !numbers.contains_key(&pack));
            checked.retain(|pack, _| !numbers.contains_key(pack));
        })?;
        self.store.forget_index();
        self.store.reload()?;
        Ok(self.report)
    }
}

/// Tells whether a pack that was damaged now has the damaged entries, because a restore has put it
/// back.
fn is_good_again(store: &Store, id: PackId, numbers: Option<&Vec<u32>>) -> bool {
    let is_good = || -> Result<bool> {
        let pack = Arc::new(open_sound(&store.files, id)?);
        let mut reader = ItemReader::new()?;
        for number in numbers.into_iter().flatten() {
            let located = Located { pack: Arc::clone(&pack), number: *number, entry: pack.entry(*number)? };
            if examine_one(&mut reader, store, &located).is_some_and(|_| !is_sound_delta(&located)) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    is_good().unwrap_or(false)
}

/// Removes runs.
fn remove_replaced(files: &RepositoryFiles, runs: &[RunId]) -> Result<()> {
    let mut aside = SetAside::new(files);
    config::check_again(files)?;
    set_runs_aside(&mut aside, runs)
}

/// Takes the locks of a repair.
pub(crate) fn with_locks<T>(repo: &Repository, work: impl FnOnce(&Writer) -> Result<T>) -> Result<T, Error> {
    repo.check_writable()?;
    let files = repo.files();
    let _gc = locks::only_gc(files)?;
    let _parity = locks::only(files, Work::Parity)?;
    let _index = locks::only(files, Work::Index)?;
    work(&Writer::begin(files)?)
}
