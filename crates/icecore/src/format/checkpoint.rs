//! A file of `checkpoint/`: the catalog after an entry of the journal, to be mapped and looked up
//! in without being decoded whole.
//!
//! ```text
//! magic          8
//! major, minor   u16 each
//! config         its length, u32, and the bytes of the file `config`
//! head           its length, u32, and its fields
//! rows           44 bytes for each snapshot, by id
//! keys           20 bytes for each name that a snapshot can be found by, by key and then by time
//! condemned      41 bytes for each pack, by id
//! volumes        for each: number of the entry, u64; length, u32, and its fields
//! records        the fields of one snapshot after another
//! digests        32 bytes for each block of 64 KiB of what is above, of which the last is shorter
//! trailer        magic, 8; length of what is above the digests, u64; digest of the digests and of
//!                the trailer up to here, 32
//! ```
//!
//! All numbers are little-endian.

use std::ops::Deref;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::bytes::table_entry;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::FORMAT_MINOR;
use crate::format::journal::Condemnation;
use crate::format::journal::Settings;
use crate::format::journal::Standing;
use crate::format::journal::decode_record;
use crate::format::record::Record;
use crate::format::serial::Decoder;
use crate::format::serial::SERIAL_BYTES_MAX;
use crate::pure::hash::Hasher;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;
use crate::words::sizes::to_u64;

pub(super) const MAGIC: [u8; 8] = *b"ICECKPT\n";
pub(super) const TRAILER_MAGIC: [u8; 8] = *b"ICECPEN\n";
pub(super) const BLOCK_BYTES: usize = 64 << 10;
const DIGEST_BYTES: usize = 32;
const TRAILER_BYTES: usize = 48;
const ROW_BYTES: usize = 44;
const KEY_BYTES: usize = 20;
const CONDEMNED_BYTES: usize = 41;
/// The time in the row of a snapshot that is not deleted.
pub(super) const NOT_DELETED: i64 = i64::MIN;
/// The most bytes of a config.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// What a checkpoint says of the whole catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The number of the last entry that is in it.
    pub(crate) number: u64,
    /// The digest of that entry, or zero.
    pub(crate) entry: [u8; 32],
    /// Whoever began before this entry looks for each pack itself: not all that are gone are known.
    pub(crate) low: u64,
    pub(crate) settings: Settings,
    /// The tokens of the last entries, the newest last.
    pub(crate) tokens: Vec<[u8; 16]>,
    /// How much there is of each part; whoever writes it counts.
    pub(crate) parts: Parts,
}

/// The sizes of the parts of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Parts {
    pub(super) rows: u32,
    pub(super) keys: u32,
    pub(super) condemned: u32,
    pub(super) volumes: u32,
    pub(super) volumes_bytes: u64,
    pub(super) records_bytes: u64,
}

/// The place of a snapshot in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: SnapshotId,
    pub(crate) created_unix_ms: i64,
    /// When the snapshot was deleted, if it was.
    pub(crate) deleted_unix_ms: Option<i64>,
    offset: u64,
    bytes: u32,
}

/// Something that a snapshot can be found by. Keys are in the order of their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) key: u64,
    pub(super) created_unix_ms: i64,
    pub(super) row: u32,
}

/// What a volume stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stood {
    /// The number of the entry that said so.
    pub(crate) number: u64,
    pub(crate) of: Standing,
}

/// Returns the key of all snapshots with this name.
pub(crate) fn name_key(hasher: &Hasher, name: &str) -> u64 {
    hasher.name(&[name])
}

/// Returns the key of all snapshots of a resource.
pub(crate) fn resource_key(hasher: &Hasher, kind: ResourceKind, resource: &str) -> u64 {
    hasher.name(&[kind.as_str(), resource])
}

/// Returns the key of the snapshots of a resource that have this name.
pub(crate) fn full_key(hasher: &Hasher, kind: ResourceKind, resource: &str, name: &str) -> u64 {
    hasher.name(&[kind.as_str(), resource, name])
}

/// Returns the keys that a snapshot can be found by.
pub(crate) fn keys_of(hasher: &Hasher, record: &Record) -> [u64; 3] {
    [
        name_key(hasher, &record.name),
        resource_key(hasher, record.kind, &record.resource),
        full_key(hasher, record.kind, &record.resource, &record.name),
    ]
}

/// Returns the bytes of the file `config` from a checkpoint. Nothing is proven: the config has a
/// checksum of its own, and the key that a proof needs is in it.
pub(crate) fn config_in(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    Ok(beginning(bytes)?.1)
}

/// Returns the minor version, the bytes of the config, and what follows.
fn beginning(bytes: &[u8]) -> Result<(u16, &[u8], Fields<'_>), DecodeError> {
    let mut fields = Fields(bytes);
    if fields.array()? != MAGIC {
        return Err(DecodeError::BadMagic { what: "checkpoint" });
    }
    let major = fields.u16()?;
    if major != FORMAT_MAJOR {
        return Err(DecodeError::BadVersion { found: major, known: FORMAT_MAJOR });
    }
    let minor = fields.u16()?;
    let config = part(&mut fields, CONFIG_BYTES_MAX)?;
    Ok((minor, config, fields))
}

fn part<'a>(fields: &mut Fields<'a>, bytes_max: usize) -> Result<&'a [u8], DecodeError> {
    let length = fields.u32()?;
    match length as usize {
        length if length <= bytes_max => fields.slice(length),
        _ => Err(DecodeError::bad("the length of a part", length)),
    }
}

/// A checkpoint. Each block of it is proven when it is first used.
pub(crate) struct Checkpoint<B> {
    bytes: B,
    /// The minor version of the format it was written with.
    pub(crate) minor: u16,
    pub(crate) head: Head,
    hasher: Hasher,
    decoder: Decoder,
    rows: Range<usize>,
    keys: Range<usize>,
    condemned: Range<usize>,
    volumes: Range<usize>,
    records: Range<usize>,
    proven: Vec<AtomicBool>,
}

impl<B: Deref<Target = [u8]>> Checkpoint<B> {
    /// Opens a checkpoint, and proves its digests and its head.
    pub(crate) fn open(bytes: B, hasher: &Hasher) -> Result<Self, DecodeError> {
        let length = body_length(&bytes, hasher)?;
        let (minor, config, mut fields) = beginning(&bytes[..length])?;
        let after_config = 16 + config.len();
        let head = part(&mut fields, SERIAL_BYTES_MAX)?.len();
        let begin = after_config + 4..after_config + 4 + head;
        let proven = (0..length.div_ceil(BLOCK_BYTES)).map(|_| AtomicBool::new(false)).collect();
        let decoder = Decoder { is_newer: minor > FORMAT_MINOR };
        let empty = || 0..0;
        let mut checkpoint = Self {
            bytes,
            minor,
            head: Head::default(),
            hasher: hasher.clone(),
            decoder,
            rows: empty(),
            keys: empty(),
            condemned: empty(),
            volumes: empty(),
            records: empty(),
            proven,
        };
        let head: Head =
            decoder.value(checkpoint.get(0..begin.end)?.get(begin.clone()).unwrap_or_default())?;
        head.settings.check()?;
        let mut at = begin.end;
        let mut take = |bytes: Option<usize>| {
            let end = bytes.and_then(|bytes| at.checked_add(bytes)).filter(|end| *end <= length);
            let end = end.ok_or(DecodeError::Truncated { need: u64::MAX, got: to_u64(length) })?;
            let part = at..end;
            at = end;
            Ok(part)
        };
        let table = |count: u32, bytes: usize| (count as usize).checked_mul(bytes);
        checkpoint.rows = take(table(head.parts.rows, ROW_BYTES))?;
        checkpoint.keys = take(table(head.parts.keys, KEY_BYTES))?;
        checkpoint.condemned = take(table(head.parts.condemned, CONDEMNED_BYTES))?;
        checkpoint.volumes = take(usize::try_from(head.parts.volumes_bytes).ok())?;
        checkpoint.records = take(usize::try_from(head.parts.records_bytes).ok())?;
        if at != length {
            return Err(DecodeError::Trailing { bytes: length - at });
        }
        checkpoint.head = head;
        Ok(checkpoint)
    }

    /// Returns its bytes, unproven.
    pub(crate) fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Proves all of it.
    pub(crate) fn prove(&self) -> Result<(), DecodeError> {
        self.get(0..self.records.end).map(|_| ())
    }

    /// Returns bytes after proving the blocks that they are in.
    fn get(&self, range: Range<usize>) -> Result<&[u8], DecodeError> {
        let blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        let digests = self.bytes.len().saturating_sub(TRAILER_BYTES + DIGEST_BYTES * self.proven.len());
        for number in blocks {
            let Some(proven) = self.proven.get(number) else { break };
            if proven.load(Ordering::Relaxed) {
                continue;
            }
            let start = number * BLOCK_BYTES;
            let block = &self.bytes[start..digests.min(start + BLOCK_BYTES)];
            if self.bytes[digests..].as_chunks::<DIGEST_BYTES>().0.get(number)
                != Some(&self.hasher.checkpoint(block).0)
            {
                return Err(DecodeError::BadChecksum { what: "content" });
            }
            proven.store(true, Ordering::Relaxed);
        }
        let need = to_u64(range.end);
        self.bytes.get(range).ok_or(DecodeError::Truncated { need, got: to_u64(self.bytes.len()) })
    }

    /// Returns the number of snapshots, deleted ones included.
    pub(crate) fn rows(&self) -> u32 {
        self.head.parts.rows
    }

    /// Returns a snapshot's place by its number.
    pub(crate) fn row(&self, number: u32) -> Result<Row, DecodeError> {
        let start = self.rows.start + number as usize * ROW_BYTES;
        if number >= self.head.parts.rows {
            return Err(DecodeError::bad("the number of a row", number));
        }
        let mut fields = Fields(self.get(start..start + ROW_BYTES)?);
        Ok(Row {
            id: SnapshotId::from(fields.array()?),
            created_unix_ms: fields.array().map(i64::from_le_bytes)?,
            deleted_unix_ms: Some(fields.array().map(i64::from_le_bytes)?)
                .filter(|time| *time != NOT_DELETED),
            offset: fields.u64()?,
            bytes: fields.u32()?,
        })
    }

    /// Returns the number of the first row whose id is not smaller.
    pub(crate) fn first_row(&self, id: SnapshotId) -> Result<u32, DecodeError> {
        first(self.head.parts.rows, |number| Ok(self.row(number)?.id < id))
    }

    /// Finds a snapshot.
    pub(crate) fn find(&self, id: SnapshotId) -> Result<Option<Row>, DecodeError> {
        let number = self.first_row(id)?;
        let row = if number < self.head.parts.rows { Some(self.row(number)?) } else { None };
        Ok(row.filter(|row| row.id == id))
    }

    /// Returns the record of a snapshot.
    pub(crate) fn record(&self, row: &Row) -> Result<Record, DecodeError> {
        let record = decode_record(self.record_bytes(row)?, self.decoder)?;
        if record.id != row.id || record.created_unix_ms != row.created_unix_ms {
            return Err(DecodeError::bad("the place of a record", row.offset));
        }
        Ok(record)
    }

    /// Returns the fields of a snapshot.
    pub(super) fn record_bytes(&self, row: &Row) -> Result<&[u8], DecodeError> {
        let bad = || DecodeError::bad("the place of a record", row.offset);
        let start =
            usize::try_from(row.offset).ok().and_then(|offset| self.records.start.checked_add(offset));
        let end = start.and_then(|start| start.checked_add(row.bytes as usize));
        let (Some(start), Some(end)) = (start, end) else { return Err(bad()) };
        if end > self.records.end {
            return Err(bad());
        }
        self.get(start..end)
    }

    /// Returns the number of keys.
    pub(super) fn keys(&self) -> u32 {
        self.head.parts.keys
    }

    /// Returns the rows that have a key, oldest first. Other snapshots may have the key as well.
    pub(crate) fn with_key(&self, key: u64) -> Result<Vec<u32>, DecodeError> {
        self.keyed(key)?.map(|number| Ok(self.key(number)?.row)).collect()
    }

    /// Returns the row of the newest snapshots with a key, newest first.
    pub(crate) fn newest_with_key(
        &self,
        key: u64,
    ) -> Result<impl Iterator<Item = Result<u32, DecodeError>>, DecodeError> {
        Ok(self.keyed(key)?.rev().map(|number| Ok(self.key(number)?.row)))
    }

    fn keyed(&self, key: u64) -> Result<Range<u32>, DecodeError> {
        let begin = first(self.head.parts.keys, |number| Ok(self.key(number)?.key < key))?;
        let end = first(self.head.parts.keys, |number| Ok(self.key(number)?.key <= key))?;
        Ok(begin..end)
    }

    /// Returns a key by its number.
    pub(super) fn key(&self, number: u32) -> Result<Key, DecodeError> {
        let start = self.keys.start + number as usize * KEY_BYTES;
        if number >= self.head.parts.keys {
            return Err(DecodeError::bad("the number of a key", number));
        }
        let mut fields = Fields(self.get(start..start + KEY_BYTES)?);
        Ok(Key {
            key: fields.u64()?,
            created_unix_ms: fields.array().map(i64::from_le_bytes)?,
            row: fields.u32()?,
        })
    }

    /// Returns the condemned packs.
    pub(crate) fn condemned(&self) -> Result<Vec<(PackId, Condemnation)>, DecodeError> {
        let table = self.get(self.condemned.clone())?;
        let each = (0..self.head.parts.condemned as usize)
            .map_while(|number| table_entry::<CONDEMNED_BYTES>(table, number));
        each.map(|entry| {
            let mut fields = Fields(entry);
            let (pack, entry) = (PackId(fields.array()?), fields.u64()?);
            let joined = match fields.u8()? {
                0 => false,
                1 => true,
                other => return Err(DecodeError::bad("the mark of a condemned pack", other)),
            };
            Ok((pack, Condemnation { entry, joined }))
        })
        .collect()
    }

    /// Returns what volumes stand on.
    pub(crate) fn volumes(&self) -> Result<Vec<Stood>, DecodeError> {
        let mut fields = Fields(self.get(self.volumes.clone())?);
        let mut volumes = Vec::new();
        while !fields.0.is_empty() {
            let number = fields.u64()?;
            let of = Standing::decode(part(&mut fields, SERIAL_BYTES_MAX)?, self.decoder)?;
            volumes.push(Stood { number, of });
        }
        match volumes.len() == self.head.parts.volumes as usize {
            true => Ok(volumes),
            false => Err(DecodeError::bad("the number of volumes", self.head.parts.volumes)),
        }
    }
}

/// Returns how many bytes come before the digests, after a proof of the digests.
fn body_length(bytes: &[u8], hasher: &Hasher) -> Result<usize, DecodeError> {
    let short = DecodeError::Truncated { need: to_u64(TRAILER_BYTES), got: to_u64(bytes.len()) };
    let Some(end) = bytes.len().checked_sub(TRAILER_BYTES) else { return Err(short) };
    let mut trailer = Fields(&bytes[end..]);
    if trailer.array()? != TRAILER_MAGIC {
        return Err(DecodeError::BadMagic { what: "checkpoint's end" });
    }
    let stated = trailer.u64()?;
    let length = usize::try_from(stated).ok().filter(|length| {
        let digests = length.div_ceil(BLOCK_BYTES).checked_mul(DIGEST_BYTES);
        digests.and_then(|digests| length.checked_add(digests)) == Some(end)
    });
    let length = length.ok_or(DecodeError::bad("the length of a checkpoint", stated))?;
    match trailer.array()? == hasher.checkpoint(&bytes[length..end + 16]).0 {
        true => Ok(length),
        false => Err(DecodeError::BadChecksum { what: "digests" }),
    }
}

/// Returns the first of `count` numbers for which `is_before` does not hold.
fn first(count: u32, is_before: impl Fn(u32) -> Result<bool, DecodeError>) -> Result<u32, DecodeError> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
