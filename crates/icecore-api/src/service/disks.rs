//! Disks: finding and deleting the volumes of accounts and the disks of their Droplets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use icecore::ErrorKind;
use icecore::snapshot::ResourceKind;
use icecore::volume::VolumeInfo;
use icecore::volume::VolumeOptions;
use icecore_host::config::Config;
use uuid::Uuid;

use crate::db::Db;
use crate::db::Numbered;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Who;
use crate::service::items::VolumeItem;
use crate::service::items::is_owned_by;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;

/// The number of names to try for a volume of the engine when the wanted one is taken.
const NAMES_MAX: usize = 1000;

/// The numbers of an account's Droplets, by the ids of their disks.
pub(crate) type DropletNumbers = HashMap<Uuid, i64>;

/// The disks of all regions.
pub(crate) struct Disks {
    config: Arc<Config>,
    db: Arc<Db>,
    pools: Arc<Pools>,
    /// The numbers that are known of disks: they never change.
    numbers: Mutex<DropletNumbers>,
}

impl Disks {
    pub(super) fn new(config: &Arc<Config>, db: &Arc<Db>, pools: &Arc<Pools>) -> Self {
        Self {
            config: Arc::clone(config),
            db: Arc::clone(db),
            pools: Arc::clone(pools),
            numbers: Mutex::default(),
        }
    }

    /// Returns all disks of one kind that an account has, oldest first: its volumes, or its
    /// Droplets' disks.
    pub(crate) fn list(&self, who: &Who, kind: ResourceKind) -> ApiResult<Vec<VolumeItem>> {
        let mut all = self.list_with_unfinished(who, kind)?;
        all.retain(|item| item.label(labels::UNFINISHED).is_empty());
        Ok(all)
    }

    /// Returns the same disks and those that are still being made.
    pub(super) fn list_with_unfinished(&self, who: &Who, kind: ResourceKind) -> ApiResult<Vec<VolumeItem>> {
        let mut found = Vec::new();
        for pool in self.pools.values() {
            let all = pool.volumes()?;
            let mine = all.all().iter().filter(|info| info.kind == kind && self.owns(who, &info.labels));
            let pool = pool.on_behalf_of(&who.0);
            found.extend(mine.map(|info| VolumeItem { pool: Arc::clone(&pool), info: Arc::clone(info) }));
        }
        found.sort_by_key(|item| (item.info.created_unix_ms, item.id()));
        Ok(found)
    }

    /// Returns whether an account owns a resource with these labels.
    fn owns(&self, who: &Who, labels: &Labels) -> bool {
        is_owned_by(labels, &who.0, self.config.first_account())
    }

    /// Returns the volumes of an account.
    pub(crate) fn volumes(&self, who: &Who) -> ApiResult<Vec<VolumeItem>> {
        self.list(who, ResourceKind::Volume)
    }

    /// Returns a volume of an account.
    pub(crate) fn volume(&self, who: &Who, id: &str) -> ApiResult<VolumeItem> {
        let id = ids::uuid(id).ok_or_else(ApiError::not_found)?;
        self.by_id(who, ResourceKind::Volume, id)
    }

    /// Returns the disk of one kind with an id.
    pub(crate) fn by_id(&self, who: &Who, kind: ResourceKind, id: Uuid) -> ApiResult<VolumeItem> {
        for pool in self.pools.values() {
            let volumes = pool.volumes()?;
            let found = volumes.get(id).filter(|info| info.kind == kind && self.owns(who, &info.labels));
            let finished = |info: &&Arc<VolumeInfo>| labels::text(&info.labels, labels::UNFINISHED).is_none();
            if let Some(info) = found.filter(finished) {
                return Ok(VolumeItem { pool: pool.on_behalf_of(&who.0), info: Arc::clone(info) });
            }
        }
        Err(ApiError::not_found())
    }

    /// Returns the volume with a name in a region.
    pub(crate) fn volume_named(&self, who: &Who, name: &str, region: &str) -> ApiResult<VolumeItem> {
        let mut all = self.volumes(who)?.into_iter();
        all.find(|item| item.name() == name && item.pool.slug == region).ok_or_else(ApiError::not_found)
    }

    /// Returns the disks of an account that have tags, of either kind.
    pub(super) fn tagged(&self, who: &Who) -> ApiResult<Vec<VolumeItem>> {
        let mut found = Vec::new();
        for pool in self.pools.values() {
            let volumes = pool.volumes()?;
            let tagged = volumes.all().iter().filter(|info| labels::has_tags(&info.labels));
            let mine = tagged.filter(|info| {
                self.owns(who, &info.labels) && labels::text(&info.labels, labels::UNFINISHED).is_none()
            });
            found.extend(mine.map(|info| VolumeItem { pool: Arc::clone(pool), info: Arc::clone(info) }));
        }
        Ok(found)
    }

    /// Returns the number of the Droplet of an account that has this disk.
    pub(crate) fn droplet_number(&self, who: &Who, disk: Uuid) -> ApiResult<Option<i64>> {
        match self.by_id(who, ResourceKind::Droplet, disk) {
            Ok(disk) => Ok(self.numbers_of(std::slice::from_ref(&disk))?.get(&disk.id()).copied()),
            Err(error) if error.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the numbers of all Droplets of an account.
    pub(crate) fn droplet_numbers(&self, who: &Who) -> ApiResult<DropletNumbers> {
        self.numbers_of(&self.list(who, ResourceKind::Droplet)?)
    }

    /// Returns the numbers of the Droplets that have these disks.
    pub(crate) fn numbers_of(&self, disks: &[VolumeItem]) -> ApiResult<DropletNumbers> {
        let mut known = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<Numbered> =
            disks.iter().filter(|disk| !known.contains_key(&disk.id())).map(VolumeItem::numbered).collect();
        if !missing.is_empty() {
            known.extend(self.db.numbers(&missing)?);
        }
        let number = |disk: &VolumeItem| Some((disk.id(), *known.get(&disk.id())?));
        Ok(disks.iter().filter_map(number).collect())
    }

    /// Returns the disk of the Droplet with a number.
    pub(super) fn of_number(&self, who: &Who, number: i64) -> ApiResult<VolumeItem> {
        if let Some(id) = self.db.numbered(number)?
            && let Ok(found) = self.by_id(who, ResourceKind::Droplet, id)
        {
            return Ok(found);
        }
        // Another program may have made one, which has no number yet.
        let disks = self.list(who, ResourceKind::Droplet)?;
        let numbers = self.numbers_of(&disks)?;
        let mut disks = disks.into_iter();
        disks.find(|disk| numbers.get(&disk.id()) == Some(&number)).ok_or_else(ApiError::no_droplet)
    }

    /// Returns the disk of a Droplet.
    pub(crate) fn of_droplet(&self, who: &Who, id: &str) -> ApiResult<VolumeItem> {
        self.of_number(who, ids::number(id).ok_or_else(ApiError::no_droplet)?)
    }
}

/// Deletes a disk, even if it is in use.
pub(super) fn delete_disk(item: &VolumeItem) -> ApiResult<()> {
    let name = &item.info.name;
    adopt_snapshots(item)?;
    item.pool.disks().with_closed(name, || icecore::volume::delete_volume(item.pool.repo(), name))?;
    Ok(())
}

/// Labels the snapshots that other programs took of a disk with its id and its owner. Nothing else
/// would say so once the disk is gone or another disk has its name.
fn adopt_snapshots(item: &VolumeItem) -> ApiResult<()> {
    let repo = item.pool.repo();
    let all = icecore::snapshot::now(repo)?.of(item.info.kind, &item.info.name)?;
    for snapshot in all {
        if snapshot.created_unix_ms < item.info.created_unix_ms
            || snapshot.labels.contains_key(labels::RESOURCE)
        {
            continue;
        }
        let mut set = Labels::new();
        labels::set(&mut set, labels::RESOURCE, &item.id().to_string());
        labels::set(&mut set, labels::RESOURCE_NUMBER, item.label(labels::NUMBER));
        if !snapshot.labels.contains_key(labels::ACCOUNT) {
            labels::set(&mut set, labels::ACCOUNT, item.label(labels::ACCOUNT));
        }
        icecore::snapshot::relabel(repo, snapshot.id, &set, &[])?;
    }
    Ok(())
}

/// Creates a volume of the engine. If its name is taken, by another account for instance, appends a
/// number.
pub(super) fn create_under_a_free_name(
    pool: &Arc<Pool>,
    mut options: VolumeOptions,
) -> ApiResult<VolumeItem> {
    let wanted: String = options.name.chars().take(56).collect();
    for number in 1..NAMES_MAX {
        options.name = if number == 1 { wanted.clone() } else { format!("{wanted}-{number}") };
        match icecore::volume::create_volume(pool.repo(), &options) {
            Ok(info) => return Ok(VolumeItem { pool: Arc::clone(pool), info: Arc::new(info) }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::conflict("failed to create volume: too many have this name"))
}
