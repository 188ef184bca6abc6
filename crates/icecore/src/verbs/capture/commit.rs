//! The end of a capture: the record appears, unless gc has removed something that the new snapshot needs.

use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::chunks::Store;
use crate::stores::config::note_labels;
use crate::stores::fence;
use crate::stores::manifest::load_page;
use crate::stores::records;
use crate::verbs::catalog::check_record_name_is_free;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::sizes::tree_height;

/// What came of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// The snapshot exists, durably.
    Done,
    /// Something it needs is gone: the image must be read again.
    Stale,
}

/// Publishes `record`, whose manifest was made when the repository was of `generation`.
pub(crate) fn commit(
    repo: &Repository,
    record: &Record,
    name_may_repeat: bool,
    generation: u64,
) -> Result<Commit> {
    let store = &repo.store;
    let mut proven = generation;
    loop {
        store.sync_runs()?;
        {
            let _lock = fence::lock_commit(&store.base)?;
            let now = fence::generation(&store.base)?;
            if now == proven {
                let all = records::load_all(&store.base)?;
                check_id_is_free(&all, record)?;
                if !name_may_repeat {
                    check_record_name_is_free(&all, record)?;
                }
                note_labels(&store.base, &record.labels)?;
                records::save(&store.base, record)?;
                return Ok(Commit::Done);
            }
            proven = now;
        }
        // Proving takes a while: not under the lock, and again if gc removes something meanwhile.
        store.reload()?;
        if !all_there(store, record)? {
            return Ok(Commit::Stale);
        }
    }
}

/// A snapshot that is copied keeps its id: two copies at once must not replace each other.
fn check_id_is_free(all: &[records::Loaded], record: &Record) -> Result<()> {
    let id = record.id;
    match all.iter().find(|(file, _)| file.parse() == Ok(id)) {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::AlreadyExists, format!("there is a snapshot {id} already"))
            .with_hint("look at it with `icecore snapshot get`")),
    }
}

/// Tells whether all pages and chunks of a manifest are there, with every slot it needs.
pub(crate) fn all_there(store: &Store, record: &Record) -> Result<bool> {
    let mut open: Vec<(PageRef, u32)> =
        record.root.map(|root| (root, tree_height(record.size_bytes))).into_iter().collect();
    while let Some((page, level)) = open.pop() {
        let page = match load_page(store, &page.id, level) {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
            Err(error) => return Err(error),
        };
        match page {
            Page::Inner(inner) => open.extend(inner.children().map(|(_, child)| (child, level - 1))),
            Page::Leaf(leaf) => {
                for extent in &leaf.extents {
                    let Place::Chunk { chunk, slot } = extent.place else { continue };
                    let Some(found) = store.find_chunk(&leaf.chunks[usize::from(chunk)])? else {
                        return Ok(false);
                    };
                    for slot in (slot..=u8::MAX).take(usize::from(extent.blocks)) {
                        if found.pack.has_slot(&found.entry, slot) {
                            continue;
                        }
                        match store.copy_with(&found, slot) {
                            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
                            copy => drop(copy?),
                        }
                    }
                }
            }
        }
    }
    Ok(true)
}
