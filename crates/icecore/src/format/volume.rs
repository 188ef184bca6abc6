//! The file `record` of a copy-on-write volume: what it is made of.

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::config::FORMAT_MAJOR;
use crate::format::envelope::Envelope;
use crate::format::record::Record;
use crate::format::serial;
use crate::pure::hash::Hasher;
use crate::words::ids::VolumeId;
use crate::words::names::NAME_BYTES_MAX;
use crate::words::names::ResourceKind;
use crate::words::sizes::IMAGE_BYTES_MAX;

/// Nothing was added to records of volumes since version 2.0 of them.
const VOLUME_MINOR: u16 = 0;
/// The most overlays that a volume has beside the one that is written to.
pub(crate) const SEALED_MAX: usize = 64;

const ENVELOPE: Envelope =
    Envelope { what: "volume record", magic: *b"ICEVOLU\n", major: FORMAT_MAJOR, minor: VOLUME_MINOR };

/// The record of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub(crate) id: VolumeId,
    pub(crate) name: String,
    pub(crate) created_unix_ms: i64,
    /// What snapshots of it are snapshots of.
    pub(crate) kind: ResourceKind,
    pub(crate) size_bytes: u64,
    /// The snapshot that it was made from, or restored to: what a reset goes back to. None where that is all zeros.
    pub(crate) origin: Option<Record>,
    /// What lies below its overlays: the origin, or a snapshot of this volume that was taken since.
    pub(crate) base: Option<Record>,
    /// The numbers of overlays that are not written to any more, from the oldest to the newest.
    pub(crate) sealed: Vec<u64>,
    /// The number of the overlay that is written to, larger than those.
    pub(crate) active: u64,
}

impl VolumeRecord {
    pub(crate) fn encode(&self, hasher: &Hasher) -> Result<Vec<u8>, DecodeError> {
        ENVELOPE.seal(&serial::encode(self)?, |bytes| hasher.record(bytes).0)
    }

    /// Returns the record and the minor version of the format it was written with.
    pub(crate) fn decode(bytes: &[u8], hasher: &Hasher) -> Result<(Self, u16), DecodeError> {
        let opened = ENVELOPE.open(bytes, |bytes| hasher.record(bytes).0)?;
        let record: Self = opened.value()?;
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
