//! Puts small packs together, as small captures leave one each.

use std::collections::HashSet;

use crate::format::journal::Change;
use crate::format::pack::PackKind;
use crate::repository::Repository;
use crate::stores::locks;
use crate::stores::locks::Writer;
use crate::stores::notes::Damage;
use crate::stores::pack::file::PackFile;
use crate::verbs::gc::mark::PackUse;
use crate::verbs::gc::rewrite::Rewriter;
use crate::verbs::gc::tail::remove_condemned;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::progress::NoProgress;
use crate::world::sessions::Work;

/// How many entries of the journal there are from one joining to the next.
const ENTRIES_BETWEEN: u64 = 16;
/// How many packs of a size class there are before they are put together. So what is written again
/// becomes eight times as long, and a byte is written again a few times, however many captures come.
const JOINED_MIN: usize = 8;
/// The longest pack of the lowest size class, in bytes. The longest of each other class is 16 times
/// as long as that of the one below it.
const SMALLEST_CLASS: u64 = 64 << 10;
/// The part of a full pack that the longest of the highest class is.
const LARGEST_PART: u64 = 4;
/// The most entries per pack of an index run that may name small packs.
const ENTRIES_OF_SMALL: u64 = 1 << 12;

/// Tells whether small packs are to be put together after a capture, which began after the entry
/// `begun` of the journal and whose own entry is `committed`.
pub(crate) fn is_due(begun: u64, committed: u64) -> bool {
    begun / ENTRIES_BETWEEN < committed / ENTRIES_BETWEEN
}

/// Puts small packs together if there are many of about one size and nobody else is at it. Nothing
/// is lost by it, not even what could be restored.
///
/// Where others write too, gc does this. A repository with parity leaves it to gc as well: for small
/// packs that go, the parity of large ones would be made again.
pub(crate) fn join_small_packs(repo: &Repository) -> Result<()> {
    if repo.files().are_shared() || repo.parity()?.is_some() || small_packs(repo)?.is_empty() {
        return Ok(());
    }
    let files = repo.files();
    let Some(_join) = locks::try_only(files, Work::Join)? else { return Ok(()) };
    let Some(_gc) = locks::try_only(files, Work::Gc)? else { return Ok(()) };
    let Some(_index) = locks::try_only(files, Work::Index)? else { return Ok(()) };
    let before = repo.catalog()?;
    repo.store.reload()?;
    let packs = small_packs(repo)?;
    if packs.is_empty() {
        return Ok(());
    }
    let writer = Writer::begin(files)?;
    let mut rewriter = Rewriter::new(&repo.store, &writer, repo.config.level);
    for id in &packs {
        let whole = PackUse::whole(&*repo.store.pack(*id)?);
        rewriter.copy(*id, &whole, &NoProgress)?;
    }
    let replaced = rewriter.finish()?.replaced;
    // What was copied may have been in packs that others condemned meanwhile, and so may be the
    // copies.
    let (_, joined) = repo.commit(|catalog| match catalog.condemned_since(before.number) {
        true => Ok((Vec::new(), false)),
        false => Ok((Change::joined(&replaced), true)),
    })?;
    if joined {
        remove_condemned(repo, &replaced, 0)?;
    }
    Ok(())
}

/// Returns packs of size classes that have many, as the index knows them. Those that a living writer
/// has announced stay as they are, and damaged ones, of which a repair recovers more.
fn small_packs(repo: &Repository) -> Result<Vec<PackId>> {
    let (store, files) = (&repo.store, repo.files());
    let index = store.index()?;
    let mut named = HashSet::new();
    for file in index.runs() {
        let Some(run) = file.run() else { continue };
        if file.entries() <= ENTRIES_OF_SMALL * u64::from(file.header.packs) {
            named.extend(run.packs().filter(|pack| !index.is_condemned(pack)));
        }
        file.check()?;
    }
    if named.len() < JOINED_MIN {
        return Ok(Vec::new());
    }
    let announced: HashSet<PackId> = locks::announced_packs(files)?.into_iter().collect();
    let damaged = Damage::load(files).packs();
    let mut small: Vec<(PackKind, u32, PackId, u64)> = Vec::new();
    for id in named.difference(&announced).filter(|id| !damaged.contains(*id)) {
        let pack = match store.pack(*id) {
            Ok(pack) => pack,
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => continue,
            Err(error) => return Err(error),
        };
        small.extend(
            class_of(&pack, files.pack_bytes).map(|class| (pack.header().kind, class, *id, pack.bytes)),
        );
    }
    // In the order of their ids, so that what is written does not depend on anything else.
    small.sort_unstable_by_key(|(kind, class, id, _)| (*kind as u8, *class, *id));
    let classes = small.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|class| class.len() >= JOINED_MIN);
    let mut bytes = 0;
    let fit = |(_, _, _, length): &&(PackKind, u32, PackId, u64)| {
        bytes += length;
        bytes <= files.pack_bytes
    };
    Ok(classes.flatten().take_while(fit).map(|(_, _, id, _)| *id).collect())
}

/// Returns the size class of a pack, or none if it is not small.
fn class_of(pack: &PackFile, full_bytes: u64) -> Option<u32> {
    let longest = |class: u32| SMALLEST_CLASS << (4 * class);
    (0..=2).find(|class| pack.bytes <= longest(*class) && longest(*class) <= full_bytes / LARGEST_PART)
}
