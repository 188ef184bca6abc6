//! The end of a capture: it commits the record, unless packs were condemned that the new snapshot
//! may need.

use crate::format::journal::Change;
use crate::format::journal::Standing;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::chunks::Store;
use crate::stores::journal::catalog::Catalog;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::recovery::copy_with;
use crate::verbs::catalog::check_name_is_free;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::next_step::NextStep;
use crate::words::time::check_time;
use crate::words::units::slots;

/// The result of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// The snapshot exists, durably.
    Done {
        /// The number of its entry in the journal.
        entry: u64,
        /// The snapshot after which it had to be dated.
        dated_after: Option<SnapshotId>,
    },
    /// Data that the snapshot needs is gone: the image must be read again.
    Stale,
}

/// The rule for a snapshot's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Dating {
    /// The given time, but after the newest snapshot of its resource.
    #[default]
    AfterNewest,
    /// The given time, because the snapshot is a copy.
    AsGiven,
}

/// How a capture ends.
#[derive(Default)]
pub(crate) struct Ending {
    pub(crate) dating: Dating,
    /// What the volume that the snapshot is of stands on, if the snapshot is to be its base.
    pub(crate) volume: Option<Standing>,
}

/// Commits `record`, whose manifest was made when the journal had the entry `begun`. Decides the
/// record's time.
pub(crate) fn commit(
    repo: &Repository,
    record: &mut Record,
    ending: &Ending,
    name_may_repeat: bool,
    begun: u64,
) -> Result<Commit> {
    let store = &repo.store;
    let mut proven = begun;
    loop {
        store.sync_runs()?;
        let (catalog, done) = repo.commit(|catalog| {
            if catalog.lost_since(proven) {
                return Ok((Vec::new(), None));
            }
            let (dated, dated_after) = settle(catalog, record, ending.dating, name_may_repeat)?;
            let mut changes = vec![Change::Made(Box::new(dated.clone()))];
            changes.extend(ending.volume.clone().map(|mut volume| {
                volume.bases.push(dated.clone());
                Change::StandsOn(Box::new(volume))
            }));
            Ok((changes, Some((dated, dated_after))))
        })?;
        if let Some((dated, dated_after)) = done {
            *record = dated;
            return Ok(Commit::Done { entry: catalog.number, dated_after });
        }
        proven = catalog.number;
        // The check takes a while, so it runs before another attempt, and again if gc condemns
        // anything meanwhile.
        store.reload()?;
        if !all_there(store, record)? {
            return Ok(Commit::Stale);
        }
    }
}

/// Returns the record as it is committed, and the snapshot after which it had to be dated.
fn settle(
    catalog: &Catalog,
    record: &Record,
    dating: Dating,
    name_may_repeat: bool,
) -> Result<(Record, Option<SnapshotId>)> {
    let mut dated = record.clone();
    check_id_is_free(catalog, dated.id)?;
    if !name_may_repeat {
        check_name_is_free(catalog, &dated)?;
    }
    let dated_after = match dating {
        Dating::AfterNewest => date_after_newest(catalog, &mut dated)?,
        Dating::AsGiven => None,
    };
    Ok((dated, dated_after))
}

/// Checks that no snapshot has this id. A copy keeps its id, and two simultaneous copies must not
/// replace each other.
fn check_id_is_free(catalog: &Catalog, id: SnapshotId) -> Result<()> {
    match catalog.find(id)? {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::AlreadyExists, format!("there is already a snapshot {id}"))
            .with_hint(NextStep::GetSnapshot)),
    }
}

/// Dates a record 1 ms after the newest snapshot of its resource if it is not already later, and
/// returns that snapshot in this case. The clock may have gone back, and snapshots are ordered by
/// their times.
///
/// Resources of both kinds with that name count, since `RESOURCE@latest` does not distinguish them.
fn date_after_newest(catalog: &Catalog, record: &mut Record) -> Result<Option<SnapshotId>> {
    let newest = catalog.newest_of_either(&record.resource)?;
    let Some(newest) = newest.filter(|newest| newest.created_unix_ms >= record.created_unix_ms) else {
        return Ok(None);
    };
    record.created_unix_ms = newest.created_unix_ms.saturating_add(1);
    check_time(record.created_unix_ms).map_err(|_| {
        let message = format!("snapshot {} of {} has the latest possible time", newest.id, newest.resource);
        Error::new(ErrorKind::InvalidInput, message)
            .with_hint("a wrong clock dated it; delete it, because no snapshot can come after it")
    })?;
    Ok(Some(newest.id))
}

/// Tells whether all pages and chunks of a manifest exist, with every slot that it needs.
pub(crate) fn all_there(store: &Store, record: &Record) -> Result<bool> {
    let mut pages = Cursor::new(store, Node::root(record));
    while let Some(node) = pages.next() {
        let leaf = match pages.read(&node) {
            Ok(Some(leaf)) => leaf,
            Ok(None) => continue,
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
            Err(error) => return Err(error),
        };
        for extent in &leaf.extents {
            let Place::Chunk { chunk, slot } = extent.place else { continue };
            let Some(found) = store.find_chunk(&leaf.chunks[usize::from(chunk)])? else {
                return Ok(false);
            };
            for slot in slots(slot, extent.blocks) {
                match copy_with(store, &found, slot) {
                    Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
                    copy => drop(copy?),
                }
            }
        }
    }
    Ok(true)
}
