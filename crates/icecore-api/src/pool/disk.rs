//! An open volume as clients see it. It can be taken away from them, as a disk can be pulled out.

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
    /// Where other programs ask for snapshots of it. It ends before the volume does: whoever opens
    /// that next has its own.
    control: Mutex<Option<Socket>>,
    volume: RwLock<Option<Volume>>,
}

impl OpenDisk {
    /// Lends a volume.
    pub(crate) fn new(volume: Volume) -> Self {
        Self { control: Mutex::default(), volume: RwLock::new(Some(volume)) }
    }

    /// Takes snapshots when other programs ask for them; `repository` is the directory that the
    /// volume is in.
    pub(crate) fn listen(self: &Arc<Self>, repository: &Path, name: &str) -> Result<()> {
        let disk = Arc::downgrade(self);
        let take = move |asked: &VolumeSnapshotOptions| {
            let gone = || Error::new(ErrorKind::InUse, "the volume was just closed").with_hint("try again");
            let disk = disk.upgrade().ok_or_else(gone)?;
            disk.with(|volume| control::take(volume, asked, &NoProgress)).map_err(|_| gone())?
        };
        *self.control() = Some(Socket::listen(repository, name, take)?);
        Ok(())
    }

    fn control(&self) -> MutexGuard<'_, Option<Socket>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the volume away from whoever uses it: what is being done is waited for, and what comes
    /// after it fails.
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
