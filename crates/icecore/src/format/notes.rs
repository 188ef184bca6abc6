//! The notes of verifications: when each pack was read, and what was found damaged. They are hints:
//! a file that is missing, damaged or of another version counts as empty.
//!
//! ```text
//! 0   signature   8
//! 8   version     u16   1
//! 10  zero        2
//! 12  entries     u32   n
//! 16  entries     n of them
//!     checksum    32    the record digest of all before it
//! ```

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::pack::SlotBitmap;
use crate::pure::hash::Hasher;
use crate::words::ids::PackId;
use crate::words::sizes::to_u32;

const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const CHECKED_MAGIC: [u8; 8] = *b"ICECHKD\n";
const DAMAGE_MAGIC: [u8; 8] = *b"ICEDMGD\n";
/// The longest file of notes: enough for more packs than 64 TiB have.
pub(crate) const NOTES_BYTES_MAX: u64 = 64 << 20;
/// The number that stands for a whole pack in the place of an entry.
const WHOLE_PACK: u32 = u32::MAX;

/// A pack, and the time when it was last read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckedEntry {
    pub(crate) pack: PackId,
    /// Milliseconds since 1970.
    pub(crate) unix_ms: i64,
}

/// A damaged object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DamageEntry {
    pub(crate) pack: PackId,
    /// The number of the chunk or page in the pack's directory; none if the whole pack is unusable.
    pub(crate) number: Option<u32>,
    /// The id of the chunk or page; zero for a pack.
    pub(crate) id: [u8; 16],
    /// The unusable slots; all of them for a page or a pack.
    pub(crate) slots: SlotBitmap,
}

/// Encodes the file `checked`.
pub(crate) fn encode_checked(entries: &[CheckedEntry], hasher: &Hasher) -> Vec<u8> {
    let one = |entry: &CheckedEntry, bytes: &mut Vec<u8>| {
        bytes.extend(entry.pack.0);
        bytes.extend(entry.unix_ms.to_le_bytes());
    };
    encode(CHECKED_MAGIC, entries, one, hasher)
}

pub(crate) fn decode_checked(bytes: &[u8], hasher: &Hasher) -> Result<Vec<CheckedEntry>, DecodeError> {
    decode(bytes, CHECKED_MAGIC, hasher, |fields| {
        Ok(CheckedEntry { pack: PackId(fields.array()?), unix_ms: fields.array().map(i64::from_le_bytes)? })
    })
}

/// Encodes the file `damage`.
pub(crate) fn encode_damage(entries: &[DamageEntry], hasher: &Hasher) -> Vec<u8> {
    let one = |entry: &DamageEntry, bytes: &mut Vec<u8>| {
        bytes.extend(entry.pack.0);
        bytes.extend(entry.number.unwrap_or(WHOLE_PACK).to_le_bytes());
        bytes.extend(entry.id);
        bytes.extend(entry.slots.0);
    };
    encode(DAMAGE_MAGIC, entries, one, hasher)
}

pub(crate) fn decode_damage(bytes: &[u8], hasher: &Hasher) -> Result<Vec<DamageEntry>, DecodeError> {
    decode(bytes, DAMAGE_MAGIC, hasher, |fields| {
        Ok(DamageEntry {
            pack: PackId(fields.array()?),
            number: Some(fields.u32()?).filter(|number| *number != WHOLE_PACK),
            id: fields.array()?,
            slots: SlotBitmap(fields.array()?),
        })
    })
}

fn encode<T>(magic: [u8; 8], entries: &[T], one: impl Fn(&T, &mut Vec<u8>), hasher: &Hasher) -> Vec<u8> {
    let count = to_u32(entries.len());
    let mut bytes = magic.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(count.to_le_bytes());
    entries.iter().take(count as usize).for_each(|entry| one(entry, &mut bytes));
    bytes.extend(hasher.record(&bytes).0);
    bytes
}

fn decode<T>(
    bytes: &[u8],
    magic: [u8; 8],
    hasher: &Hasher,
    one: impl Fn(&mut Fields<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let need = (HEADER_BYTES + 32) as u64;
    let Some((sealed, checksum)) = bytes.split_last_chunk::<32>() else {
        return Err(DecodeError::Truncated { need, got: bytes.len() as u64 });
    };
    let mut fields = Fields(sealed);
    if fields.array()? != magic {
        return Err(DecodeError::BadMagic { what: "file of notes" });
    }
    match fields.u16()? {
        VERSION => {}
        found => return Err(DecodeError::BadVersion { found, known: VERSION }),
    }
    fields.reserved(2)?;
    let count = fields.u32()?;
    if hasher.record(sealed).0 != *checksum {
        return Err(DecodeError::BadChecksum { what: "file of notes" });
    }
    // One after another: no allocation follows from a number that the bytes do not back up.
    let entries: Vec<T> = (0..count).map(|_| one(&mut fields)).collect::<Result<_, _>>()?;
    match fields.0.len() {
        0 => Ok(entries),
        bytes => Err(DecodeError::Trailing { bytes }),
    }
}
