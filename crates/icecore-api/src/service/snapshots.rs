//! Snapshots, over all regions.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use icecore::ResourceKind;
use icecore::SnapshotId;
use icecore::VolumeInfo;
use uuid::Uuid;

use crate::db::Numbered;
use crate::pool::labels;
use crate::service::Service;
use crate::service::Who;
use crate::service::items::SnapshotItem;
use crate::service::items::id_of_name;
use crate::service::items::is_owned_by;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

impl Service {
    /// Returns all snapshots of an account, oldest first, backups and imported images among them.
    pub(crate) fn snapshots(&self, who: &Who) -> ApiResult<Vec<SnapshotItem>> {
        let first = self.config().first_account();
        let mut found = BTreeMap::<(i64, SnapshotId), SnapshotItem>::new();
        for pool in self.pools().values() {
            let mut volumes = None;
            for snapshot in icecore::list(pool.repo())?.snapshots {
                if !is_owned_by(&snapshot.labels, &who.0, first) {
                    continue;
                }
                let key = (snapshot.created_unix_ms, snapshot.id);
                if let Some(known) = found.get_mut(&key) {
                    known.pools.push(Arc::clone(pool));
                    continue;
                }
                let resource = match labels::id(&snapshot.labels, labels::RESOURCE) {
                    Some(id) => id,
                    None => {
                        if volumes.is_none() {
                            volumes = Some(icecore::list_volumes(pool.repo())?.volumes);
                        }
                        id_of_resource(volumes.as_deref().unwrap_or_default(), &snapshot)
                    }
                };
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
        let numbers: HashMap<Uuid, i64> = self.db().numbers(&wanted)?;
        for item in snapshots.iter_mut().filter(|item| item.snapshot.kind == ResourceKind::Droplet) {
            item.number = numbers.get(&item.snapshot.id.0).copied();
            let resource = item.resource_id.parse::<Uuid>().ok();
            if let Some(number) = resource.and_then(|resource| numbers.get(&resource)) {
                item.resource_id = number.to_string();
            }
        }
        Ok(())
    }

    /// Returns the snapshot of an id: the UUID of one of a volume, or the number of one of a Droplet.
    pub(crate) fn snapshot(&self, who: &Who, id: &str) -> ApiResult<SnapshotItem> {
        let all = self.snapshots(who)?;
        all.into_iter().find(|item| item.id() == id).ok_or_else(ApiError::not_found)
    }

    /// Deletes a snapshot, in all regions. What was made from it stays.
    pub(crate) fn delete_snapshot(&self, item: &SnapshotItem) -> ApiResult<()> {
        for pool in &item.pools {
            icecore::delete_with(
                pool.repo(),
                item.snapshot.id,
                icecore::DeleteOptions { clones_keep_it: true },
            )?;
        }
        Ok(())
    }
}

/// Returns the id of what a snapshot was taken of, where nobody noted it.
fn id_of_resource(volumes: &[VolumeInfo], snapshot: &icecore::Snapshot) -> Uuid {
    let named =
        volumes.iter().find(|volume| volume.name == snapshot.resource && volume.kind == snapshot.kind);
    named.map_or_else(|| id_of_name(snapshot.kind, &snapshot.resource), |volume| volume.id.0)
}
