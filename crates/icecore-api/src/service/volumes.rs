//! Volumes: they are made, found, and deleted.

use std::sync::Arc;

use icecore::ErrorKind;
use icecore::ResourceKind;
use icecore::SnapshotId;
use icecore::VolumeId;
use icecore::VolumeOptions;
use uuid::Uuid;

use crate::pool::Pool;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::Service;
use crate::service::Who;
use crate::service::items::GIB;
use crate::service::items::VolumeItem;
use crate::service::items::is_owned_by;
use crate::words::clock::new_id;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names;

/// The largest volume, in GiB.
pub(crate) const VOLUME_GIB_MAX: u64 = 16_384;
/// How many names are tried for the engine's volume, where the wanted one is taken.
const NAMES_MAX: usize = 1000;

/// What a new volume is to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct VolumeRequest {
    pub(crate) name: String,
    pub(crate) region: Option<String>,
    pub(crate) size_gigabytes: Option<i64>,
    pub(crate) description: String,
    pub(crate) snapshot_id: Option<String>,
    pub(crate) filesystem_type: String,
    pub(crate) filesystem_label: String,
    pub(crate) tags: Vec<String>,
}

impl Service {
    /// Returns all disks of an account of one kind, oldest first: its volumes, or those of its Droplets.
    pub(crate) fn disks(&self, who: &Who, kind: ResourceKind) -> ApiResult<Vec<VolumeItem>> {
        let mut found = Vec::new();
        for pool in self.pools().values() {
            let all = icecore::list_volumes(pool.repo())?.volumes.into_iter();
            let mine = all.filter(|info| info.kind == kind && self.owns(who, &info.labels));
            found.extend(mine.map(|info| VolumeItem { pool: Arc::clone(pool), info }));
        }
        found.sort_by_key(|item| (item.info.created_unix_ms, item.id()));
        Ok(found)
    }

    /// Tells whether an account owns what has these labels.
    pub(crate) fn owns(&self, who: &Who, labels: &Labels) -> bool {
        is_owned_by(labels, &who.0, self.config().first_account())
    }

    /// Returns the volumes of an account.
    pub(crate) fn volumes(&self, who: &Who) -> ApiResult<Vec<VolumeItem>> {
        self.disks(who, ResourceKind::Volume)
    }

    /// Returns a volume of an account.
    pub(crate) fn volume(&self, who: &Who, id: &str) -> ApiResult<VolumeItem> {
        let id: Uuid = id.parse().map_err(|_| ApiError::not_found())?;
        self.volumes(who)?.into_iter().find(|item| item.id() == id).ok_or_else(ApiError::not_found)
    }

    /// Makes a volume: of zeros, or with the content of a snapshot.
    pub(crate) fn create_volume(&self, who: &Who, request: &VolumeRequest) -> ApiResult<VolumeItem> {
        names::check_volume(&request.name)?;
        check_filesystem(request)?;
        let (pool, snapshot, size_bytes) = self.content_of_new_volume(who, request)?;
        let tags = self.tags_for_new(who, &request.tags)?;
        let mut labels = Labels::from([(labels::ACCOUNT.to_owned(), who.0.clone())]);
        labels::set(&mut labels, labels::NAME, &request.name);
        labels::set(&mut labels, labels::DESCRIPTION, &request.description);
        labels::set(&mut labels, labels::FILESYSTEM_TYPE, &request.filesystem_type);
        labels::set(&mut labels, labels::FILESYSTEM_LABEL, &request.filesystem_label);
        labels::set_tags(&mut labels, &tags);
        let _changes = pool.changes();
        let volumes = self.volumes(who)?;
        if volumes.iter().any(|item| item.pool.slug == pool.slug && item.name() == request.name) {
            return Err(ApiError::conflict("failed to create volume: already exists"));
        }
        self.check_quota(&volumes, size_bytes)?;
        let options = VolumeOptions {
            id: VolumeId(new_id()),
            name: request.name.clone(),
            created_unix_ms: self.now_unix_ms(),
            kind: Some(ResourceKind::Volume),
            snapshot,
            size_bytes: Some(size_bytes),
            labels,
        };
        create_under_a_free_name(&pool, options)
    }

    /// Returns where a new volume is made, of what, and its size in bytes.
    fn content_of_new_volume(
        &self,
        who: &Who,
        request: &VolumeRequest,
    ) -> ApiResult<(Arc<Pool>, Option<SnapshotId>, u64)> {
        let no_storage = || ApiError::unprocessable("Storage is not supported for this region");
        let region = |slug: &str| self.pools().get(slug).filter(|pool| pool.storage).ok_or_else(no_storage);
        let Some(snapshot) = &request.snapshot_id else {
            let slug =
                request.region.as_deref().ok_or_else(|| ApiError::unprocessable("region is required"))?;
            let size = u64::try_from(request.size_gigabytes.unwrap_or(0)).unwrap_or(0);
            if size == 0 || size > VOLUME_GIB_MAX {
                return Err(ApiError::unprocessable(format!(
                    "size_gigabytes must be between 1 and {VOLUME_GIB_MAX}"
                )));
            }
            return Ok((Arc::clone(region(slug)?), None, size * GIB));
        };
        // The size asked for is of no account: clients compare, and grow the volume afterwards.
        let item = self.snapshot(who, snapshot)?;
        if item.snapshot.kind != ResourceKind::Volume {
            return Err(ApiError::not_found());
        }
        let pool = match &request.region {
            None => item.pools.first().ok_or_else(ApiError::not_found)?,
            Some(slug) => item.pools.iter().find(|pool| pool.slug == *slug).ok_or_else(|| {
                ApiError::unprocessable(format!("the snapshot is not in the region {slug:?}"))
            })?,
        };
        if !pool.storage {
            return Err(no_storage());
        }
        let gib = item.snapshot.min_disk_gib().max(1);
        Ok((Arc::clone(pool), Some(item.snapshot.id), gib * GIB))
    }

    fn check_quota(&self, volumes: &[VolumeItem], new_bytes: u64) -> ApiResult<()> {
        let limits = &self.config().limits;
        let gib = volumes.iter().map(VolumeItem::size_gib).sum::<u64>() + new_bytes.div_ceil(GIB);
        let full = limits.volume_gigabytes > 0 && gib > limits.volume_gigabytes;
        if volumes.len() >= limits.volumes || full {
            return Err(ApiError::forbidden(
                "failed to create volume: volume/snapshot capacity limit exceeded",
            ));
        }
        Ok(())
    }

    /// Deletes a volume that is not attached. Its snapshots stay.
    pub(crate) fn delete_volume(&self, who: &Who, id: &str) -> ApiResult<()> {
        let found = self.volume(who, id)?;
        let _changes = found.pool.changes();
        // As it is now that nobody attaches it.
        let item = self.volume(who, id)?;
        if item.attached_to().is_some() {
            return Err(ApiError::conflict("attached volume cannot be deleted"));
        }
        self.delete_disk(&item)
    }

    /// Deletes a disk, whoever uses it.
    pub(crate) fn delete_disk(&self, item: &VolumeItem) -> ApiResult<()> {
        let name = &item.info.name;
        item.pool.with_closed_disk(name, || icecore::delete_volume(item.pool.repo(), name))?;
        Ok(())
    }
}

/// Makes a volume of the engine. Where its name is taken, by another account for instance, it gets a number behind it.
pub(crate) fn create_under_a_free_name(
    pool: &Arc<Pool>,
    mut options: VolumeOptions,
) -> ApiResult<VolumeItem> {
    let wanted: String = options.name.chars().take(56).collect();
    for number in 1..NAMES_MAX {
        options.name = if number == 1 { wanted.clone() } else { format!("{wanted}-{number}") };
        match icecore::create_volume(pool.repo(), &options) {
            Ok(info) => return Ok(VolumeItem { pool: Arc::clone(pool), info }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::conflict("failed to create volume: too many have this name"))
}

fn check_filesystem(request: &VolumeRequest) -> ApiResult<()> {
    let label_max = match request.filesystem_type.as_str() {
        "" => 0,
        "ext4" => 16,
        "xfs" => 12,
        _ => return Err(ApiError::unprocessable("filesystem_type must be ext4 or xfs")),
    };
    if request.filesystem_label.len() > label_max {
        return Err(ApiError::unprocessable(
            "filesystem_label needs a filesystem_type, and has at most 16 bytes for ext4 and 12 for xfs",
        ));
    }
    if request.description.len() > 1024 || request.description.chars().any(|c| c.is_control() && c != '\n') {
        return Err(ApiError::unprocessable("description must have at most 1024 bytes of printable text"));
    }
    Ok(())
}
