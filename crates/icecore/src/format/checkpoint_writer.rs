//! Making a checkpoint: from records, and from what stays of the checkpoint before it.

use std::borrow::Cow;
use std::ops::Deref;

use crate::format::bytes::DecodeError;
use crate::format::checkpoint::BLOCK_BYTES;
use crate::format::checkpoint::Checkpoint;
use crate::format::checkpoint::Head;
use crate::format::checkpoint::Key;
use crate::format::checkpoint::MAGIC;
use crate::format::checkpoint::NOT_DELETED;
use crate::format::checkpoint::Parts;
use crate::format::checkpoint::Row;
use crate::format::checkpoint::Stood;
use crate::format::checkpoint::TRAILER_MAGIC;
use crate::format::checkpoint::keys_of;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::FORMAT_MINOR;
use crate::format::journal::Condemnation;
use crate::format::record::Record;
use crate::format::serial;
use crate::pure::hash::Hasher;
use crate::words::ids::Digest;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_u64;

/// The row of a snapshot that is not in the new checkpoint.
const NO_ROW: u32 = u32::MAX;

/// What goes into a checkpoint, beside its [`Head`].
pub(crate) struct Content<'a> {
    /// The bytes of the file `config`.
    pub(crate) config: &'a [u8],
    /// The snapshots, by id, and when each was deleted if it was; but for those that stay as they
    /// are in an older checkpoint.
    pub(crate) snapshots: Vec<(Record, Option<i64>)>,
    /// The condemned packs, by id.
    pub(crate) condemned: Vec<(PackId, Condemnation)>,
    pub(crate) volumes: Vec<&'a Stood>,
}

/// An older checkpoint, and which of its rows stay as they are.
pub(crate) type Old<'a, B> = (&'a Checkpoint<B>, &'a dyn Fn(&Row) -> bool);

/// The tables of a new checkpoint.
#[derive(Default)]
struct Tables<'a> {
    rows: Vec<u8>,
    records: Vec<Cow<'a, [u8]>>,
    records_bytes: u64,
}

impl<'a> Tables<'a> {
    /// Adds a snapshot, and returns the number of its row.
    fn add(
        &mut self,
        id: SnapshotId,
        created_unix_ms: i64,
        deleted: Option<i64>,
        record: Cow<'a, [u8]>,
    ) -> u32 {
        self.rows.extend(<[u8; 16]>::from(id));
        self.rows.extend(created_unix_ms.to_le_bytes());
        self.rows.extend(deleted.unwrap_or(NOT_DELETED).to_le_bytes());
        self.rows.extend(self.records_bytes.to_le_bytes());
        self.rows.extend(to_u32(record.len()).to_le_bytes());
        self.records_bytes += to_u64(record.len());
        self.records.push(record);
        to_u32(self.records.len() - 1)
    }

    /// Adds a snapshot with its keys.
    fn add_new(
        &mut self,
        (record, deleted): &(Record, Option<i64>),
        keys: &mut Vec<Key>,
        hasher: &Hasher,
    ) -> Result<(), DecodeError> {
        let created_unix_ms = record.created_unix_ms;
        let bytes = serial::encode(record)?;
        let row = self.add(record.id, created_unix_ms, *deleted, Cow::Owned(bytes));
        keys.extend(keys_of(hasher, record).map(|key| Key { key, created_unix_ms, row }));
        Ok(())
    }
}

/// Returns the bytes of a checkpoint of all that is in `content`.
pub(crate) fn encode_whole(
    head: Head,
    content: &Content<'_>,
    hasher: &Hasher,
) -> Result<Vec<u8>, DecodeError> {
    encode::<&[u8]>(head, content, None, hasher)
}

/// Returns the bytes of a checkpoint of what is in `content`, and of what stays of an older one.
/// That is copied as it is, and need not be decoded.
pub(crate) fn encode<B: Deref<Target = [u8]>>(
    head: Head,
    content: &Content<'_>,
    old: Option<Old<'_, B>>,
    hasher: &Hasher,
) -> Result<Vec<u8>, DecodeError> {
    let (mut tables, mut new_keys, mut old_keys) = (Tables::default(), Vec::new(), Vec::new());
    let mut new = content.snapshots.iter().peekable();
    if let Some((old, stays)) = old {
        let mut rows = vec![NO_ROW; old.rows() as usize];
        for (number, place) in (0..).zip(&mut rows) {
            let row = old.row(number)?;
            if !stays(&row) {
                continue;
            }
            while let Some(snapshot) = new.next_if(|(record, _)| record.id < row.id) {
                tables.add_new(snapshot, &mut new_keys, hasher)?;
            }
            if old.minor == FORMAT_MINOR {
                let bytes = Cow::Borrowed(old.record_bytes(&row)?);
                *place = tables.add(row.id, row.created_unix_ms, row.deleted_unix_ms, bytes);
            } else {
                let snapshot = (old.record(&row)?, row.deleted_unix_ms);
                tables.add_new(&snapshot, &mut new_keys, hasher)?;
            }
        }
        old_keys.reserve(old.keys() as usize + 3 * content.snapshots.len());
        for number in 0..old.keys() {
            let key = old.key(number)?;
            let row = rows.get(key.row as usize).copied().unwrap_or(NO_ROW);
            if row != NO_ROW {
                old_keys.push(Key { row, ..key });
            }
        }
    }
    for snapshot in new {
        tables.add_new(snapshot, &mut new_keys, hasher)?;
    }
    // Rows are in the order of ids, so snapshots of one time come in that order too. The keys of
    // the older checkpoint are in order already, which makes this fast.
    old_keys.append(&mut new_keys);
    old_keys.sort();
    assemble(head, content, &tables, &old_keys, hasher)
}

fn assemble(
    head: Head,
    content: &Content<'_>,
    tables: &Tables<'_>,
    keys: &[Key],
    hasher: &Hasher,
) -> Result<Vec<u8>, DecodeError> {
    let mut volumes = Vec::new();
    for stood in &content.volumes {
        let bytes = stood.of.encode()?;
        volumes.extend(stood.number.to_le_bytes());
        volumes.extend(to_u32(bytes.len()).to_le_bytes());
        volumes.extend(bytes);
    }
    let parts = Parts {
        rows: to_u32(tables.records.len()),
        keys: to_u32(keys.len()),
        condemned: to_u32(content.condemned.len()),
        volumes: to_u32(content.volumes.len()),
        volumes_bytes: to_u64(volumes.len()),
        records_bytes: tables.records_bytes,
    };
    let head = serial::encode(&Head { parts, ..head })?;
    let records_bytes: usize = tables.records.iter().map(|record| record.len()).sum();
    let tables_bytes = tables.rows.len() + keys.len() * 20 + volumes.len() + records_bytes;
    // A little more than all of it, with the digests.
    let mut bytes = Vec::with_capacity(tables_bytes + tables_bytes / 1024 + (64 << 10));
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_MAJOR.to_le_bytes());
    bytes.extend(FORMAT_MINOR.to_le_bytes());
    for part in [content.config, &head] {
        bytes.extend(to_u32(part.len()).to_le_bytes());
        bytes.extend(part);
    }
    bytes.extend(&tables.rows);
    for key in keys {
        bytes.extend(key.key.to_le_bytes());
        bytes.extend(key.created_unix_ms.to_le_bytes());
        bytes.extend(key.row.to_le_bytes());
    }
    for (pack, condemnation) in &content.condemned {
        bytes.extend(pack.0);
        bytes.extend(condemnation.entry.to_le_bytes());
        bytes.push(u8::from(condemnation.joined));
    }
    bytes.extend(volumes);
    tables.records.iter().for_each(|record| bytes.extend(&**record));
    let length = bytes.len();
    let digests: Vec<Digest> = bytes.chunks(BLOCK_BYTES).map(|block| hasher.checkpoint(block)).collect();
    digests.iter().for_each(|digest| bytes.extend(digest.0));
    bytes.extend(TRAILER_MAGIC);
    bytes.extend(to_u64(length).to_le_bytes());
    bytes.extend(hasher.checkpoint(&bytes[length..]).0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::words::names::ResourceKind;

    type Snapshots = Vec<(Record, Option<i64>)>;

    fn made(snapshots: Snapshots, old: Option<Old<'_, &[u8]>>) -> Vec<u8> {
        let content = Content { config: b"config", snapshots, condemned: Vec::new(), volumes: Vec::new() };
        encode(Head::default(), &content, old, &Hasher::new(&[1; 32])).unwrap()
    }

    fn record(id: u128, name: &str) -> Record {
        Record::new(
            SnapshotId(Uuid::from_u128(id)),
            i64::from(id.is_multiple_of(3)),
            ResourceKind::Volume,
            "disk",
            name,
        )
    }

    #[test]
    fn what_is_made_from_an_older_one_is_the_same_as_what_is_made_anew() {
        let with = |id: u128, name: &str, deleted| (record(id, name), deleted);
        let before: Snapshots = (10..30).map(|id| with(id, "old", (id % 4 == 0).then_some(5))).collect();
        let bytes = made(before.clone(), None);
        let old = Checkpoint::open(&bytes[..], &Hasher::new(&[1; 32])).unwrap();
        // Some are new before, between and after, some are changed, some are gone.
        let changed = [with(1, "new", None), with(12, "changed", None), with(13, "old", Some(9))];
        let changed = changed.into_iter().chain([with(99, "new", Some(8))]).collect::<Snapshots>();
        let goes = |id: u128| [12, 13, 20, 29].contains(&id);
        let stays = |row: &Row| !goes(row.id.0.as_u128());
        let mut all = changed.clone();
        all.extend(before.into_iter().filter(|(record, _)| !goes(record.id.0.as_u128())));
        all.sort_by_key(|(record, _)| record.id);
        assert_eq!(made(changed, Some((&old, &stays))), made(all, None));
    }
}
