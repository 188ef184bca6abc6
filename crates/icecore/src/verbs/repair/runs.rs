//! Rebuilds the index: goes through all packs, collects their entries, and replaces the old runs.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use crate::format::layout;
use crate::format::pack::PACK_BYTES_MAX;
use crate::repository::Repository;
use crate::stores::config;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::SetAside;
use crate::stores::index::RunFile;
use crate::stores::index::run_builder::RunBuilder;
use crate::stores::index::run_writer::PreparedRun;
use crate::stores::index::writer::prepare_all;
use crate::stores::index::writer::set_runs_aside;
use crate::stores::locks::Writer;
use crate::stores::pack::audit::open_sound;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::list::PackPlace;
use crate::stores::pack::list::list_pack_places;
use crate::verbs::repair::damaged_packs::DamagedPack;
use crate::verbs::repair::damaged_packs::NewPacks;
use crate::verbs::repair::report::RepairIndexReport;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::RunId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;

/// Adds the next step to an error about a pack that could not be examined. The pack may be sound,
/// and the old index leads to its data.
fn unread(error: Error) -> Error {
    error.or_hint(
        "nothing was changed; check the medium. If the file stays unreadable, replace it with a copy of its readable \
     part (`dd conv=noerror,sync`) and run this again",
    )
}

/// A new index under construction.
pub(crate) struct Rebuild<'a> {
    files: &'a RepositoryFiles,
    writer: &'a Writer,
    builder: RunBuilder,
    runs: Vec<Arc<RunFile>>,
    report: RepairIndexReport,
    damaged: Vec<DamagedPack>,
}

impl<'a> Rebuild<'a> {
    pub(crate) fn new(repo: &'a Repository, writer: &'a Writer) -> Self {
        Self {
            files: repo.files(),
            writer,
            builder: RunBuilder::default(),
            runs: Vec::new(),
            report: RepairIndexReport::default(),
            damaged: Vec::new(),
        }
    }

    /// Collects the entries of all packs, and saves the readable data of damaged ones.
    pub(crate) fn go_through_packs(&mut self, progress: &dyn Progress) -> Result<()> {
        let places = list_pack_places(self.files)?;
        progress.total(Meter::Checked, 0);
        let mut total = 0;
        for place in places {
            if progress.cancelled() {
                return Err(Error::interrupted());
            }
            let file = match self.files.open(&place.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let why = error.to_string();
                    self.damaged.push(DamagedPack { place, saved: 0, all_read: true, why });
                    continue;
                }
                Err(error) => return Err(unread(Error::stored_io(format!("opening {}", place.path), error))),
            };
            let bytes = file.len().min(PACK_BYTES_MAX);
            total += bytes;
            progress.total(Meter::Checked, total);
            match self.sound(&place) {
                Ok(pack) => {
                    self.builder.add_pack(&pack)?;
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let mut new = NewPacks::new(self.files, self.writer);
                    let (saved, all_read) = new.save(&*file, &place)?;
                    self.report.chunks_saved += saved;
                    for pack in new.finish()? {
                        self.builder.add_new(&pack);
                    }
                    self.damaged.push(DamagedPack { place, saved, all_read, why: error.to_string() });
                }
                Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
                Err(error) => return Err(unread(error)),
            }
            progress.advance(Meter::Checked, bytes);
            if self.builder.is_full(self.files) {
                self.write_run()?;
            }
        }
        Ok(())
    }

    /// Publishes a run of the packs processed so far. First makes their names durable: their
    /// writers may have died before doing so, and everyone who finds packs through the run relies
    /// on it.
    fn write_run(&mut self) -> Result<()> {
        self.files.sync(layout::PACKS)?;
        self.runs.push(self.builder.write(self.files)?);
        Ok(())
    }

    /// Opens a pack if it is sound as a whole.
    fn sound(&self, place: &PackPlace) -> Result<PackFile> {
        let id = place.id.ok_or_else(|| Error::corrupt("its name is not that of a pack"))?;
        open_sound(self.files, id)
    }

    /// Publishes the new index and removes the old runs. Returns the report and the damaged packs.
    pub(crate) fn publish(mut self, old: &[RunId]) -> Result<(RepairIndexReport, Vec<DamagedPack>)> {
        if !self.builder.is_empty() {
            self.write_run()?;
        }
        let mut parts = Vec::new();
        if self.runs.len() > 1 {
            parts = self.runs.iter().map(|run| run.id).collect();
            let merged = prepare_all(self.files, &self.runs, &HashSet::new())?;
            self.runs = merged.into_iter().map(PreparedRun::publish).collect::<Result<_>>()?;
        }
        for run in &self.runs {
            self.report.packs += u64::from(run.header.packs);
            self.report.chunks += run.header.chunks;
            self.report.blocks += run.header.blocks;
        }
        let new: Vec<RunId> = self.runs.iter().map(|run| run.id).collect();
        let gone: Vec<RunId> = old.iter().chain(&parts).filter(|run| !new.contains(run)).copied().collect();
        let mut aside = SetAside::new(self.files);
        config::check_again(self.files)?;
        set_runs_aside(&mut aside, &gone)?;
        // The damaged runs must not come back.
        self.files.sync(layout::INDEX)?;
        Ok((self.report, self.damaged))
    }
}
