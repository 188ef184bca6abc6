//! The exports of NBD clients. Volumes and snapshots are named by their ids and are not listed: a
//! client that does not know an id cannot open the disk, whatever account it belongs to.

use std::path::PathBuf;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::snapshot::SnapshotDisk;
use icecore::snapshot::SnapshotId;
use icecore_host::exports::SnapshotExport;
use icecore_host::exports::VolumeExport;
use icecore_nbd::Disk;
use icecore_nbd::ExportName;
use icecore_nbd::Exports;
use icecore_nbd::OpenError;
use uuid::Uuid;

use crate::pool::Pools;

/// All disks served over NBD.
pub(crate) struct Served(pub(crate) Arc<Pools>);

impl Served {
    fn find(&self, id: Uuid) -> icecore::Result<Option<Arc<dyn Disk>>> {
        for pool in self.0.values() {
            if let Some(volume) = pool.volumes()?.get(id) {
                let disk = pool.disks().open(&volume.name)?;
                let opened = VolumeExport::new(disk, false)
                    .map_err(|error| icecore::Error::io(format!("opening volume {}", volume.name), error))?;
                return Ok(Some(Arc::new(opened)));
            }
            match SnapshotDisk::open(Arc::clone(pool.repo()), SnapshotId(id), Arc::clone(pool.cache())) {
                Ok(disk) => return Ok(Some(Arc::new(SnapshotExport(Arc::new(disk))))),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Exports for Served {
    fn list(&self) -> Vec<ExportName> {
        Vec::new()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Disk>, OpenError> {
        let id = name.parse().map_err(|_| OpenError::Unknown)?;
        match self.find(id) {
            Ok(Some(disk)) => Ok(disk),
            Ok(None) => Err(OpenError::Unknown),
            Err(error) => Err(OpenError::Failed(error.to_string())),
        }
    }
}

/// The socket where NBD clients connect.
#[derive(Debug, Clone)]
pub(crate) struct NbdAddress(pub(crate) PathBuf);

impl NbdAddress {
    /// Returns the URI of an export for NBD clients.
    pub(crate) fn uri(&self, id: Uuid) -> String {
        icecore_nbd::unix_uri(&self.0, &id.to_string())
    }
}
