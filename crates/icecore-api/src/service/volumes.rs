//! Volumes: they are made, found, and deleted.

use std::sync::Arc;

use icecore::ErrorKind;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::volume::VolumeId;
use icecore::volume::VolumeOptions;
use icecore_host::clock::new_id;
use uuid::Uuid;

use crate::pool::Pool;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::Service;
use crate::service::Who;
use crate::service::file_systems;
use crate::service::file_systems::FileSystem;
use crate::service::items::GIB;
use crate::service::items::VolumeItem;
use crate::service::items::is_owned_by;
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
    /// Returns all disks of an account of one kind, oldest first: its volumes, or those of its
    /// Droplets.
    pub(crate) fn disks(&self, who: &Who, kind: ResourceKind) -> ApiResult<Vec<VolumeItem>> {
        let mut all = self.disks_and_unfinished(who, kind)?;
        all.retain(|item| item.label(labels::UNFINISHED).is_empty());
        Ok(all)
    }

    /// Returns the same, with those that are being made.
    fn disks_and_unfinished(&self, who: &Who, kind: ResourceKind) -> ApiResult<Vec<VolumeItem>> {
        let mut found = Vec::new();
        for pool in self.pools().values() {
            let all = icecore::volume::list_volumes(pool.repo())?.volumes.into_iter();
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

    /// Makes a volume: of zeros, with a new file system, or with the content of a snapshot.
    pub(crate) fn create_volume(&self, who: &Who, request: &VolumeRequest) -> ApiResult<VolumeItem> {
        names::check_volume(&request.name)?;
        names::check_description("description", &request.description)?;
        let (system, system_label) = (&request.filesystem_type, &request.filesystem_label);
        file_systems::check(system, system_label)?;
        let content = self.content_of_new_volume(who, request)?;
        self.check_one_more_volume(who, &content, &request.name)?;
        let made = match content.snapshot.is_none() && !system.is_empty() {
            true => Some(self.make_file_system(system, system_label, content.size_bytes)?),
            false => None,
        };
        let new = self.alone_in_account(who, || {
            let _changes = content.pool.changes();
            self.check_one_more_volume(who, &content, &request.name)?;
            let labels = self.labels_of_new_volume(who, request, &content, made.is_some())?;
            let options = VolumeOptions {
                id: VolumeId(new_id()),
                name: request.name.clone(),
                created_unix_ms: self.now_unix_ms(),
                kind: Some(ResourceKind::Volume),
                snapshot: content.snapshot.as_ref().map(|snapshot| snapshot.id),
                size_bytes: Some(content.size_bytes),
                labels,
            };
            create_under_a_free_name(&content.pool, options)
        })?;
        match made {
            Some(made) => self.finish_with(&made, new),
            None => Ok(new),
        }
    }

    /// Gives a new volume its file system, and shows it then; or removes it.
    fn finish_with(&self, made: &FileSystem, new: VolumeItem) -> ApiResult<VolumeItem> {
        let finished = self.write_file_system(made, &new).and_then(|()| {
            let unfinished = [labels::UNFINISHED.to_owned()];
            Ok(icecore::volume::relabel_volume(new.pool.repo(), &new.info.name, &Labels::new(), &unfinished)?)
        });
        match finished {
            Ok(info) => Ok(VolumeItem { info, ..new }),
            Err(error) => {
                if let Err(kept) = self.delete_disk(&new) {
                    tracing::warn!(volume = %new.info.name, %kept, "an unfinished object stays until the next start");
                }
                Err(error)
            }
        }
    }

    fn labels_of_new_volume(
        &self,
        who: &Who,
        request: &VolumeRequest,
        content: &Content,
        unfinished: bool,
    ) -> ApiResult<Labels> {
        let tags = self.tags_for_new(who, &request.tags)?;
        let mut new = Labels::from([(labels::ACCOUNT.to_owned(), who.0.clone())]);
        labels::set(&mut new, labels::NAME, &request.name);
        labels::set(&mut new, labels::DESCRIPTION, &request.description);
        // What is in a snapshot is not formatted, whatever was asked for.
        let of_snapshot = content.snapshot.as_ref().map(|snapshot| &snapshot.labels);
        for (key, asked) in [
            (labels::FILESYSTEM_TYPE, &request.filesystem_type),
            (labels::FILESYSTEM_LABEL, &request.filesystem_label),
        ] {
            let there = |old| labels::text(old, key).unwrap_or_default();
            labels::set(&mut new, key, of_snapshot.map_or(asked, there));
        }
        labels::set_tags(&mut new, &tags);
        labels::set(&mut new, labels::UNFINISHED, if unfinished { "yes" } else { "" });
        Ok(new)
    }

    /// Returns where a new volume is made, of what, and its size.
    fn content_of_new_volume(&self, who: &Who, request: &VolumeRequest) -> ApiResult<Content> {
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
            return Ok(Content { pool: Arc::clone(region(slug)?), snapshot: None, size_bytes: size * GIB });
        };
        // The size asked for is of no account: clients compare, and grow the volume afterwards.
        let item = self.volume_snapshot(who, snapshot)?;
        let pool = match &request.region {
            None => item.pools.first().ok_or_else(ApiError::not_found)?,
            Some(slug) => item.pools.iter().find(|pool| pool.slug == *slug).ok_or_else(|| {
                ApiError::unprocessable(format!("the snapshot is not in the region {slug:?}"))
            })?,
        };
        if !pool.storage {
            return Err(no_storage());
        }
        let size_bytes = item.snapshot.min_disk_gib().max(1) * GIB;
        Ok(Content { pool: Arc::clone(pool), snapshot: Some(item.snapshot), size_bytes })
    }

    fn check_one_more_volume(&self, who: &Who, content: &Content, name: &str) -> ApiResult<()> {
        let volumes = self.disks_and_unfinished(who, ResourceKind::Volume)?;
        if volumes.iter().any(|item| item.pool.slug == content.pool.slug && item.name() == name) {
            return Err(ApiError::conflict("failed to create volume: already exists"));
        }
        if volumes.len() >= self.config().limits.volumes {
            return Err(ApiError::forbidden(
                "failed to create volume: volume/snapshot capacity limit exceeded",
            ));
        }
        self.check_gigabytes(&volumes, content.size_bytes.div_ceil(GIB))
    }

    /// Checks that an account may have so many GiB more.
    pub(super) fn check_gigabytes(&self, volumes: &[VolumeItem], more: u64) -> ApiResult<()> {
        let most = self.config().limits.volume_gigabytes;
        let gib = volumes.iter().map(VolumeItem::size_gib).fold(more, u64::saturating_add);
        match most > 0 && gib > most {
            true => Err(ApiError::forbidden(format!(
                "volume/snapshot capacity limit exceeded: {gib} GiB of at most {most}"
            ))),
            false => Ok(()),
        }
    }

    /// Returns the volume of a name in a region.
    pub(crate) fn volume_named(&self, who: &Who, name: &str, region: &str) -> ApiResult<VolumeItem> {
        let mut all = self.volumes(who)?.into_iter();
        all.find(|item| item.name() == name && item.pool.slug == region).ok_or_else(ApiError::not_found)
    }

    /// Deletes a volume that is not attached. Its snapshots stay.
    pub(crate) fn delete_volume(&self, who: &Who, id: &str) -> ApiResult<()> {
        let found = self.volume(who, id)?;
        // Once a snapshot of it is done.
        found.pool.locks().alone(found.id(), || {
            let _changes = found.pool.changes();
            // As it is now that nobody attaches it.
            let item = self.volume(who, id)?;
            if self.attachment(who, &item)?.is_some() {
                return Err(ApiError::conflict("attached volume cannot be deleted"));
            }
            self.delete_disk(&item)
        })
    }

    /// Deletes a disk, whoever uses it.
    pub(crate) fn delete_disk(&self, item: &VolumeItem) -> ApiResult<()> {
        let name = &item.info.name;
        self.adopt_snapshots(item)?;
        item.pool.disks().with_closed(name, || icecore::volume::delete_volume(item.pool.repo(), name))?;
        Ok(())
    }

    /// Notes with snapshots that another program took of a disk what they are of and whose they
    /// are: once it is gone, or another one has its name, nothing else says so.
    fn adopt_snapshots(&self, item: &VolumeItem) -> ApiResult<()> {
        let repo = item.pool.repo();
        for snapshot in icecore::snapshot::list(repo)?.snapshots {
            if snapshot.kind != item.info.kind
                || snapshot.resource != item.info.name
                || snapshot.created_unix_ms < item.info.created_unix_ms
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
}

/// What a new volume is made of, and where.
struct Content {
    pool: Arc<Pool>,
    snapshot: Option<Snapshot>,
    size_bytes: u64,
}

/// Makes a volume of the engine. Where its name is taken, by another account for instance, it gets
/// a number behind it.
pub(crate) fn create_under_a_free_name(
    pool: &Arc<Pool>,
    mut options: VolumeOptions,
) -> ApiResult<VolumeItem> {
    let wanted: String = options.name.chars().take(56).collect();
    for number in 1..NAMES_MAX {
        options.name = if number == 1 { wanted.clone() } else { format!("{wanted}-{number}") };
        match icecore::volume::create_volume(pool.repo(), &options) {
            Ok(info) => return Ok(VolumeItem { pool: Arc::clone(pool), info }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::conflict("failed to create volume: too many have this name"))
}
