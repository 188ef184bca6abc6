//! The file `record` of a copy-on-write volume: its snapshots and overlays.

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::FORMAT_MINOR;
use crate::format::envelope::Envelope;
use crate::format::record::Record;
use crate::format::record::check_decoded_labels;
use crate::format::serial;
use crate::pure::hash::Hasher;
use crate::words::ids::VolumeId;
use crate::words::names::Labels;
use crate::words::names::NAME_BYTES_MAX;
use crate::words::names::ResourceKind;
use crate::words::sizes::IMAGE_BYTES_MAX;

/// The most sealed overlays of a volume.
pub(crate) const SEALED_MAX: usize = 64;

const ENVELOPE: Envelope =
    Envelope { what: "volume record", magic: *b"ICEVOLU\n", major: FORMAT_MAJOR, minor: FORMAT_MINOR };

/// The record of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub(crate) id: VolumeId,
    pub(crate) name: String,
    pub(crate) created_unix_ms: i64,
    /// The resource type of its snapshots.
    pub(crate) kind: ResourceKind,
    pub(crate) size_bytes: u64,
    /// The origin: the snapshot that it was created from or restored to, and that a reset returns
    /// to. None means zeros.
    pub(crate) origin: Option<Record>,
    /// The base, below its overlays: the origin, or a snapshot of this volume taken since.
    pub(crate) base: Option<Record>,
    /// The numbers of the sealed overlays, from the oldest to the newest.
    pub(crate) sealed: Vec<u64>,
    /// The number of the current overlay, larger than those.
    pub(crate) active: u64,
    /// The labels of the volume.
    pub(crate) labels: Labels,
}

impl VolumeRecord {
    pub(crate) fn encode(&self, hasher: &Hasher) -> Result<Vec<u8>, DecodeError> {
        ENVELOPE.seal(&serial::encode(self)?, |bytes| hasher.record(bytes).0)
    }

    /// Returns the record and the minor version of the format it was written with.
    pub(crate) fn decode(bytes: &[u8], hasher: &Hasher) -> Result<(Self, u16), DecodeError> {
        let opened = ENVELOPE.open(bytes, |bytes| hasher.record(bytes).0)?;
        let record: Self = opened.value()?;
        record.origin.iter().chain(&record.base).try_for_each(Record::check)?;
        check_decoded_labels(&record.labels)?;
        let below = record.origin.iter().chain(&record.base).map(|below| below.size_bytes).max();
        if record.size_bytes > IMAGE_BYTES_MAX || below.is_some_and(|below| below > record.size_bytes) {
            return Err(DecodeError::bad("the size of the volume", record.size_bytes));
        }
        if record.name.len() > NAME_BYTES_MAX {
            return Err(DecodeError::bad("the length of a name", record.name.len() as u64));
        }
        let overlays = || record.sealed.iter().chain([&record.active]);
        if record.sealed.len() > SEALED_MAX || !overlays().is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::bad("the numbers of overlays", record.active));
        }
        Ok((record, opened.minor))
    }
}
