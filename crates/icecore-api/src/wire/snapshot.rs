//! Snapshots.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::items::SnapshotItem;
use crate::wire::blank;
use crate::wire::list::body;
use crate::wire::list::list_body;
use crate::words::time::rfc3339;

/// A snapshot of a volume or of a Droplet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotJson {
    /// The UUID of a volume snapshot, or the number of a Droplet snapshot.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_at: String,
    pub(crate) regions: Vec<String>,
    pub(crate) resource_id: String,
    /// `volume` or `droplet`.
    pub(crate) resource_type: String,
    /// GiB: the size of the disk.
    pub(crate) min_disk_size: u64,
    /// GiB of data in it, without holes and zeros.
    pub(crate) size_gigabytes: f64,
    pub(crate) tags: Vec<String>,
}

body!(
    /// A snapshot.
    SnapshotBody, snapshot: SnapshotJson
);
list_body!(
    /// Snapshots.
    SnapshotsBody, snapshots: SnapshotJson
);

/// A request for a new snapshot of a volume.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewVolumeSnapshot {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) tags: Vec<String>,
}

impl From<&SnapshotItem> for SnapshotJson {
    fn from(item: &SnapshotItem) -> Self {
        let snapshot = &item.snapshot;
        Self {
            id: item.id(),
            name: snapshot.name.clone(),
            created_at: rfc3339(snapshot.created_unix_ms),
            regions: item.regions(),
            resource_id: item.resource_id.clone(),
            resource_type: snapshot.kind.as_str().to_owned(),
            min_disk_size: snapshot.min_disk_gib(),
            size_gigabytes: item.size_gigabytes(),
            tags: snapshot.tags.clone(),
        }
    }
}
