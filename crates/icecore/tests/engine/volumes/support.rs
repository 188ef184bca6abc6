//! What the tests of volumes stand on.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::Error;
use icecore::NoProgress;
use icecore::Progress;
use icecore::image::ReadAt;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::SnapshotId;
use icecore::volume::Volume;
use icecore::volume::VolumeId;
use icecore::volume::VolumeOptions;
use icecore::volume::VolumeSnapshotOptions;
use icecore_testing::repository::options;
use uuid::Uuid;

/// Returns options for a volume made of a snapshot.
pub(crate) fn volume_options(
    name: &str,
    snapshot: Option<SnapshotId>,
    size_bytes: Option<u64>,
) -> VolumeOptions {
    VolumeOptions {
        id: VolumeId(Uuid::from_u128(77)),
        name: name.to_owned(),
        created_unix_ms: 1_800_000_000_000,
        kind: None,
        snapshot,
        size_bytes,
        labels: BTreeMap::new(),
    }
}

/// Opens a volume as a process of its own would.
pub(crate) fn open(repo: &Arc<Repository>, name: &str) -> icecore::Result<Volume> {
    Volume::open(Arc::clone(repo), name, BlockCache::new(16 << 20))
}

/// Takes a snapshot of a volume.
pub(crate) fn snapshot(volume: &Volume) -> icecore::Result<SnapshotId> {
    snapshot_with(volume, &NoProgress)
}

/// Takes a snapshot of a volume that may be stopped.
pub(crate) fn snapshot_with(volume: &Volume, progress: &dyn Progress) -> icecore::Result<SnapshotId> {
    let options = options(volume.name());
    let options = VolumeSnapshotOptions::new(options.id, options.created_unix_ms, options.name);
    icecore::volume::snapshot_volume(volume, &options, progress).map(|report| report.snapshot.id)
}

/// Returns all that a disk shows.
pub(crate) fn content(disk: &dyn ReadAt) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(disk.len()).unwrap()];
    disk.read_at(0, &mut bytes).map_err(|error| Error::io("reading a volume", error))?;
    Ok(bytes)
}
