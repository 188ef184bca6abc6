//! Images: what Droplets are made of. Snapshots of Droplets are images, under the same numbers.

mod change;
mod convert;
mod import;
mod offers;
mod probe;
mod source;

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore_host::config::ImageConfig;
use uuid::Uuid;

use crate::db::Import;
use crate::db::Numbered;
use crate::pool::Pool;
use crate::pool::labels;
use crate::service::Service;
use crate::service::Who;
pub(crate) use crate::service::images::change::ImageChange;
pub(crate) use crate::service::images::import::ImportRequest;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::items::gigabytes;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// What kind of image it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageType {
    /// Of a Droplet, made when somebody wanted it.
    Snapshot,
    /// Of a Droplet, made from time to time, and deleted with it.
    Backup,
    /// Imported.
    Custom,
    /// For all accounts.
    Base,
}

impl ImageType {
    /// Returns the API's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => labels::TYPE_SNAPSHOT,
            Self::Backup => labels::TYPE_BACKUP,
            Self::Custom => labels::TYPE_CUSTOM,
            Self::Base => labels::TYPE_BASE,
        }
    }

    /// Returns what is noted with a snapshot of this kind.
    pub(crate) fn label(self) -> &'static str {
        if self == Self::Snapshot { "" } else { self.as_str() }
    }
}

/// How far an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageStatus {
    /// It is being imported.
    New,
    Available,
    /// It could not be imported, for this reason; or it is gone, and only a Droplet that was made of it knows it.
    Deleted(String),
}

/// An image.
#[derive(Clone)]
pub(crate) struct ImageItem {
    /// The id of the snapshot.
    pub(crate) uuid: Uuid,
    /// The integer id.
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) kind: ImageType,
    pub(crate) distribution: String,
    pub(crate) description: String,
    /// Of a base image.
    pub(crate) slug: Option<String>,
    /// The regions that have it.
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) created_unix_ms: i64,
    pub(crate) min_disk_gib: u64,
    pub(crate) size_gigabytes: f64,
    pub(crate) tags: Vec<String>,
    pub(crate) status: ImageStatus,
    /// The integer id of the Droplet that it was taken of, as text.
    pub(crate) resource_id: String,
}

impl ImageItem {
    /// Tells whether a Droplet can be made of it.
    pub(crate) fn is_available(&self) -> bool {
        self.status == ImageStatus::Available
    }

    /// Tells whether all accounts see it.
    pub(crate) fn is_public(&self) -> bool {
        self.kind == ImageType::Base
    }

    /// Returns the slugs of the regions that have it.
    pub(crate) fn regions(&self) -> Vec<String> {
        self.pools.iter().map(|pool| pool.slug.clone()).collect()
    }
}

impl Service {
    /// Returns all images that an account sees, oldest first: its own and the base images.
    pub(crate) fn images(&self, who: &Who) -> ApiResult<Vec<ImageItem>> {
        let own = self.snapshots(who)?.into_iter();
        let own = own.filter(|item| item.snapshot.kind == ResourceKind::Droplet);
        let mut images: Vec<ImageItem> = own.filter_map(|item| self.image_of_snapshot(item)).collect();
        for import in self.db().imports(&who.0)? {
            if !images.iter().any(|image| image.uuid == import.uuid) {
                images.push(self.image_of_import(&import)?);
            }
        }
        images.extend(self.base_images()?);
        images.sort_by_key(|image| (image.created_unix_ms, image.number));
        Ok(images)
    }

    /// Returns the image of a number, or the base image of a slug.
    pub(crate) fn image(&self, who: &Who, id: &str) -> ApiResult<ImageItem> {
        let wanted = |image: &ImageItem| image.number.to_string() == id || image.slug.as_deref() == Some(id);
        self.images(who)?.into_iter().find(wanted).ok_or_else(ApiError::not_found)
    }

    /// Returns an image of an account that can be changed by it.
    pub(super) fn own_image(&self, who: &Who, id: &str) -> ApiResult<ImageItem> {
        let image = self.image(who, id)?;
        if image.is_public() {
            return Err(ApiError::forbidden("You do not have access for the attempted action."));
        }
        Ok(image)
    }

    /// Returns what is configured of a snapshot, if it is a base image.
    pub(crate) fn base_config(&self, snapshot: Uuid) -> Option<&ImageConfig> {
        self.config().images.iter().find(|image| image.snapshot == snapshot)
    }

    fn base_images(&self) -> ApiResult<Vec<ImageItem>> {
        if self.config().images.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.snapshots_where(|snapshot, _| {
            snapshot.kind == ResourceKind::Droplet && self.base_config(snapshot.id.0).is_some()
        })?;
        Ok(all.into_iter().filter_map(|item| self.image_of_snapshot(item)).collect())
    }

    /// Returns the image that a snapshot of a Droplet is.
    fn image_of_snapshot(&self, item: SnapshotItem) -> Option<ImageItem> {
        let snapshot = &item.snapshot;
        let base = self.base_config(snapshot.id.0);
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
            number: self.db().number(import.uuid)?,
            name: import.name.clone(),
            kind: ImageType::Custom,
            distribution: import.distribution.clone(),
            description: import.description.clone(),
            slug: None,
            pools: self.pools().get(&import.region).map(Arc::clone).into_iter().collect(),
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

    /// Returns the image that a disk was made of and that is gone by now.
    pub(super) fn deleted_image(&self, origin: &Snapshot) -> ApiResult<ImageItem> {
        let noted = Numbered { uuid: origin.id.0, noted: labels::number(&origin.labels) };
        let number = self.db().numbers(&[noted])?.get(&origin.id.0).copied();
        let item = SnapshotItem {
            snapshot: origin.clone(),
            pools: Vec::new(),
            number,
            resource_id: labels::text(&origin.labels, labels::RESOURCE_NUMBER).unwrap_or_default().to_owned(),
        };
        let image = self.image_of_snapshot(item).ok_or_else(ApiError::not_found)?;
        Ok(ImageItem { status: ImageStatus::Deleted(String::new()), tags: Vec::new(), ..image })
    }

    /// Returns an image for a disk that was made of none: the API has no Droplets without one.
    pub(super) fn blank_image(&self, disk: &VolumeItem) -> ApiResult<ImageItem> {
        let uuid = Uuid::new_v5(&disk.id(), b"image");
        Ok(ImageItem {
            uuid,
            number: self.db().number(uuid)?,
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
