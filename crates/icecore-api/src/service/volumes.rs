//! Creating and deleting volumes.

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::volume::VolumeId;
use icecore::volume::VolumeOptions;
use icecore_host::clock::Clock;
use icecore_host::clock::new_id;
use icecore_host::config::Config;
use icecore_host::config::QuotaConfig;

use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Accounts;
use crate::service::accounts::Who;
use crate::service::attachments::Attachments;
use crate::service::disks::Disks;
use crate::service::disks::create_under_a_free_name;
use crate::service::disks::delete_disk;
use crate::service::file_systems;
use crate::service::file_systems::FileSystem;
use crate::service::items::GIB;
use crate::service::items::VolumeItem;
use crate::service::parts::Parts;
use crate::service::scratch::Scratch;
use crate::service::snapshots::Snapshots;
use crate::service::tag_names::TagNames;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names;

/// The largest volume, in GiB.
pub(crate) const VOLUME_GIB_MAX: u64 = 16_384;

/// A request for a new volume.
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

/// The service that makes and deletes volumes.
pub(crate) struct Volumes {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    pools: Arc<Pools>,
    scratch: Scratch,
    accounts: Arc<Accounts>,
    disks: Arc<Disks>,
    attachments: Arc<Attachments>,
    snapshots: Arc<Snapshots>,
    tag_names: Arc<TagNames>,
}

impl Volumes {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            clock: Arc::clone(&parts.clock),
            pools: Arc::clone(&parts.pools),
            scratch: parts.scratch.clone(),
            accounts: Arc::clone(&parts.accounts),
            disks: Arc::clone(&parts.disks),
            attachments: Arc::clone(&parts.attachments),
            snapshots: Arc::clone(&parts.snapshots),
            tag_names: Arc::clone(&parts.tag_names),
        }
    }

    /// Creates a volume: of zeros, with a new file system, or with the content of a snapshot.
    pub(crate) fn create(&self, who: &Who, request: &VolumeRequest) -> ApiResult<VolumeItem> {
        names::check_volume(&request.name)?;
        names::check_description("description", &request.description)?;
        let (system, system_label) = (&request.filesystem_type, &request.filesystem_label);
        file_systems::check(system, system_label)?;
        let content = self.content_of_new(who, request)?;
        if let Some(snapshot) = &content.snapshot {
            check_file_system_of(snapshot, request)?;
        }
        self.check_one_more(who, &content, &request.name)?;
        let made = match content.snapshot.is_none() && !system.is_empty() {
            true => Some(file_systems::make(&self.scratch, system, system_label, content.size_bytes)?),
            false => None,
        };
        let new = self.accounts.alone(who, || {
            let _changes = content.pool.changes();
            self.check_one_more(who, &content, &request.name)?;
            let labels = self.labels_of_new(who, request, &content, made.is_some())?;
            let options = VolumeOptions {
                id: VolumeId(new_id()),
                name: request.name.clone(),
                created_unix_ms: self.clock.now_unix_ms(),
                kind: Some(ResourceKind::Volume),
                snapshot: content.snapshot.as_ref().map(|snapshot| snapshot.id),
                size_bytes: Some(content.size_bytes),
                labels,
            };
            create_under_a_free_name(&content.pool, options)
        })?;
        match made {
            Some(made) => finish_with(&made, new),
            None => Ok(new),
        }
    }

    fn labels_of_new(
        &self,
        who: &Who,
        request: &VolumeRequest,
        content: &Content,
        unfinished: bool,
    ) -> ApiResult<Labels> {
        let tags = self.tag_names.for_new(who, &request.tags)?;
        let mut new = Labels::from([(labels::ACCOUNT.to_owned(), who.0.clone())]);
        labels::set(&mut new, labels::NAME, &request.name);
        labels::set(&mut new, labels::DESCRIPTION, &request.description);
        // The content of a snapshot is never formatted, even if the client asks.
        let of_snapshot = content.snapshot.as_ref().map(|snapshot| &snapshot.labels);
        for (key, asked) in [
            (labels::FILESYSTEM_TYPE, &request.filesystem_type),
            (labels::FILESYSTEM_LABEL, &request.filesystem_label),
        ] {
            let there = |old| labels::text(old, key).unwrap_or_default();
            labels::set(&mut new, key, of_snapshot.map_or(asked, there));
        }
        labels::set_tags(&mut new, &tags);
        labels::set(&mut new, labels::UNFINISHED, if unfinished { labels::YES } else { "" });
        Ok(new)
    }

    /// Returns the region, content and size of a new volume.
    fn content_of_new(&self, who: &Who, request: &VolumeRequest) -> ApiResult<Content> {
        let no_storage = || ApiError::unprocessable("Storage is not supported for this region");
        let region = |slug: &str| self.pools.get(slug).filter(|pool| pool.storage).ok_or_else(no_storage);
        let Some(snapshot) = &request.snapshot_id else {
            let slug =
                request.region.as_deref().ok_or_else(|| ApiError::unprocessable("region is required"))?;
            let size = u64::try_from(request.size_gigabytes.unwrap_or(0)).unwrap_or(0);
            if size == 0 || size > VOLUME_GIB_MAX {
                return Err(ApiError::unprocessable(format!(
                    "size_gigabytes must be between 1 and {VOLUME_GIB_MAX}"
                )));
            }
            let pool = region(slug)?.on_behalf_of(&who.0);
            return Ok(Content { pool, snapshot: None, size_bytes: size * GIB });
        };
        // The requested size does not matter: clients compare it, and grow the volume afterwards.
        let item = self.snapshots.of_a_volume(who, snapshot)?;
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
        Ok(Content { pool: pool.on_behalf_of(&who.0), snapshot: Some(item.snapshot), size_bytes })
    }

    fn check_one_more(&self, who: &Who, content: &Content, name: &str) -> ApiResult<()> {
        let volumes = self.disks.list_with_unfinished(who, ResourceKind::Volume)?;
        if volumes.iter().any(|item| item.pool.slug == content.pool.slug && item.name() == name) {
            return Err(ApiError::conflict("failed to create volume: already exists"));
        }
        if volumes.len() >= self.config.limits.volumes {
            return Err(ApiError::forbidden(
                "failed to create volume: volume/snapshot capacity limit exceeded",
            ));
        }
        check_gigabytes(&self.config.limits, &volumes, content.size_bytes.div_ceil(GIB))
    }

    /// Deletes a volume that is not attached. Its snapshots stay.
    pub(crate) fn delete(&self, who: &Who, id: &str) -> ApiResult<()> {
        let found = self.disks.volume(who, id)?;
        // A running snapshot of the volume finishes first.
        found.pool.locks().alone(found.id(), || {
            let _changes = found.pool.changes();
            // Read again, now that nobody can attach it.
            let item = self.disks.volume(who, id)?;
            if self.attachments.droplet_of(who, &item)?.is_some() {
                return Err(ApiError::conflict("attached volume cannot be deleted"));
            }
            delete_disk(&item)
        })
    }
}

/// The content of a new volume, and its region.
struct Content {
    pool: Arc<Pool>,
    snapshot: Option<Snapshot>,
    size_bytes: u64,
}

/// Checks that a request for a volume of a snapshot asks for no other file system than is there: the
/// content of a snapshot is never formatted.
fn check_file_system_of(snapshot: &Snapshot, request: &VolumeRequest) -> ApiResult<()> {
    for (field, key, asked) in [
        ("filesystem_type", labels::FILESYSTEM_TYPE, &request.filesystem_type),
        ("filesystem_label", labels::FILESYSTEM_LABEL, &request.filesystem_label),
    ] {
        let there = labels::text(&snapshot.labels, key).unwrap_or_default();
        if !asked.is_empty() && asked != there {
            return Err(ApiError::unprocessable(format!(
                "failed to create volume: {field} cannot be {asked:?}, because a volume keeps what is in its snapshot"
            )));
        }
    }
    Ok(())
}

/// Checks that an account may have this many GiB more.
pub(super) fn check_gigabytes(limits: &QuotaConfig, volumes: &[VolumeItem], more: u64) -> ApiResult<()> {
    let most = limits.volume_gigabytes;
    let gib = volumes.iter().map(VolumeItem::size_gib).fold(more, u64::saturating_add);
    match most > 0 && gib > most {
        true => Err(ApiError::forbidden(format!(
            "volume/snapshot capacity limit exceeded: {gib} GiB of at most {most}"
        ))),
        false => Ok(()),
    }
}

/// Writes the file system of a new volume and then makes the volume visible, or deletes it on an
/// error.
fn finish_with(made: &FileSystem, new: VolumeItem) -> ApiResult<VolumeItem> {
    let finished = file_systems::write(made, &new).and_then(|()| {
        let unfinished = [labels::UNFINISHED.to_owned()];
        Ok(icecore::volume::relabel_volume(new.pool.repo(), &new.info.name, &Labels::new(), &unfinished)?)
    });
    match finished {
        Ok(info) => Ok(VolumeItem { info: Arc::new(info), ..new }),
        Err(error) => {
            if let Err(kept) = delete_disk(&new) {
                tracing::warn!(volume = %new.info.name, %kept, "an unfinished object stays until the next start");
            }
            Err(error)
        }
    }
}
