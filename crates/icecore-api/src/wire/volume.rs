//! Volumes.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::pool::labels;
use crate::service::Service;
use crate::service::items::VolumeItem;
use crate::service::volumes::VolumeRequest;
use crate::wire::blank;
use crate::wire::list::body;
use crate::wire::list::list_body;
use crate::wire::region::RegionJson;
use crate::words::time::rfc3339;

/// A volume: a copy-on-write disk, served over NBD.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VolumeJson {
    /// A UUID.
    pub(crate) id: String,
    pub(crate) region: RegionJson,
    /// The Droplet that it is attached to, if any.
    pub(crate) droplet_ids: Vec<i64>,
    pub(crate) name: String,
    pub(crate) description: String,
    /// GiB.
    pub(crate) size_gigabytes: u64,
    pub(crate) created_at: String,
    pub(crate) filesystem_type: String,
    pub(crate) filesystem_label: String,
    pub(crate) tags: Vec<String>,
    /// The address of the served disk; not in the cloud's API.
    pub(crate) nbd_uri: String,
}

body!(
    /// A volume.
    VolumeBody, volume: VolumeJson
);
list_body!(
    /// Volumes.
    VolumesBody, volumes: VolumeJson
);

/// A request for a new volume.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewVolume {
    /// Lower-case letters, digits and `-`, unique in the region.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) region: Option<String>,
    /// GiB, 1 to 16384. Ignored if a snapshot is given.
    #[serde(default)]
    pub(crate) size_gigabytes: Option<i64>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) description: Option<String>,
    /// The volume snapshot to create it from, with its content and size.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) snapshot_id: Option<String>,
    /// `ext4` or `xfs`.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) filesystem_type: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) filesystem_label: Option<String>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) tags: Vec<String>,
}

impl VolumeJson {
    /// Shows a volume.
    pub(crate) fn new(service: &Service, item: &VolumeItem, droplet: Option<i64>) -> Self {
        Self {
            id: item.id().to_string(),
            region: RegionJson::new(&service.config, &item.pool),
            droplet_ids: droplet.into_iter().collect(),
            name: item.name().to_owned(),
            description: item.label(labels::DESCRIPTION).to_owned(),
            size_gigabytes: item.size_gib(),
            created_at: rfc3339(item.info.created_unix_ms),
            filesystem_type: item.label(labels::FILESYSTEM_TYPE).to_owned(),
            filesystem_label: item.label(labels::FILESYSTEM_LABEL).to_owned(),
            tags: item.tags(),
            nbd_uri: service.nbd.uri(item.id()),
        }
    }
}

impl From<NewVolume> for VolumeRequest {
    fn from(new: NewVolume) -> Self {
        Self {
            name: new.name.unwrap_or_default(),
            region: new.region,
            size_gigabytes: new.size_gigabytes,
            description: new.description.unwrap_or_default(),
            snapshot_id: new.snapshot_id,
            filesystem_type: new.filesystem_type.unwrap_or_default(),
            filesystem_label: new.filesystem_label.unwrap_or_default(),
            tags: new.tags,
        }
    }
}
