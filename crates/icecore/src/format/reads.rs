//! A record of reads: the parts of a snapshot that clients of a volume read, in the order in which
//! they first did. It is a hint: one that is missing, damaged or of another version counts as none.
//!
//! ```text
//! 0   signature   8
//! 8   version     u16   1
//! 10  zero        2
//! 12  ranges      u32   n
//! 16  snapshot    16    its id
//! 32  ranges      n of them: the number of the first span, u64; the number of spans, u32
//!     checksum    32    the record digest of all before it
//! ```

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::pure::hash::Hasher;
use crate::words::ids::SnapshotId;
use crate::words::sizes::IMAGE_BYTES_MAX;
use crate::words::sizes::SPAN_U64;
use crate::words::sizes::to_u32;

const MAGIC: [u8; 8] = *b"ICEREAD\n";
const VERSION: u16 = 1;
/// The most spans of all ranges together, and so the most ranges.
const SPANS_MAX: u64 = 1 << 16;
/// The longest record, sealed or not.
pub(crate) const READS_BYTES_MAX: u64 = 1 << 20;

/// Consecutive spans of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanRange {
    pub(crate) first: u64,
    pub(crate) spans: u32,
}

/// What clients read of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) snapshot: SnapshotId,
    /// In the order of the first reads. No range begins where the one before it ends.
    pub(crate) ranges: Vec<SpanRange>,
}

impl Reads {
    pub(crate) fn encode(&self, hasher: &Hasher) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(to_u32(self.ranges.len()).to_le_bytes());
        bytes.extend(<[u8; 16]>::from(self.snapshot));
        for range in &self.ranges {
            bytes.extend(range.first.to_le_bytes());
            bytes.extend(range.spans.to_le_bytes());
        }
        bytes.extend(hasher.record(&bytes).0);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], hasher: &Hasher) -> Result<Self, DecodeError> {
        let Some((content, checksum)) = bytes.split_last_chunk::<32>() else {
            return Err(DecodeError::Truncated { need: 64, got: bytes.len() as u64 });
        };
        let mut fields = Fields(content);
        if fields.array()? != MAGIC {
            return Err(DecodeError::BadMagic { what: "record of reads" });
        }
        match fields.u16()? {
            VERSION => {}
            found => return Err(DecodeError::BadVersion { found, known: VERSION }),
        }
        fields.reserved(2)?;
        let count = fields.u32()?;
        let snapshot = SnapshotId::from(fields.array::<16>()?);
        if hasher.record(content).0 != *checksum {
            return Err(DecodeError::BadChecksum { what: "record of reads" });
        }
        let mut ranges: Vec<SpanRange> = Vec::new();
        let mut spans = 0;
        // One after another: no allocation follows from a number that the bytes do not back up.
        for _ in 0..count {
            let range = SpanRange { first: fields.u64()?, spans: fields.u32()? };
            let end = range.first.saturating_add(range.spans.into());
            spans += u64::from(range.spans);
            if range.spans == 0 || end > IMAGE_BYTES_MAX / SPAN_U64 || spans > SPANS_MAX {
                return Err(DecodeError::bad("the number of spans of a range", range.spans));
            }
            if ranges.last().is_some_and(|before| before.first + u64::from(before.spans) == range.first) {
                return Err(DecodeError::bad("the first span of a range", range.first));
            }
            ranges.push(range);
        }
        match fields.0.len() {
            0 => Ok(Self { snapshot, ranges }),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}
