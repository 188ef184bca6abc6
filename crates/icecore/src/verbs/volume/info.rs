//! Information about volumes.

use std::collections::BTreeMap;

use crate::format::layout;
use crate::format::volume::VolumeRecord;
use crate::repository::Repository;
use crate::stores::volumes;
use crate::stores::volumes::dirty_map::BlockState;
use crate::stores::volumes::overlay::Overlay;
use crate::verbs::catalog::Snapshot;
use crate::words::error::Result;
use crate::words::ids::VolumeId;
use crate::words::names::ResourceKind;
use crate::words::names::check_volume_name;
use crate::words::units::block_bytes;

/// A copy-on-write volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Its id.
    pub id: VolumeId,
    /// Its name, unique in the repository.
    pub name: String,
    /// The kind of resource that its snapshots are of.
    pub kind: ResourceKind,
    /// When it was created, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The snapshot that it was created from or restored to, and to which a reset returns; none if
    /// that state is all zeros.
    pub origin: Option<Snapshot>,
    /// The snapshot below the volume's writes: the origin, or one that was taken of this volume. It
    /// may be deleted.
    pub base: Option<Snapshot>,
    /// Labels set by programs.
    pub labels: BTreeMap<String, String>,
}

impl From<VolumeRecord> for VolumeInfo {
    fn from(record: VolumeRecord) -> Self {
        let VolumeRecord { id, name, created_unix_ms, kind, size_bytes, origin, base, labels, .. } = record;
        Self { id, name, kind, created_unix_ms, size_bytes, origin, base, labels }
    }
}

/// A volume whose record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableVolume {
    /// Its name.
    pub name: String,
    /// The reason.
    pub reason: String,
}

/// All volumes of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeListing {
    /// The volumes with readable records, by name.
    pub volumes: Vec<VolumeInfo>,
    /// The volumes with unreadable records.
    pub unreadable: Vec<UnreadableVolume>,
}

/// Returns the directory of a volume's files, relative to the repository's. Whoever serves the
/// volume keeps sockets in it.
pub fn volume_dir(repo: &Repository, name: &str) -> String {
    layout::volume_dir(&repo.files().volume_key(name))
}

/// Returns the directory that has the directories of all volumes, relative to the repository's, and
/// the name of the file in each that is replaced whenever anything that [`VolumeInfo`] says has
/// changed. Whoever watches them need not list the volumes again and again.
pub fn watched_files() -> (&'static str, &'static str) {
    (layout::VOLUMES, layout::RECORD)
}

/// Returns the volume in a directory of [`watched_files`].
///
/// # Errors
/// As for [`find_volume`].
pub fn volume_in(repo: &Repository, dir: &str) -> Result<VolumeInfo> {
    check_volume_name(dir)?;
    volumes::load_in(repo.files(), dir).map(VolumeInfo::from)
}

/// Returns all volumes.
pub fn list_volumes(repo: &Repository) -> Result<VolumeListing> {
    let mut listing = VolumeListing::default();
    for (name, record) in volumes::load_all(repo.files())? {
        match record {
            Ok(record) => listing.volumes.push(record.into()),
            Err(error) => listing.unreadable.push(UnreadableVolume { name, reason: error.to_string() }),
        }
    }
    Ok(listing)
}

/// Returns the volume with this name.
///
/// # Errors
/// `NotFound` if there is none; `Corrupt` if its record cannot be read.
pub fn find_volume(repo: &Repository, name: &str) -> Result<VolumeInfo> {
    check_volume_name(name)?;
    volumes::load(repo.files(), name).map(VolumeInfo::from)
}

/// Returns how many bytes of a volume, in whole blocks, were written or zeroed since the snapshot
/// below it. If someone is writing to it, only synced writes count.
pub fn written_bytes(repo: &Repository, name: &str) -> Result<u64> {
    check_volume_name(name)?;
    let record = volumes::load(repo.files(), name)?;
    let mut blocks = 0;
    for number in record.sealed.iter().chain([&record.active]) {
        let overlay = Overlay::look(repo.files(), &record, *number)?;
        let regions = overlay.map.all();
        let count = |state| regions.iter().map(|(_, region)| region.count(state)).sum::<u64>();
        blocks += count(BlockState::Data) + count(BlockState::Zero);
    }
    Ok(block_bytes(blocks))
}
