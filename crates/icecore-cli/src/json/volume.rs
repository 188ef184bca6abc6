//! JSON of volumes and of the commands on them.

use std::collections::BTreeMap;

use icecore::volume::VolumeInfo;
use serde::Serialize;

use crate::json::snapshot::Snapshot;
use crate::units;

/// A volume.
#[derive(Serialize)]
pub(crate) struct Volume {
    id: String,
    name: String,
    created: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    size_bytes: u64,
    origin: Option<Snapshot>,
    base: Option<Snapshot>,
    written_bytes: Option<u64>,
    served: bool,
    labels: BTreeMap<String, String>,
}

impl Volume {
    pub(crate) fn new(info: &VolumeInfo, written_bytes: Option<u64>, served: bool) -> Self {
        Self {
            id: info.id.to_string(),
            name: info.name.clone(),
            created: units::time_exact(info.created_unix_ms),
            kind: info.kind.as_str(),
            size_bytes: info.size_bytes,
            origin: info.origin.as_ref().map(Snapshot::from),
            base: info.base.as_ref().map(Snapshot::from),
            written_bytes,
            served,
            labels: info.labels.clone(),
        }
    }
}

/// The result of `volume create`, `reset`, `restore` and `resize`.
#[derive(Serialize)]
pub(crate) struct VolumeResult {
    /// The volume as it is now.
    pub(crate) volume: Volume,
}

/// A volume with an unreadable record.
#[derive(Serialize)]
pub(crate) struct Unreadable {
    /// The name of the volume.
    pub(crate) file: String,
    /// The reason.
    pub(crate) reason: String,
}

/// The result of `volume list` and `volume get`.
#[derive(Serialize)]
pub(crate) struct VolumesResult {
    /// The selected volumes.
    pub(crate) volumes: Vec<Volume>,
    /// The volumes with unreadable records.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// The result of `volume delete`.
#[derive(Serialize)]
pub(crate) struct VolumesDeletedResult {
    /// The volumes as they were.
    pub(crate) deleted: Vec<Volume>,
}

/// The result of `volume snapshot`.
#[derive(Serialize)]
pub(crate) struct VolumeSnapshotResult {
    /// The new snapshot.
    pub(crate) snapshot: Snapshot,
    /// Bytes read from the volume.
    pub(crate) read_bytes: u64,
    /// Whether it equals the snapshot before it.
    pub(crate) unchanged: bool,
    /// How far the clock is behind its time.
    pub(crate) clock_behind_ms: Option<u64>,
    /// The duration.
    pub(crate) elapsed_ms: u64,
}

/// The result of `volume export`.
#[derive(Serialize)]
pub(crate) struct VolumeExportResult {
    /// The name of the volume.
    pub(crate) volume: String,
    /// The file.
    pub(crate) target: String,
    /// The size of the image.
    pub(crate) size_bytes: u64,
    /// The data written.
    pub(crate) data_bytes: u64,
    /// The duration.
    pub(crate) elapsed_ms: u64,
}

/// The result of `volume serve`, when clients can connect.
#[derive(Serialize)]
pub(crate) struct ServeResult {
    /// The exports.
    pub(crate) exports: Vec<Export>,
    /// The path of a socket, or an address and a port.
    pub(crate) address: String,
}

/// One disk that is served.
#[derive(Serialize)]
pub(crate) struct Export {
    /// Its name for clients.
    pub(crate) name: String,
    /// Its description.
    pub(crate) description: String,
    /// Its full address.
    pub(crate) uri: String,
}
