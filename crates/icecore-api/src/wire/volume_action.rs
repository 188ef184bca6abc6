//! What is to be done to a volume.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::service::volume_actions::VolumeActionRequest;
use crate::wire::blank;

/// A request for an action on a volume.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewVolumeAction {
    /// `attach`, `detach` or `resize`.
    #[serde(default, rename = "type", deserialize_with = "blank::text")]
    pub(crate) kind: Option<String>,
    /// For attach and detach: the Droplet.
    #[serde(default)]
    pub(crate) droplet_id: Option<i64>,
    /// For resize: the new size in GiB, larger than the current one, at most 16384.
    #[serde(default)]
    pub(crate) size_gigabytes: Option<i64>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) region: Option<String>,
    /// The name of the volume in the region, if the path does not identify it.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) volume_name: Option<String>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) tags: Vec<String>,
}

impl From<NewVolumeAction> for VolumeActionRequest {
    fn from(new: NewVolumeAction) -> Self {
        Self {
            kind: new.kind.unwrap_or_default(),
            droplet_id: new.droplet_id,
            size_gigabytes: new.size_gigabytes,
            region: new.region,
            tags: new.tags,
        }
    }
}
