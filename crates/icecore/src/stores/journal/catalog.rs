//! The catalog after an entry of the journal: a checkpoint, and what changed since.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::format::bytes::DecodeError;
use crate::format::checkpoint;
use crate::format::checkpoint::Checkpoint;
use crate::format::checkpoint::Row;
use crate::format::checkpoint::Stood;
use crate::format::journal::Change;
use crate::format::journal::Condemnation;
use crate::format::journal::Entry;
use crate::format::journal::Settings;
use crate::format::record::Record;
use crate::pure::hash::Hasher;
use crate::stores::index::Condemned;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::Digest;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::ids::VolumeId;
use crate::words::names::ResourceKind;
use crate::words::next_step::NextStep;
use crate::world::storage::Mapped;

/// The number of last entries whose tokens are known.
const TOKENS_MAX: usize = 1024;

/// The catalog after an entry. It never changes; a later one shares what is the same.
#[derive(Clone)]
pub(crate) struct Catalog {
    /// The number of the last entry, or zero.
    pub(crate) number: u64,
    /// The digest of that entry.
    pub(super) digest: Digest,
    /// The checkpoint that it builds on, if there was one.
    pub(super) base: Option<Arc<Checkpoint<Mapped>>>,
    /// What differs from the checkpoint.
    changed: BTreeMap<SnapshotId, Fate>,
    /// Whether packs were condemned since the checkpoint, so that nothing deleted before can be
    /// restored.
    forgot_deleted: bool,
    pub(super) condemned: Arc<Condemned>,
    /// Whoever began before this entry looks for each pack itself: not all that are gone are known.
    pub(super) low: u64,
    pub(super) volumes: Arc<BTreeMap<VolumeId, Arc<Stood>>>,
    pub(crate) settings: Settings,
    /// The newest minor version of the format that anything of it was written with.
    pub(crate) minor: u16,
    pub(super) tokens: Vec<[u8; 16]>,
    pub(super) hasher: Hasher,
}

/// What became of a snapshot since the checkpoint.
#[derive(Clone)]
enum Fate {
    Live(Arc<Record>),
    Deleted(Arc<Record>, i64),
    Gone,
}

/// A deleted snapshot whose data is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedSnapshot {
    /// The snapshot.
    pub snapshot: Record,
    /// When it was deleted, in milliseconds since 1970.
    pub deleted_unix_ms: i64,
}

impl Catalog {
    /// Returns the catalog of a repository in which nothing has happened yet.
    pub(crate) fn empty(hasher: &Hasher, settings: Settings) -> Self {
        Self {
            number: 0,
            digest: Digest::ZERO,
            base: None,
            changed: BTreeMap::new(),
            forgot_deleted: false,
            condemned: Arc::default(),
            low: 0,
            volumes: Arc::default(),
            settings,
            minor: 0,
            tokens: Vec::new(),
            hasher: hasher.clone(),
        }
    }

    /// Returns the catalog that a checkpoint holds.
    pub(crate) fn of(checkpoint: Checkpoint<Mapped>, hasher: &Hasher) -> Result<Self, DecodeError> {
        let head = &checkpoint.head;
        Ok(Self {
            number: head.number,
            digest: Digest(head.entry),
            changed: BTreeMap::new(),
            forgot_deleted: false,
            condemned: Arc::new(checkpoint.condemned()?.into_iter().collect()),
            low: head.low,
            volumes: Arc::new(
                checkpoint.volumes()?.into_iter().map(|stood| (stood.of.volume, Arc::new(stood))).collect(),
            ),
            settings: head.settings.clone(),
            minor: checkpoint.minor,
            tokens: head.tokens.clone(),
            hasher: hasher.clone(),
            base: Some(Arc::new(checkpoint)),
        })
    }

    /// Returns the digest of the last entry, which the next one names.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Proves all of the checkpoint that it builds on.
    pub(crate) fn prove(&self) -> Result<()> {
        self.in_base(Checkpoint::prove).map(|_| ())
    }

    /// Tells whether the entry with this token is among the last ones.
    pub(crate) fn has_token(&self, token: &[u8; 16]) -> bool {
        self.tokens.contains(token)
    }

    /// Returns the catalog after the next entry, which has this digest and was written with this
    /// minor version of the format.
    ///
    /// # Errors
    /// As for [`follow`](Self::follow).
    pub(crate) fn after(&self, entry: &Entry, digest: Digest, minor: u16) -> Result<Self> {
        let mut next = self.clone();
        next.follow(entry, digest, minor)?;
        Ok(next)
    }

    /// Turns the catalog into that after the next entry.
    ///
    /// # Errors
    /// `Corrupt` if the entry does not follow. If it fails otherwise, the catalog must not be used.
    pub(crate) fn follow(&mut self, entry: &Entry, digest: Digest, minor: u16) -> Result<()> {
        if entry.number != self.number + 1 || entry.before != self.digest {
            return Err(Error::corrupt(format!(
                "entry {} of the journal does not follow entry {}",
                entry.number, self.number
            ))
            .with_hint(NextStep::RepairCatalog));
        }
        self.take(entry, digest, minor)
    }

    /// Adds what an entry says, whether or not it is the next one.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if the checkpoint cannot be read. Then the catalog must not be used.
    pub(crate) fn take(&mut self, entry: &Entry, digest: Digest, minor: u16) -> Result<()> {
        for change in &entry.changes {
            self.apply(change, entry)?;
        }
        (self.number, self.digest, self.minor) = (entry.number, digest, self.minor.max(minor));
        self.tokens.push(entry.token);
        if self.tokens.len() > TOKENS_MAX {
            self.tokens.remove(0);
        }
        Ok(())
    }

    fn apply(&mut self, change: &Change, entry: &Entry) -> Result<()> {
        let condemned = |packs: &[PackId], joined| {
            let condemnation = Condemnation { entry: entry.number, joined };
            packs.iter().map(|pack| (*pack, condemnation)).collect::<Vec<_>>()
        };
        match change {
            Change::Made(record) => {
                self.changed.insert(record.id, Fate::Live(Arc::new((**record).clone())));
            }
            Change::Changed(id, patch) => {
                if let Some(mut record) = self.find(*id)? {
                    patch.apply(&mut record);
                    self.changed.insert(*id, Fate::Live(Arc::new(record)));
                }
            }
            Change::Deleted(ids) => {
                for id in ids {
                    if let Some(record) = self.find(*id)? {
                        self.changed.insert(*id, Fate::Deleted(Arc::new(record), entry.created_unix_ms));
                    }
                }
            }
            Change::Restored(ids) => {
                for id in ids {
                    if let Some(deleted) = self.find_deleted(*id)? {
                        self.changed.insert(*id, Fate::Live(Arc::new(deleted.snapshot)));
                    }
                }
            }
            Change::Condemned(packs) => {
                Arc::make_mut(&mut self.condemned).extend(condemned(packs, false));
                self.forgot_deleted = true;
                for fate in self.changed.values_mut().filter(|fate| matches!(fate, Fate::Deleted(..))) {
                    *fate = Fate::Gone;
                }
            }
            Change::Joined(packs) => Arc::make_mut(&mut self.condemned).extend(condemned(packs, true)),
            Change::PutAside(_) => self.low = entry.number,
            Change::StandsOn(standing) => {
                let stood = Stood { number: entry.number, of: (**standing).clone() };
                Arc::make_mut(&mut self.volumes).insert(standing.volume, Arc::new(stood));
            }
            Change::NoLonger(volume) => {
                Arc::make_mut(&mut self.volumes).remove(volume);
            }
            Change::Config(settings) => self.settings = settings.clone(),
        }
        Ok(())
    }

    /// Returns the same catalog after entries that are lost. They may have condemned packs.
    pub(crate) fn without_entries_to(self, number: u64) -> Self {
        Self { number: self.number.max(number), low: self.low.max(number), ..self }
    }

    /// Returns a snapshot.
    ///
    /// # Errors
    /// `NotFound` if there is none with this id.
    pub(crate) fn get(&self, id: SnapshotId) -> Result<Record> {
        self.find(id)?.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}")))
    }

    /// Returns a snapshot, or none if none has this id.
    pub(crate) fn find(&self, id: SnapshotId) -> Result<Option<Record>> {
        match self.changed.get(&id) {
            Some(Fate::Live(record)) => Ok(Some((**record).clone())),
            Some(_) => Ok(None),
            None => self.find_in_base(id, |row| row.deleted_unix_ms.is_none()),
        }
    }

    /// Returns a snapshot that was deleted and can be restored, or none.
    pub(crate) fn find_deleted(&self, id: SnapshotId) -> Result<Option<DeletedSnapshot>> {
        match self.changed.get(&id) {
            Some(Fate::Deleted(record, deleted_unix_ms)) => {
                Ok(Some(DeletedSnapshot { snapshot: (**record).clone(), deleted_unix_ms: *deleted_unix_ms }))
            }
            Some(_) => Ok(None),
            None if self.forgot_deleted => Ok(None),
            None => {
                let mut time = 0;
                let snapshot = self.find_in_base(id, |row| {
                    time = row.deleted_unix_ms.unwrap_or(0);
                    row.deleted_unix_ms.is_some()
                })?;
                Ok(snapshot.map(|snapshot| DeletedSnapshot { snapshot, deleted_unix_ms: time }))
            }
        }
    }

    fn find_in_base(&self, id: SnapshotId, wanted: impl FnOnce(&Row) -> bool) -> Result<Option<Record>> {
        self.in_base(|base| match base.find(id)?.filter(wanted) {
            Some(row) => base.record(&row).map(Some),
            None => Ok(None),
        })
        .map(Option::flatten)
    }

    /// Looks something up in the checkpoint, if there is one.
    pub(super) fn in_base<T>(
        &self,
        look_up: impl FnOnce(&Checkpoint<Mapped>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>> {
        let Some(base) = &self.base else { return Ok(None) };
        let found = look_up(base).map(Some).map_err(|error| damaged(base.head.number, &error));
        // What has become unreadable since it was proven reads as zeros.
        if base.bytes().is_broken() {
            let message = format!("a part of checkpoint {} has become unreadable", base.head.number);
            return Err(Error::new(ErrorKind::Io, message).with_hint(NextStep::RepairCatalog));
        }
        found
    }

    /// Returns all snapshots, oldest first.
    pub(crate) fn all(&self) -> Result<Vec<Record>> {
        let mut all = Vec::new();
        self.for_each(|record| all.push(record))?;
        all.sort_by_key(|record| (record.created_unix_ms, record.id));
        Ok(all)
    }

    /// Returns the snapshots that were deleted and can be restored, in the order in which they were
    /// deleted.
    pub(crate) fn deleted(&self) -> Result<Vec<DeletedSnapshot>> {
        let with_deleted = self.with_deleted()?.into_iter();
        let mut deleted: Vec<_> = with_deleted
            .filter_map(|(snapshot, time)| {
                time.map(|deleted_unix_ms| DeletedSnapshot { snapshot, deleted_unix_ms })
            })
            .collect();
        deleted.sort_by_key(|deleted| {
            (deleted.deleted_unix_ms, deleted.snapshot.created_unix_ms, deleted.snapshot.id)
        });
        Ok(deleted)
    }

    /// Returns all snapshots by id, and when each was deleted if it was.
    fn with_deleted(&self) -> Result<Vec<(Record, Option<i64>)>> {
        let of_base = self.in_base(|base| {
            let mut all = Vec::with_capacity(base.rows() as usize + self.changed.len());
            for number in 0..base.rows() {
                let row = base.row(number)?;
                if self.leaves(&row) {
                    all.push((base.record(&row)?, row.deleted_unix_ms));
                }
            }
            Ok(all)
        })?;
        let mut all = of_base.unwrap_or_default();
        all.extend(self.changed());
        all.sort_by_key(|(record, _)| record.id);
        Ok(all)
    }

    /// Tells whether a row of the checkpoint still says what became of its snapshot.
    pub(super) fn leaves(&self, row: &Row) -> bool {
        let is_gone = row.deleted_unix_ms.is_some() && self.forgot_deleted;
        !is_gone && !self.changed.contains_key(&row.id)
    }

    /// Returns the snapshots that differ from the checkpoint, by id, and when each was deleted if
    /// it was.
    pub(super) fn changed(&self) -> impl Iterator<Item = (Record, Option<i64>)> {
        self.changed.values().filter_map(|fate| match fate {
            Fate::Live(record) => Some(((**record).clone(), None)),
            Fate::Deleted(record, time) => Some(((**record).clone(), Some(*time))),
            Fate::Gone => None,
        })
    }

    /// Calls `each` with every snapshot, one at a time, in no order.
    pub(crate) fn for_each(&self, mut each: impl FnMut(Record)) -> Result<()> {
        self.in_base(|base| {
            for number in 0..base.rows() {
                let row = base.row(number)?;
                if row.deleted_unix_ms.is_none() && self.leaves(&row) {
                    each(base.record(&row)?);
                }
            }
            Ok(())
        })?;
        self.changed_live().cloned().for_each(each);
        Ok(())
    }

    /// Returns the number of the checkpoint that it builds on.
    pub(crate) fn begins_at(&self) -> Option<u64> {
        self.base.as_ref().map(|base| base.head.number)
    }

    /// Returns how many snapshots may differ from the checkpoint.
    pub(crate) fn changes(&self) -> usize {
        self.changed.len()
    }

    /// Returns how many snapshots there are, at most.
    pub(crate) fn count_at_most(&self) -> u64 {
        let base = self.base.as_ref().map_or(0, |base| base.rows());
        u64::from(base) + self.changed.len() as u64
    }

    /// Returns how many snapshots there are.
    pub(crate) fn count(&self) -> Result<u64> {
        let rows = |base: &Checkpoint<Mapped>| {
            (0..base.rows()).try_fold(0, |live, number| {
                let row = base.row(number)?;
                Ok(live + u64::from(row.deleted_unix_ms.is_none() && self.leaves(&row)))
            })
        };
        Ok(self.in_base(rows)?.unwrap_or(0) + self.changed_live().count() as u64)
    }

    /// Returns the live snapshots since the checkpoint.
    fn changed_live(&self) -> impl Iterator<Item = &Record> {
        self.changed.values().filter_map(|fate| match fate {
            Fate::Live(record) => Some(&**record),
            _ => None,
        })
    }

    /// Returns the snapshots that have a key and fit, oldest first.
    fn with_key(&self, key: u64, fits: impl Fn(&Record) -> bool) -> Result<Vec<Record>> {
        let of_base = self.in_base(|base| {
            let mut found = Vec::new();
            for number in base.with_key(key)? {
                let row = base.row(number)?;
                if row.deleted_unix_ms.is_none() && !self.changed.contains_key(&row.id) {
                    found.push(base.record(&row)?);
                }
            }
            Ok(found)
        })?;
        let mut found = of_base.unwrap_or_default();
        found.extend(self.changed_live().cloned());
        found.retain(|record| fits(record));
        found.sort_by_key(|record| (record.created_unix_ms, record.id));
        Ok(found)
    }

    /// Returns the snapshots with this name, oldest first.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<Record>> {
        self.with_key(checkpoint::name_key(&self.hasher, name), |record| record.name == name)
    }

    /// Returns the snapshots of a resource that have this name, oldest first.
    pub(crate) fn named_of(&self, kind: ResourceKind, resource: &str, name: &str) -> Result<Vec<Record>> {
        let key = checkpoint::full_key(&self.hasher, kind, resource, name);
        self.with_key(key, |record| record.kind == kind && record.resource == resource && record.name == name)
    }

    /// Returns the snapshots of a resource, oldest first.
    pub(crate) fn all_of(&self, kind: ResourceKind, resource: &str) -> Result<Vec<Record>> {
        let key = checkpoint::resource_key(&self.hasher, kind, resource);
        self.with_key(key, |record| record.kind == kind && record.resource == resource)
    }

    /// Returns the newest snapshot of a resource.
    pub(crate) fn newest_of(&self, kind: ResourceKind, resource: &str) -> Result<Option<Record>> {
        let fits = |record: &Record| record.kind == kind && record.resource == resource;
        let key = checkpoint::resource_key(&self.hasher, kind, resource);
        let of_base = self.in_base(|base| {
            for number in base.newest_with_key(key)? {
                let row = base.row(number?)?;
                if row.deleted_unix_ms.is_none() && !self.changed.contains_key(&row.id) {
                    let record = base.record(&row)?;
                    if fits(&record) {
                        return Ok(Some(record));
                    }
                }
            }
            Ok(None)
        })?;
        let changed = self.changed_live().filter(|record| fits(record)).cloned();
        Ok(changed.chain(of_base.flatten()).max_by_key(|record| (record.created_unix_ms, record.id)))
    }

    /// Returns the newest snapshot of the resources with this name, of either kind.
    pub(crate) fn newest_of_either(&self, resource: &str) -> Result<Option<Record>> {
        let droplet = self.newest_of(ResourceKind::Droplet, resource)?;
        let volume = self.newest_of(ResourceKind::Volume, resource)?;
        Ok(droplet.into_iter().chain(volume).max_by_key(|record| (record.created_unix_ms, record.id)))
    }

    /// Returns the snapshots whose ids, as text, begin with `prefix`, oldest first.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Result<Vec<Record>> {
        let begins = |id: SnapshotId| id.to_string().starts_with(prefix);
        let Some(low) = first_id_with(prefix) else { return Ok(Vec::new()) };
        let of_base = self.in_base(|base| {
            let mut found = Vec::new();
            for number in base.first_row(low)?..base.rows() {
                let row = base.row(number)?;
                if !begins(row.id) {
                    break;
                }
                if row.deleted_unix_ms.is_none() && !self.changed.contains_key(&row.id) {
                    found.push(base.record(&row)?);
                }
            }
            Ok(found)
        })?;
        let mut found = of_base.unwrap_or_default();
        found.extend(self.changed_live().filter(|record| begins(record.id)).cloned());
        found.sort_by_key(|record| (record.created_unix_ms, record.id));
        Ok(found)
    }

    /// Returns what volumes stand on.
    pub(crate) fn volumes(&self) -> &BTreeMap<VolumeId, Arc<Stood>> {
        &self.volumes
    }

    /// Returns the packs that were condemned and may still be there.
    pub(crate) fn condemned(&self) -> &Arc<Condemned> {
        &self.condemned
    }

    /// Tells whether anything may have gone with packs that were condemned after this entry.
    pub(crate) fn lost_since(&self, number: u64) -> bool {
        let lost = |condemned: &Condemnation| condemned.entry > number && !condemned.joined;
        number < self.low || self.condemned.values().any(lost)
    }

    /// Tells whether packs may have been condemned after this entry.
    pub(crate) fn condemned_since(&self, number: u64) -> bool {
        number < self.low || self.condemned.values().any(|condemned| condemned.entry > number)
    }
}

/// Returns the smallest id whose text begins with `prefix`, or none if no id's does.
fn first_id_with(prefix: &str) -> Option<SnapshotId> {
    let zeros = "00000000-0000-0000-0000-000000000000";
    let rest = zeros.get(prefix.len()..)?;
    let id: SnapshotId = format!("{prefix}{rest}").parse().ok()?;
    id.to_string().starts_with(prefix).then_some(id)
}

/// Returns the error for a checkpoint that is not as it was written.
pub(crate) fn damaged(number: u64, error: &DecodeError) -> Error {
    Error::corrupt(format!("checkpoint {number} is damaged: {error}")).with_hint(NextStep::RepairCatalog)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_began_before_a_lost_entry_looks_for_each_pack_itself() {
        let catalog = Catalog::empty(&Hasher::new(&[1; 32]), Settings::default());
        assert!(!catalog.condemned_since(0));
        let catalog = catalog.without_entries_to(8);
        assert_eq!(catalog.number, 8);
        assert!(catalog.condemned_since(7) && !catalog.condemned_since(8));
    }
}
