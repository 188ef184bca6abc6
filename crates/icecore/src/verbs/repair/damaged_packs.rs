//! Saves the readable data of damaged packs, and moves the damaged files aside.

use std::collections::HashSet;

use crate::format::journal::Change;
use crate::format::layout;
use crate::format::pack::HEADER_BYTES;
use crate::format::pack::Header;
use crate::format::pack::PackKind;
use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks::Writer;
use crate::stores::pack::list::PackPlace;
use crate::stores::pack::writer::Item;
use crate::stores::pack::writer::NewPack;
use crate::stores::pack::writer::PackWriter;
use crate::stores::recovery::broken_pack::recover_items;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::world::storage::StoredFile;

/// A file that is not a sound pack.
pub(crate) struct DamagedPack {
    pub(crate) place: PackPlace,
    /// The number of chunks and pages that were saved from it.
    pub(crate) saved: u64,
    /// Whether all of it could be read. Unreadable parts may be readable another time.
    pub(crate) all_read: bool,
    pub(crate) why: String,
}

/// A writer of new packs for the data saved from one damaged pack.
pub(crate) struct NewPacks<'a> {
    files: &'a RepositoryFiles,
    writer: &'a Writer,
    data: Option<PackWriter<'a>>,
    pages: Option<PackWriter<'a>>,
    done: Vec<NewPack>,
}

impl<'a> NewPacks<'a> {
    pub(crate) fn new(files: &'a RepositoryFiles, writer: &'a Writer) -> Self {
        Self { files, writer, data: None, pages: None, done: Vec::new() }
    }

    /// Writes every chunk and page of a file that matches its id. If these are all that the pack
    /// in this place had, it writes that pack again. Returns the number of chunks and pages, and
    /// whether the whole file could be read.
    pub(crate) fn save(&mut self, file: &dyn StoredFile, place: &PackPlace) -> Result<(u64, bool)> {
        if let Some(header) = header_of(file).filter(|header| header.repository == self.files.repository)
            && let Some(id) = place.id
        {
            let mut same = PackWriter::begin_as(self.files, header)?;
            let saved = save_in(self.files, file, |item| same.append(item))?;
            if let Some(same) = same.finish_as(id, self.writer)? {
                self.done.push(same);
                return Ok(saved);
            }
        }
        save_in(self.files, file, |item| self.append(item))
    }

    /// Writes a chunk or a page.
    pub(crate) fn append(&mut self, item: &Item) -> Result<()> {
        // A chunk has blocks; pages and copies of records do not.
        let (kind, open) = match item.blocks.is_empty() {
            true => (PackKind::Pages, &mut self.pages),
            false => (PackKind::Data, &mut self.data),
        };
        let mut pack = match open.take() {
            Some(pack) => pack,
            None => PackWriter::begin(self.files, kind)?,
        };
        pack.append(item)?;
        if pack.is_full() {
            self.done.push(pack.finish(self.writer)?);
        } else {
            *open = Some(pack);
        }
        Ok(())
    }

    /// Publishes the open packs, and returns all new packs.
    pub(crate) fn finish(mut self) -> Result<Vec<NewPack>> {
        for pack in [self.data.take(), self.pages.take()].into_iter().flatten() {
            self.done.push(pack.finish(self.writer)?);
        }
        Ok(self.done)
    }
}

fn header_of(file: &dyn StoredFile) -> Option<Header> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(0, &mut bytes).ok()?;
    Header::decode(&bytes).ok()
}

fn save_in(
    files: &RepositoryFiles,
    file: &dyn StoredFile,
    mut append: impl FnMut(&Item) -> Result<()>,
) -> Result<(u64, bool)> {
    let mut saved = 0;
    let all_read = recover_items(files, file, |item| {
        saved += u64::from(!item.is_record);
        append(&item)
    })?;
    Ok((saved, all_read))
}

const STAYS: &str = "a part of it could not be read, so it stays in its place: check the medium";

/// Moves damaged packs to a directory where nobody looks for packs, and notifies running captures.
/// Returns them by name, each with its problem. By now the new index is published, and no entry in
/// it leads to them. `is_good_again` tells whether a good file has replaced a damaged one
/// meanwhile.
pub(crate) fn put_aside(
    repo: &Repository,
    damaged: Vec<DamagedPack>,
    is_good_again: &dyn Fn(PackId) -> Result<bool>,
) -> Result<Vec<(String, String)>> {
    if damaged.is_empty() {
        return Ok(Vec::new());
    }
    let files = repo.files();
    let packs: Vec<PackId> = damaged.iter().filter_map(|pack| pack.place.id).collect();
    repo.commit(|_| Ok((Change::put_aside(&packs), ())))?;
    let mut taken: HashSet<String> = files.list(layout::DAMAGED)?.into_iter().collect();
    let mut told = Vec::with_capacity(damaged.len());
    for DamagedPack { place, saved, all_read, why } in damaged {
        let file = place.path.rsplit('/').next().unwrap_or(&place.path);
        if saved == 0 && layout::id_of::<PackId>(file).is_none() {
            // The file is not icecore's, and stays in place.
            continue;
        }
        if !all_read {
            told.push((file.to_owned(), format!("{why}; {STAYS}")));
            continue;
        }
        told.push((file.to_owned(), why));
        // The sound pack may have taken the place of the damaged one: either all of it was saved,
        // or a restore has put it back.
        let is_good_again = place.id.map_or(Ok(false), is_good_again)?;
        if is_good_again {
            continue;
        }
        let names = std::iter::once(file.to_owned()).chain((2..).map(|n: u32| format!("{file}.{n}")));
        let Some(name) = names.into_iter().find(|name| !taken.contains(name)) else { continue };
        let to = layout::damaged(&name);
        let moved = files.place.objects.rename(&place.path, &to);
        moved.map_err(|error| Error::stored_io(format!("moving {} to {to}", place.path), error))?;
        taken.insert(name);
    }
    Ok(told)
}
