//! Snapshots, over all regions.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::repository::Repository;
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

/// The snapshots of all regions.
pub(crate) struct Snapshots {
    config: Arc<Config>,
    db: Arc<Db>,
    pools: Arc<Pools>,
    /// By their ids, while what is noted with one is changed in all regions. Taken before locks of
    /// regions.
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

    /// Returns all snapshots of an account, oldest first, backups and imported images among them.
    pub(crate) fn list(&self, who: &Who) -> ApiResult<Vec<SnapshotItem>> {
        self.list_where(|snapshot, owner| owner == who.0 && self.config.base_image(snapshot.id.0).is_none())
    }

    /// Returns all snapshots that are wanted, oldest first; `wanted` is told the account that owns
    /// it.
    pub(super) fn list_where(
        &self,
        wanted: impl Fn(&Snapshot, &str) -> bool,
    ) -> ApiResult<Vec<SnapshotItem>> {
        let first = self.config.first_account();
        let mut found = BTreeMap::<(i64, SnapshotId), SnapshotItem>::new();
        for pool in self.pools.values() {
            let snapshots = icecore::snapshot::list(pool.repo())?.snapshots;
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

    /// Gives the snapshots of Droplets their numbers, and those of the Droplets.
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

    /// Returns the snapshot of an id: the UUID of one of a volume, or the number of one of a
    /// Droplet.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<SnapshotItem> {
        // Ids are the same however they are spelt.
        let id = id.parse::<Uuid>().map_or_else(|_| id.to_owned(), |uuid| uuid.to_string());
        let all = self.list(who)?;
        all.into_iter().find(|item| item.id() == id).ok_or_else(ApiError::not_found)
    }

    /// Returns the snapshot of a volume of an id.
    pub(crate) fn of_a_volume(&self, who: &Who, id: &str) -> ApiResult<SnapshotItem> {
        let found = self.get(who, id)?;
        match found.snapshot.kind {
            ResourceKind::Volume => Ok(found),
            ResourceKind::Droplet => Err(ApiError::not_found()),
        }
    }

    /// Tells whether a region has a snapshot. One that is not configured any more has none.
    pub(super) fn is_in(&self, region: &str, id: Uuid) -> ApiResult<bool> {
        let Some(pool) = self.pools.get(region) else { return Ok(false) };
        Ok(icecore::snapshot::list(pool.repo())?.snapshots.iter().any(|snapshot| snapshot.id.0 == id))
    }

    /// Deletes a snapshot in all regions, its offer, and what is left of its import. What was made
    /// from it stays.
    ///
    /// # Errors
    /// 404 if there was nothing: somebody else was faster.
    pub(crate) fn delete(&self, uuid: Uuid) -> ApiResult<()> {
        // First: an import that ends looks whether anybody still wants it, and takes its snapshot
        // away otherwise.
        let forgotten = self.db.forget_import(uuid)?;
        let deleted = self.in_all_regions(uuid, delete)?;
        // Last: what could not be deleted stays on offer.
        if let Some(offer) = self.db.offer(uuid)? {
            self.db.withdraw_offer(offer.id)?;
        }
        if forgotten || deleted { Ok(()) } else { Err(ApiError::not_found()) }
    }

    /// Does something while nobody else changes what is noted with a snapshot.
    pub(super) fn alone<T>(&self, uuid: Uuid, what: impl FnOnce() -> T) -> T {
        self.locks.alone(uuid, what)
    }

    /// Does something to a snapshot in all regions that have it, and tells whether one does. Nobody
    /// else does anything to it meanwhile, so that all copies stay the same.
    pub(super) fn in_all_regions(
        &self,
        uuid: Uuid,
        what: impl Fn(&Repository, SnapshotId) -> icecore::Result<()>,
    ) -> ApiResult<bool> {
        self.alone(uuid, || {
            let mut found = false;
            for pool in self.pools.values() {
                found |= if_there(what(pool.repo(), SnapshotId(uuid)))?;
            }
            Ok(found)
        })
    }
}

/// Deletes a snapshot in a region, where it may be gone already, and tells whether it was there.
/// What was made from it stays.
pub(super) fn delete_if_there(pool: &Pool, snapshot: Uuid) -> ApiResult<bool> {
    if_there(delete(pool.repo(), SnapshotId(snapshot)))
}

fn delete(repo: &Repository, id: SnapshotId) -> icecore::Result<()> {
    icecore::snapshot::delete(repo, id, icecore::snapshot::DeleteOptions { clones_keep_it: true }).map(drop)
}

fn if_there(done: icecore::Result<()>) -> ApiResult<bool> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// Tells whether it is noted with a snapshot what it was taken of.
fn knows_its_origin(snapshot: &Snapshot) -> bool {
    snapshot.labels.contains_key(labels::RESOURCE)
}

/// Returns the volume that a snapshot was taken of, where nobody noted that: what another program
/// took says nothing of its origin; the volume of that name does.
fn origin<'a>(volumes: &'a [VolumeInfo], snapshot: &Snapshot) -> Option<&'a VolumeInfo> {
    let candidates = if knows_its_origin(snapshot) { &[] } else { volumes };
    candidates.iter().find(|volume| {
        volume.name == snapshot.resource
            && volume.kind == snapshot.kind
            && volume.created_unix_ms <= snapshot.created_unix_ms
    })
}

/// Returns the account that owns a snapshot: what is noted with it, or with the volume that it was
/// taken of; the first one where nothing is.
pub(super) fn owner<'a>(snapshot: &'a Snapshot, volumes: &'a [VolumeInfo], first: &'a str) -> &'a str {
    let noted = |labels: &'a Labels| labels::text(labels, labels::ACCOUNT);
    let owner = noted(&snapshot.labels).or_else(|| noted(&origin(volumes, snapshot)?.labels));
    owner.unwrap_or(first)
}

/// Says in the log that a snapshot just made is dated later than now.
pub(super) fn log_if_clock_is_behind(snapshot: &Snapshot, now_unix_ms: i64) {
    let behind_ms = icecore::snapshot::clock_behind_ms(snapshot, now_unix_ms);
    if let Some(behind_ms) = behind_ms {
        tracing::warn!(
            snapshot = %snapshot.id, resource = snapshot.resource, behind_ms,
            "the new snapshot is dated after the newest one: the clock is behind, or that one is from the future"
        );
    }
}
