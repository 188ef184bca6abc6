//! The journal of the catalog: numbered entries that are made once and never change, and
//! checkpoints. `docs/concurrency.md` has the rules, and `tests/journal/` a proof of them.

pub(crate) mod audit;
pub(crate) mod catalog;
pub(crate) mod files;
pub(crate) mod recent;
mod writing;

use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::format::config::FORMAT_MINOR;
use crate::format::config::Geometry;
use crate::format::journal::Author;
use crate::format::journal::Change;
use crate::format::journal::Entry;
use crate::format::journal::Settings;
use crate::stores::config;
use crate::stores::files::RepositoryFiles;
use crate::stores::index::Index;
use crate::stores::journal::catalog::Catalog;
use crate::stores::journal::files::Numbers;
use crate::stores::journal::recent::Recent;
use crate::stores::locks;
use crate::stores::pack::list::list_packs;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::next_step::NextStep;
use crate::words::sync::Mutex;
use crate::words::sync::MutexGuard;
use crate::world::sessions::Work;

/// The part of the snapshots that may have changed before the next checkpoint is made.
const TAIL_PART: u64 = 32;
/// The snapshots that may have changed since the checkpoint that a catalog builds on, before it is
/// read anew from a later checkpoint.
const CHANGES_MAX: usize = 512;
/// How often reading begins again because checkpoints took the place of entries meanwhile.
const READINGS_MAX: usize = 16;

/// The journal as one handle of a repository knows it.
pub(crate) struct Journal {
    known: Arc<Known>,
    /// What the config says, which holds until an entry says something else.
    settings: Settings,
    author: Author,
    clock: fn() -> i64,
    tokens: AtomicU64,
}

/// What handles of one repository in one process know together.
#[derive(Default)]
struct Known {
    catalog: Mutex<Option<Arc<Catalog>>>,
    recent: Mutex<Recent>,
}

/// What is done with an entry, and the catalog before and after it.
pub(crate) type OfEntry<'a> = dyn FnMut(&Catalog, &Entry, &Catalog) -> Result<()> + 'a;

impl Journal {
    /// Returns the journal for a handle. `clock` gives the time of entries, in milliseconds since
    /// 1970.
    pub(crate) fn new(author: Author, clock: fn() -> i64, settings: Settings) -> Self {
        Self { known: Arc::default(), settings, author, clock, tokens: AtomicU64::new(0) }
    }

    /// Returns the journal for another handle of the same repository, with its own session. Both
    /// know what either has read.
    pub(crate) fn beside(&self, author: Author, clock: fn() -> i64) -> Self {
        let (known, settings) = (Arc::clone(&self.known), self.settings.clone());
        Self { known, settings, author, clock, tokens: AtomicU64::new(0) }
    }

    /// Returns the name of this machine.
    pub(crate) fn host(&self) -> &str {
        &self.author.host
    }

    /// Returns the catalog as it is now.
    ///
    /// # Errors
    /// `Corrupt` if a part of it is lost or damaged; `NotFound` if the repository is gone.
    pub(crate) fn catalog(&self, files: &RepositoryFiles) -> Result<Arc<Catalog>> {
        self.look(files, true)
    }

    /// Returns the catalog as it is now, after a look at all files of the journal unless `quick`.
    fn look(&self, files: &RepositoryFiles, quick: bool) -> Result<Arc<Catalog>> {
        let mut known = self.lock_known();
        let catalog = match &*known {
            Some(known) if (quick || files.are_shared()) && is_last(files, known)? => Arc::clone(known),
            known => self.read_on(files, known.clone())?,
        };
        config::check_readable(&catalog.settings.features, Geometry::V1)?;
        files.seals.enter(catalog.settings.epoch);
        *known = Some(Arc::clone(&catalog));
        Ok(catalog)
    }

    /// Returns the catalog as this handle last saw it.
    pub(crate) fn known(&self) -> Option<Arc<Catalog>> {
        self.lock_known().clone()
    }

    fn lock_known(&self) -> MutexGuard<'_, Option<Arc<Catalog>>> {
        self.known.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.known.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the snapshots that may differ between two catalogs, or none if that is not known any
    /// more.
    pub(crate) fn between(&self, earlier: &Catalog, later: &Catalog) -> Option<BTreeSet<SnapshotId>> {
        self.recent().between((earlier.number, earlier.digest()), (later.number, later.digest()))
    }

    /// Reads what came after `known`, or else everything.
    fn read_on(&self, files: &RepositoryFiles, known: Option<Arc<Catalog>>) -> Result<Arc<Catalog>> {
        let mut from = known;
        for _ in 0..READINGS_MAX {
            let checkpoints = files::checkpoints(files)?;
            let was_known = from.is_some() && !checkpoints.is_empty();
            let mut catalog = match from.take() {
                Some(known) if was_known => known,
                _ => Arc::new(self.newest_checkpoint(files, &checkpoints)?),
            };
            let begun = catalog.number;
            let read =
                files::last_entry(files, begun).and_then(|last| self.read_entries(files, &mut catalog, last));
            // A repair may have put other entries in the place of lost ones.
            if was_known && read.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
                continue;
            }
            // An entry that was read may have been put at a number that was already removed. Once
            // the older of the two checkpoints lies beyond where the reading began, this cannot be
            // ruled out.
            let checkpoints = files::checkpoints(files)?;
            if checkpoints.kept_from().is_none_or(|kept| kept <= begun) {
                read?;
                return Ok(self.shorter(files, catalog, &checkpoints));
            }
        }
        Err(changes_too_fast())
    }

    fn read_entries(&self, files: &RepositoryFiles, catalog: &mut Arc<Catalog>, last: u64) -> Result<()> {
        files::each_entry(files, catalog.number + 1..=last, |entry, digest, minor| {
            Arc::make_mut(catalog).follow(&entry, digest, minor)?;
            self.recent().note(&entry, digest);
            Ok(())
        })
    }

    /// Returns the same catalog from the newest checkpoint, where others have made some since and
    /// much has changed: a catalog remembers all that differs from its checkpoint.
    fn shorter(&self, files: &RepositoryFiles, catalog: Arc<Catalog>, checkpoints: &Numbers) -> Arc<Catalog> {
        let newest = checkpoints.newest().filter(|newest| *newest <= catalog.number);
        let Some(newest) = newest.filter(|_| catalog.changes() > CHANGES_MAX) else { return catalog };
        if catalog.begins_at().is_some_and(|begins_at| begins_at >= newest) {
            return catalog;
        }
        let Ok(mut shorter) = files::read_checkpoint(files, newest).map(Arc::new) else { return catalog };
        match self.read_entries(files, &mut shorter, catalog.number) {
            Ok(()) if shorter.digest() == catalog.digest() => shorter,
            _ => catalog,
        }
    }

    /// Calls `each` with every entry that is left, and the catalog before and after it.
    ///
    /// # Errors
    /// `Corrupt` if a part of the journal is lost or damaged; any error of `each`.
    pub(crate) fn replay(&self, files: &RepositoryFiles, each: &mut OfEntry<'_>) -> Result<()> {
        for _ in 0..READINGS_MAX {
            let mut catalog = Arc::new(self.oldest_checkpoint(files)?);
            let begun = catalog.number;
            let numbers = begun + 1..=files::last_entry(files, begun)?;
            let mut entries = Vec::new();
            let read = files::each_entry(files, numbers, |entry, digest, minor| {
                entries.push((entry, digest, minor));
                Ok(())
            });
            // Entries may have been removed meanwhile.
            if files::checkpoints(files)?.kept_from().is_some_and(|kept| kept > begun) {
                continue;
            }
            read?;
            for (entry, digest, minor) in entries {
                let after = Arc::new(catalog.after(&entry, digest, minor)?);
                each(&catalog, &entry, &after)?;
                catalog = after;
            }
            return Ok(());
        }
        Err(changes_too_fast())
    }

    /// Returns the catalog of the oldest sound checkpoint: it has the most entries after it.
    fn oldest_checkpoint(&self, files: &RepositoryFiles) -> Result<Catalog> {
        let numbers = files::checkpoints(files)?;
        for number in &numbers.0 {
            match files::read_checkpoint(files, *number) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
                read => return read,
            }
        }
        self.newest_checkpoint(files, &numbers)
    }

    /// Returns the catalog of the newest sound checkpoint of these.
    fn newest_checkpoint(&self, files: &RepositoryFiles, numbers: &Numbers) -> Result<Catalog> {
        let mut failed = None;
        for number in numbers.newest_first() {
            match files::read_checkpoint(files, number) {
                Ok(catalog) => return Ok(catalog),
                // Another one took its place.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.says_nothing_of_what_is_stored() => return Err(error),
                // The one before it and the entries since say the same.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // All entries may be there still.
        let nothing_is_lost =
            || Ok(numbers.is_empty() && files::last_entry(files, 0)? == 0 && list_packs(files)?.is_empty());
        if files::has_entry(files, 1)? || nothing_is_lost()? {
            return Ok(Catalog::empty(&files.hasher, self.settings.clone()));
        }
        Err(failed.unwrap_or_else(|| {
            Error::corrupt("the journal has lost its checkpoints").with_hint(NextStep::RepairCatalog)
        }))
    }

    /// Commits the changes that `decide` returns, and what else it returns. It decides again
    /// whenever another entry came first. Without changes, nothing is written.
    ///
    /// # Errors
    /// Those of `decide`; `Unsupported` if a newer program must change the repository; what keeps
    /// the entry from being written.
    pub(crate) fn commit<T>(
        &self,
        files: &RepositoryFiles,
        account: Option<&str>,
        mut decide: impl FnMut(&Catalog) -> Result<(Vec<Change>, T)>,
    ) -> Result<(Arc<Catalog>, T)> {
        let _turn = take_turn(files)?;
        loop {
            let catalog = self.look(files, false)?;
            let (changes, result) = decide(&catalog)?;
            if changes.is_empty() {
                return Ok((catalog, result));
            }
            if let Some(catalog) = self.put(files, &catalog, account, changes)? {
                return Ok((catalog, result));
            }
        }
    }

    /// Commits changes if nothing came after `catalog`. Returns the catalog with them, or none if
    /// something did.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub(crate) fn commit_at(
        &self,
        files: &RepositoryFiles,
        account: Option<&str>,
        catalog: &Catalog,
        changes: Vec<Change>,
    ) -> Result<Option<Arc<Catalog>>> {
        let _turn = take_turn(files)?;
        let now = self.look(files, false)?;
        if now.number != catalog.number {
            return Ok(None);
        }
        self.put(files, &now, account, changes)
    }

    /// Commits an entry without changes, and makes a checkpoint after it.
    pub(crate) fn mark(&self, files: &RepositoryFiles, account: Option<&str>) -> Result<()> {
        let _turn = take_turn(files)?;
        *self.lock_known() = None;
        loop {
            let catalog = self.look(files, false)?;
            if let Some(catalog) = self.put(files, &catalog, account, Vec::new())? {
                make_checkpoint(files, &catalog)?;
                files::remove_replaced(files);
                return Ok(());
            }
        }
    }

    /// Puts the next entry. Returns the catalog with it, or none if another entry has the number or
    /// a checkpoint covers it.
    fn put(
        &self,
        files: &RepositoryFiles,
        catalog: &Catalog,
        account: Option<&str>,
        changes: Vec<Change>,
    ) -> Result<Option<Arc<Catalog>>> {
        config::check_writable(&catalog.settings.features, catalog.minor)?;
        let entry = Entry {
            number: catalog.number + 1,
            before: catalog.digest(),
            created_unix_ms: (self.clock)(),
            author: Author { account: account.map(str::to_owned), ..self.author.clone() },
            token: self.token(files),
            changes,
        };
        let (bytes, digest) = entry.encode(&files.hasher).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("cannot encode an entry: {error}"))
        })?;
        if !files::put_entry(files, &entry, bytes)? {
            return Ok(None);
        }
        let checkpoints = files::checkpoints(files)?;
        if files.are_shared() && checkpoints.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "the repository is gone"));
        }
        if checkpoints.newest().is_some_and(|newest| newest >= entry.number) {
            // The entry counts only if a checkpoint has taken it in.
            let mut known = self.lock_known();
            let now = self.read_on(files, None)?;
            *known = Some(Arc::clone(&now));
            return Ok(Some(now).filter(|now| now.has_token(&entry.token)));
        }
        let next = Arc::new(catalog.after(&entry, digest, FORMAT_MINOR)?);
        self.recent().note(&entry, digest);
        *self.lock_known() = Some(Arc::clone(&next));
        Ok(Some(self.shorten(files, next, &checkpoints)))
    }

    /// Returns a number that no other entry has. The session is random and has one handle.
    fn token(&self, files: &RepositoryFiles) -> [u8; 16] {
        let count = self.tokens.fetch_add(1, Ordering::Relaxed);
        files.hasher.record(format!("{} {count}", files.session).as_bytes()).short()
    }

    /// Makes a checkpoint if many entries came after the last one. If that fails, another commit
    /// tries again.
    fn shorten(&self, files: &RepositoryFiles, catalog: Arc<Catalog>, checkpoints: &Numbers) -> Arc<Catalog> {
        let (fewest, most) = files.tail;
        let tail = (catalog.count_at_most() / TAIL_PART).clamp(fewest, most);
        // Without any, the config has no copy.
        if checkpoints.newest().is_some_and(|newest| catalog.number < newest + tail) {
            return catalog;
        }
        let Ok(()) = make_checkpoint(files, &catalog) else { return catalog };
        match files::read_checkpoint(files, catalog.number) {
            Ok(shorter) => {
                let shorter = Arc::new(shorter);
                *self.lock_known() = Some(Arc::clone(&shorter));
                shorter
            }
            Err(_) => catalog,
        }
    }
}

#[cfg(test)]
impl Default for Journal {
    fn default() -> Self {
        Self::new(Author::default(), || 0, Settings::default())
    }
}

fn changes_too_fast() -> Error {
    Error::new(ErrorKind::InUse, "the journal changes faster than it can be read").with_hint("try again")
}

/// Makes the first checkpoint of a new repository, with the bytes of its config.
pub(crate) fn begin(files: &RepositoryFiles, config: &[u8], settings: Settings) -> Result<()> {
    let bytes = writing::encode(&Catalog::empty(&files.hasher, settings), config, |_| Ok(true))?;
    if files.are_shared() {
        return files::put_first_checkpoint(files, bytes);
    }
    // What has its name is of an attempt that came to nothing.
    files::replace_checkpoint(files, 0, bytes)
}

/// Makes a checkpoint of a catalog in place of a damaged one.
pub(crate) fn replace_checkpoint(files: &RepositoryFiles, catalog: &Catalog) -> Result<()> {
    let config = config::read_bytes(&*files.place.objects)?;
    let bytes = writing::encode(catalog, &config, |_| Ok(true))?;
    files::replace_checkpoint(files, catalog.number, bytes)
}

/// Makes a checkpoint of a catalog, and removes the entries and checkpoints that it replaces.
pub(crate) fn make_checkpoint(files: &RepositoryFiles, catalog: &Catalog) -> Result<()> {
    let config = config::read_bytes(&*files.place.objects)?;
    let mut there = HashSet::new();
    if !catalog.condemned().is_empty() {
        there = Index::load(files, &Index::default())?.packs();
        there.extend(list_packs(files)?);
    }
    let bytes = writing::encode(catalog, &config, |pack| Ok(there.contains(&pack)))?;
    files::put_checkpoint(files, catalog.number, bytes)?;
    // Elsewhere gc does it, as it has the right to.
    if !files.are_shared() {
        files::remove_replaced(files);
    }
    Ok(())
}

/// Tells whether nothing came after a catalog, as far as the names of the next entry and of the
/// checkpoints say. An entry beyond a lost one is not seen: whoever commits looks at all names.
fn is_last(files: &RepositoryFiles, catalog: &Catalog) -> Result<bool> {
    if files.are_shared() {
        return files::is_last_listed(files, catalog.number);
    }
    if files::may_be_there(files, catalog.number + 1) {
        return Ok(false);
    }
    // Looked at last: an entry that was removed by now is in a checkpoint.
    Ok(files::checkpoints(files)?.newest().is_some_and(|newest| newest <= catalog.number))
}

/// Waits until no other process of this machine puts an entry, so that none of them writes one in
/// vain. Where there are no locks, the number of an entry decides.
fn take_turn(files: &RepositoryFiles) -> Result<locks::Held> {
    let held = locks::only(files, Work::Commit)?;
    config::check_again(files)?;
    Ok(held)
}
