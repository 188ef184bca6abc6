//! Index runs: sorted tables that say where chunks, pages and blocks are. All of it can be made again from the packs.
//!
//! ```text
//! header         64 bytes
//! packs          32 bytes each: the packs that the entries below name by their number here
//! chunk buckets  u32 each: where the entries with each leading bits of the key begin
//! chunk entries  24 bytes each: key 16 | pack u32 | entry u16 | present slots u16
//! block buckets  u32 each
//! block entries  12 bytes each: key 6 | pack 3 | entry u16 | slot u8
//! ```
//!
//! Keys are the first bytes of the ids and sort as byte strings. An entry is a hint: whoever follows it compares the
//! full id in the pack's directory.

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::bytes::table_entry;
use crate::words::ids::BlockId;
use crate::words::ids::PackId;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;

pub(crate) const RUN_VERSION: u16 = 1;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const PACK_ID_BYTES: usize = 32;
pub(crate) const CHUNK_ENTRY_BYTES: usize = 24;
pub(crate) const BLOCK_ENTRY_BYTES: usize = 12;
pub(crate) const CHUNK_KEY_BYTES: usize = 16;
pub(crate) const BLOCK_KEY_BYTES: usize = 6;
/// The most packs that a run can name: their number is 24 bits wide.
pub(crate) const PACKS_MAX: u32 = 1 << 24;
const BUCKET_BITS_MAX: u8 = 28;
const MAGIC: [u8; 8] = *b"ICERUN1\n";

/// Where a chunk or page may be: the number of a pack in the run's table, and of an entry in that pack's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkEntry {
    pub(crate) key: [u8; CHUNK_KEY_BYTES],
    pub(crate) pack: u32,
    pub(crate) entry: u16,
    /// How many slots of the chunk have their data there; zero for a page.
    pub(crate) present: u16,
}

/// Where a block may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockEntry {
    pub(crate) key: [u8; BLOCK_KEY_BYTES],
    pub(crate) pack: u32,
    pub(crate) entry: u16,
    pub(crate) slot: u8,
}

/// Returns the part of a chunk's or page's id that a run keeps.
pub(crate) fn chunk_key(id: &[u8; 16]) -> [u8; CHUNK_KEY_BYTES] {
    *id
}

/// Returns the part of a block's id that a run keeps.
pub(crate) fn block_key(id: &BlockId) -> [u8; BLOCK_KEY_BYTES] {
    let mut key = [0; BLOCK_KEY_BYTES];
    key.copy_from_slice(&id.0[..BLOCK_KEY_BYTES]);
    key
}

impl ChunkEntry {
    pub(crate) fn encode(&self) -> [u8; CHUNK_ENTRY_BYTES] {
        let mut bytes = [0; CHUNK_ENTRY_BYTES];
        bytes[..16].copy_from_slice(&self.key);
        bytes[16..20].copy_from_slice(&self.pack.to_le_bytes());
        bytes[20..22].copy_from_slice(&self.entry.to_le_bytes());
        bytes[22..].copy_from_slice(&self.present.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; CHUNK_ENTRY_BYTES]) -> Self {
        let mut key = [0; CHUNK_KEY_BYTES];
        key.copy_from_slice(&bytes[..16]);
        Self {
            key,
            pack: u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]),
            entry: u16::from_le_bytes([bytes[20], bytes[21]]),
            present: u16::from_le_bytes([bytes[22], bytes[23]]),
        }
    }
}

impl BlockEntry {
    pub(crate) fn encode(&self) -> [u8; BLOCK_ENTRY_BYTES] {
        let mut bytes = [0; BLOCK_ENTRY_BYTES];
        bytes[..6].copy_from_slice(&self.key);
        bytes[6..9].copy_from_slice(&self.pack.to_le_bytes()[..3]);
        bytes[9..11].copy_from_slice(&self.entry.to_le_bytes());
        bytes[11] = self.slot;
        bytes
    }

    fn decode(bytes: &[u8; BLOCK_ENTRY_BYTES]) -> Self {
        let mut key = [0; BLOCK_KEY_BYTES];
        key.copy_from_slice(&bytes[..6]);
        Self {
            key,
            pack: u32::from_le_bytes([bytes[6], bytes[7], bytes[8], 0]),
            entry: u16::from_le_bytes([bytes[9], bytes[10]]),
            slot: bytes[11],
        }
    }
}

/// The first bytes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) packs: u32,
    pub(crate) chunk_bucket_bits: u8,
    pub(crate) block_bucket_bits: u8,
    pub(crate) chunks: u64,
    pub(crate) blocks: u64,
    /// CRC-32 of everything after the header.
    pub(crate) crc: u32,
}

impl Header {
    /// Returns the header of a run with these many entries.
    pub(crate) fn new(packs: u32, chunks: u64, blocks: u64, crc: u32) -> Self {
        Self {
            packs,
            chunk_bucket_bits: bucket_bits(chunks),
            block_bucket_bits: bucket_bits(blocks),
            chunks,
            blocks,
            crc,
        }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(RUN_VERSION.to_le_bytes());
        bytes.extend([self.chunk_bucket_bits, self.block_bucket_bits]);
        bytes.extend(self.packs.to_le_bytes());
        bytes.extend(self.chunks.to_le_bytes());
        bytes.extend(self.blocks.to_le_bytes());
        bytes.extend(self.crc.to_le_bytes());
        bytes.resize(HEADER_BYTES - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let mut fixed = [0; HEADER_BYTES];
        fixed.copy_from_slice(&bytes);
        fixed
    }

    /// Decodes the header of a run that is `file_bytes` long.
    pub(crate) fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        let mut sealed = Fields(fields.slice(HEADER_BYTES - 4)?);
        let crc = fields.u32()?;
        let whole = sealed.0;
        if sealed.array()? != MAGIC {
            return Err(DecodeError::BadMagic { what: "index run" });
        }
        let version = sealed.u16()?;
        if version != RUN_VERSION {
            return Err(DecodeError::BadVersion { found: version, known: RUN_VERSION });
        }
        if crc32fast::hash(whole) != crc {
            return Err(DecodeError::BadChecksum { what: "header" });
        }
        let header = Self {
            chunk_bucket_bits: sealed.u8()?,
            block_bucket_bits: sealed.u8()?,
            packs: sealed.u32()?,
            chunks: sealed.u64()?,
            blocks: sealed.u64()?,
            crc: sealed.u32()?,
        };
        if header.packs > PACKS_MAX
            || header.chunks > u64::from(u32::MAX)
            || header.blocks > u64::from(u32::MAX)
        {
            return Err(DecodeError::bad("the number of entries of a run", header.chunks.max(header.blocks)));
        }
        if header.chunk_bucket_bits > BUCKET_BITS_MAX || header.block_bucket_bits > BUCKET_BITS_MAX {
            return Err(DecodeError::bad("the number of bucket bits", header.block_bucket_bits));
        }
        let need = header.sections().iter().sum::<u64>() + to_u64(HEADER_BYTES);
        if need != file_bytes {
            return Err(DecodeError::Truncated { need, got: file_bytes });
        }
        Ok(header)
    }

    /// Returns the lengths of the five sections after the header.
    pub(crate) fn sections(&self) -> [u64; 5] {
        let buckets = |bits: u8| ((1_u64 << bits) + 1) * 4;
        [
            u64::from(self.packs) * to_u64(PACK_ID_BYTES),
            buckets(self.chunk_bucket_bits),
            self.chunks * to_u64(CHUNK_ENTRY_BYTES),
            buckets(self.block_bucket_bits),
            self.blocks * to_u64(BLOCK_ENTRY_BYTES),
        ]
    }
}

/// Returns how many leading bits of a key choose its bucket, so that a bucket has about eight entries.
pub(crate) fn bucket_bits(entries: u64) -> u8 {
    let bits = (entries / 8).checked_ilog2().unwrap_or(0);
    u8::try_from(bits).unwrap_or(BUCKET_BITS_MAX).min(BUCKET_BITS_MAX)
}

/// Returns the bucket of a key.
pub(crate) fn bucket_of(key: &[u8], bits: u8) -> usize {
    let mut lead = [0; 4];
    lead.copy_from_slice(&key[..4]);
    // Keys sort as byte strings, so their leading bits are those of the first byte.
    let lead = lead.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    to_usize(lead >> (32 - u32::from(bits)))
}

/// A run, as the bytes that it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    packs: &'a [u8],
    chunks: Table<'a>,
    blocks: Table<'a>,
}

#[derive(Debug, Clone, Copy)]
struct Table<'a> {
    bits: u8,
    buckets: &'a [u8],
    entries: &'a [u8],
}

impl<'a> Run<'a> {
    /// Splits the bytes of a whole run as `header` says; does not read them.
    pub(crate) fn new(bytes: &'a [u8], header: &Header) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        fields.slice(HEADER_BYTES)?;
        let mut section = |len: u64| fields.slice(usize::try_from(len).unwrap_or(usize::MAX));
        let [packs, chunk_buckets, chunk_entries, block_buckets, block_entries] = header.sections();
        Ok(Self {
            packs: section(packs)?,
            chunks: Table {
                bits: header.chunk_bucket_bits,
                buckets: section(chunk_buckets)?,
                entries: section(chunk_entries)?,
            },
            blocks: Table {
                bits: header.block_bucket_bits,
                buckets: section(block_buckets)?,
                entries: section(block_entries)?,
            },
        })
    }

    /// Returns the pack with a number of this run.
    pub(crate) fn pack(&self, number: u32) -> Option<PackId> {
        table_entry::<PACK_ID_BYTES>(self.packs, number as usize).map(|id| PackId(*id))
    }

    /// Returns all packs that the run names.
    pub(crate) fn packs(self) -> impl Iterator<Item = PackId> + use<'a> {
        self.packs.as_chunks::<PACK_ID_BYTES>().0.iter().map(|id| PackId(*id))
    }

    /// Returns the entries that may be those of a chunk or page.
    pub(crate) fn find_chunk(self, id: &[u8; 16]) -> impl Iterator<Item = ChunkEntry> + use<'a> {
        let key = chunk_key(id);
        let entries = self.chunks.bucket::<CHUNK_ENTRY_BYTES>(&key);
        entries.iter().filter(move |entry| entry[..CHUNK_KEY_BYTES] == key).map(ChunkEntry::decode)
    }

    /// Calls `found` with each entry that may be that of a block, and the block's number in `ids`.
    ///
    /// Many blocks are looked up at once because each look-up waits for memory twice: gone through in steps, the waits of
    /// different blocks overlap.
    pub(crate) fn find_blocks(self, ids: &[BlockId], mut found: impl FnMut(usize, BlockEntry)) {
        let keys: Vec<_> = ids.iter().map(block_key).collect();
        let buckets: Vec<_> = keys.iter().map(|key| self.blocks.bucket::<BLOCK_ENTRY_BYTES>(key)).collect();
        // The first and the last entry of a bucket are in all the cache lines that it has.
        let ends = |bucket: &&[[u8; BLOCK_ENTRY_BYTES]]| {
            u64::from(bucket.first().map_or(0, |entry| entry[0]))
                + u64::from(bucket.last().map_or(0, |entry| entry[0]))
        };
        std::hint::black_box(buckets.iter().map(ends).sum::<u64>());
        for (at, (key, bucket)) in keys.iter().zip(buckets).enumerate() {
            let fitting = bucket.iter().filter(|entry| entry[..BLOCK_KEY_BYTES] == *key);
            fitting.for_each(|entry| found(at, BlockEntry::decode(entry)));
        }
    }

    /// Returns all entries of chunks and pages, sorted.
    pub(crate) fn chunk_entries(self) -> impl Iterator<Item = ChunkEntry> + use<'a> {
        self.chunks.entries.as_chunks::<CHUNK_ENTRY_BYTES>().0.iter().map(ChunkEntry::decode)
    }

    /// Returns all entries of blocks, sorted.
    pub(crate) fn block_entries(self) -> impl Iterator<Item = BlockEntry> + use<'a> {
        self.blocks.entries.as_chunks::<BLOCK_ENTRY_BYTES>().0.iter().map(BlockEntry::decode)
    }
}

impl<'a> Table<'a> {
    /// Returns the entries in the bucket of `key`; none where the table of buckets is damaged.
    fn bucket<const N: usize>(&self, key: &[u8]) -> &'a [[u8; N]] {
        let at = bucket_of(key, self.bits);
        let bound = |index: usize| {
            table_entry::<4>(self.buckets, index).map_or(0, |n| u32::from_le_bytes(*n) as usize)
        };
        self.entries.as_chunks::<N>().0.get(bound(at)..bound(at + 1)).unwrap_or(&[])
    }
}
