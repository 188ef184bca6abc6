//! Writes index runs: of a new pack, and of several runs merged into one.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use crate::format::layout;
use crate::format::run::BLOCK_KEY_BYTES;
use crate::format::run::BlockEntry;
use crate::format::run::CHUNK_KEY_BYTES;
use crate::format::run::ChunkEntry;
use crate::format::run::Header;
use crate::format::run::PACKS_MAX;
use crate::format::run::Run;
use crate::format::run::block_key;
use crate::format::run::bucket_bits;
use crate::format::run::bucket_of;
use crate::format::run::chunk_key;
use crate::stores::base::Base;
use crate::stores::base::TempFile;
use crate::stores::index::RunFile;
use crate::stores::pack_writer::NewPack;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::RunId;

/// Runs of about the same size that are merged when there are this many of them.
const MERGE_WIDTH: usize = 4;
/// The entries of a run of the lowest size class.
const SMALLEST_CLASS: u64 = 1 << 18;
/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Publishes a run with these entries, which are sorted and name packs by their number in `packs`.
pub(crate) fn write_run<C: Iterator<Item = ChunkEntry>, B: Iterator<Item = BlockEntry>>(
    base: &Base,
    packs: &[PackId],
    chunks: impl Fn() -> C,
    blocks: impl Fn() -> B,
) -> Result<Arc<RunFile>> {
    prepare_run(base, packs, chunks, blocks)?.publish()
}

/// Publishes the run of one new pack.
pub(crate) fn write_run_of(base: &Base, pack: &NewPack) -> Result<Arc<RunFile>> {
    let mut chunks = Vec::with_capacity(pack.entries.len());
    let mut blocks = Vec::new();
    for (entry, number) in pack.entries.iter().zip(0..=u16::MAX) {
        let present = u16::try_from(entry.blocks.len()).unwrap_or(u16::MAX);
        chunks.push(ChunkEntry { key: chunk_key(&entry.id), pack: 0, entry: number, present });
        let found = entry.blocks.iter();
        blocks.extend(found.map(|(id, slot)| BlockEntry {
            key: block_key(id),
            pack: 0,
            entry: number,
            slot: *slot,
        }));
    }
    chunks.sort_unstable();
    blocks.sort_unstable();
    write_run(base, &[pack.id], || chunks.iter().copied(), || blocks.iter().copied())
}

/// A run that is written and has no name yet.
pub(crate) struct PreparedRun<'a> {
    base: &'a Base,
    file: TempFile<'a>,
    id: RunId,
}

impl PreparedRun<'_> {
    /// Publishes the run and opens it.
    pub(crate) fn publish(self) -> Result<Arc<RunFile>> {
        self.file.publish(&layout::run(self.id))?;
        RunFile::open(self.base, self.id).map(Arc::new)
    }
}

/// Writes one run with all entries of `runs` but those of the packs in `dropped`.
pub(crate) fn prepare_merged<'a>(
    base: &'a Base,
    runs: &[Arc<RunFile>],
    dropped: &HashSet<PackId>,
) -> Result<PreparedRun<'a>> {
    let mut numbers = HashMap::new();
    let mut packs = Vec::new();
    for pack in runs.iter().filter_map(|file| file.run()).flat_map(|run| run.packs()) {
        if !dropped.contains(&pack) && !numbers.contains_key(&pack) {
            numbers.insert(pack, u32::try_from(packs.len()).unwrap_or(u32::MAX));
            packs.push(pack);
        }
    }
    let inputs: Vec<(Run<'_>, Vec<Option<u32>>)> = runs
        .iter()
        .filter_map(|file| file.run())
        .map(|run| (run, run.packs().map(|pack| numbers.get(&pack).copied()).collect()))
        .collect();
    let chunks = || {
        merge(
            &inputs,
            Run::chunk_entries,
            |entry: ChunkEntry, pack| ChunkEntry { pack, ..entry },
            |entry| entry.pack,
        )
    };
    let blocks = || {
        merge(
            &inputs,
            Run::block_entries,
            |entry: BlockEntry, pack| BlockEntry { pack, ..entry },
            |entry| entry.pack,
        )
    };
    prepare_run(base, &packs, chunks, blocks)
}

/// Returns the runs that should be merged now: those of the smallest size classes that have come together, or none.
pub(crate) fn runs_to_merge(runs: &[Arc<RunFile>]) -> Vec<Arc<RunFile>> {
    let classes: Vec<u32> = runs.iter().map(|run| class_of(run.entries())).collect();
    let Some(upto) = class_to_merge(&classes) else { return Vec::new() };
    runs.iter().zip(&classes).filter(|(_, class)| **class <= upto).map(|(run, _)| Arc::clone(run)).collect()
}

/// Returns the size class of a run: each is four times the one before.
fn class_of(entries: u64) -> u32 {
    (entries / SMALLEST_CLASS + 1).ilog2() / 2
}

/// Returns the class up to which runs are to be merged. A class is merged when it has enough runs, one that comes from
/// merging the classes below it included. So an entry is written again once for each class, and runs of each class stay few.
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

/// Merges sorted entries of several runs, their packs numbered anew; entries of packs without a number are left out.
fn merge<'a, T: Ord + Copy, I: Iterator<Item = T> + 'a>(
    inputs: &'a [(Run<'a>, Vec<Option<u32>>)],
    entries: impl Fn(Run<'a>) -> I,
    renumbered: impl Fn(T, u32) -> T + Copy + 'a,
    pack_of: impl Fn(&T) -> u32 + Copy + 'a,
) -> impl Iterator<Item = T> + 'a {
    let mut heads: Vec<_> = inputs
        .iter()
        .map(|(run, numbers)| {
            let kept = entries(*run).filter_map(move |entry| {
                let number = numbers.get(pack_of(&entry) as usize).copied().flatten()?;
                Some(renumbered(entry, number))
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

/// Writes a run. The entries are gone through three times: to count, for the buckets, and to write.
pub(crate) fn prepare_run<'a, C: Iterator<Item = ChunkEntry>, B: Iterator<Item = BlockEntry>>(
    base: &'a Base,
    packs: &[PackId],
    chunks: impl Fn() -> C,
    blocks: impl Fn() -> B,
) -> Result<PreparedRun<'a>> {
    let number = u32::try_from(packs.len()).ok().filter(|number| *number <= PACKS_MAX);
    let number =
        number.ok_or_else(|| Error::corrupt("the repository has more packs than an index run can name"))?;
    let table: Vec<u8> = packs.iter().flat_map(|pack| pack.0).collect();
    let chunk_section = Section::measure(|| chunks().map(|entry| entry.encode()), CHUNK_KEY_BYTES);
    let block_section = Section::measure(|| blocks().map(|entry| entry.encode()), BLOCK_KEY_BYTES);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&table);
    for section in [&chunk_section, &block_section] {
        crc.update(&section.buckets);
        crc.combine(&section.crc);
    }
    let header = Header::new(number, chunk_section.entries, block_section.entries, crc.finalize());
    let head = [&header.encode()[..], &table].concat();
    let id = base.hasher.run(&head);

    let mut file = base.temp_file()?;
    file.append(&head)?;
    file.append(&chunk_section.buckets)?;
    append_all(&mut |bytes| file.append(bytes), chunks().map(|entry| entry.encode()))?;
    file.append(&block_section.buckets)?;
    append_all(&mut |bytes| file.append(bytes), blocks().map(|entry| entry.encode()))?;
    Ok(PreparedRun { base, file, id })
}

/// A section of entries before it is written: their number, their checksum, and the table of their buckets.
struct Section {
    entries: u64,
    crc: crc32fast::Hasher,
    buckets: Vec<u8>,
}

impl Section {
    /// Goes through the entries once to count them and once for their buckets.
    fn measure<const N: usize, I: Iterator<Item = [u8; N]>>(
        entries: impl Fn() -> I,
        key_bytes: usize,
    ) -> Self {
        let mut crc = crc32fast::Hasher::new();
        let count = entries().map(|entry| crc.update(&entry)).count() as u64;
        let bits = bucket_bits(count);
        let mut buckets = Vec::with_capacity(((1 << bits) + 1) * 4);
        let mut filled = 0;
        let mut begin_upto = |buckets: &mut Vec<u8>, bucket: usize, at: u32| {
            (filled..bucket).for_each(|_| buckets.extend(at.to_le_bytes()));
            filled = filled.max(bucket);
        };
        for (entry, at) in entries().zip(0..) {
            begin_upto(&mut buckets, bucket_of(&entry[..key_bytes], bits) + 1, at);
        }
        begin_upto(&mut buckets, (1 << bits) + 1, u32::try_from(count).unwrap_or(u32::MAX));
        Self { entries: count, crc, buckets }
    }
}

fn append_all<const N: usize>(
    append: &mut dyn FnMut(&[u8]) -> Result<()>,
    entries: impl Iterator<Item = [u8; N]>,
) -> Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + N);
    for entry in entries {
        buffer.extend(entry);
        if buffer.len() >= BUFFER_BYTES {
            append(&buffer)?;
            buffer.clear();
        }
    }
    append(&buffer)
}

/// Removes runs that another one replaces. Those that are gone already are as good.
pub(crate) fn remove_runs(base: &Base, runs: &[RunId]) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    runs.iter().try_for_each(|run| base.remove(&layout::run(*run)))?;
    base.sync_dir(layout::INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_run_is_left_alone_until_there_are_others_of_its_size() {
        // Three small runs beside a large one were merged with it, which wrote a gigabyte for each small capture.
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

    #[test]
    fn an_entry_is_written_a_bounded_number_of_times() {
        let (mut runs, mut written) = (Vec::<u64>::new(), 0);
        let packs = 10_000;
        for _ in 0..packs {
            runs.push(30_000);
            let classes: Vec<u32> = runs.iter().map(|entries| class_of(*entries)).collect();
            if let Some(upto) = class_to_merge(&classes) {
                let (merged, kept): (Vec<u64>, Vec<u64>) =
                    runs.iter().partition(|entries| class_of(**entries) <= upto);
                written += merged.iter().sum::<u64>();
                runs = kept;
                runs.push(merged.iter().sum());
            }
            assert!(runs.len() <= 20, "{runs:?}");
        }
        let times = written / (packs * 30_000);
        assert!(times <= 12, "an entry was written {times} times");
    }
}
