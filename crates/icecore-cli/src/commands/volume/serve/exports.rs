//! Volumes and snapshots as exports of the NBD server.

use std::collections::HashSet;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::Result;
use icecore::image::ReadAt;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::SnapshotDisk;
use icecore::volume::Prefetch;
use icecore::volume::Volume;
use icecore_host::exports::SnapshotExport;
use icecore_host::exports::VolumeExport;
use icecore_nbd::Disk;
use icecore_nbd::ExportName;
use icecore_nbd::Exports;
use icecore_nbd::OpenError;

use crate::units;

/// The prefix of the names of snapshots.
const SNAPSHOT: &str = "snapshot:";
/// The exports of a server.
pub(crate) struct Served {
    repo: Arc<Repository>,
    cache: Arc<BlockCache>,
    volumes: Vec<Arc<Volume>>,
    /// The snapshots as the user named them.
    snapshots: Vec<(String, Arc<SnapshotDisk>)>,
    all_snapshots: bool,
    read_only: bool,
}

impl Served {
    pub(crate) fn new(
        repo: Arc<Repository>,
        cache: Arc<BlockCache>,
        volumes: Vec<Arc<Volume>>,
        snapshots: &[String],
        all_snapshots: bool,
        read_only: bool,
    ) -> Result<Self> {
        let open = |spec: &String| {
            let id = icecore::snapshot::find(&repo, spec)?.id;
            let disk = SnapshotDisk::open(Arc::clone(&repo), id, Arc::clone(&cache))?;
            Ok((spec.clone(), Arc::new(disk)))
        };
        let snapshots = snapshots.iter().map(open).collect::<Result<Vec<_>>>()?;
        Ok(Self { repo, cache, volumes, snapshots, all_snapshots, read_only })
    }

    pub(crate) fn volumes(&self) -> &[Arc<Volume>] {
        &self.volumes
    }

    /// Returns the snapshots below the volumes and those that are served, with what they are served
    /// as.
    pub(crate) fn to_prefetch(&self) -> Result<Vec<(String, Prefetch)>> {
        let mut near = Vec::<(String, Prefetch)>::new();
        for volume in &self.volumes {
            near.extend(Prefetch::of_volume(volume)?.map(|prefetch| (volume.name().to_owned(), prefetch)));
        }
        for (spec, disk) in &self.snapshots {
            let prefetch = Prefetch::of_snapshot(Arc::clone(&self.repo), disk.id(), &self.cache)?;
            near.push((format!("{SNAPSHOT}{spec}"), prefetch));
        }
        let mut known = HashSet::new();
        near.retain(|(_, prefetch)| known.insert(prefetch.snapshot()));
        Ok(near)
    }

    pub(crate) fn serves_all_snapshots(&self) -> bool {
        self.all_snapshots
    }

    /// Returns whether clients may write to an export.
    pub(crate) fn may_be_written(&self, export: &str) -> bool {
        !self.read_only && self.volumes.iter().any(|volume| volume.name() == export)
    }

    /// Returns the exports with fixed names.
    pub(crate) fn listed(&self) -> Vec<ExportName> {
        let how = if self.read_only { "read-only" } else { "writable" };
        let volumes = self.volumes.iter().map(|volume| ExportName {
            name: volume.name().to_owned(),
            description: format!("volume, {}, {how}", units::bytes(volume.len())),
        });
        let snapshots = self.snapshots.iter().map(|(spec, disk)| ExportName {
            name: format!("{SNAPSHOT}{spec}"),
            description: format!("snapshot, {}, read-only", units::bytes(disk.len())),
        });
        volumes.chain(snapshots).collect()
    }

    fn open_snapshot(&self, spec: &str) -> std::result::Result<Arc<dyn Disk>, OpenError> {
        if let Some((_, disk)) = self.snapshots.iter().find(|(named, _)| named == spec) {
            return Ok(Arc::new(SnapshotExport(Arc::clone(disk))));
        }
        if !self.all_snapshots {
            return Err(OpenError::Unknown);
        }
        let opened = icecore::snapshot::find(&self.repo, spec).and_then(|snapshot| {
            SnapshotDisk::open(Arc::clone(&self.repo), snapshot.id, Arc::clone(&self.cache))
        });
        match opened {
            Ok(disk) => Ok(Arc::new(SnapshotExport(Arc::new(disk)))),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(OpenError::Unknown),
            Err(error) => Err(OpenError::Failed(error.to_string())),
        }
    }
}

impl Exports for Served {
    fn list(&self) -> Vec<ExportName> {
        self.listed()
    }

    fn open(&self, name: &str) -> std::result::Result<Arc<dyn Disk>, OpenError> {
        let of_volume = |volume: &Arc<Volume>| {
            let export = VolumeExport::new(Arc::clone(volume), self.read_only);
            export
                .map(|export| Arc::new(export) as Arc<dyn Disk>)
                .map_err(|error| OpenError::Failed(error.to_string()))
        };
        match (self.volumes.as_slice(), self.snapshots.as_slice()) {
            ([volume], []) if name.is_empty() => return of_volume(volume),
            ([], [(_, disk)]) if name.is_empty() => return Ok(Arc::new(SnapshotExport(Arc::clone(disk)))),
            _ => {}
        }
        if let Some(volume) = self.volumes.iter().find(|volume| volume.name() == name) {
            return of_volume(volume);
        }
        self.open_snapshot(name.strip_prefix(SNAPSHOT).ok_or(OpenError::Unknown)?)
    }
}
