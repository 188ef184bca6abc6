//! Snapshots across all regions.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeInfo;
use icecore_host::config::Config;
use uuid::Uuid;

use crate::db::Db;
use crate::db::Numbered;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::pool::locks::Locks;
use crate::service::accounts::Who;
use crate::service::items::SnapshotItem;
use crate::service::items::id_of_name;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;

/// How snapshots are deleted: disks made from them stay.
const DELETE: DeleteOptions = DeleteOptions { clones_keep_it: true };

/// The snapshots of all regions.
pub(crate) struct Snapshots {
    config: Arc<Config>,
    db: Arc<Db>,
    pools: Arc<Pools>,
    /// Locks by snapshot id, held while the labels of a snapshot change in all regions. Taken
    /// before the locks of regions.
    locks: Locks,
}

impl Snapshots {
    pub(super) fn new(config: &Arc<Config>, db: &Arc<Db>, pools: &Arc<Pools>) -> Self {
        Self {
            config: Arc::clone(config),
            db: Arc::clone(db),
            pools: Arc::clone(pools),
            locks: Locks::default(),
        }
    }

    /// Returns all snapshots of an account, oldest first, including backups and imported images.
    pub(crate) fn list(&self, who: &Who) -> ApiResult<Vec<SnapshotItem>> {
        self.list_where(|snapshot, owner| owner == who.0 && self.config.base_image(snapshot.id.0).is_none())
    }

    /// Returns all snapshots that `wanted` selects, oldest first. `wanted` also receives the
    /// account that owns the snapshot.
    pub(super) fn list_where(
        &self,
        wanted: impl Fn(&Snapshot, &str) -> bool,
    ) -> ApiResult<Vec<SnapshotItem>> {
        let first = self.config.first_account();
        let mut found = BTreeMap::<(i64, SnapshotId), SnapshotItem>::new();
        for pool in self.pools.values() {
            let snapshots = icecore::snapshot::list(pool.repo())?;
            let volumes = match snapshots.iter().all(knows_its_origin) {
                true => Vec::new(),
                false => icecore::volume::list_volumes(pool.repo())?.volumes,
            };
            for snapshot in snapshots {
                if !wanted(&snapshot, owner(&snapshot, &volumes, first)) {
                    continue;
                }
                let key = (snapshot.created_unix_ms, snapshot.id);
                if let Some(known) = found.get_mut(&key) {
                    known.pools.push(Arc::clone(pool));
                    continue;
                }
                let noted = labels::id(&snapshot.labels, labels::RESOURCE);
                let resource = noted.or_else(|| origin(&volumes, &snapshot).map(|volume| volume.id.0));
                let resource = resource.unwrap_or_else(|| id_of_name(snapshot.kind, &snapshot.resource));
                let resource_id = resource.to_string();
                found.insert(
                    key,
                    SnapshotItem { snapshot, pools: vec![Arc::clone(pool)], number: None, resource_id },
                );
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        self.give_numbers(&mut found)?;
        Ok(found)
    }

    /// Assigns numbers to snapshots of Droplets, and sets the numbers of those Droplets.
    fn give_numbers(&self, snapshots: &mut [SnapshotItem]) -> ApiResult<()> {
        let of_droplets = || snapshots.iter().filter(|item| item.snapshot.kind == ResourceKind::Droplet);
        let resources = of_droplets().filter_map(|item| {
            let uuid = item.resource_id.parse().ok()?;
            Some(Numbered { uuid, noted: labels::resource_number(&item.snapshot.labels) })
        });
        let images = of_droplets()
            .map(|item| Numbered { uuid: item.snapshot.id.0, noted: labels::number(&item.snapshot.labels) });
        let wanted: Vec<Numbered> = images.chain(resources).collect();
        let numbers: HashMap<Uuid, i64> = self.db.numbers(&wanted)?;
        for item in snapshots.iter_mut().filter(|item| item.snapshot.kind == ResourceKind::Droplet) {
            item.number = numbers.get(&item.snapshot.id.0).copied();
            let resource = item.resource_id.parse::<Uuid>().ok();
            if let Some(number) = resource.and_then(|resource| numbers.get(&resource)) {
                item.resource_id = number.to_string();
            }
        }
        Ok(())
    }

    /// Returns the snapshot with an id: a UUID for a volume's snapshot, a number for a Droplet's.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<SnapshotItem> {
        // Different spellings of a UUID are the same id.
        let id = ids::uuid(id).map_or_else(|| id.to_owned(), |uuid| uuid.to_string());
        let all = self.list(who)?;
        all.into_iter().find(|item| item.id() == id).ok_or_else(ApiError::not_found)
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

/// Returns whether the labels of a snapshot name the volume it was taken from.
fn knows_its_origin(snapshot: &Snapshot) -> bool {
    snapshot.labels.contains_key(labels::RESOURCE)
}

/// Returns the volume that a snapshot was taken from, if its labels do not say. Other programs set
/// no labels, so the volume's name decides.
fn origin<'a>(volumes: &'a [VolumeInfo], snapshot: &Snapshot) -> Option<&'a VolumeInfo> {
    let candidates = if knows_its_origin(snapshot) { &[] } else { volumes };
    candidates.iter().find(|volume| {
        volume.name == snapshot.resource
            && volume.kind == snapshot.kind
            && volume.created_unix_ms <= snapshot.created_unix_ms
    })
}

/// Returns the account that owns a snapshot, from its own labels or from those of the volume it was
/// taken from. If neither names one, the first account owns it.
pub(super) fn owner<'a>(snapshot: &'a Snapshot, volumes: &'a [VolumeInfo], first: &'a str) -> &'a str {
    let noted = |labels: &'a Labels| labels::text(labels, labels::ACCOUNT);
    let owner = noted(&snapshot.labels).or_else(|| noted(&origin(volumes, snapshot)?.labels));
    owner.unwrap_or(first)
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
