//! Index runs: sorted tables that say where chunks, pages and blocks are. They can be rebuilt from
//! the packs.
//!
//! ```text
//! header   64 bytes
//! packs    32 bytes each: the packs that entries name by their number here; zeros up to a multiple of 64 bytes
//! filter   lines of 64 bytes: which blocks may be in the run
//! chunks   a table, of pages too
//! blocks   a table
//! ```
//!
//! An entry is a hint: a reader compares the full id in the pack's directory.

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::bytes::table_entry;
use crate::format::run_filter::Filter;
use crate::format::run_filter::LINE_BYTES;
use crate::format::run_filter::line_count;
use crate::format::run_table::BUCKET_BITS_MAX;
use crate::format::run_table::Entry;
use crate::format::run_table::Key;
use crate::format::run_table::Table;
use crate::format::run_table::bucket_bits;
use crate::format::run_table::section_bytes;
use crate::words::ids::BlockId;
use crate::words::ids::PackId;
use crate::words::sizes::to_u64;

pub(crate) const RUN_VERSION: u16 = 2;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const PACK_ID_BYTES: usize = 32;
/// The most packs that a run can name: their number is 24 bits wide.
pub(crate) const PACKS_MAX: u32 = 1 << 24;
const MAGIC: [u8; 8] = *b"ICERUN1\n";

/// The header of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) packs: u32,
    pub(crate) chunk_bucket_bits: u8,
    pub(crate) block_bucket_bits: u8,
    pub(crate) chunks: u64,
    pub(crate) blocks: u64,
    /// CRC-32 of everything after the header.
    pub(crate) crc: u32,
    pub(crate) filter_lines: u32,
}

impl Header {
    /// Returns the header of a run with this many entries.
    pub(crate) fn new(packs: u32, chunks: u64, blocks: u64, crc: u32) -> Self {
        Self {
            packs,
            chunk_bucket_bits: bucket_bits(chunks),
            block_bucket_bits: bucket_bits(blocks),
            chunks,
            blocks,
            crc,
            filter_lines: line_count(blocks),
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
        bytes.extend(self.filter_lines.to_le_bytes());
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
            filter_lines: sealed.u32()?,
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

    /// Returns the lengths of the six sections after the header.
    pub(crate) fn sections(&self) -> [u64; 6] {
        let packs = (u64::from(self.packs) * to_u64(PACK_ID_BYTES)).next_multiple_of(to_u64(LINE_BYTES));
        let filter = u64::from(self.filter_lines) * to_u64(LINE_BYTES);
        let [chunk_buckets, chunks] = section_bytes(self.chunk_bucket_bits, self.chunks);
        let [block_buckets, blocks] = section_bytes(self.block_bucket_bits, self.blocks);
        [packs, filter, chunk_buckets, chunks, block_buckets, blocks]
    }
}

/// A run, as its encoded bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    packs: &'a [u8],
    filter: Filter<'a>,
    pub(crate) chunks: Table<'a>,
    pub(crate) blocks: Table<'a>,
}

impl<'a> Run<'a> {
    /// Splits the bytes of a whole run as `header` says, without reading them.
    pub(crate) fn new(bytes: &'a [u8], header: &Header) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        fields.slice(HEADER_BYTES)?;
        let mut section = |len: u64| fields.slice(usize::try_from(len).unwrap_or(usize::MAX));
        let [packs, filter, chunk_buckets, chunks, block_buckets, blocks] = header.sections();
        let named = usize::try_from(header.packs).unwrap_or(usize::MAX).saturating_mul(PACK_ID_BYTES);
        Ok(Self {
            packs: section(packs)?.get(..named).unwrap_or(&[]),
            filter: Filter::new(section(filter)?),
            chunks: Table::new(header.chunk_bucket_bits, section(chunk_buckets)?, section(chunks)?),
            blocks: Table::new(header.block_bucket_bits, section(block_buckets)?, section(blocks)?),
        })
    }

    /// Returns the pack with a number in this run.
    pub(crate) fn pack(&self, number: u32) -> Option<PackId> {
        table_entry::<PACK_ID_BYTES>(self.packs, number as usize).map(|id| PackId(*id))
    }

    /// Returns all packs that the run names.
    pub(crate) fn packs(self) -> impl Iterator<Item = PackId> + use<'a> {
        self.packs.as_chunks::<PACK_ID_BYTES>().0.iter().map(|id| PackId(*id))
    }

    /// Returns the entries that may belong to a chunk or page.
    pub(crate) fn find_chunk(self, id: &[u8; 16]) -> impl Iterator<Item = Entry> + use<'a> {
        self.chunks.find(Key::of(id))
    }

    /// Calls `found` with each entry that may belong to a block, and the block's number in `ids`.
    pub(crate) fn find_blocks(self, ids: &[BlockId], found: impl FnMut(usize, Entry)) {
        let mut keys = ids.iter().map(|id| Key::of(&id.0)).enumerate().collect();
        self.filter.sift(&mut keys);
        self.blocks.find_all(&keys, found);
    }
}
