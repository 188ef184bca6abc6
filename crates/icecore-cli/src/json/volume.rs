//! JSON of volumes and of what is done with them.

use std::collections::BTreeMap;

use icecore::volume::VolumeInfo;
use serde::Serialize;

use crate::json::snapshot::Snapshot;
use crate::json::snapshot::Unreadable;
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

/// Of `volume create`, `reset`, `restore` and `resize`.
#[derive(Serialize)]
pub(crate) struct VolumeResult {
    /// As it is now.
    pub(crate) volume: Volume,
}

/// Of `volume list` and `volume get`.
#[derive(Serialize)]
pub(crate) struct VolumesResult {
    /// Those that were asked for.
    pub(crate) volumes: Vec<Volume>,
    /// Those whose records cannot be read.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// Of `volume delete`.
#[derive(Serialize)]
pub(crate) struct VolumesDeletedResult {
    /// As they were.
    pub(crate) deleted: Vec<Volume>,
}

/// Of `volume snapshot`.
#[derive(Serialize)]
pub(crate) struct VolumeSnapshotResult {
    /// The new snapshot.
    pub(crate) snapshot: Snapshot,
    /// Bytes of the volume that were read.
    pub(crate) read_bytes: u64,
    /// Whether it is what the snapshot before it is.
    pub(crate) unchanged: bool,
    /// By how much the clock is behind its time.
    pub(crate) clock_behind_ms: Option<u64>,
    /// How long it took.
    pub(crate) elapsed_ms: u64,
}

/// Of `volume export`.
#[derive(Serialize)]
pub(crate) struct VolumeExportResult {
    /// The name of the volume.
    pub(crate) volume: String,
    /// The file.
    pub(crate) target: String,
    /// The size of the image.
    pub(crate) size_bytes: u64,
    /// What of it was written.
    pub(crate) data_bytes: u64,
    /// How long it took.
    pub(crate) elapsed_ms: u64,
}

/// Of `volume serve`, when clients can connect.
#[derive(Serialize)]
pub(crate) struct ServeResult {
    /// What is served.
    pub(crate) exports: Vec<Export>,
    /// Where: the path of a socket, or an address and a port.
    pub(crate) address: String,
}

/// One disk that is served.
#[derive(Serialize)]
pub(crate) struct Export {
    /// What clients call it.
    pub(crate) name: String,
    /// What it is, for people.
    pub(crate) description: String,
    /// Its whole address.
    pub(crate) uri: String,
}
