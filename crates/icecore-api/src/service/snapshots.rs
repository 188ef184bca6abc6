//! Snapshots across all regions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use icecore::ErrorKind;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore_host::config::Config;
use uuid::Uuid;

use crate::db::Db;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::locks::Locks;
use crate::service::accounts::Who;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::snapshot_index::Index;
use crate::service::snapshot_lists::Found;
use crate::service::snapshot_lists::Known;
use crate::service::snapshot_lists::Listed;
use crate::service::snapshot_lists::Part;
use crate::service::snapshot_lists::Region;
use crate::service::snapshot_lists::TagOnSnapshots;
use crate::service::snapshot_lists::Taken;
use crate::service::snapshot_lists::Wanted;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;

/// How snapshots are deleted: disks made from them stay.
const DELETE: DeleteOptions = DeleteOptions { clones_keep_it: true };
/// The number of snapshots that get their numbers together.
const NUMBERED_MAX: usize = 1000;

/// The snapshots of all regions.
pub(crate) struct Snapshots {
    config: Arc<Config>,
    db: Arc<Db>,
    pools: Arc<Pools>,
    /// Locks by snapshot id, held while the labels of a snapshot change in all regions. Taken
    /// before the locks of regions.
    locks: Locks,
    known: Mutex<Known>,
}

impl Snapshots {
    pub(super) fn new(config: &Arc<Config>, db: &Arc<Db>, pools: &Arc<Pools>) -> Self {
        Self {
            config: Arc::clone(config),
            db: Arc::clone(db),
            pools: Arc::clone(pools),
            locks: Locks::default(),
            known: Mutex::default(),
        }
    }

    /// Returns the index as it is now, whoever has changed the repositories.
    fn look(&self) -> ApiResult<MutexGuard<'_, Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = Vec::with_capacity(self.pools.len());
        for pool in self.pools.values() {
            let moment = icecore::snapshot::now(pool.repo())?;
            now.push(Region { pool: Arc::clone(pool), moment, volumes: pool.volumes()? });
        }
        let changed = known.changed(&now);
        // After an error, the index is made anew.
        known.regions.clear();
        match changed {
            Some(changed) => self.update(&mut known.index, &now, &changed)?,
            None => known.index = self.made_anew(&now)?,
        }
        known.regions = now;
        Ok(known)
    }

    fn made_anew(&self, now: &[Region]) -> ApiResult<Index> {
        let mut index = Index::default();
        for (number, region) in now.iter().enumerate() {
            let mut failed = None;
            region.moment.for_each(|snapshot| {
                self.add(&mut index, number, region, &snapshot);
                if index.unnumbered_count() >= NUMBERED_MAX && failed.is_none() {
                    failed = self.give_numbers(&mut index).err();
                }
            })?;
            failed.map_or(Ok(()), Err)?;
        }
        self.give_numbers(&mut index)?;
        Ok(index)
    }

    fn update(&self, index: &mut Index, now: &[Region], changed: &BTreeSet<SnapshotId>) -> ApiResult<()> {
        for id in changed {
            index.remove(*id);
            for (number, region) in now.iter().enumerate() {
                if let Some(snapshot) = region.moment.find(*id)? {
                    self.add(index, number, region, &snapshot);
                }
            }
        }
        self.give_numbers(index)
    }

    fn add(&self, index: &mut Index, number: usize, region: &Region, snapshot: &Snapshot) {
        let is_base = self.config.base_image(snapshot.id.0).is_some();
        index.add(snapshot, number, &region.volumes, is_base, self.config.first_account());
    }

    /// Assigns numbers to snapshots of Droplets, and to those Droplets.
    fn give_numbers(&self, index: &mut Index) -> ApiResult<()> {
        let wanted = index.unnumbered();
        if wanted.is_empty() {
            return Ok(());
        }
        let all: Vec<_> = wanted.iter().flat_map(|of| [of.snapshot, of.resource]).collect();
        index.set_numbers(&wanted, &self.db.numbers(&all)?);
        Ok(())
    }

    /// Returns the snapshot with an id: a UUID for a volume's snapshot, a number for a Droplet's.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<SnapshotItem> {
        let found = {
            let known = self.look()?;
            // Different spellings of a UUID are the same id; numbers have one.
            let number = ids::number(id);
            let numbered = number.and_then(|number| known.index.numbered(number));
            let wanted = numbered.or_else(|| ids::uuid(id).map(SnapshotId));
            let found = wanted.and_then(|wanted| known.find(&who.0, wanted));
            found.filter(|found| found.number == number)
        };
        found.ok_or_else(ApiError::not_found)?.read()
    }

    /// Returns all snapshots of a list, oldest first. That takes as long as the list is.
    pub(crate) fn list(&self, who: &Who, wanted: &Wanted) -> ApiResult<Vec<SnapshotItem>> {
        self.list_where(who, wanted, |_| true)
    }

    /// Returns those snapshots of a list that `choose` selects, oldest first. Only these are in
    /// memory together.
    pub(crate) fn list_where(
        &self,
        who: &Who,
        wanted: &Wanted,
        choose: impl Fn(&SnapshotItem) -> bool,
    ) -> ApiResult<Vec<SnapshotItem>> {
        let all = self.look()?.part(who, wanted, false, 0, usize::MAX).items;
        let mut items = Vec::new();
        for found in all {
            let item = found.read()?;
            if choose(&item) {
                items.push(item);
            }
        }
        Ok(items)
    }

    /// Returns a part of a list, oldest or newest first.
    pub(crate) fn page(
        &self,
        who: &Who,
        wanted: &Wanted,
        newest_first: bool,
        skip: usize,
        most: usize,
    ) -> ApiResult<Part<SnapshotItem>> {
        let Part { items, total } = self.look()?.part(who, wanted, newest_first, skip, most);
        Ok(Part { items: items.into_iter().map(Found::read).collect::<ApiResult<_>>()?, total })
    }

    /// Returns a part of a list, oldest first, with other items that have their time of creation,
    /// oldest first too.
    pub(crate) fn page_with<T>(
        &self,
        who: &Who,
        wanted: &Wanted,
        others: Vec<(i64, T)>,
        skip: usize,
        most: usize,
    ) -> ApiResult<Part<Listed<SnapshotItem, T>>> {
        let Part { items, total } = self.look()?.part_with(who, wanted, others, skip, most);
        let read = |item| match item {
            Listed::Snapshot(found) => Found::read(found).map(Listed::Snapshot),
            Listed::Other(other) => Ok(Listed::Other(other)),
        };
        Ok(Part { items: items.into_iter().map(read).collect::<ApiResult<_>>()?, total })
    }

    /// Returns snapshots to compare one with: of the same disk, and the newest of all others. It
    /// has at most `most` of either, oldest first.
    pub(crate) fn beside(&self, who: &Who, item: &SnapshotItem, most: usize) -> ApiResult<Vec<SnapshotItem>> {
        let of = self.look()?.disk_of(who, item.snapshot.id).map(|disk| (item.snapshot.kind, disk));
        let mut all = self.page(who, &Wanted { of, ..Wanted::own() }, true, 0, most)?.items;
        all.extend(self.page(who, &Wanted::own(), true, 0, most)?.items);
        all.sort_by_key(|item| (item.snapshot.created_unix_ms, item.snapshot.id));
        all.dedup_by_key(|item| item.snapshot.id);
        Ok(all)
    }

    /// Returns an image with a number that an account sees: its own, or a base image.
    pub(crate) fn image(&self, who: &Who, number: i64) -> ApiResult<Option<SnapshotItem>> {
        let found = {
            let known = self.look()?;
            known.index.numbered(number).and_then(|id| known.seen(who, id))
        };
        found.map(Found::read).transpose()
    }

    /// Returns a snapshot that an account sees: its own, or a base image.
    pub(crate) fn seen(&self, who: &Who, id: Uuid) -> ApiResult<Option<SnapshotItem>> {
        let found = self.look()?.seen(who, SnapshotId(id));
        found.map(Found::read).transpose()
    }

    /// Returns the numbers of the snapshots and of the backups of a Droplet's disk, oldest first.
    pub(crate) fn numbers_of_droplet(&self, who: &Who, disk: Uuid) -> ApiResult<[Vec<i64>; 2]> {
        Ok(self.look()?.numbers_of_droplet(who, disk))
    }

    /// Returns what another snapshot of a volume depends on.
    pub(crate) fn taken_of(&self, who: &Who, volume: &VolumeItem, name: &str) -> ApiResult<Taken> {
        self.look()?.taken_of(who, volume, name)
    }

    /// Returns the tags on the snapshots of an account.
    pub(crate) fn tags(&self, who: &Who) -> ApiResult<Vec<TagOnSnapshots>> {
        Ok(self.look()?.tags(who))
    }

    /// Returns the snapshot of a volume by its id.
    pub(crate) fn of_a_volume(&self, who: &Who, id: &str) -> ApiResult<SnapshotItem> {
        let found = self.get(who, id)?;
        match found.snapshot.kind {
            ResourceKind::Volume => Ok(found),
            ResourceKind::Droplet => Err(ApiError::not_found()),
        }
    }

    /// Returns whether a region has a snapshot. A region that is no longer configured has none.
    pub(super) fn is_in(&self, region: &str, id: Uuid) -> ApiResult<bool> {
        let Some(pool) = self.pools.get(region) else { return Ok(false) };
        match icecore::snapshot::find(pool.repo(), &id.to_string()) {
            Ok(found) => Ok(found.id.0 == id),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a snapshot in all regions, with its offer and its import record. Disks made from it
    /// stay.
    ///
    /// # Errors
    /// 404 if nothing was left to delete: another request was faster.
    pub(crate) fn delete(&self, who: &Who, uuid: Uuid) -> ApiResult<()> {
        // First: an import checks at its end whether its record still exists, and otherwise deletes
        // its snapshot.
        let forgotten = self.db.forget_import(uuid)?;
        let deleted = self.in_all_regions(who, uuid, delete)?;
        // Last: an image that could not be deleted stays on offer.
        if let Some(offer) = self.db.offer(uuid)? {
            self.db.withdraw_offer(offer.id)?;
        }
        if forgotten || deleted { Ok(()) } else { Err(ApiError::not_found()) }
    }

    /// Calls `what` while nobody else changes the labels of a snapshot.
    pub(super) fn alone<T>(&self, uuid: Uuid, what: impl FnOnce() -> T) -> T {
        self.locks.alone(uuid, what)
    }

    /// Changes a snapshot in every region that has it, and returns whether any has. It keeps others
    /// from changing it meanwhile, so all copies stay the same.
    pub(super) fn in_all_regions(
        &self,
        who: &Who,
        uuid: Uuid,
        what: impl Fn(&Repository, SnapshotId) -> icecore::Result<()>,
    ) -> ApiResult<bool> {
        self.alone(uuid, || {
            let mut found = false;
            for pool in self.pools.values() {
                found |= if_there(what(pool.on_behalf_of(&who.0).repo(), SnapshotId(uuid)))?;
            }
            Ok(found)
        })
    }
}

/// Deletes a snapshot in a region, where it may already be gone, and returns whether it was there.
/// Disks made from it stay.
pub(super) fn delete_if_there(pool: &Pool, snapshot: Uuid) -> ApiResult<bool> {
    if_there(delete(pool.repo(), SnapshotId(snapshot)))
}

/// Deletes snapshots in a region together; some may already be gone. Disks made from them stay.
pub(super) fn delete_all(pool: &Pool, snapshots: &[SnapshotId]) -> ApiResult<()> {
    match icecore::snapshot::delete_all(pool.repo(), snapshots, DELETE) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            snapshots.iter().try_for_each(|id| delete_if_there(pool, id.0).map(drop))
        }
        done => done.map(drop).map_err(ApiError::from),
    }
}

fn delete(repo: &Repository, id: SnapshotId) -> icecore::Result<()> {
    icecore::snapshot::delete(repo, id, DELETE).map(drop)
}

fn if_there(done: icecore::Result<()>) -> ApiResult<bool> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// Logs a warning if a new snapshot has a time later than now.
pub(super) fn log_if_clock_is_behind(snapshot: &Snapshot, now_unix_ms: i64) {
    let behind_ms = icecore::snapshot::clock_behind_ms(snapshot, now_unix_ms);
    if let Some(behind_ms) = behind_ms {
        tracing::warn!(
            snapshot = %snapshot.id, resource = snapshot.resource, behind_ms,
            "the new snapshot is dated after the newest one: the clock is behind, or that one is from the future"
        );
    }
}
