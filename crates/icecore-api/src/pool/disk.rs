//! An open volume as clients see it. The server can take it away from them, as if somebody pulled
//! the disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::Result;
use icecore::volume::Volume;
use icecore::volume::VolumeSnapshotOptions;
use icecore_host::control;
use icecore_host::control::Socket;
use icecore_host::exports::Lent;

/// An open volume, until it is taken away.
pub(crate) struct OpenDisk {
    /// The socket where other programs request snapshots. It closes before the volume does, because
    /// the next user of the volume opens its own.
    control: Mutex<Option<Socket>>,
    volume: RwLock<Option<Volume>>,
}

impl OpenDisk {
    /// Wraps an open volume.
    pub(crate) fn new(volume: Volume) -> Self {
        Self { control: Mutex::default(), volume: RwLock::new(Some(volume)) }
    }

    /// Takes snapshots when other programs request them; `dir` is the volume's directory.
    pub(crate) fn listen(self: &Arc<Self>, dir: &Path, name: &str) -> Result<()> {
        let disk = Arc::downgrade(self);
        let take = move |asked: &VolumeSnapshotOptions| {
            let gone = || Error::new(ErrorKind::InUse, "the volume was just closed").with_hint("try again");
            let disk = disk.upgrade().ok_or_else(gone)?;
            disk.with(|volume| control::take(volume, asked, &NoProgress)).map_err(|_| gone())?
        };
        *self.control() = Some(Socket::listen(dir, name, take)?);
        Ok(())
    }

    fn control(&self) -> MutexGuard<'_, Option<Socket>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the volume away from all its users. Waits for running operations; later ones fail.
    pub(crate) fn take_away(&self) {
        drop(self.control().take());
        drop(self.volume.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Lent for OpenDisk {
    fn with<T>(&self, what: impl FnOnce(&Volume) -> T) -> io::Result<T> {
        let volume = self.volume.read().unwrap_or_else(PoisonError::into_inner);
        volume.as_ref().map(what).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotConnected, "the disk was replaced or deleted: reconnect")
        })
    }
}
