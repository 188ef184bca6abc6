//! Images, and snapshots of Droplets as these show them.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::images::commands::ImageChange;
use crate::service::images::commands::ImportRequest;
use crate::service::images::item::ImageItem;
use crate::service::images::item::ImageStatus;
use crate::wire::blank;
use crate::wire::list::body;
use crate::wire::list::list_body;
use crate::words::time::rfc3339;

/// An image: the source of Droplets.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ImageJson {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// `snapshot`, `backup`, `custom` or `base`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) distribution: String,
    /// The slug of a base image.
    pub(crate) slug: Option<String>,
    /// Whether all accounts see it.
    pub(crate) public: bool,
    pub(crate) regions: Vec<String>,
    pub(crate) created_at: String,
    /// GiB: the smallest disk that it fits on; unknown until the import ends.
    pub(crate) min_disk_size: Option<u64>,
    /// GiB of data in it; unknown until the import ends.
    pub(crate) size_gigabytes: Option<f64>,
    pub(crate) description: String,
    pub(crate) tags: Vec<String>,
    /// `NEW`, `available` or `deleted`.
    pub(crate) status: String,
    /// The reason why the import failed.
    pub(crate) error_message: String,
}

body!(
    /// An image.
    ImageBody, image: ImageJson
);
list_body!(
    /// Images.
    ImagesBody, images: ImageJson
);

/// A snapshot or a backup of a Droplet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DropletSnapshotJson {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) created_at: String,
    pub(crate) regions: Vec<String>,
    /// GiB.
    pub(crate) min_disk_size: u64,
    /// GiB.
    pub(crate) size_gigabytes: f64,
    /// `snapshot` or `backup`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) distribution: String,
    pub(crate) slug: Option<String>,
    pub(crate) public: bool,
}

list_body!(
    /// Snapshots of a Droplet.
    DropletSnapshotsBody, snapshots: DropletSnapshotJson
);
list_body!(
    /// Backups of a Droplet.
    DropletBackupsBody, backups: DropletSnapshotJson
);

/// A file to import as an image.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewImage {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    /// `file://` and a path in an import folder of the server.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) url: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) region: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) distribution: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) description: Option<String>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) tags: Vec<String>,
}

/// The properties of an image to change.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ImageUpdate {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) distribution: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) description: Option<String>,
}

/// A request for an action on an image.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewImageAction {
    /// `transfer` or `convert`.
    #[serde(rename = "type", default, deserialize_with = "blank::text")]
    pub(crate) kind: Option<String>,
    /// The target region.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) region: Option<String>,
}

/// The recipient of an offer.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewAccountTransfer {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) recipient_email: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) recipient_uuid: Option<String>,
}

/// An offer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AccountTransfer {
    /// Its number; 0 once it was accepted.
    #[serde(default)]
    pub(crate) transfer_id: Option<i64>,
}

impl From<&ImageItem> for ImageJson {
    fn from(item: &ImageItem) -> Self {
        let (status, error_message) = match &item.status {
            ImageStatus::New => ("NEW", ""),
            ImageStatus::Available => ("available", ""),
            ImageStatus::Deleted(problem) => ("deleted", problem.as_str()),
        };
        let known = item.min_disk_gib > 0;
        Self {
            id: item.number,
            name: item.name.clone(),
            kind: item.kind.as_str().to_owned(),
            distribution: item.distribution.clone(),
            slug: item.slug.clone(),
            public: item.is_public(),
            regions: item.regions(),
            created_at: rfc3339(item.created_unix_ms),
            min_disk_size: known.then_some(item.min_disk_gib),
            size_gigabytes: known.then_some(item.size_gigabytes),
            description: item.description.clone(),
            tags: item.tags.clone(),
            status: status.to_owned(),
            error_message: error_message.to_owned(),
        }
    }
}

impl From<&ImageItem> for DropletSnapshotJson {
    fn from(item: &ImageItem) -> Self {
        Self {
            id: item.number,
            name: item.name.clone(),
            created_at: rfc3339(item.created_unix_ms),
            regions: item.regions(),
            min_disk_size: item.min_disk_gib,
            size_gigabytes: item.size_gigabytes,
            kind: item.kind.as_str().to_owned(),
            distribution: item.distribution.clone(),
            slug: None,
            public: false,
        }
    }
}

impl From<NewImage> for ImportRequest {
    fn from(new: NewImage) -> Self {
        Self {
            name: new.name.unwrap_or_default(),
            url: new.url.unwrap_or_default(),
            region: new.region.unwrap_or_default(),
            distribution: new.distribution.unwrap_or_default(),
            description: new.description.unwrap_or_default(),
            tags: new.tags,
        }
    }
}

impl From<ImageUpdate> for ImageChange {
    fn from(update: ImageUpdate) -> Self {
        Self { name: update.name, distribution: update.distribution, description: update.description }
    }
}
