//! Writes packs: chunks and pages one after another, then the directory, then the final name.

use crate::format::layout;
use crate::format::pack::BITMAP_BYTES;
use crate::format::pack::BLOCK_ID_BYTES;
use crate::format::pack::ENTRIES_MAX;
use crate::format::pack::ENTRY_BYTES;
use crate::format::pack::Entry;
use crate::format::pack::HEADER_BYTES;
use crate::format::pack::Header;
use crate::format::pack::PackKind;
use crate::format::pack::RECORD_BYTES;
use crate::format::pack::SlotBitmap;
use crate::format::pack::TRAILER_BYTES;
use crate::format::pack::Trailer;
use crate::pure::compress::Encoded;
use crate::pure::keys::Salt;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::TempFile;
use crate::stores::locks::Writer;
use crate::stores::pack::file::PackFile;
use crate::stores::seals::PackSeals;
use crate::stores::seals::Seals;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::PackId;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_u64;

/// A chunk, a page or a copy of a record ready to be appended to a pack.
pub(crate) struct Item {
    pub(crate) id: [u8; 16],
    pub(crate) encoded: Encoded,
    pub(crate) raw_bytes: u32,
    /// The ids of a chunk's blocks, including punched ones.
    pub(crate) blocks: Vec<BlockId>,
    /// Which blocks have their data, if not all do.
    pub(crate) bitmap: Option<SlotBitmap>,
    /// Whether it is a copy of a record.
    pub(crate) is_record: bool,
}

impl Item {
    /// Returns a chunk or page that decodes to `raw_bytes` bytes; the number must fit the format.
    pub(crate) fn new(id: [u8; 16], encoded: Encoded, raw_bytes: usize, blocks: Vec<BlockId>) -> Self {
        let raw_bytes = to_u32(raw_bytes);
        Self { id, encoded, raw_bytes, blocks, bitmap: None, is_record: false }
    }

    /// Returns a chunk or page as it is encoded in a pack, after checking its checksum and its seal.
    pub(crate) fn stored_in(pack: &PackFile, number: u32, entry: &Entry) -> Result<Self> {
        let mut bytes = Vec::new();
        pack.read_encoded(number, entry, &mut bytes)?;
        let encoded = Encoded { codec: entry.codec, bytes };
        let mut item = Self::new(entry.id, encoded, entry.raw_bytes as usize, pack.block_ids_of(entry));
        item.is_record = entry.is_record;
        item.bitmap = entry.bitmap.map(|_| SlotBitmap::from_slots(pack.present_slots(entry).into_iter()));
        Ok(item)
    }

    /// Returns the space that the item takes in a pack, including its share of the directory.
    pub(crate) fn packed_bytes(&self, seals: &Seals) -> u64 {
        to_u64(RECORD_BYTES + ENTRY_BYTES + BLOCK_ID_BYTES * self.blocks.len())
            + seals.stored_bytes(to_u64(self.encoded.bytes.len()))
    }
}

/// A newly published pack, with what an index needs to know of it.
pub(crate) struct NewPack {
    pub(crate) id: PackId,
    pub(crate) bytes: u64,
    /// Its chunks and pages.
    pub(crate) entries: Vec<NewEntry>,
}

/// A chunk or page of a newly published pack.
pub(crate) struct NewEntry {
    /// Its number in the directory.
    pub(crate) number: u32,
    pub(crate) id: [u8; 16],
    /// The blocks that have their data, each with its slot.
    pub(crate) blocks: Vec<(BlockId, u8)>,
}

/// The end of a pack, and the id that its content gives it.
struct End {
    id: PackId,
    directory: Vec<u8>,
    trailer: [u8; TRAILER_BYTES],
}

/// A pack being written. If dropped before [`finish`](Self::finish), it leaves nothing behind.
pub(crate) struct PackWriter<'a> {
    files: &'a RepositoryFiles,
    header: Header,
    seals: PackSeals,
    file: TempFile<'a>,
    /// Room for a record as it is stored.
    stored: Vec<u8>,
    /// Where the next record begins.
    offset: u64,
    entries: Vec<Entry>,
    blocks: Vec<BlockId>,
    bitmaps: Vec<SlotBitmap>,
}

impl<'a> PackWriter<'a> {
    pub(crate) fn begin(files: &'a RepositoryFiles, kind: PackKind) -> Result<Self> {
        let (epoch, repository, salt) = (files.seals.epoch(), files.repository, files.new_salt(kind));
        Self::begin_as(files, Header { kind, epoch, repository, salt })
    }

    /// Begins to write a pack again, with the header that it has: see [`finish_as`](Self::finish_as).
    pub(crate) fn begin_as(files: &'a RepositoryFiles, header: Header) -> Result<Self> {
        let seals = files.seals.of_pack(header.epoch, &header.salt);
        let seals = seals.map_err(|error| Error::corrupt(error.to_string()))?;
        let mut file = files.temp_file()?;
        file.append(&header.encode())?;
        Ok(Self {
            files,
            header,
            seals,
            file,
            stored: Vec::new(),
            offset: to_u64(HEADER_BYTES),
            entries: Vec::new(),
            blocks: Vec::new(),
            bitmaps: Vec::new(),
        })
    }

    /// Tells whether the pack should be finished before anything more is appended.
    pub(crate) fn is_full(&self) -> bool {
        self.offset >= self.files.pack_bytes || self.entries.len() >= ENTRIES_MAX as usize
    }

    pub(crate) fn append(&mut self, item: &Item) -> Result<()> {
        let too_long = |_| Error::corrupt("a chunk is too long for a pack");
        let bitmap = match item.bitmap {
            Some(bitmap) => {
                self.bitmaps.push(bitmap);
                Some(u32::try_from(self.bitmaps.len() - 1).map_err(too_long)?)
            }
            None => None,
        };
        let mut entry = Entry {
            id: item.id,
            offset: 0,
            stored_bytes: 0,
            raw_bytes: item.raw_bytes,
            crc: 0,
            codec: item.encoded.codec,
            slots: u16::try_from(item.blocks.len()).map_err(too_long)?,
            is_record: item.is_record,
            first_block: u32::try_from(self.blocks.len()).map_err(too_long)?,
            bitmap,
        };
        entry.offset = u32::try_from(self.offset + to_u64(entry.record_bytes())).map_err(too_long)?;
        let number = to_u32(self.entries.len());
        let stored = self.seals.seal(number, &entry, &item.encoded.bytes, &mut self.stored);
        let stored = stored.map_err(|error| Error::corrupt(error.to_string()))?;
        entry.stored_bytes = u32::try_from(stored.len()).map_err(too_long)?;
        entry.crc = crc32fast::hash(stored);
        self.file.append(&entry.encode_record())?;
        if let Some(bitmap) = item.bitmap {
            item.blocks.iter().try_for_each(|id| self.file.append(&id.0))?;
            self.file.append(&bitmap.0)?;
        }
        self.file.append(stored)?;
        self.offset = u64::from(entry.offset) + u64::from(entry.stored_bytes);
        self.blocks.extend(&item.blocks);
        self.entries.push(entry);
        Ok(())
    }

    /// Writes the directory and publishes the pack, after telling gc of it through `writer`.
    pub(crate) fn finish(self, writer: &Writer) -> Result<NewPack> {
        let end = self.end()?;
        self.publish(writer, &end)
    }

    /// Publishes the pack in place of a damaged one, if it is that pack. Otherwise there is no new
    /// pack: its salt is not its own, so it could get the name of one that goes.
    pub(crate) fn finish_as(self, id: PackId, writer: &Writer) -> Result<Option<NewPack>> {
        let end = self.end()?;
        if end.id == id { self.publish(writer, &end).map(Some) } else { Ok(None) }
    }

    fn end(&self) -> Result<End> {
        let directory = self.directory();
        let count = |n: usize| u32::try_from(n).map_err(|_| Error::corrupt("a pack has too many entries"));
        let trailer = Trailer {
            entries: count(self.entries.len())?,
            block_ids: count(self.blocks.len())?,
            bitmaps: count(self.bitmaps.len())?,
            crc: crc32fast::hash(&directory),
            directory_offset: self.offset,
            epoch: self.header.epoch.unwrap_or(0),
            salt: if self.header.epoch.is_some() { self.header.salt } else { Salt::default() },
        };
        let trailer = trailer.encode();
        let id = self.files.hasher.pack(&self.header.encode(), &directory, &trailer);
        Ok(End { id, directory, trailer })
    }

    fn publish(mut self, writer: &Writer, end: &End) -> Result<NewPack> {
        let End { id, directory, trailer } = end;
        let id = *id;
        self.file.append(directory)?;
        self.file.append(trailer)?;
        writer.announce(id)?;
        let bytes = self.offset + to_u64(directory.len() + TRAILER_BYTES);
        let found = self.entries.iter().zip(0..).filter(|(entry, _)| !entry.is_record);
        let entries = found.map(|(entry, number)| self.new_entry(entry, number)).collect();
        self.file.publish(&layout::pack(id))?;
        Ok(NewPack { id, bytes, entries })
    }

    fn directory(&self) -> Vec<u8> {
        let bytes = self.entries.len() * ENTRY_BYTES
            + self.blocks.len() * BLOCK_ID_BYTES
            + self.bitmaps.len() * BITMAP_BYTES;
        let mut directory = Vec::with_capacity(bytes);
        self.entries.iter().for_each(|entry| directory.extend(entry.encode()));
        self.blocks.iter().for_each(|id| directory.extend(id.0));
        self.bitmaps.iter().for_each(|bitmap| directory.extend(bitmap.0));
        directory
    }

    fn new_entry(&self, entry: &Entry, number: u32) -> NewEntry {
        let first = entry.first_block as usize;
        let bitmap = entry.bitmap.and_then(|index| self.bitmaps.get(index as usize));
        let blocks = self.blocks[first..first + usize::from(entry.slots)].iter().zip(0..=u8::MAX);
        let present = blocks.filter(|(_, slot)| bitmap.is_none_or(|bitmap| bitmap.has(*slot)));
        NewEntry { number, id: entry.id, blocks: present.map(|(id, slot)| (*id, slot)).collect() }
    }
}
