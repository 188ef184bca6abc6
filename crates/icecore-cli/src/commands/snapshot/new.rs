//! What a new snapshot is given, whatever it is taken of.

use icecore::snapshot::CaptureOptions;
use icecore::snapshot::ResourceKind;
use icecore::volume::VolumeSnapshotOptions;

use crate::host;
use crate::units::parse_level;

#[derive(Debug, clap::Args)]
pub(crate) struct NewSnapshotArgs {
    /// The name of the snapshot, unique for its resource [default: the resource and the time]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A tag for the snapshot; can be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// The zstd level for new data: -7 (fast) to 19 (small) [default: the repository's]
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true, value_parser = parse_level)]
    pub(crate) level: Option<i32>,
    /// Do not decode and compare compressed data before writing it
    #[arg(long)]
    pub(crate) no_check: bool,
}

impl NewSnapshotArgs {
    /// Returns the options for a snapshot of an image.
    pub(crate) fn of_image(
        &self,
        created_unix_ms: i64,
        kind: ResourceKind,
        resource: String,
        name: String,
    ) -> CaptureOptions {
        let mut tags = self.tags.clone();
        tags.sort();
        tags.dedup();
        CaptureOptions {
            tags,
            level: self.level,
            check: !self.no_check,
            ..CaptureOptions::new(host::new_snapshot_id(), created_unix_ms, kind, resource, name)
        }
    }

    /// Returns the options for a snapshot of a volume.
    pub(crate) fn of_volume(&self, created_unix_ms: i64, name: String) -> VolumeSnapshotOptions {
        VolumeSnapshotOptions {
            tags: self.tags.clone(),
            level: self.level,
            check: !self.no_check,
            ..VolumeSnapshotOptions::new(host::new_snapshot_id(), created_unix_ms, name)
        }
    }
}
