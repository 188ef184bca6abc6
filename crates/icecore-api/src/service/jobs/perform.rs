//! How each job is done. All can be done again from the beginning: a server may end at any moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeId;
use icecore::volume::VolumeOptions;
use icecore::volume::VolumeSnapshotOptions;
use icecore_host::exports::Lent;
use uuid::Uuid;

use crate::db::Action;
use crate::pool::Pool;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::Service;
use crate::service::items::VolumeItem;
use crate::service::jobs::Job;
use crate::service::jobs::JobProgress;
use crate::service::snapshots::delete_if_there;
use crate::service::volume_snapshots::log_if_clock_is_behind;
use crate::service::volumes::create_under_a_free_name;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

impl Service {
    pub(super) fn perform(&self, action: &Action, job: &Job, progress: &JobProgress) -> ApiResult<()> {
        let pool = self.pool(&action.region)?;
        let disk = || self.disk_of(pool, action.resource);
        match job {
            Job::CreateDroplet { name, size_bytes, snapshot, labels, volumes } => {
                let options = VolumeOptions {
                    id: VolumeId(action.resource),
                    name: name.clone(),
                    created_unix_ms: action.started_unix_ms,
                    kind: Some(ResourceKind::Droplet),
                    snapshot: Some(SnapshotId(*snapshot)),
                    size_bytes: Some(*size_bytes),
                    labels: labels.clone(),
                };
                create(pool, options, volumes)
            }
            Job::DestroyDroplet => self.destroy(pool, action.resource),
            Job::SnapshotDroplet { id, name, tags, labels } => {
                let options = VolumeSnapshotOptions {
                    name_may_repeat: true,
                    tags: tags.clone(),
                    labels: labels.clone(),
                    ..VolumeSnapshotOptions::new(SnapshotId(*id), action.started_unix_ms, name.clone())
                };
                self.snapshot_disk(&disk()?, &options, progress)
            }
            Job::RestoreDroplet { snapshot } => {
                let item = disk()?;
                let name = &item.info.name;
                let restore = || icecore::volume::restore_volume(pool.repo(), name, SnapshotId(*snapshot));
                pool.disks().with_closed(name, restore)?;
                Ok(())
            }
            Job::ResizeDroplet { size, size_bytes } => resize(&disk()?, size, *size_bytes),
            Job::LabelDroplet { labels } => label(&disk()?, labels),
            Job::ImportImage => self.import(pool, action, progress),
            Job::TransferImage { from } => self.transfer(from, pool, action.resource, progress),
            Job::ConvertImage => self.convert(action.resource),
        }
    }

    fn snapshot_disk(
        &self,
        item: &VolumeItem,
        options: &VolumeSnapshotOptions,
        progress: &JobProgress,
    ) -> ApiResult<()> {
        let name = &item.info.name;
        let disk = item.pool.disks().open(name)?;
        let taken = disk.with(|volume| icecore::volume::snapshot_volume(volume, options, progress));
        let unreadable = |error| ApiError::unprocessable(format!("the disk of cannot read {name}: {error}"));
        let report = taken.map_err(unreadable)??;
        log_if_clock_is_behind(&report.snapshot, self.now_unix_ms());
        Ok(())
    }

    /// Returns the disk of this id, whatever account owns it.
    fn disk_of(&self, pool: &Arc<Pool>, id: Uuid) -> ApiResult<VolumeItem> {
        let all = icecore::volume::list_volumes(pool.repo())?.volumes;
        let info = all.into_iter().find(|info| info.id.0 == id && info.kind == ResourceKind::Droplet);
        let info = info.ok_or_else(|| ApiError::not_found_saying("the Droplet was deleted"))?;
        Ok(VolumeItem { pool: Arc::clone(pool), info })
    }

    fn destroy(&self, pool: &Arc<Pool>, id: Uuid) -> ApiResult<()> {
        let item = match self.disk_of(pool, id) {
            Ok(item) => item,
            Err(error) if error.status == 404 => return Ok(()),
            Err(error) => return Err(error),
        };
        // The disk goes last: until then, all of it can be done again.
        detach_all(pool, id)?;
        for other in self.pools().values() {
            for snapshot in icecore::snapshot::list(other.repo())?.snapshots {
                let of_this = labels::id(&snapshot.labels, labels::RESOURCE) == Some(id);
                if of_this && labels::image_type(&snapshot.labels) == labels::TYPE_BACKUP {
                    delete_if_there(other, snapshot.id.0)?;
                }
            }
        }
        self.delete_disk(&item)
    }
}

fn detach_all(pool: &Pool, droplet: Uuid) -> ApiResult<()> {
    let _changes = pool.changes();
    for volume in icecore::volume::list_volumes(pool.repo())?.volumes {
        if labels::id(&volume.labels, labels::ATTACHED) == Some(droplet) {
            let attached = [labels::ATTACHED.to_owned()];
            icecore::volume::relabel_volume(pool.repo(), &volume.name, &Labels::new(), &attached)?;
        }
    }
    Ok(())
}

fn create(pool: &Arc<Pool>, options: VolumeOptions, volumes: &[Uuid]) -> ApiResult<()> {
    let _changes = pool.changes();
    let droplet = options.id;
    let all = icecore::volume::list_volumes(pool.repo())?.volumes;
    // One that is gone has nothing any more.
    let there = |id: &Uuid| all.iter().any(|info| info.id.0 == *id);
    let mut free = Vec::new();
    for volume in all.iter().filter(|info| volumes.contains(&info.id.0)) {
        match labels::id(&volume.labels, labels::ATTACHED).filter(there) {
            None => free.push(volume),
            Some(other) if other == droplet.0 => {}
            Some(_) => return Err(ApiError::unprocessable("This volume is already attached")),
        }
    }
    if !there(&droplet.0) {
        create_under_a_free_name(pool, options)?;
    }
    let attached = Labels::from([(labels::ATTACHED.to_owned(), droplet.0.to_string())]);
    for volume in free {
        icecore::volume::relabel_volume(pool.repo(), &volume.name, &attached, &[])?;
    }
    Ok(())
}

fn resize(item: &VolumeItem, size: &str, size_bytes: Option<u64>) -> ApiResult<()> {
    let name = &item.info.name;
    if let Some(size_bytes) = size_bytes.filter(|size| *size > item.info.size_bytes) {
        item.pool.disks().grow(name, size_bytes)?;
    }
    label(item, &BTreeMap::from([(labels::SIZE.to_owned(), size.to_owned())]))
}

fn label(item: &VolumeItem, labels: &BTreeMap<String, String>) -> ApiResult<()> {
    let (remove, set): (Labels, Labels) =
        labels.iter().map(|(key, text)| (key.clone(), text.clone())).partition(|(_, text)| text.is_empty());
    let remove: Vec<String> = remove.into_keys().collect();
    let done = icecore::volume::relabel_volume(item.pool.repo(), &item.info.name, &set, &remove);
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(ApiError::not_found_saying("the Droplet was deleted"))
        }
        done => done.map(drop).map_err(ApiError::from),
    }
}
