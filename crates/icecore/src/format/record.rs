//! A file of `snapshots/`: one record for each snapshot.

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::FORMAT_MINOR;
use crate::format::envelope::Envelope;
use crate::format::page::PageRef;
use crate::format::serial;
use crate::format::serial::SERIAL_BYTES_MAX;
use crate::pure::hash::Hasher;
use crate::words::ids::Digest;
use crate::words::ids::PageId;
use crate::words::ids::SnapshotId;
use crate::words::names::Labels;
use crate::words::names::NAME_BYTES_MAX;
use crate::words::names::ResourceKind;
use crate::words::names::TAGS_MAX;
use crate::words::names::check_labels;
use crate::words::sizes::IMAGE_BYTES_MAX;
use crate::words::time::is_future;

const ENVELOPE: Envelope = Envelope {
    what: "snapshot record",
    magic: *b"ICESNAP\n",
    major: FORMAT_MAJOR,
    minor: FORMAT_MINOR,
    bytes_max: SERIAL_BYTES_MAX,
};

/// The identity and state of an image file: equal identities mean that nothing was written in
/// between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device of the file.
    pub device: u64,
    /// The file's inode number.
    pub inode: u64,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// The time when its content was last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// The time when its inode was last changed, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

/// The statistics of a capture in bytes: the data of the image, and what it added to the
/// repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaptureStats {
    /// Data in the image, without zeros and holes.
    pub data_bytes: u64,
    /// Data that was new to the repository, before compression.
    pub new_bytes: u64,
    /// The size of the new data in the repository.
    pub stored_bytes: u64,
    /// The size of the new manifest pages in the repository.
    pub manifest_bytes: u64,
}

/// A snapshot, as its record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: SnapshotId,
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// Its name, unique among the snapshots of its resource unless whoever gave it said that it may
    /// repeat.
    pub name: String,
    /// What it is a snapshot of.
    pub kind: ResourceKind,
    /// The name of that droplet or volume.
    pub resource: String,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// Whether it is protected from deletion.
    pub protected: bool,
    /// The snapshot that its image was compared with, which may be gone.
    pub parent: Option<SnapshotId>,
    /// The size of the image in bytes.
    pub size_bytes: u64,
    /// The root page of the manifest; none if the image is all zero.
    pub(crate) root: Option<PageRef>,
    /// The digest of what the image contains, not how it is stored: equal for equal images in one
    /// repository.
    pub content: Digest,
    /// What its capture did.
    pub stats: CaptureStats,
    /// The file that its image was.
    pub(crate) source: Option<FileIdentity>,
    /// Its labels.
    pub labels: Labels,
}

/// The identity of a snapshot and its manifest. The id alone does not say what a snapshot needs: a
/// copy from another repository keeps the id, and a snapshot that was deleted and copied again can
/// have its blocks in other chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ManifestKey {
    pub(crate) id: SnapshotId,
    root: Option<PageId>,
}

impl Record {
    /// Returns a snapshot of an image without a byte.
    pub fn new(
        id: SnapshotId,
        created_unix_ms: i64,
        kind: ResourceKind,
        resource: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            id,
            created_unix_ms,
            name: name.into(),
            kind,
            resource: resource.into(),
            tags: Vec::new(),
            protected: false,
            parent: None,
            size_bytes: 0,
            root: None,
            content: Digest::ZERO,
            stats: CaptureStats::default(),
            source: None,
            labels: Labels::new(),
        }
    }

    /// Returns the smallest disk that the image fits on, in GiB.
    pub fn min_disk_gib(&self) -> u64 {
        self.size_bytes.div_ceil(1 << 30)
    }

    /// Tells whether its time is later than `now_unix_ms`, by more than a minute: a clock was ahead
    /// when it was made, or when one before it was, or is behind now.
    pub fn is_from_the_future(&self, now_unix_ms: i64) -> bool {
        is_future(self.created_unix_ms, now_unix_ms)
    }

    /// Returns the time that rules go by, in milliseconds since 1970. Where it is dated later than
    /// `now_unix_ms`, that is the time in its id: one that was only dated after another one has the
    /// right one there.
    pub fn age_unix_ms(&self, now_unix_ms: i64) -> i64 {
        match self.is_from_the_future(now_unix_ms) {
            true => self.id.unix_ms().unwrap_or(self.created_unix_ms),
            false => self.created_unix_ms,
        }
    }

    /// Returns the key that distinguishes it from all records that need other pages and chunks.
    pub(crate) fn manifest_key(&self) -> ManifestKey {
        ManifestKey { id: self.id, root: self.root.map(|root| root.id) }
    }

    pub(crate) fn encode(&self, hasher: &Hasher) -> Result<Vec<u8>, DecodeError> {
        ENVELOPE.seal(&serial::encode(self)?, |bytes| hasher.record(bytes).0)
    }

    /// Returns the record and the minor version of the format it was written with.
    pub(crate) fn decode(bytes: &[u8], hasher: &Hasher) -> Result<(Self, u16), DecodeError> {
        let opened = ENVELOPE.open(bytes, |bytes| hasher.record(bytes).0)?;
        let record: Self = opened.value()?;
        record.check()?;
        Ok((record, opened.minor))
    }

    /// Checks what the encoding alone does not bound.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        if self.size_bytes > IMAGE_BYTES_MAX {
            return Err(DecodeError::bad("the size of the image", self.size_bytes));
        }
        if self.tags.len() > TAGS_MAX {
            return Err(DecodeError::bad("the number of tags", self.tags.len() as u64));
        }
        let texts = self.tags.iter().chain([&self.name, &self.resource]);
        if let Some(long) = texts.map(String::len).find(|len| *len > NAME_BYTES_MAX) {
            return Err(DecodeError::bad("the length of a name", long as u64));
        }
        check_decoded_labels(&self.labels)
    }
}

/// Checks decoded labels.
pub(crate) fn check_decoded_labels(labels: &Labels) -> Result<(), DecodeError> {
    check_labels(labels)
        .map_err(|_| DecodeError::bad("the labels, which are this many,", labels.len() as u64))
}
