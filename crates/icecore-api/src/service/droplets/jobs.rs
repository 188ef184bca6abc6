//! The jobs behind actions on Droplets. A server may end at any moment, so each can be repeated
//! from the beginning.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeId;
use icecore::volume::VolumeOptions;
use icecore::volume::VolumeSnapshotOptions;
use icecore_host::clock::Clock;
use icecore_host::exports::Lent;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::db::Action;
use crate::db::Db;
use crate::pool;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::actions::Work;
use crate::service::disks::create_under_a_free_name;
use crate::service::disks::delete_disk;
use crate::service::items::VolumeItem;
use crate::service::jobs::JobProgress;
use crate::service::jobs::Lane;
use crate::service::parts::Parts;
use crate::service::snapshots::delete_all;
use crate::service::snapshots::log_if_clock_is_behind;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The work of an action on a Droplet. The database keeps it as JSON until the action is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job")]
pub(crate) enum DropletJob {
    /// Makes the disk from a snapshot, and attaches volumes.
    #[serde(rename = "create-droplet")]
    Create { name: String, size_bytes: u64, snapshot: Uuid, labels: Labels, volumes: Vec<Uuid> },
    /// Deletes the Droplet and its backups, and detaches its volumes.
    #[serde(rename = "destroy-droplet")]
    Destroy,
    /// Takes a snapshot of its disk.
    #[serde(rename = "snapshot-droplet")]
    Snapshot { id: Uuid, name: String, tags: Vec<String>, labels: Labels },
    /// Restores a snapshot to its disk.
    #[serde(rename = "restore-droplet")]
    Restore { snapshot: Uuid },
    /// Changes its size, and also that of its disk if one is given.
    #[serde(rename = "resize-droplet")]
    Resize { size: String, size_bytes: Option<u64> },
    /// Changes its labels; an empty text removes one.
    #[serde(rename = "label-droplet")]
    Label { labels: BTreeMap<String, String> },
}

/// The service that carries out jobs.
#[derive(Clone)]
pub(crate) struct DropletJobs {
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    pools: Arc<Pools>,
}

impl DropletJobs {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self { db: Arc::clone(&parts.db), clock: Arc::clone(&parts.clock), pools: Arc::clone(&parts.pools) }
    }

    /// Returns a job as the work of an action.
    pub(crate) fn work(&self, job: DropletJob) -> ApiResult<Work> {
        let lane = matches!(job, DropletJob::Snapshot { .. }).then_some(Lane::Short);
        let jobs = self.clone();
        Work::new(&job.clone(), lane, move |action, progress| jobs.perform(action, &job, progress))
    }

    fn perform(&self, action: &Action, job: &DropletJob, progress: &JobProgress) -> ApiResult<()> {
        let pool = &pool::find(&self.pools, &action.region)?.on_behalf_of(&action.account);
        let disk = || disk_of(pool, action.resource);
        match job {
            DropletJob::Create { name, size_bytes, snapshot, labels, volumes } => {
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
            DropletJob::Destroy => self.destroy(pool, action),
            DropletJob::Snapshot { id, name, tags, labels } => {
                let options = VolumeSnapshotOptions {
                    name_may_repeat: true,
                    tags: tags.clone(),
                    labels: labels.clone(),
                    ..VolumeSnapshotOptions::new(SnapshotId(*id), action.started_unix_ms, name.clone())
                };
                self.snapshot(&disk()?, &options, progress)
            }
            DropletJob::Restore { snapshot } => {
                let name = disk()?.info.name.clone();
                let restore = || icecore::volume::restore_volume(pool.repo(), &name, SnapshotId(*snapshot));
                pool.disks().with_closed(&name, restore)?;
                Ok(())
            }
            DropletJob::Resize { size, size_bytes } => resize(&disk()?, size, *size_bytes),
            DropletJob::Label { labels } => label(&disk()?, labels),
        }
    }

    fn snapshot(
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
        log_if_clock_is_behind(&report.snapshot, self.clock.now_unix_ms());
        Ok(())
    }

    fn destroy(&self, pool: &Arc<Pool>, action: &Action) -> ApiResult<()> {
        let id = action.resource;
        let item = match disk_of(pool, id) {
            Ok(item) => item,
            Err(error) if error.status == 404 => return Ok(()),
            Err(error) => return Err(error),
        };
        // The disk goes last: until then, the whole job can be repeated.
        detach_all(pool, id)?;
        self.db.forget_first_boot(id)?;
        for other in self.pools.values() {
            let mut backups = icecore::snapshot::now(other.repo())?.of(item.info.kind, &item.info.name)?;
            backups.retain(|snapshot| {
                labels::id(&snapshot.labels, labels::RESOURCE) == Some(id)
                    && labels::image_type(&snapshot.labels) == labels::TYPE_BACKUP
            });
            let backups: Vec<SnapshotId> = backups.iter().map(|backup| backup.id).collect();
            delete_all(&other.on_behalf_of(&action.account), &backups)?;
        }
        delete_disk(&item)
    }
}

/// Returns the disk with this id, whatever account owns it.
fn disk_of(pool: &Arc<Pool>, id: Uuid) -> ApiResult<VolumeItem> {
    let volumes = pool.volumes()?;
    let info = volumes.get(id).filter(|info| info.kind == ResourceKind::Droplet).cloned();
    let info = info.ok_or_else(|| ApiError::not_found_saying("the Droplet was deleted"))?;
    Ok(VolumeItem { pool: Arc::clone(pool), info })
}

fn detach_all(pool: &Pool, droplet: Uuid) -> ApiResult<()> {
    let _changes = pool.changes();
    for volume in pool.volumes()?.all() {
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
    let all = pool.volumes()?;
    let all = all.all();
    // A volume that is gone no longer counts.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_before_has_noted_is_read() {
        let labels = || BTreeMap::from([("name".to_owned(), "web".to_owned())]);
        let id = Uuid::from_u128(1);
        for (text, job) in [
            (
                r#"{"job":"create-droplet","name":"web","size_bytes":1,"snapshot":"00000000-0000-0000-0000-000000000001","labels":{"name":"web"},"volumes":[]}"#,
                DropletJob::Create {
                    name: "web".to_owned(),
                    size_bytes: 1,
                    snapshot: id,
                    labels: labels(),
                    volumes: Vec::new(),
                },
            ),
            (r#"{"job":"destroy-droplet"}"#, DropletJob::Destroy),
            (
                r#"{"job":"snapshot-droplet","id":"00000000-0000-0000-0000-000000000001","name":"s","tags":["a"],"labels":{"name":"web"}}"#,
                DropletJob::Snapshot {
                    id,
                    name: "s".to_owned(),
                    tags: vec!["a".to_owned()],
                    labels: labels(),
                },
            ),
            (
                r#"{"job":"restore-droplet","snapshot":"00000000-0000-0000-0000-000000000001"}"#,
                DropletJob::Restore { snapshot: id },
            ),
            (
                r#"{"job":"resize-droplet","size":"s","size_bytes":null}"#,
                DropletJob::Resize { size: "s".to_owned(), size_bytes: None },
            ),
            (r#"{"job":"label-droplet","labels":{"name":"web"}}"#, DropletJob::Label { labels: labels() }),
        ] {
            assert_eq!(serde_json::to_string(&job).unwrap(), text);
            assert_eq!(serde_json::from_str::<DropletJob>(text).unwrap(), job);
        }
    }
}
