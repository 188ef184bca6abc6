//! The end of a capture: it publishes the record, unless gc has removed data that the new snapshot
//! needs.

use crate::format::page::Place;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::chunks::Store;
use crate::stores::locks;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::records;
use crate::stores::recovery::copy_with;
use crate::verbs::catalog::check_record_name_is_free;
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
        /// The snapshot after which it had to be dated.
        dated_after: Option<SnapshotId>,
    },
    /// Data that the snapshot needs is gone: the image must be read again.
    Stale,
}

/// The rule for a snapshot's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dating {
    /// The given time, but after the newest snapshot of its resource.
    AfterNewest,
    /// The given time, because the snapshot is a copy.
    AsGiven,
}

/// Publishes `record`, whose manifest was made when the repository was at `generation`. Decides the
/// record's time.
pub(crate) fn commit(
    repo: &Repository,
    record: &mut Record,
    dating: Dating,
    name_may_repeat: bool,
    generation: u64,
) -> Result<Commit> {
    let store = &repo.store;
    let mut proven = generation;
    loop {
        store.sync_runs()?;
        {
            let _lock = locks::lock_commit(&store.files)?;
            let now = locks::generation(&store.files)?;
            if now == proven {
                let all = records::load_all(&store.files)?;
                check_id_is_free(&all, record)?;
                if !name_may_repeat {
                    check_record_name_is_free(&all, record)?;
                }
                let dated_after = match dating {
                    Dating::AfterNewest => date_after_newest(&all, record)?,
                    Dating::AsGiven => None,
                };
                records::save(&store.files, record)?;
                return Ok(Commit::Done { dated_after });
            }
            proven = now;
        }
        // The check takes a while, so it runs without the lock, and again if gc removes anything
        // meanwhile.
        store.reload()?;
        if !all_there(store, record)? {
            return Ok(Commit::Stale);
        }
    }
}

/// Checks that no snapshot has the record's id. A copy keeps its id, and two simultaneous copies
/// must not replace each other.
fn check_id_is_free(all: &[records::Loaded], record: &Record) -> Result<()> {
    let id = record.id;
    match all.iter().find(|(file, _)| file.parse() == Ok(id)) {
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
fn date_after_newest(all: &[records::Loaded], record: &mut Record) -> Result<Option<SnapshotId>> {
    let readable = all.iter().filter_map(|(_, other)| other.as_ref().ok());
    let same = readable.filter(|other| other.resource == record.resource);
    let newest = same.max_by_key(|other| (other.created_unix_ms, other.id));
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
