//! The file `record` of a copy-on-write volume: what it is made of.

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::LABELS_MINOR;
use crate::format::envelope::Envelope;
use crate::format::record::MINOR_WITHOUT_LABELS;
use crate::format::record::Record;
use crate::format::record::sound_labels;
use crate::format::serial;
use crate::pure::hash::Hasher;
use crate::words::ids::VolumeId;
use crate::words::names::Labels;
use crate::words::names::NAME_BYTES_MAX;
use crate::words::names::ResourceKind;
use crate::words::sizes::IMAGE_BYTES_MAX;

/// The most overlays that a volume has beside the one that is written to.
pub(crate) const SEALED_MAX: usize = 64;

const ENVELOPE: Envelope =
    Envelope { what: "volume record", magic: *b"ICEVOLU\n", major: FORMAT_MAJOR, minor: LABELS_MINOR };

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
    /// What programs note about it.
    #[serde(skip)]
    pub(crate) labels: Labels,
}

/// What version 2.2 has behind all else: the labels of the origin, of the base, and of the volume.
#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
struct AllLabels(Labels, Labels, Labels);

impl VolumeRecord {
    /// Encodes it as the lowest minor version that can say it.
    pub(crate) fn encode(&self, hasher: &Hasher) -> Result<Vec<u8>, DecodeError> {
        let of =
            |record: &Option<Record>| record.as_ref().map(|record| record.labels.clone()).unwrap_or_default();
        let labels = AllLabels(of(&self.origin), of(&self.base), self.labels.clone());
        let (minor, body) = match labels == AllLabels::default() {
            true => (MINOR_WITHOUT_LABELS, serial::encode(self)?),
            false => (LABELS_MINOR, serial::encode(&(self, labels))?),
        };
        ENVELOPE.seal_as(minor, &body, |bytes| hasher.record(bytes).0)
    }

    /// Puts labels where they belong.
    fn with_labels(mut self, AllLabels(origin, base, own): AllLabels) -> Result<Self, DecodeError> {
        for (record, labels) in [(&mut self.origin, origin), (&mut self.base, base)] {
            let labels = sound_labels(labels)?;
            match record {
                Some(record) => record.labels = labels,
                None if labels.is_empty() => {}
                None => return Err(DecodeError::bad("labels of no snapshot", labels.len() as u64)),
            }
        }
        Ok(Self { labels: sound_labels(own)?, ..self })
    }

    /// Returns the record and the minor version of the format it was written with.
    pub(crate) fn decode(bytes: &[u8], hasher: &Hasher) -> Result<(Self, u16), DecodeError> {
        let opened = ENVELOPE.open(bytes, |bytes| hasher.record(bytes).0)?;
        let record: Self = match opened.minor {
            ..LABELS_MINOR => opened.value()?,
            _ => {
                let (record, labels): (Self, AllLabels) = opened.value()?;
                record.with_labels(labels)?
            }
        };
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
