//! Recovers the records of a damaged pack one by one, without its directory. Returns only data that
//! its id proves, and deltas of pages, which are proven when they are read.

use crate::format::bytes::Fields;
use crate::format::pack::BITMAP_BYTES;
use crate::format::pack::ENTRIES_MAX;
use crate::format::pack::Entry;
use crate::format::pack::HEADER_BYTES;
use crate::format::pack::Header;
use crate::format::pack::PACK_BYTES_MAX;
use crate::format::pack::RECORD_BYTES;
use crate::format::pack::RECORD_MAGIC;
use crate::format::pack::SlotBitmap;
use crate::format::pack::TRAILER_BYTES;
use crate::format::pack::Trailer;
use crate::format::page_delta::Delta;
use crate::pure::compress::Codec;
use crate::pure::compress::Decoder;
use crate::pure::compress::Encoded;
use crate::stores::files::RepositoryFiles;
use crate::stores::pack::writer::Item;
use crate::stores::recovery::reader::proven_record;
use crate::stores::seals::PackSeals;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::storage::StoredFile;

/// The bytes of the file in memory at a time: room for two records of the largest size.
const WINDOW_BYTES: u64 = 4 << 20;

/// Walks a file from start to end and calls `each` for everything in it that matches its
/// id. Skips parts that cannot be read. Returns whether the whole file could be read.
pub(crate) fn recover_items(
    files: &RepositoryFiles,
    file: &dyn StoredFile,
    mut each: impl FnMut(Item) -> Result<()>,
) -> Result<bool> {
    let mut decoder = Decoder::new().map_err(|error| Error::stored_io("preparing decompression", error))?;
    let mut window = Window { file, from: 0, bytes: Vec::new(), all_read: true };
    let Some(mut unsealing) = Unsealing::begin(files, &mut window) else { return Ok(window.all_read) };
    let mut at = 0;
    while let Some(found) = window.find_record(at) {
        let proven = record_at(&mut window, found)
            .and_then(|(entry, item)| Some((entry, unsealing.open(found, &entry, item)?)))
            .and_then(|(entry, item)| prove(files, &mut decoder, &entry, item).map(|item| (entry, item)));
        at = match proven {
            Some((entry, item)) => {
                each(item)?;
                u64::from(entry.offset) + u64::from(entry.stored_bytes)
            }
            // An apparent record may be part of another one's content: search for the next one
            // right behind its start.
            None => found + 1,
        };
    }
    Ok(window.all_read)
}

/// Opens the seals of records. A seal says in which place its record stands among the others, so the
/// walk counts them, and where a part cannot be read, it tries how many records that may have held.
struct Unsealing {
    seals: PackSeals,
    /// The number of the next record, and where it begins if no record is unreadable before it.
    next: (u32, u64),
}

impl Unsealing {
    /// Returns none if neither end of the pack says what its records are sealed with.
    fn begin(files: &RepositoryFiles, window: &mut Window<'_>) -> Option<Self> {
        let seals = match files.seals.are_used() {
            true => {
                let header = window.get(0, HEADER_BYTES).and_then(|bytes| Header::decode(bytes).ok());
                let end = window.len().checked_sub(to_u64(TRAILER_BYTES))?;
                let (epoch, salt) = match header {
                    Some(header) => (header.epoch, header.salt),
                    None => {
                        let trailer = Trailer::decode(window.get(end, TRAILER_BYTES)?).ok()?;
                        (Some(trailer.epoch), trailer.salt)
                    }
                };
                files.seals.of_pack(epoch, &salt).ok()?
            }
            false => PackSeals::none(),
        };
        Some(Self { seals, next: (0, to_u64(HEADER_BYTES)) })
    }

    /// Returns the item of a record that was found at `at` with its bytes as they were encoded, if
    /// they are as they were stored.
    fn open(&mut self, at: u64, entry: &Entry, item: Item) -> Option<Item> {
        let (next, begin) = self.next;
        let end = u64::from(entry.offset) + u64::from(entry.stored_bytes);
        if at == begin {
            self.next = (next + 1, end);
        }
        if crc32fast::hash(&item.encoded.bytes) != entry.crc {
            return None;
        }
        if !self.seals.are_used() {
            return Some(item);
        }
        let skipped = at.saturating_sub(begin) / to_u64(RECORD_BYTES);
        let last = (u64::from(next) + skipped).min(u64::from(ENTRIES_MAX - 1));
        for number in next..=to_u32(to_usize(last)) {
            let mut bytes = item.encoded.bytes.clone();
            if self.seals.open(number, entry, &mut bytes).is_ok() {
                self.next = (number + 1, end);
                return Some(Item { encoded: Encoded { codec: entry.codec, bytes }, ..item });
            }
        }
        None
    }
}

/// The part of the file that is in memory.
struct Window<'a> {
    file: &'a dyn StoredFile,
    from: u64,
    bytes: Vec<u8>,
    /// Whether every read of the file so far has succeeded.
    all_read: bool,
}

impl Window<'_> {
    /// Returns the number of bytes of the file to look at: a pack cannot be longer.
    fn len(&self) -> u64 {
        self.file.len().min(PACK_BYTES_MAX)
    }

    /// Returns bytes of the file, or none if it ends before them.
    fn get(&mut self, from: u64, len: usize) -> Option<&[u8]> {
        let end = from.checked_add(to_u64(len)).filter(|end| *end <= self.len())?;
        if from < self.from || end > self.from + to_u64(self.bytes.len()) {
            self.load(from);
        }
        let begin = to_usize(from - self.from);
        self.bytes.get(begin..begin + len)
    }

    fn load(&mut self, from: u64) {
        let len = self.len().saturating_sub(from).min(WINDOW_BYTES);
        self.from = from;
        self.bytes.clear();
        self.bytes.resize(to_usize(len), 0);
        if self.file.read_at(from, &mut self.bytes).is_err() {
            // The window contains a bad sector. Unreadable bytes become zeros here, and no item
            // that contains them is proven.
            for (part, at) in self.bytes.chunks_mut(BLOCK_BYTES).zip(0..) {
                if self.file.read_at(from + at * BLOCK_U64, part).is_err() {
                    part.fill(0);
                    self.all_read = false;
                }
            }
        }
    }

    /// Returns where the next apparent record begins.
    fn find_record(&mut self, from: u64) -> Option<u64> {
        let mut from = from;
        loop {
            self.get(from, RECORD_BYTES)?;
            let loaded = self.bytes.get(to_usize(from - self.from)..)?;
            if let Some(at) = loaded.windows(RECORD_MAGIC.len()).position(|four| four == RECORD_MAGIC) {
                return Some(from + to_u64(at));
            }
            // The signature may begin in the last bytes loaded.
            from += to_u64(loaded.len() - RECORD_MAGIC.len() + 1);
        }
    }
}

/// Reads a record, if there is one, without trusting it.
fn record_at(window: &mut Window<'_>, at: u64) -> Option<(Entry, Item)> {
    let entry = Entry::decode_record(window.get(at, RECORD_BYTES)?, u32::try_from(at).ok()?).ok()?;
    let (mut blocks, mut bitmap) = (Vec::new(), None);
    if entry.bitmap.is_some() {
        let more = entry.record_bytes() - RECORD_BYTES;
        let mut fields = Fields(window.get(at + to_u64(RECORD_BYTES), more)?);
        for _ in 0..entry.slots {
            blocks.push(BlockId(fields.array().ok()?));
        }
        bitmap = Some(SlotBitmap(fields.array::<BITMAP_BYTES>().ok()?));
    }
    let bytes = window.get(u64::from(entry.offset), entry.stored_bytes as usize)?.to_vec();
    let encoded = Encoded { codec: entry.codec, bytes };
    let mut item = Item::new(entry.id, encoded, entry.raw_bytes as usize, blocks);
    item.bitmap = bitmap;
    item.is_record = entry.is_record;
    Some((entry, item))
}

/// Returns the item with the ids of its blocks filled in, if it matches its id.
fn prove(files: &RepositoryFiles, decoder: &mut Decoder, entry: &Entry, mut item: Item) -> Option<Item> {
    if entry.codec == Codec::Delta {
        // Its base may be lost now, and come back later.
        return Delta::decode(&item.encoded.bytes).is_ok().then_some(item);
    }
    let raw = decoder.decode(entry.codec, &item.encoded.bytes, entry.raw_bytes as usize).ok()?;
    if entry.is_record {
        return proven_record(files, raw, entry).map(|_| item);
    }
    if entry.slots == 0 {
        return (files.hasher.page(raw).0 == entry.id).then_some(item);
    }
    let (blocks, []) = raw.as_chunks::<BLOCK_BYTES>() else { return None };
    let ids = files.hasher.blocks(&blocks.iter().collect::<Vec<_>>());
    let ids: Vec<BlockId> = ids.iter().map(|digest| digest.block_id()).collect();
    let present = match item.bitmap {
        None => {
            item.blocks = ids.clone();
            ids.len() == usize::from(entry.slots)
        }
        Some(bitmap) => {
            let slots = item.blocks.iter().zip(0..=u8::MAX);
            let stated = slots.filter(|(_, slot)| bitmap.has(*slot)).map(|(id, _)| id);
            stated.eq(&ids)
        }
    };
    (present && files.hasher.chunk(&item.blocks).0 == entry.id).then_some(item)
}
