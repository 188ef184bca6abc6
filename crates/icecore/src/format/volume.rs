//! The file `record` of a copy-on-write volume: its snapshots and overlays.

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::FORMAT_MINOR;
use crate::format::envelope::Envelope;
use crate::format::journal::decode_record;
use crate::format::record::Record;
use crate::format::record::check_decoded_labels;
use crate::format::serial;
use crate::format::serial::SERIAL_BYTES_MAX;
use crate::pure::hash::Hasher;
use crate::words::ids::VolumeId;
use crate::words::names::Labels;
use crate::words::names::NAME_BYTES_MAX;
use crate::words::names::ResourceKind;
use crate::words::sizes::IMAGE_BYTES_MAX;

/// The most sealed overlays of a volume.
pub(crate) const SEALED_MAX: usize = 64;

const ENVELOPE: Envelope = Envelope {
    what: "volume record",
    magic: *b"ICEVOLU\n",
    major: FORMAT_MAJOR,
    minor: FORMAT_MINOR,
    bytes_max: SERIAL_BYTES_MAX,
};

/// The record of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The number of the last entry of the journal that says what the volume stands on, or zero.
    pub(crate) stands_at: u64,
    /// The epoch of the keys of its overlays, if the repository is sealed.
    pub(crate) epoch: u32,
}

/// The fields of the file. The records of snapshots come with their lengths, so that a later
/// version can add to them.
#[derive(Serialize, Deserialize)]
struct Fields {
    id: VolumeId,
    name: String,
    created_unix_ms: i64,
    kind: ResourceKind,
    size_bytes: u64,
    origin: Option<Vec<u8>>,
    base: Option<Vec<u8>>,
    sealed: Vec<u64>,
    active: u64,
    labels: Labels,
    stands_at: u64,
    epoch: u32,
}

impl VolumeRecord {
    pub(crate) fn encode(&self, hasher: &Hasher) -> Result<Vec<u8>, DecodeError> {
        let Self {
            id,
            name,
            created_unix_ms,
            kind,
            size_bytes,
            origin,
            base,
            sealed,
            active,
            labels,
            stands_at,
            epoch,
        } = self.clone();
        let framed = |record: Option<Record>| record.as_ref().map(serial::encode).transpose();
        let (origin, base) = (framed(origin)?, framed(base)?);
        let fields = Fields {
            id,
            name,
            created_unix_ms,
            kind,
            size_bytes,
            origin,
            base,
            sealed,
            active,
            labels,
            stands_at,
            epoch,
        };
        ENVELOPE.seal(&serial::encode(&fields)?, |bytes| hasher.record(bytes).0)
    }

    /// Returns the record and the minor version of the format it was written with.
    pub(crate) fn decode(bytes: &[u8], hasher: &Hasher) -> Result<(Self, u16), DecodeError> {
        let opened = ENVELOPE.open(bytes, |bytes| hasher.record(bytes).0)?;
        let fields: Fields = opened.value()?;
        let framed =
            |bytes: Option<Vec<u8>>| bytes.map(|bytes| decode_record(&bytes, opened.decoder)).transpose();
        let Fields {
            id,
            name,
            created_unix_ms,
            kind,
            size_bytes,
            origin,
            base,
            sealed,
            active,
            labels,
            stands_at,
            epoch,
        } = fields;
        let (origin, base) = (framed(origin)?, framed(base)?);
        let record = Self {
            id,
            name,
            created_unix_ms,
            kind,
            size_bytes,
            origin,
            base,
            sealed,
            active,
            labels,
            stands_at,
            epoch,
        };
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
