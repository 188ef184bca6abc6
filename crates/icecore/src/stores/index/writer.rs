//! Writing of index runs: for a new pack, and for several runs merged into one.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use crate::format::layout;
use crate::format::run::Run;
use crate::format::run_table::Entry;
use crate::format::run_table::Table;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::SetAside;
use crate::stores::index::RunFile;
use crate::stores::index::run_builder::RunBuilder;
use crate::stores::index::run_writer::PreparedRun;
use crate::stores::index::run_writer::prepare_run;
use crate::stores::pack::writer::NewPack;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::sizes::to_u32;

/// The number of runs of about the same size that are merged into one.
const MERGE_WIDTH: usize = 4;
/// The entries of a run of the lowest size class: that of a small capture.
const SMALLEST_CLASS: u64 = 1 << 8;
/// The entries of a run of a pack that is nearly full.
const RUN_OF_A_PACK: u64 = 1 << 14;
/// The entries of a run of the lowest class of those of full packs.
const PACKS_CLASS: u64 = 1 << 18;
/// The most merged entries to keep in memory: 16 MiB.
const KEPT_ENTRIES_MAX: u64 = 1 << 20;

/// Publishes the run of one new pack.
pub(crate) fn write_run_of(files: &RepositoryFiles, pack: &NewPack) -> Result<Arc<RunFile>> {
    prepare_run_of(files, pack)?.publish()
}

/// Writes the run of one new pack.
pub(crate) fn prepare_run_of<'a>(files: &'a RepositoryFiles, pack: &NewPack) -> Result<PreparedRun<'a>> {
    let mut builder = RunBuilder::default();
    builder.add_new(pack);
    builder.prepare(files)
}

/// Writes one run with all entries of `runs` except those of the packs in `dropped`.
pub(crate) fn prepare_merged<'a>(
    files: &'a RepositoryFiles,
    runs: &[Arc<RunFile>],
    dropped: &HashSet<PackId>,
) -> Result<PreparedRun<'a>> {
    let mut numbers = HashMap::new();
    let mut packs = Vec::new();
    for pack in runs.iter().filter_map(|file| file.run()).flat_map(|run| run.packs()) {
        if !dropped.contains(&pack) && !numbers.contains_key(&pack) {
            numbers.insert(pack, to_u32(packs.len()));
            packs.push(pack);
        }
    }
    let inputs: Vec<(Run<'_>, Vec<Option<u32>>)> = runs
        .iter()
        .filter_map(|file| file.run())
        .map(|run| (run, run.packs().map(|pack| numbers.get(&pack).copied()).collect()))
        .collect();
    let chunks = || merge(&inputs, |run| run.chunks);
    let blocks = || merge(&inputs, |run| run.blocks);
    let merged = if runs.iter().map(|run| run.entries()).sum::<u64>() > KEPT_ENTRIES_MAX {
        prepare_run(files, &packs, chunks, blocks)
    } else {
        // A run is written in several passes over its entries, and each would merge them anew.
        let (chunks, blocks): (Vec<Entry>, Vec<Entry>) = (chunks().collect(), blocks().collect());
        prepare_run(files, &packs, || chunks.iter().copied(), || blocks.iter().copied())
    };
    // Unreadable entries would be missing from the new run, which replaces the old ones.
    runs.iter().try_for_each(|run| run.check())?;
    merged
}

/// Writes all entries of `runs` except those of the packs in `dropped`, in as many runs as the most
/// entries of a run make necessary.
pub(crate) fn prepare_all<'a>(
    files: &'a RepositoryFiles,
    runs: &[Arc<RunFile>],
    dropped: &HashSet<PackId>,
) -> Result<Vec<PreparedRun<'a>>> {
    let mut left = runs.to_vec();
    left.sort_by_key(|run| run.entries());
    let mut prepared = Vec::new();
    while !left.is_empty() {
        let fitting = fitting(left.iter().map(|run| run.entries()), files.run_entries);
        let rest = left.split_off(fitting.max(1));
        let kept = |run: Run<'_>| run.packs().any(|pack| !dropped.contains(&pack));
        if left.iter().filter_map(|file| file.run()).any(kept) {
            prepared.push(prepare_merged(files, &left, dropped)?);
        }
        left.iter().try_for_each(|run| run.check())?;
        left = rest;
    }
    Ok(prepared)
}

/// Returns the runs that should be merged now: those of the smallest size classes that have come
/// together, or none. Together they have at most `entries_max` entries.
pub(crate) fn runs_to_merge(runs: &[Arc<RunFile>], entries_max: u64) -> Vec<Arc<RunFile>> {
    let mut small: Vec<&Arc<RunFile>> =
        runs.iter().filter(|run| run.entries() <= entries_max / MERGE_WIDTH as u64).collect();
    small.sort_by_key(|run| run.entries());
    let classes: Vec<u32> = small.iter().map(|run| class_of(run.entries())).collect();
    let Some(upto) = class_to_merge(&classes) else { return Vec::new() };
    small.truncate(classes.iter().filter(|class| **class <= upto).count());
    small.truncate(fitting(small.iter().map(|run| run.entries()), entries_max));
    if small.len() < 2 { Vec::new() } else { small.into_iter().map(Arc::clone).collect() }
}

/// Returns how many of these numbers, from the first, add up to no more than `most`.
fn fitting(numbers: impl Iterator<Item = u64>, most: u64) -> usize {
    let sums = numbers.scan(0_u64, |sum, number| {
        *sum = sum.saturating_add(number);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= most).count()
}

/// Returns the size class of a run. Each is four times the one before, except for the one from the
/// run of a pack up to that of dozens: lookups go through fewer runs so, right after an image was
/// captured, and small captures do not write those again.
fn class_of(entries: u64) -> u32 {
    let class = |smallest: u64| (entries / smallest + 1).ilog2() / 2;
    match entries < RUN_OF_A_PACK {
        true => class(SMALLEST_CLASS),
        false => (RUN_OF_A_PACK / SMALLEST_CLASS).ilog2() / 2 + 1 + class(PACKS_CLASS),
    }
}

/// Returns the class up to which runs are to be merged. A class is merged when it has enough runs,
/// one that comes from merging the classes below it included. So an entry is written again once for
/// each class, and runs of each class stay few.
fn class_to_merge(classes: &[u32]) -> Option<u32> {
    let mut upto = None;
    for class in 0..=classes.iter().copied().max()? {
        let from_below = usize::from(upto.is_some());
        if classes.iter().filter(|other| **other == class).count() + from_below >= MERGE_WIDTH {
            upto = Some(class);
        } else if from_below > 0 {
            break;
        }
    }
    upto
}

/// Merges one table of several runs, their packs numbered anew; entries of packs without a number
/// are left out.
fn merge<'a>(
    inputs: &'a [(Run<'a>, Vec<Option<u32>>)],
    table: impl Fn(&Run<'a>) -> Table<'a>,
) -> impl Iterator<Item = Entry> + 'a {
    let mut heads: Vec<_> = inputs
        .iter()
        .map(|(run, numbers)| {
            let kept = table(run).entries().filter_map(move |entry| {
                let pack = numbers.get(entry.pack as usize).copied().flatten()?;
                Some(Entry { pack, ..entry })
            });
            kept.peekable()
        })
        .collect();
    std::iter::from_fn(move || {
        let least = heads.iter_mut().filter_map(|head| head.peek().copied()).min()?;
        // An entry that several runs have is taken from all of them at once.
        heads.iter_mut().for_each(|head| while head.next_if_eq(&least).is_some() {});
        Some(least)
    })
}

/// Moves runs that another one replaces out of the index. Missing ones are not an error. This need
/// not be durable: a run that comes back after a power cut says the same as the new one.
///
/// The caller holds the lock of the index, and removes the moved files without it: freeing a large run
/// takes long.
pub(crate) fn set_runs_aside(aside: &mut SetAside<'_>, runs: &[RunId]) -> Result<()> {
    runs.iter().try_for_each(|run| aside.take(&layout::run(*run)))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::format::run_table::Key;
    use crate::pure::hash::Hasher;
    use crate::stores::chunks::Store;
    use crate::stores::index::Index;
    use crate::stores::index::run_writer::prepare_run;
    use crate::stores::journal::Journal;
    use crate::words::error::Error;
    use crate::words::ids::BlockId;
    use crate::words::ids::RepositoryId;
    use crate::world::memory::MemoryStorage;
    use crate::world::storage::Storage;

    fn files() -> RepositoryFiles {
        base_over(MemoryStorage::new(), "test")
    }

    fn base_over(storage: impl Storage + 'static, session: &str) -> RepositoryFiles {
        RepositoryFiles::new(
            Arc::new(storage),
            Hasher::new(&[1; 32]),
            RepositoryId::from([0; 16]),
            session.to_owned(),
        )
    }

    fn id(number: u32) -> BlockId {
        BlockId(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap())
    }

    /// Returns the entries of blocks, and the same for chunks, all in one pack.
    fn entries(numbers: impl Iterator<Item = u32>) -> Vec<Entry> {
        let entry = |number| Entry { key: Key::of(&id(number).0), pack: 0, entry: 7, detail: 3 };
        let mut entries: Vec<Entry> = numbers.map(entry).collect();
        entries.sort_unstable();
        entries
    }

    fn write_run(files: &RepositoryFiles, pack: PackId, entries: &[Entry]) -> Arc<RunFile> {
        let each = || entries.iter().copied();
        prepare_run(files, &[pack], each, each).unwrap().publish().unwrap()
    }

    #[test]
    fn a_merged_run_finds_what_its_parts_found_and_nothing_of_dropped_packs() {
        let files = files();
        let packs = [PackId([1; 32]), PackId([2; 32]), PackId([3; 32])];
        // The second has entries of the first too, the third is dropped.
        let ranges = [0..30_000, 20_000..70_000, 70_000..80_000];
        let runs: Vec<_> = std::iter::zip(packs, ranges)
            .map(|(pack, numbers)| {
                let entries = entries(numbers);
                write_run(&files, pack, &entries)
            })
            .collect();
        let merged = prepare_merged(&files, &runs, &HashSet::from([packs[2]])).unwrap().publish().unwrap();
        assert!(merged.is_sound() && merged.has_its_id(&files));
        assert_eq!((merged.header.packs, merged.header.chunks, merged.header.blocks), (2, 80_000, 80_000));

        let ids: Vec<BlockId> = (0..100_000).map(id).collect();
        let parts = runs.iter().fold(Index::default(), |index, run| index.with(Arc::clone(run), &[]));
        let merged = Index::default().with(merged, &[]);
        let found = |index: &Index| {
            let mut found: Vec<_> =
                index.find_blocks(&ids).unwrap().into_iter().map(|(at, hint)| (at, hint.pack)).collect();
            found.retain(|(_, pack)| *pack != packs[2]);
            found.sort_unstable();
            found
        };
        assert_eq!(found(&merged).len(), 80_000);
        assert_eq!(found(&merged), found(&parts));
        for (number, copies) in [(0, 1), (25_000, 2), (69_999, 1), (75_000, 0), (90_000, 0)] {
            assert_eq!(merged.find_chunk(&id(number).0).unwrap().len(), copies, "{number}");
        }
    }

    #[test]
    fn runs_of_others_are_synced_unless_one_was_published_after_they_were_loaded() {
        let storage = MemoryStorage::new();
        let others = base_over(storage.clone(), "others");
        let publish = |files: &RepositoryFiles, pack: u8| {
            let entries = entries(0..10);
            Ok(write_run(files, PackId([pack; 32]), &entries))
        };
        publish(&others, 1).unwrap();
        let store = Store::new(base_over(storage.clone(), "own"), Journal::default());
        store.index().unwrap();
        let synced = || {
            let before = storage.changes();
            store.sync_runs().unwrap();
            storage.changes() - before
        };
        assert_eq!([synced(), synced()], [1, 0], "known from the beginning");
        publish(&others, 2).unwrap();
        store.reload().unwrap();
        store.publish_run(|| publish(&store.files, 3)).unwrap();
        assert_eq!(synced(), 0, "the run of its own was published after that");
        publish(&others, 4).unwrap();
        store.publish_run(|| publish(&store.files, 5)).unwrap();
        store.reload().unwrap();
        assert_eq!(synced(), 1, "loaded after that, whenever it was published");
        let loaded_late = store.publish_run(|| {
            let published = publish(&store.files, 6);
            publish(&others, 7)?;
            store.reload()?;
            published
        });
        loaded_late.unwrap();
        assert_eq!(synced(), 1, "loaded by another thread while one was published");
        publish(&others, 8).unwrap();
        store.reload().unwrap();
        assert!(store.publish_run(|| Err::<(), _>(Error::worker_lost())).is_err());
        assert_eq!(synced(), 1, "nothing was published");
    }

    #[test]
    fn a_large_run_is_left_alone_until_there_are_others_of_its_size() {
        // Three small runs beside a large one were merged with it, which wrote a gigabyte for each
        // small capture.
        assert_eq!(class_to_merge(&[5, 0, 0, 0]), None);
        assert_eq!(class_to_merge(&[5, 0, 0, 0, 0]), Some(0));
        assert_eq!(
            class_to_merge(&[1, 1, 1, 0, 0, 0, 0]),
            Some(1),
            "what is merged may complete the next class"
        );
        assert_eq!(class_to_merge(&[1, 1, 0, 0, 0, 0]), Some(0));
        assert_eq!(class_to_merge(&[3, 3, 3, 3, 0]), Some(3));
        assert_eq!(class_to_merge(&[]), None);
    }

    /// Publishes runs with these numbers of entries, and merges as captures do. Returns the most
    /// runs at a time, and the number of entries that each merge wrote.
    fn merged(published: impl Iterator<Item = u64>) -> (usize, Vec<u64>) {
        let (mut runs, mut most, mut merges) = (Vec::new(), 0, Vec::new());
        for entries in published {
            runs.push(entries);
            let classes: Vec<u32> = runs.iter().map(|entries| class_of(*entries)).collect();
            if let Some(upto) = class_to_merge(&classes) {
                let (parts, kept): (Vec<u64>, Vec<u64>) =
                    runs.iter().partition(|entries| class_of(**entries) <= upto);
                merges.push(parts.iter().sum());
                runs = kept;
                runs.push(parts.iter().sum());
            }
            most = most.max(runs.len());
        }
        (most, merges)
    }

    #[test]
    fn an_entry_is_written_a_bounded_number_of_times() {
        let packs = 10_000;
        let (most, merges) = merged((0..packs).map(|_| 30_000));
        assert!(most <= 20, "{most} runs");
        let times = merges.iter().sum::<u64>() / (packs * 30_000);
        assert!(times <= 12, "an entry was written {times} times");
    }

    #[test]
    fn small_captures_do_not_write_the_runs_of_large_ones_again() {
        // A data pack with a block, a page pack with a few pages.
        let small = (0..10_000).map(|run| if run % 2 == 0 { 2 } else { 5 });
        let (most, merges) = merged(std::iter::once(700_000).chain(small));
        assert!(most <= 12, "{most} runs");
        // About 128 KiB and more.
        let large = merges.iter().filter(|entries| **entries > 12_000).count();
        assert!(large <= 5, "{large} of {} merges were large", merges.len());
    }
}
