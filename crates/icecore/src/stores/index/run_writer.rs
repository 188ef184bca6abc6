//! A writer of an index run. It goes through the entries several times and never holds all of them
//! in memory.

use std::sync::Arc;

use crate::format::layout;
use crate::format::run::Header;
use crate::format::run::PACKS_MAX;
use crate::format::run_filter::LINE_BYTES;
use crate::format::run_filter::filter_lines;
use crate::format::run_filter::line_count;
use crate::format::run_table::Entry;
use crate::format::run_table::bucket_bits;
use crate::format::run_table::buckets;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::TempFile;
use crate::stores::index::RunFile;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::sizes::to_u64;

/// The number of bytes to encode before computing their checksum, or appending them, at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Room for what is added to them at once.
const PART_BYTES: usize = LINE_BYTES;

/// A written run without a name.
pub(crate) struct PreparedRun<'a> {
    file: TempFile<'a>,
    id: RunId,
}

impl PreparedRun<'_> {
    /// Opens the run before it has a name.
    pub(crate) fn open(&mut self) -> Result<Arc<RunFile>> {
        RunFile::from_file(self.id, &*self.file.open()?).map(Arc::new)
    }

    /// Publishes the run and returns it, open. It is opened first: as soon as it has its name,
    /// another thread or process may merge it with others and remove it.
    pub(crate) fn publish(mut self) -> Result<Arc<RunFile>> {
        let run = self.open()?;
        self.file.publish(&layout::run(self.id))?;
        Ok(run)
    }
}

/// Writes a run with these entries, which are sorted and name packs by their number in `packs`.
pub(crate) fn prepare_run<'a, C: Iterator<Item = Entry>, B: Iterator<Item = Entry>>(
    files: &'a RepositoryFiles,
    packs: &[PackId],
    chunks: impl Fn() -> C,
    blocks: impl Fn() -> B,
) -> Result<PreparedRun<'a>> {
    let number = u32::try_from(packs.len()).ok().filter(|number| *number <= PACKS_MAX);
    let number =
        number.ok_or_else(|| Error::corrupt("the repository has more packs than an index run can name"))?;
    let table: Vec<u8> = packs.iter().flat_map(|pack| pack.0).collect();
    let padding = vec![0; table.len().next_multiple_of(LINE_BYTES) - table.len()];
    let chunk_section = Section::measure(&chunks);
    let block_section = Section::measure(&blocks);
    let lines = line_count(block_section.entries);
    let filter = || filter_lines(lines, blocks().map(|entry| entry.key));

    let mut crc = crc32fast::Hasher::new();
    crc.update(&table);
    crc.update(&padding);
    append_all(filter(), |line, bytes| bytes.extend(line), &mut |bytes| {
        crc.update(bytes);
        Ok(())
    })?;
    for section in [&chunk_section, &block_section] {
        crc.update(&section.buckets);
        crc.combine(&section.crc);
    }
    let header = Header::new(number, chunk_section.entries, block_section.entries, crc.finalize());
    let head = [&header.encode()[..], &table].concat();
    let id = files.hasher.run(&head);

    let mut file = files.temp_file()?;
    file.append(&head)?;
    file.append(&padding)?;
    append_all(filter(), |line, bytes| bytes.extend(line), &mut |bytes| file.append(bytes))?;
    chunk_section.append(&mut file, chunks())?;
    block_section.append(&mut file, blocks())?;
    Ok(PreparedRun { file, id })
}

/// A table before it is written: the number of its entries, their checksum, and its buckets.
struct Section {
    entries: u64,
    bits: u8,
    crc: crc32fast::Hasher,
    buckets: Vec<u8>,
}

impl Section {
    /// Goes through the entries once to count them, and once for what depends on how many there
    /// are.
    fn measure<I: Iterator<Item = Entry>>(entries: &impl Fn() -> I) -> Self {
        let count = to_u64(entries().count());
        let bits = bucket_bits(count);
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + PART_BYTES);
        let seen = entries().inspect(|entry| {
            entry.encode(bits, &mut buffer);
            if buffer.len() >= BUFFER_BYTES {
                crc.update(&buffer);
                buffer.clear();
            }
        });
        let buckets = buckets(bits, seen.map(|entry| entry.key));
        crc.update(&buffer);
        Self { entries: count, bits, crc, buckets }
    }

    fn append(&self, file: &mut TempFile<'_>, entries: impl Iterator<Item = Entry>) -> Result<()> {
        file.append(&self.buckets)?;
        append_all(entries, |entry, bytes| entry.encode(self.bits, bytes), &mut |bytes| file.append(bytes))
    }
}

/// Encodes parts of a run one after another, and gives them to `append` many at a time.
fn append_all<T>(
    parts: impl Iterator<Item = T>,
    encode: impl Fn(T, &mut Vec<u8>),
    append: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + PART_BYTES);
    for part in parts {
        encode(part, &mut buffer);
        if buffer.len() >= BUFFER_BYTES {
            append(&buffer)?;
            buffer.clear();
        }
    }
    append(&buffer)
}
