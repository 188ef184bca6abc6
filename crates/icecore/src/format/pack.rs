//! Pack files: chunks of image data and manifest pages, one after another, and their directory at
//! the end.
//!
//! ```text
//! header      64 bytes
//! records     40 bytes of header each, [block ids and slot bitmap if punched], stored bytes
//! directory   entries of 44 bytes, block ids of 16 bytes, slot bitmaps of 32 bytes
//! trailer     64 bytes
//! ```
//!
//! All numbers are little-endian. A record repeats its directory entry, so that a pack with a lost
//! directory can be read record by record.

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::bytes::table_entry;
use crate::format::sealed::CIPHER_AES_GCM;
use crate::pure::compress::Codec;
use crate::pure::keys::Salt;
use crate::words::ids::BlockId;
use crate::words::ids::RepositoryId;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::CHUNK_BLOCKS_MAX;
use crate::words::sizes::to_u32;

pub(crate) const PACK_VERSION: u16 = 3;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const RECORD_BYTES: usize = 40;
pub(crate) const ENTRY_BYTES: usize = 44;
pub(crate) const TRAILER_BYTES: usize = 64;
pub(crate) const BLOCK_ID_BYTES: usize = 16;
pub(crate) const BITMAP_BYTES: usize = CHUNK_BLOCKS_MAX / 8;
/// The most chunks or pages in a pack.
pub(crate) const ENTRIES_MAX: u32 = 1 << 16;
/// The largest pack: offsets are 32 bits wide.
pub(crate) const PACK_BYTES_MAX: u64 = u32::MAX as u64;
/// The most bytes of a decoded chunk or page.
#[expect(clippy::cast_possible_truncation, reason = "a constant: 2^20")]
pub(crate) const RAW_BYTES_MAX: u32 = (CHUNK_BLOCKS_MAX * BLOCK_BYTES) as u32;

/// The most stored bytes of a chunk or page: what does not compress, padded and sealed.
const STORED_BYTES_MAX: u32 = RAW_BYTES_MAX + 1024;

const HEADER_MAGIC: [u8; 8] = *b"ICEPACK\n";
pub(crate) const RECORD_MAGIC: [u8; 4] = *b"ICER";
const TRAILER_MAGIC: [u8; 8] = *b"ICEPEND\n";
const NO_BITMAP: u32 = u32::MAX;
const FLAG_PUNCHED: u8 = 1;
const FLAG_RECORD: u8 = 2;
const CIPHER_NONE: u8 = 0;

/// What a pack may hold. Large captures keep data and manifest pages apart, so that whoever walks a
/// manifest opens few packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackKind {
    /// Chunks.
    Data,
    /// Manifest pages, and copies of records.
    Pages,
    /// All of these.
    Mixed,
}

/// What an entry of a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Chunk,
    Page,
    /// A copy of the record of a snapshot.
    Record,
}

impl PackKind {
    /// Returns its number in a header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Pages => 2,
            Self::Mixed => 3,
        }
    }

    /// Tells whether a pack of this kind may hold such an entry.
    pub(crate) fn may_hold(self, entry: EntryKind) -> bool {
        match self {
            Self::Data => entry == EntryKind::Chunk,
            Self::Pages => entry != EntryKind::Chunk,
            Self::Mixed => true,
        }
    }
}

/// The header of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: PackKind,
    /// The epoch of the key that its records are sealed with; none if they are not sealed.
    pub(crate) epoch: Option<u32>,
    pub(crate) repository: RepositoryId,
    /// Bytes that no other pack has, so that no two packs have the same id.
    pub(crate) salt: Salt,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = HEADER_MAGIC.to_vec();
        bytes.extend(PACK_VERSION.to_le_bytes());
        bytes.push(self.kind.number());
        bytes.push(if self.epoch.is_some() { CIPHER_AES_GCM } else { CIPHER_NONE });
        bytes.extend(self.epoch.unwrap_or(0).to_le_bytes());
        bytes.extend(<[u8; 16]>::from(self.repository));
        bytes.extend(self.salt);
        bytes.extend([0; 4]);
        seal(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = unseal::<HEADER_BYTES>(bytes, HEADER_MAGIC, "pack header")?;
        let version = fields.u16()?;
        if version != PACK_VERSION {
            return Err(DecodeError::BadVersion { found: version, known: PACK_VERSION });
        }
        let kind = match fields.u8()? {
            1 => PackKind::Data,
            2 => PackKind::Pages,
            3 => PackKind::Mixed,
            other => return Err(DecodeError::bad("the kind of a pack", other)),
        };
        let epoch = match fields.u8()? {
            CIPHER_NONE => fields.reserved(4).map(|()| None)?,
            CIPHER_AES_GCM => Some(fields.u32()?),
            other => return Err(DecodeError::bad("the cipher of a pack", other)),
        };
        let repository = RepositoryId::from(fields.array()?);
        Ok(Self { kind, epoch, repository, salt: fields.array()? })
    }
}

/// The fields of a chunk, a page or a copy of a snapshot's record that both its header in front of
/// the stored bytes and its directory entry have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The id of the chunk, of the page or of the snapshot.
    pub(crate) id: [u8; 16],
    /// The offset of its stored bytes in the pack.
    pub(crate) offset: u32,
    pub(crate) stored_bytes: u32,
    pub(crate) raw_bytes: u32,
    /// CRC-32 of the stored bytes.
    pub(crate) crc: u32,
    pub(crate) codec: Codec,
    /// The number of blocks of the chunk, including punched ones; zero for anything else.
    pub(crate) slots: u16,
    /// Whether it is a copy of a record.
    pub(crate) is_record: bool,
    /// Index of the first of its ids in the directory's table of block ids.
    pub(crate) first_block: u32,
    /// Index of its slot bitmap, if it is punched.
    pub(crate) bitmap: Option<u32>,
}

impl Entry {
    pub(crate) fn kind(&self) -> EntryKind {
        match (self.is_record, self.slots) {
            (true, _) => EntryKind::Record,
            (false, 0) => EntryKind::Page,
            (false, _) => EntryKind::Chunk,
        }
    }

    /// Tells whether its bytes are padded before they are sealed. What a chunk that does not
    /// compress holds is as long as its slots say anyway.
    pub(crate) fn is_padded(&self) -> bool {
        self.codec != Codec::Raw || self.kind() != EntryKind::Chunk
    }

    /// Returns the length of the record before the stored bytes.
    pub(crate) fn record_bytes(&self) -> usize {
        let punched = usize::from(self.slots) * BLOCK_ID_BYTES + BITMAP_BYTES;
        RECORD_BYTES + if self.bitmap.is_some() { punched } else { 0 }
    }

    /// Encodes the header of the record.
    pub(crate) fn encode_record(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = RECORD_MAGIC.to_vec();
        bytes.extend([codec_byte(self.codec), self.flags()]);
        bytes.extend(self.slots.to_le_bytes());
        bytes.extend(self.raw_bytes.to_le_bytes());
        bytes.extend(self.stored_bytes.to_le_bytes());
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(self.id);
        seal(bytes)
    }

    /// Decodes the header of a record at `at` in a pack. The header alone does not give the block
    /// ids and the bitmap.
    pub(crate) fn decode_record(bytes: &[u8], at: u32) -> Result<Self, DecodeError> {
        let mut fields = unseal::<RECORD_BYTES>(bytes, RECORD_MAGIC, "record")?;
        let codec = codec_of(fields.u8()?)?;
        let flags = fields.u8()?;
        let slots = fields.u16()?;
        let raw_bytes = fields.u32()?;
        let stored_bytes = fields.u32()?;
        let crc = fields.u32()?;
        let id = fields.array()?;
        let bitmap = (flags & FLAG_PUNCHED != 0).then_some(0);
        let mut entry = Self {
            id,
            offset: at,
            stored_bytes,
            raw_bytes,
            crc,
            codec,
            slots,
            is_record: flags & FLAG_RECORD != 0,
            first_block: 0,
            bitmap,
        };
        let record_bytes = to_u32(entry.record_bytes());
        entry.offset = at.checked_add(record_bytes).ok_or(DecodeError::bad("the offset of a record", at))?;
        entry.check(PACK_BYTES_MAX, u32::from(slots), 1)?;
        Ok(entry)
    }

    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = self.id.to_vec();
        bytes.extend(self.offset.to_le_bytes());
        bytes.extend(self.stored_bytes.to_le_bytes());
        bytes.extend(self.raw_bytes.to_le_bytes());
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(self.first_block.to_le_bytes());
        bytes.extend(self.bitmap.unwrap_or(NO_BITMAP).to_le_bytes());
        bytes.extend(self.slots.to_le_bytes());
        bytes.extend([codec_byte(self.codec), self.flags()]);
        let mut fixed = [0; ENTRY_BYTES];
        fixed.copy_from_slice(&bytes);
        fixed
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        let id = fields.array()?;
        let offset = fields.u32()?;
        let stored_bytes = fields.u32()?;
        let raw_bytes = fields.u32()?;
        let crc = fields.u32()?;
        let first_block = fields.u32()?;
        let bitmap = Some(fields.u32()?).filter(|index| *index != NO_BITMAP);
        let slots = fields.u16()?;
        let codec = codec_of(fields.u8()?)?;
        let flags = fields.u8()?;
        if (flags & FLAG_PUNCHED != 0) != bitmap.is_some() || flags & !(FLAG_PUNCHED | FLAG_RECORD) != 0 {
            return Err(DecodeError::bad("the flags of an entry", flags));
        }
        let is_record = flags & FLAG_RECORD != 0;
        Ok(Self { id, offset, stored_bytes, raw_bytes, crc, codec, slots, is_record, first_block, bitmap })
    }

    /// Checks the numbers of an entry against the pack that it is in.
    fn check(&self, data_end: u64, id_count: u32, bitmap_count: u32) -> Result<(), DecodeError> {
        let end = u64::from(self.offset) + u64::from(self.stored_bytes);
        if u64::from(self.offset) < (HEADER_BYTES + RECORD_BYTES) as u64 || end > data_end {
            return Err(DecodeError::bad("the offset of an entry", self.offset));
        }
        if self.raw_bytes > RAW_BYTES_MAX || self.stored_bytes > STORED_BYTES_MAX {
            return Err(DecodeError::bad("the length of an entry", self.raw_bytes.max(self.stored_bytes)));
        }
        if self.codec == Codec::Delta && self.kind() != EntryKind::Page {
            return Err(DecodeError::bad("the codec of a chunk", codec_byte(self.codec)));
        }
        if usize::from(self.slots) > CHUNK_BLOCKS_MAX {
            return Err(DecodeError::bad("the number of slots of an entry", self.slots));
        }
        if self.is_record && (self.slots > 0 || self.bitmap.is_some()) {
            return Err(DecodeError::bad("the slots of a copy of a record", self.slots));
        }
        if u64::from(self.first_block) + u64::from(self.slots) > u64::from(id_count) {
            return Err(DecodeError::bad("the first block id of an entry", self.first_block));
        }
        if self.bitmap.is_some_and(|index| index >= bitmap_count) {
            return Err(DecodeError::bad("the slot bitmap of an entry", self.bitmap.unwrap_or(NO_BITMAP)));
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let punched = if self.bitmap.is_some() { FLAG_PUNCHED } else { 0 };
        punched | if self.is_record { FLAG_RECORD } else { 0 }
    }
}

/// The slots of a punched chunk that still have their data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SlotBitmap(pub(crate) [u8; BITMAP_BYTES]);

impl SlotBitmap {
    pub(crate) fn from_slots(present: impl Iterator<Item = u8>) -> Self {
        let mut bits = [0; BITMAP_BYTES];
        present.for_each(|slot| bits[usize::from(slot / 8)] |= 1 << (slot % 8));
        Self(bits)
    }

    pub(crate) fn has(&self, slot: u8) -> bool {
        self.0[usize::from(slot / 8)] >> (slot % 8) & 1 == 1
    }

    /// Returns whether it has all slots of another one.
    pub(crate) fn has_all(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(own, other)| own & other == other)
    }

    /// Returns the slots of both.
    pub(crate) fn with(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// Returns the number of slots that have their data.
    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }
}

/// The trailer of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) entries: u32,
    pub(crate) block_ids: u32,
    pub(crate) bitmaps: u32,
    /// CRC-32 of the directory.
    pub(crate) crc: u32,
    /// The offset of the directory, and so the end of the records.
    pub(crate) directory_offset: u64,
    /// Epoch and salt of a sealed pack once more: without them, nothing of it can be read.
    pub(crate) epoch: u32,
    pub(crate) salt: Salt,
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = TRAILER_MAGIC.to_vec();
        bytes.extend(self.entries.to_le_bytes());
        bytes.extend(self.block_ids.to_le_bytes());
        bytes.extend(self.bitmaps.to_le_bytes());
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(self.directory_offset.to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.salt);
        seal(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = unseal::<TRAILER_BYTES>(bytes, TRAILER_MAGIC, "pack trailer")?;
        let trailer = Self {
            entries: fields.u32()?,
            block_ids: fields.u32()?,
            bitmaps: fields.u32()?,
            crc: fields.u32()?,
            directory_offset: fields.u64()?,
            epoch: fields.u32()?,
            salt: fields.array()?,
        };
        if trailer.entries > ENTRIES_MAX {
            return Err(DecodeError::bad("the number of entries of a pack", trailer.entries));
        }
        Ok(trailer)
    }

    /// Returns the length of the directory.
    pub(crate) fn directory_bytes(&self) -> u64 {
        u64::from(self.entries) * ENTRY_BYTES as u64
            + u64::from(self.block_ids) * BLOCK_ID_BYTES as u64
            + u64::from(self.bitmaps) * BITMAP_BYTES as u64
    }
}

/// A directory, as its encoded bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Directory<'a> {
    entries: &'a [u8],
    block_ids: &'a [u8],
    bitmaps: &'a [u8],
}

impl<'a> Directory<'a> {
    /// Splits `bytes` as `trailer` says, without reading them.
    pub(crate) fn new(bytes: &'a [u8], trailer: &Trailer) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        let entries = fields.slice(trailer.entries as usize * ENTRY_BYTES)?;
        let block_ids = fields.slice(trailer.block_ids as usize * BLOCK_ID_BYTES)?;
        let bitmaps = fields.slice(trailer.bitmaps as usize * BITMAP_BYTES)?;
        Ok(Self { entries, block_ids, bitmaps })
    }

    /// Returns the entry `index`, with its numbers checked against the pack.
    pub(crate) fn entry(&self, index: u32, trailer: &Trailer) -> Result<Entry, DecodeError> {
        let bytes = table_entry::<ENTRY_BYTES>(self.entries, index as usize)
            .ok_or(DecodeError::bad("the number of an entry", index))?;
        let entry = Entry::decode(bytes)?;
        entry.check(trailer.directory_offset, trailer.block_ids, trailer.bitmaps)?;
        Ok(entry)
    }

    /// Returns the id of the block in `slot` of a chunk.
    pub(crate) fn block_id(&self, entry: &Entry, slot: u8) -> Option<BlockId> {
        let index =
            (u16::from(slot) < entry.slots).then(|| entry.first_block as usize + usize::from(slot))?;
        table_entry::<BLOCK_ID_BYTES>(self.block_ids, index).map(|id| BlockId(*id))
    }

    /// Returns the slots of a punched chunk that have their data; none if all have.
    pub(crate) fn bitmap(&self, entry: &Entry) -> Option<SlotBitmap> {
        let index = entry.bitmap? as usize;
        table_entry::<BITMAP_BYTES>(self.bitmaps, index).map(|bits| SlotBitmap(*bits))
    }
}

fn codec_byte(codec: Codec) -> u8 {
    match codec {
        Codec::Raw => 0,
        Codec::Zstd => 1,
        Codec::Delta => 2,
    }
}

fn codec_of(byte: u8) -> Result<Codec, DecodeError> {
    match byte {
        0 => Ok(Codec::Raw),
        1 => Ok(Codec::Zstd),
        2 => Ok(Codec::Delta),
        other => Err(DecodeError::bad("the codec of an entry", other)),
    }
}

/// Ends a fixed structure with the CRC-32 of its content.
fn seal<const N: usize>(mut bytes: Vec<u8>) -> [u8; N] {
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    let mut fixed = [0; N];
    fixed.copy_from_slice(&bytes);
    fixed
}

/// Checks signature and CRC-32 of a fixed structure of `N` bytes and returns the fields between
/// them.
fn unseal<'a, const N: usize>(
    bytes: &'a [u8],
    magic: impl AsRef<[u8]>,
    what: &'static str,
) -> Result<Fields<'a>, DecodeError> {
    let fixed = bytes.get(..N).ok_or(DecodeError::Truncated { need: N as u64, got: bytes.len() as u64 })?;
    let (sealed, crc) = fixed.split_at(N - 4);
    let fields = sealed.strip_prefix(magic.as_ref()).ok_or(DecodeError::BadMagic { what })?;
    if crc32fast::hash(sealed).to_le_bytes() != crc {
        return Err(DecodeError::BadChecksum { what });
    }
    Ok(Fields(fields))
}
