//! The options of a new snapshot, and the record made from them: for a captured image, a volume at
//! one moment, or a copy.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::format::record::CaptureStats;
use crate::format::record::FileIdentity;
use crate::format::record::Record;
use crate::repository::check_level;
use crate::verbs::capture::pipeline::Captured;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;
use crate::words::names::TAGS_MAX;
use crate::words::names::check_labels;
use crate::words::names::check_name;
use crate::words::names::check_tag;
use crate::world::io::ImageState;

/// The coarsest clock of a file system (FAT's has ticks of two seconds), in milliseconds.
const TICK_MS: i64 = 2_000;

/// The snapshot that a capture compares its image with. Comparing only saves time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The newest snapshot of the same resource.
    Newest,
    /// None.
    None,
    /// This one.
    Snapshot(SnapshotId),
}

/// The options of a capture.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// The id of the new snapshot: a fresh UUID of version 7.
    pub id: SnapshotId,
    /// The time, in milliseconds since 1970. If the resource has a snapshot that is not older, the
    /// new one is dated 1 ms after the newest, so a clock that goes back does not change their
    /// order.
    pub created_unix_ms: i64,
    /// The name.
    pub name: String,
    /// Whether another snapshot of the resource may have that name.
    pub name_may_repeat: bool,
    /// The kind of resource whose disk the image is.
    pub kind: ResourceKind,
    /// The name of the droplet or volume.
    pub resource: String,
    /// Tags, without duplicates.
    pub tags: Vec<String>,
    /// Labels set by programs: up to 32 values of up to 1024 bytes. Keys are 1 to 32 lower-case
    /// ASCII letters, digits and `-`, and begin with a letter.
    pub labels: BTreeMap<String, String>,
    /// What to compare with.
    pub parent: Parent,
    /// The zstd level for new data; if none is given, the repository's.
    pub level: Option<i32>,
    /// Whether compressed data is decoded and compared before it is written.
    pub check: bool,
    /// Whether a file with the same identity as at the parent's capture is assumed unchanged and
    /// not read.
    pub trust_mtime: bool,
    /// Whether to count only and write nothing. For very large images, the counts of new data are
    /// then an upper bound.
    pub dry_run: bool,
}

impl CaptureOptions {
    /// Returns the options for a snapshot of a volume, at a time in milliseconds since 1970. It
    /// needs no parent to compare with, because the changes are known.
    pub(crate) fn of_volume(
        options: &VolumeSnapshotOptions,
        created_unix_ms: i64,
        kind: ResourceKind,
        name: &str,
    ) -> Self {
        Self {
            name_may_repeat: options.name_may_repeat,
            tags: options.tags.clone(),
            labels: options.labels.clone(),
            parent: Parent::None,
            level: options.level,
            check: options.check,
            ..Self::new(options.id, created_unix_ms, kind, name, options.name.clone())
        }
    }

    /// Returns the options for a copy of a snapshot.
    pub(crate) fn of_copy(record: &Record, options: &CopyOptions) -> Self {
        let Record { id, created_unix_ms, kind, .. } = *record;
        Self {
            name_may_repeat: options.name_may_repeat,
            tags: record.tags.clone(),
            labels: record.labels.clone(),
            parent: Parent::None,
            level: options.level,
            check: options.check,
            ..Self::new(id, created_unix_ms, kind, record.resource.clone(), record.name.clone())
        }
    }

    /// Returns the record of such a snapshot, without anything about its image.
    pub(crate) fn draft(&self) -> Record {
        let (kind, resource, name) = (self.kind, self.resource.clone(), self.name.clone());
        Record::new(self.id, self.created_unix_ms, kind, resource, name)
    }

    /// Returns the usual options: no tags, no labels, compared with the newest snapshot of the
    /// resource, the repository's level, checked, and a name that no other snapshot of the resource
    /// has.
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
            name_may_repeat: false,
            kind,
            resource: resource.into(),
            tags: Vec::new(),
            labels: BTreeMap::new(),
            parent: Parent::Newest,
            level: None,
            check: true,
            trust_mtime: false,
            dry_run: false,
        }
    }
}

/// The options of a volume's snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumeSnapshotOptions {
    /// The id of the new snapshot: a fresh UUID of version 7.
    pub id: SnapshotId,
    /// The time, in milliseconds since 1970. It is moved later if the volume or one of its
    /// snapshots is not older.
    pub created_unix_ms: i64,
    /// The name.
    pub name: String,
    /// Whether another snapshot of the volume may have that name.
    pub name_may_repeat: bool,
    /// Tags, without duplicates.
    pub tags: Vec<String>,
    /// Labels set by programs.
    pub labels: BTreeMap<String, String>,
    /// The zstd level for new data; if none is given, the repository's.
    pub level: Option<i32>,
    /// Whether compressed data is decoded and compared before it is written.
    pub check: bool,
}

impl VolumeSnapshotOptions {
    /// Returns the usual options: no tags, no labels, the repository's level, checked, and a name
    /// that no other snapshot of the volume has.
    pub fn new(id: SnapshotId, created_unix_ms: i64, name: impl Into<String>) -> Self {
        Self {
            id,
            created_unix_ms,
            name: name.into(),
            name_may_repeat: false,
            tags: Vec::new(),
            labels: BTreeMap::new(),
            level: None,
            check: true,
        }
    }
}

/// The options of a copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The zstd level for data that is new in the other repository; if none is given, that
    /// repository's.
    pub level: Option<i32>,
    /// Whether compressed data is decoded and compared before it is written.
    pub check: bool,
    /// Whether another snapshot of the resource may have the same name there.
    pub name_may_repeat: bool,
}

impl Default for CopyOptions {
    /// Returns the usual options: the other repository's level, checked, and a name that no other
    /// snapshot of the resource has there.
    fn default() -> Self {
        Self { level: None, check: true, name_may_repeat: false }
    }
}

pub(super) fn check(options: &CaptureOptions) -> Result<()> {
    check_name("name", &options.name)?;
    check_name(options.kind.as_str(), &options.resource)?;
    options.tags.iter().try_for_each(|tag| check_tag(tag))?;
    if options.tags.len() > TAGS_MAX {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("a snapshot can have at most {TAGS_MAX} tags"),
        ));
    }
    check_labels(&options.labels)?;
    options.level.map_or(Ok(()), check_level)
}

pub(super) fn record_of(
    options: &CaptureOptions,
    parent: Option<&Record>,
    captured: &Captured,
    image: &ImageState,
) -> Record {
    let mut tags = options.tags.clone();
    tags.sort();
    tags.dedup();
    Record {
        id: options.id,
        created_unix_ms: options.created_unix_ms,
        name: options.name.clone(),
        kind: options.kind,
        resource: options.resource.clone(),
        tags,
        protected: false,
        parent: parent.map(|parent| parent.id),
        size_bytes: image.size_bytes,
        root: captured.root,
        content: captured.content,
        stats: CaptureStats {
            data_bytes: captured.data_bytes,
            new_bytes: captured.new_bytes,
            stored_bytes: captured.data.packed_bytes,
            manifest_bytes: captured.pages.packed_bytes,
        },
        source: image.identity.filter(|file| settled_before(file, options.created_unix_ms)),
        labels: options.labels.clone(),
    }
}

/// Tells whether a file was left alone for a while before the capture. A file written just before
/// could be written again within the same tick of the file system's clock and look unchanged.
fn settled_before(file: &FileIdentity, created_unix_ms: i64) -> bool {
    let changed_ns = file.mtime_ns.max(file.ctime_ns);
    changed_ns / 1_000_000 + TICK_MS <= created_unix_ms
}
