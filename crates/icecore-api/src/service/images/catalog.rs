//! Images: the sources of Droplets. Snapshots of Droplets are images, under the same numbers.

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore_host::config::Config;
use uuid::Uuid;

use crate::db::Db;
use crate::db::Import;
use crate::db::Numbered;
use crate::pool::Pools;
use crate::pool::labels;
use crate::service::accounts::Who;
use crate::service::images::item::ImageItem;
use crate::service::images::item::ImageStatus;
use crate::service::images::item::ImageType;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::items::gigabytes;
use crate::service::parts::Parts;
use crate::service::snapshots::Snapshots;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The images of all accounts.
pub(crate) struct Images {
    config: Arc<Config>,
    db: Arc<Db>,
    pools: Arc<Pools>,
    snapshots: Arc<Snapshots>,
}

impl Images {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            pools: Arc::clone(&parts.pools),
            snapshots: Arc::clone(&parts.snapshots),
        }
    }

    /// Returns all images that an account sees, oldest first: its own, and the base images.
    pub(crate) fn list(&self, who: &Who) -> ApiResult<Vec<ImageItem>> {
        let own = self.snapshots.list(who)?.into_iter();
        let own = own.filter(|item| item.snapshot.kind == ResourceKind::Droplet);
        let mut images: Vec<ImageItem> = own.filter_map(|item| self.image_of_snapshot(item)).collect();
        for import in self.db.imports(&who.0)? {
            if !images.iter().any(|image| image.uuid == import.uuid) {
                images.push(self.image_of_import(&import)?);
            }
        }
        images.extend(self.base_images()?);
        images.sort_by_key(|image| (image.created_unix_ms, image.number));
        Ok(images)
    }

    /// Returns the image with a number, or the base image with a slug. Several slugs may mean the same
    /// image, which is then shown with the one that was asked for.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<ImageItem> {
        let base = self.config.base_snapshot(id);
        let wanted = |image: &ImageItem| image.number.to_string() == id || base == Some(image.uuid);
        let found = self.list(who)?.into_iter().find(wanted).ok_or_else(ApiError::not_found)?;
        let slug = if base.is_some() { Some(id.to_owned()) } else { found.slug };
        Ok(ImageItem { slug, ..found })
    }

    /// Returns an image that the account owns and may change.
    pub(crate) fn own(&self, who: &Who, id: &str) -> ApiResult<ImageItem> {
        let image = self.get(who, id)?;
        if image.is_public() {
            return Err(ApiError::forbidden("You do not have access for the attempted action."));
        }
        Ok(image)
    }

    /// Returns the snapshot with an id, if it is a proper snapshot and no other kind of image.
    pub(crate) fn proper_snapshot(&self, who: &Who, id: &str) -> ApiResult<SnapshotItem> {
        match self.snapshots.get(who, id) {
            Ok(item) if item.is_proper() => Ok(item),
            Err(error) if self.get(who, id).is_err() => Err(error),
            _ => Err(ApiError::bad_request("the resource is not a snapshot")),
        }
    }

    fn base_images(&self) -> ApiResult<Vec<ImageItem>> {
        if self.config.images.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.snapshots.list_where(|snapshot, _| {
            snapshot.kind == ResourceKind::Droplet && self.config.base_image(snapshot.id.0).is_some()
        })?;
        Ok(all.into_iter().filter_map(|item| self.image_of_snapshot(item)).collect())
    }

    /// Returns a Droplet's snapshot as an image.
    fn image_of_snapshot(&self, item: SnapshotItem) -> Option<ImageItem> {
        let snapshot = &item.snapshot;
        let base = self.config.base_image(snapshot.id.0);
        let label = |key: &str| labels::text(&snapshot.labels, key).unwrap_or_default();
        let kind = match (base, labels::image_type(&snapshot.labels)) {
            (Some(_), _) => ImageType::Base,
            (None, labels::TYPE_BACKUP) => ImageType::Backup,
            (None, labels::TYPE_CUSTOM) => ImageType::Custom,
            _ => ImageType::Snapshot,
        };
        let configured =
            |text: &str, usual: &str| if text.is_empty() { usual.to_owned() } else { text.to_owned() };
        Some(ImageItem {
            uuid: snapshot.id.0,
            number: item.number?,
            name: configured(base.map_or("", |base| &base.name), &snapshot.name),
            kind,
            distribution: configured(base.map_or("", |base| &base.distribution), label(labels::DISTRIBUTION)),
            description: label(labels::DESCRIPTION).to_owned(),
            slug: base.map(|base| base.slug.clone()),
            created_unix_ms: snapshot.created_unix_ms,
            min_disk_gib: snapshot.min_disk_gib(),
            size_gigabytes: item.size_gigabytes(),
            tags: if base.is_some() { Vec::new() } else { snapshot.tags.clone() },
            status: ImageStatus::Available,
            resource_id: item.resource_id.clone(),
            pools: item.pools,
        })
    }

    fn image_of_import(&self, import: &Import) -> ApiResult<ImageItem> {
        Ok(ImageItem {
            uuid: import.uuid,
            number: self.db.number(import.uuid)?,
            name: import.name.clone(),
            kind: ImageType::Custom,
            distribution: import.distribution.clone(),
            description: import.description.clone(),
            slug: None,
            pools: self.pools.get(&import.region).map(Arc::clone).into_iter().collect(),
            created_unix_ms: import.created_unix_ms,
            min_disk_gib: 0,
            size_gigabytes: 0.0,
            tags: import.tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            status: match &import.problem {
                None => ImageStatus::New,
                Some(problem) => ImageStatus::Deleted(problem.clone()),
            },
            resource_id: String::new(),
        })
    }

    /// Returns a stand-in for the deleted image that a disk was made from.
    pub(crate) fn deleted(&self, origin: &Snapshot) -> ApiResult<ImageItem> {
        let noted = Numbered { uuid: origin.id.0, noted: labels::number(&origin.labels) };
        let number = self.db.numbers(&[noted])?.get(&origin.id.0).copied();
        let item = SnapshotItem {
            snapshot: origin.clone(),
            pools: Vec::new(),
            number,
            resource_id: labels::text(&origin.labels, labels::RESOURCE_NUMBER).unwrap_or_default().to_owned(),
        };
        let image = self.image_of_snapshot(item).ok_or_else(ApiError::not_found)?;
        Ok(ImageItem { status: ImageStatus::Deleted(String::new()), tags: Vec::new(), ..image })
    }

    /// Returns an image for a disk that was made from none: in the API every Droplet has one.
    pub(crate) fn blank(&self, disk: &VolumeItem) -> ApiResult<ImageItem> {
        let uuid = Uuid::new_v5(&disk.id(), b"image");
        Ok(ImageItem {
            uuid,
            number: self.db.number(uuid)?,
            name: "Blank disk".to_owned(),
            kind: ImageType::Custom,
            distribution: "Unknown".to_owned(),
            description: String::new(),
            slug: None,
            pools: Vec::new(),
            created_unix_ms: disk.info.created_unix_ms,
            min_disk_gib: 0,
            size_gigabytes: gigabytes(0),
            tags: Vec::new(),
            status: ImageStatus::Deleted(String::new()),
            resource_id: String::new(),
        })
    }
}
