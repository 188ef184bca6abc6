//! An open volume as clients see it, which can be taken away from them, as a disk can be pulled out.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::ReadAt;
use icecore::Result;
use icecore::SnapshotDisk;
use icecore::Volume;
use icecore::WriteAt;
use icecore_nbd::Disk;

use crate::control;
use crate::control::Asked;
use crate::control::Socket;

/// The context that tells which blocks were written since the snapshot below.
const DIRTY: &str = "icecore:dirty";
/// Extents that are told at once.
const EXTENTS_MAX: usize = 1024;

/// An open volume, until it is taken away.
pub(crate) struct OpenDisk {
    /// Where other programs ask for snapshots of it. It ends before the volume does: whoever opens that next has its own.
    control: Mutex<Option<Socket>>,
    volume: RwLock<Option<Volume>>,
}

impl OpenDisk {
    /// Lends a volume.
    pub(crate) fn new(volume: Volume) -> Self {
        Self { control: Mutex::default(), volume: RwLock::new(Some(volume)) }
    }

    /// Takes snapshots when other programs ask for them; `repository` is the directory that the volume is in.
    pub(crate) fn listen(self: &Arc<Self>, repository: &Path, name: &str) -> Result<()> {
        let disk = Arc::downgrade(self);
        let take = move |asked: &Asked| {
            let gone =
                || Error::new(ErrorKind::InUse, "the volume has just been closed").with_hint("try again");
            let disk = disk.upgrade().ok_or_else(gone)?;
            disk.with(|volume| control::take(volume, asked, &NoProgress)).map_err(|_| gone())?
        };
        *self.control() = Some(Socket::listen(repository, name, take)?);
        Ok(())
    }

    fn control(&self) -> MutexGuard<'_, Option<Socket>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the volume away from whoever uses it: what is being done is waited for, and what comes after it fails.
    pub(crate) fn take_away(&self) {
        drop(self.control().take());
        drop(self.volume.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Does something with the volume, which is not taken away meanwhile.
    pub(crate) fn with<T>(&self, what: impl FnOnce(&Volume) -> T) -> io::Result<T> {
        let volume = self.volume.read().unwrap_or_else(PoisonError::into_inner);
        volume.as_ref().map(what).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotConnected, "the disk was replaced or deleted: connect anew")
        })
    }
}

/// A volume as one client sees it: its size stays, also where the volume grows meanwhile.
pub(crate) struct VolumeExport {
    disk: Arc<OpenDisk>,
    bytes: u64,
}

impl VolumeExport {
    /// Shows a disk as it is now.
    pub(crate) fn new(disk: Arc<OpenDisk>) -> io::Result<Self> {
        let bytes = disk.with(Volume::len)?;
        Ok(Self { disk, bytes })
    }
}

impl ReadAt for VolumeExport {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.with(|volume| volume.read_at(offset, buffer))?
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let next = self.disk.with(|volume| volume.next_data(offset))??;
        Ok(next.map(|range| range.start..range.end.min(self.bytes)).filter(|range| range.start < range.end))
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.disk.with(|volume| volume.will_need(range)).unwrap_or(false)
    }
}

impl WriteAt for VolumeExport {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.with(|volume| volume.write_at(offset, bytes))?
    }

    fn will_write(&self, range: Range<u64>) -> io::Result<()> {
        self.disk.with(|volume| volume.will_write(range))?
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        self.disk.with(|volume| volume.zero_at(range))?
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.with(WriteAt::sync)?
    }
}

impl Disk for VolumeExport {
    fn writable(&self) -> Option<&dyn WriteAt> {
        Some(self)
    }

    fn contexts(&self) -> &[&'static str] {
        &[DIRTY]
    }

    fn status(&self, _context: &str, range: Range<u64>) -> io::Result<Vec<(u64, u32)>> {
        self.disk.with(|volume| {
            let mut extents = Vec::new();
            let mut at = range.start;
            while at < range.end && extents.len() < EXTENTS_MAX {
                let dirty = volume.next_dirty(at).unwrap_or(range.end..range.end);
                if dirty.start > at {
                    let end = dirty.start.min(range.end);
                    extents.push((end - at, 0));
                    at = end;
                } else {
                    extents.push((dirty.end - at, 1));
                    at = dirty.end;
                }
            }
            extents
        })
    }
}

/// A snapshot, to be read.
pub(crate) struct SnapshotExport(pub(crate) SnapshotDisk);

impl ReadAt for SnapshotExport {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.0.next_data(offset)
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.0.will_need(range)
    }
}

impl Disk for SnapshotExport {
    fn writable(&self) -> Option<&dyn WriteAt> {
        None
    }

    fn status(&self, context: &str, _range: Range<u64>) -> io::Result<Vec<(u64, u32)>> {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a snapshot has no context {context}")))
    }
}
