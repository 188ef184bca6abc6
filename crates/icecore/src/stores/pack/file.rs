//! A published pack, open for reading.

use std::io;
use std::ops::Range;

use crate::format::bytes::DecodeError;
use crate::format::layout;
use crate::format::pack::Directory;
use crate::format::pack::Entry;
use crate::format::pack::HEADER_BYTES;
use crate::format::pack::Header;
use crate::format::pack::PACK_BYTES_MAX;
use crate::format::pack::RECORD_BYTES;
use crate::format::pack::TRAILER_BYTES;
use crate::format::pack::Trailer;
use crate::stores::files::RepositoryFiles;
use crate::stores::seals::PackSeals;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::PackId;
use crate::words::next_step::NextStep;
use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::storage::Mapped;
use crate::world::storage::StoredFile;

/// The length up to which a pack is read whole when it is opened. A repository with very many
/// snapshots has as many small packs, more than a process can have files.
pub(crate) const IN_MEMORY_BYTES_MAX: u64 = 32 << 10;

/// An open pack with a valid header, trailer and directory.
pub(crate) struct PackFile {
    pub(crate) id: PackId,
    /// The length of the whole file.
    pub(crate) bytes: u64,
    ends: Ends,
    seals: PackSeals,
    directory: Mapped,
    content: Content,
}

/// Both ends of a pack, decoded, and as they are.
struct Ends {
    header: Header,
    trailer: Trailer,
    header_bytes: [u8; HEADER_BYTES],
    trailer_bytes: [u8; TRAILER_BYTES],
}

/// The bytes of an open pack.
enum Content {
    File(Box<dyn StoredFile>),
    Memory(Mapped),
}

impl Content {
    /// Reads a small pack whole.
    fn of(file: Box<dyn StoredFile>) -> Self {
        match file.len() <= IN_MEMORY_BYTES_MAX {
            // A part that cannot be read is an error of whoever needs that part.
            true => file.load(0..file.len()).map_or(Self::File(file), Self::Memory),
            false => Self::File(file),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Memory(bytes) => to_u64(bytes.len()),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_at(offset, buffer),
            Self::Memory(bytes) => {
                let from = usize::try_from(offset).ok().and_then(|from| bytes.get(from..));
                let found = from.and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// Checks that a pack exists, and that its header and trailer match each other and the length of
/// the file. Does not read its directory.
///
/// # Errors
/// As those of [`PackFile::open`].
pub(crate) fn look_at(files: &RepositoryFiles, id: PackId) -> Result<()> {
    let file = open_file(files, id)?;
    check_ends(files, id, &Content::File(file)).map(|_| ())
}

fn open_file(files: &RepositoryFiles, id: PackId) -> Result<Box<dyn StoredFile>> {
    files.open(&layout::pack(id)).map_err(|error| Error::stored_io(format!("opening pack {id}"), error))
}

/// Returns the header and the trailer of a pack, which match each other and the length of the file.
fn check_ends(files: &RepositoryFiles, id: PackId, content: &Content) -> Result<Ends> {
    let read = |error| Error::stored_io(format!("reading pack {id}"), error);
    let bytes = content.len();
    if bytes < to_u64(HEADER_BYTES + TRAILER_BYTES) {
        let why = DecodeError::Truncated { need: to_u64(HEADER_BYTES + TRAILER_BYTES), got: bytes };
        return Err(damaged(id, &why));
    }
    if bytes > PACK_BYTES_MAX {
        return Err(damaged(id, &DecodeError::bad("the length of the file", bytes)));
    }
    let mut header_bytes = [0; HEADER_BYTES];
    content.read_at(0, &mut header_bytes).map_err(read)?;
    let header = Header::decode(&header_bytes).map_err(|error| damaged(id, &error))?;
    if header.repository != files.repository {
        let message = format!("pack {id} belongs to another repository, {}", header.repository);
        return Err(Error::corrupt(message).with_hint("move it out of this repository"));
    }
    let mut trailer_bytes = [0; TRAILER_BYTES];
    let end = bytes - to_u64(TRAILER_BYTES);
    content.read_at(end, &mut trailer_bytes).map_err(read)?;
    let trailer = Trailer::decode(&trailer_bytes).map_err(|error| damaged(id, &error))?;
    if trailer.directory_offset.checked_add(trailer.directory_bytes()) != Some(end) {
        return Err(damaged(id, &DecodeError::bad("the offset of the directory", trailer.directory_offset)));
    }
    Ok(Ends { header, trailer, header_bytes, trailer_bytes })
}

impl PackFile {
    /// Opens a pack and checks everything except its records and, in a plain repository, its id.
    pub(crate) fn open(files: &RepositoryFiles, id: PackId) -> Result<Self> {
        let file = open_file(files, id)?;
        Self::from_file(files, id, file)
    }

    /// Opens a pack that is read from `file`.
    pub(crate) fn from_file(files: &RepositoryFiles, id: PackId, file: Box<dyn StoredFile>) -> Result<Self> {
        let content = Content::of(file);
        let ends = check_ends(files, id, &content)?;
        let trailer = &ends.trailer;
        let bytes = content.len();
        let range = trailer.directory_offset..bytes - to_u64(TRAILER_BYTES);
        let directory = match &content {
            Content::File(file) => file.load(range),
            Content::Memory(bytes) => bytes
                .part(to_usize(range.start)..to_usize(range.end))
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        };
        let directory = directory.map_err(|error| Error::stored_io(format!("reading pack {id}"), error))?;
        if crc32fast::hash(&directory) != trailer.crc {
            return Err(damaged(id, &DecodeError::BadChecksum { what: "directory" }));
        }
        Directory::new(&directory, trailer).map_err(|error| damaged(id, &error))?;
        let Header { epoch, salt, .. } = &ends.header;
        let seals = files.seals.of_pack(*epoch, salt).map_err(|error| damaged(id, &error))?;
        let pack = Self { id, bytes, ends, seals, directory, content };
        // A directory that somebody has changed could say that blocks are there which are not.
        if files.seals.are_used() && !pack.has_its_id(files) {
            return Err(damaged(id, &DecodeError::BadChecksum { what: "name" }));
        }
        Ok(pack)
    }

    /// Returns whether it holds its file open.
    pub(crate) fn has_file(&self) -> bool {
        matches!(self.content, Content::File(_))
    }

    /// Returns the memory that it holds, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        let bytes = match &self.content {
            Content::File(_) => self.directory.len(),
            Content::Memory(bytes) => bytes.len(),
        };
        to_u64(size_of::<Self>() + bytes)
    }

    /// Returns the number of its entries.
    pub(crate) fn entries(&self) -> u32 {
        self.ends.trailer.entries
    }

    /// Returns the number of block ids in its directory.
    pub(crate) fn block_ids(&self) -> u32 {
        self.ends.trailer.block_ids
    }

    /// Returns its header.
    pub(crate) fn header(&self) -> Header {
        self.ends.header
    }

    /// Returns whether everything but its records matches the pack's id.
    pub(crate) fn has_its_id(&self, files: &RepositoryFiles) -> bool {
        files.hasher.pack(&self.ends.header_bytes, &self.directory, &self.ends.trailer_bytes) == self.id
    }

    fn directory(&self) -> Result<Directory<'_>> {
        Directory::new(&self.directory, &self.ends.trailer).map_err(|error| damaged(self.id, &error))
    }

    /// Returns the entry with this number.
    pub(crate) fn entry(&self, number: u32) -> Result<Entry> {
        self.directory()?.entry(number, &self.ends.trailer).map_err(|error| damaged(self.id, &error))
    }

    /// Returns the id of the block in a slot of a chunk, punched or not.
    pub(crate) fn block_id(&self, entry: &Entry, slot: u8) -> Option<BlockId> {
        self.directory().ok()?.block_id(entry, slot)
    }

    /// Returns the ids of all blocks of a chunk.
    pub(crate) fn block_ids_of(&self, entry: &Entry) -> Vec<BlockId> {
        (0..entry.slots).filter_map(|slot| self.block_id(entry, u8::try_from(slot).ok()?)).collect()
    }

    /// Returns whether a slot of a chunk has its data.
    pub(crate) fn has_slot(&self, entry: &Entry, slot: u8) -> bool {
        if u16::from(slot) >= entry.slots {
            return false;
        }
        match self.directory().map(|directory| directory.bitmap(entry)) {
            Ok(Some(bitmap)) => bitmap.has(slot),
            Ok(None) => entry.bitmap.is_none(),
            Err(_) => false,
        }
    }

    /// Returns the slots of a chunk that have their data, in order: that is how they are stored.
    pub(crate) fn present_slots(&self, entry: &Entry) -> Vec<u8> {
        (0..entry.slots)
            .filter_map(|slot| u8::try_from(slot).ok())
            .filter(|slot| self.has_slot(entry, *slot))
            .collect()
    }

    /// Checks that the header of a record says what the directory says, ids and bitmap of a punched
    /// chunk included.
    pub(crate) fn check_record(&self, entry: &Entry) -> Result<()> {
        let at = entry.offset.saturating_sub(to_u32(entry.record_bytes()));
        let mut bytes = vec![0; entry.record_bytes()];
        self.content
            .read_at(u64::from(at), &mut bytes)
            .map_err(|error| Error::stored_io(format!("reading pack {} at offset {at}", self.id), error))?;
        let found = Entry::decode_record(&bytes, at).map_err(|error| damaged(self.id, &error));
        let found = found.map_err(|error| error.in_context(format!("at offset {at}")))?;
        let bitmap = self.directory()?.bitmap(entry);
        let mut more: Vec<u8> = Vec::new();
        if let Some(bitmap) = bitmap {
            self.block_ids_of(entry).iter().for_each(|id| more.extend(id.0));
            more.extend(bitmap.0);
        }
        let known = Entry { first_block: found.first_block, bitmap: found.bitmap, ..*entry };
        if found == known && bytes.get(RECORD_BYTES..) == Some(&more) {
            return Ok(());
        }
        let why = DecodeError::BadChecksum { what: "record" };
        Err(damaged(self.id, &why)
            .in_context(format!("at offset {at}"))
            .with_hint(NextStep::VerifyDataThenRepairPacks))
    }

    /// Says that a part of it is about to be read.
    pub(crate) fn will_read(&self, range: Range<u64>) {
        if let Content::File(file) = &self.content {
            file.will_read(range);
        }
    }

    /// Brings a part of it near.
    pub(crate) fn bring_near(&self, range: Range<u64>) -> Result<()> {
        match &self.content {
            Content::Memory(_) => Ok(()),
            Content::File(file) => file
                .bring_near(range)
                .map_err(|error| Error::stored_io(format!("fetching a part of pack {}", self.id), error)),
        }
    }

    /// Reads bytes of the file as they are.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.content
            .read_at(offset, buffer)
            .map_err(|error| Error::stored_io(format!("reading pack {} at offset {offset}", self.id), error))
    }

    /// Reads the encoded bytes of a chunk or a page into `buffer`, after checking the CRC of the
    /// stored ones, and their seal.
    pub(crate) fn read_encoded(&self, number: u32, entry: &Entry, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(entry.stored_bytes as usize, 0);
        self.content.read_at(u64::from(entry.offset), buffer).map_err(|error| {
            Error::stored_io(format!("reading pack {} at offset {}", self.id, entry.offset), error)
        })?;
        let opened = match crc32fast::hash(buffer) == entry.crc {
            true => self.seals.open(number, entry, buffer),
            false => Err(DecodeError::BadChecksum { what: "stored bytes" }),
        };
        opened.map_err(|error| {
            damaged(self.id, &error)
                .in_context(format!("at offset {}", entry.offset))
                .with_hint(NextStep::VerifyDataThenRepairPacks)
        })
    }

    /// Reads the readable part of the encoded bytes of a chunk or a page; the rest is zero. Checks
    /// nothing. Of a sealed one it returns all or nothing.
    pub(crate) fn read_encoded_in_parts(&self, number: u32, entry: &Entry) -> Option<Vec<u8>> {
        let mut bytes = vec![0; entry.stored_bytes as usize];
        if self.content.read_at(u64::from(entry.offset), &mut bytes).is_err() {
            let mut offset = u64::from(entry.offset);
            let mut rest = &mut bytes[..];
            while !rest.is_empty() {
                // Up to the end of a sector of 4 KiB, so that a bad one costs only its own bytes.
                let part = to_usize(BLOCK_U64 - offset % BLOCK_U64).min(rest.len());
                let (now, later) = rest.split_at_mut(part);
                if self.content.read_at(offset, now).is_err() {
                    now.fill(0);
                }
                (offset, rest) = (offset + to_u64(part), later);
            }
        }
        self.seals.open(number, entry, &mut bytes).is_ok().then_some(bytes)
    }
}

fn damaged(id: PackId, why: &DecodeError) -> Error {
    let kind = match why {
        DecodeError::BadVersion { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, format!("pack {id} is damaged: {why}")).with_hint(NextStep::VerifyThenRepairIndex)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::pack::ENTRY_BYTES;
    use crate::format::pack::PackKind;
    use crate::pure::compress::Codec;
    use crate::pure::compress::Encoded;
    use crate::pure::hash::Hasher;
    use crate::pure::keys::MasterKey;
    use crate::stores::locks::Writer;
    use crate::stores::pack::writer::Item;
    use crate::stores::pack::writer::PackWriter;
    use crate::stores::seals::Seals;
    use crate::words::ids::RepositoryId;
    use crate::world::memory::MemoryStorage;

    /// Returns whether a pack is opened whose directory somebody has changed, with the CRCs put right.
    fn believes_a_forged_directory(seals: Seals) -> bool {
        let storage = MemoryStorage::new();
        let (hasher, repository) = (Hasher::new(&[1; 32]), RepositoryId::from([0; 16]));
        let mut files =
            RepositoryFiles::new(Arc::new(storage.clone()), hasher, repository, "test".to_owned());
        files.seals = seals;
        let mut pack = PackWriter::begin(&files, PackKind::Pages).unwrap();
        let encoded = Encoded { codec: Codec::Raw, bytes: vec![1; 100] };
        pack.append(&Item::new([7; 16], encoded, 100, Vec::new())).unwrap();
        let id = pack.finish(&Writer::begin(&files).unwrap()).unwrap().id;
        assert!(PackFile::open(&files, id).is_ok());
        let mut bytes = storage.files().remove(&layout::pack(id)).unwrap();
        let trailer = bytes.len() - TRAILER_BYTES;
        let directory = trailer - ENTRY_BYTES;
        bytes[directory] ^= 1;
        let crc = crc32fast::hash(&bytes[directory..trailer]);
        bytes[trailer + 20..trailer + 24].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[trailer..trailer + 60]);
        bytes[trailer + 60..].copy_from_slice(&crc.to_le_bytes());
        storage.put(&layout::pack(id), bytes);
        PackFile::open(&files, id).is_ok()
    }

    #[test]
    fn a_directory_that_somebody_has_changed_is_refused_where_the_repository_is_sealed() {
        assert!(!believes_a_forged_directory(Seals::new(Arc::new(MasterKey::new(&[2; 32])))));
        // There, what it leads to is proven by its id when it is read, and a verification notices.
        assert!(believes_a_forged_directory(Seals::default()));
    }
}
