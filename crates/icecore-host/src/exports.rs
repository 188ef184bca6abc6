//! Volumes and snapshots as exports for NBD clients.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::snapshot::SnapshotDisk;
use icecore::volume::Volume;
use icecore_nbd::Disk;

/// The metadata context that tells which blocks were written since the base.
const DIRTY: &str = "icecore:dirty";
/// The most extents in one answer.
const EXTENTS_MAX: usize = 1024;

/// An open volume that its owner may take back.
pub trait Lent: Send + Sync {
    /// Calls a function with the volume, which stays open meanwhile.
    ///
    /// # Errors
    /// `NotConnected` if it was taken back.
    fn with<T>(&self, what: impl FnOnce(&Volume) -> T) -> io::Result<T>;
}

impl Lent for Volume {
    fn with<T>(&self, what: impl FnOnce(&Volume) -> T) -> io::Result<T> {
        Ok(what(self))
    }
}

/// A volume as one client sees it: its size stays the same even if the volume grows.
pub struct VolumeExport<V> {
    volume: Arc<V>,
    bytes: u64,
    read_only: bool,
}

impl<V: Lent> VolumeExport<V> {
    /// Exports a volume with its current size.
    ///
    /// # Errors
    /// `NotConnected` if it was taken back.
    pub fn new(volume: Arc<V>, read_only: bool) -> io::Result<Self> {
        let bytes = volume.with(Volume::len)?;
        Ok(Self { volume, bytes, read_only })
    }
}

impl<V: Lent> ReadAt for VolumeExport<V> {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.volume.with(|volume| volume.read_at(offset, buffer))?
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let next = self.volume.with(|volume| volume.next_data(offset))??;
        Ok(next.map(|range| range.start..range.end.min(self.bytes)).filter(|range| range.start < range.end))
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.volume.with(|volume| volume.will_need(range)).unwrap_or(false)
    }
}

impl<V: Lent> WriteAt for VolumeExport<V> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.volume.with(|volume| volume.write_at(offset, bytes))?
    }

    fn will_write(&self, range: Range<u64>) -> io::Result<()> {
        self.volume.with(|volume| volume.will_write(range))?
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        self.volume.with(|volume| volume.zero_at(range))?
    }

    fn sync(&self) -> io::Result<()> {
        self.volume.with(WriteAt::sync)?
    }
}

impl<V: Lent> Disk for VolumeExport<V> {
    fn writable(&self) -> Option<&dyn WriteAt> {
        if self.read_only { None } else { Some(self) }
    }

    fn contexts(&self) -> &[&'static str] {
        &[DIRTY]
    }

    fn status(&self, _context: &str, range: Range<u64>) -> io::Result<Vec<(u64, u32)>> {
        self.volume.with(|volume| dirty_extents(volume, range))
    }
}

/// Returns the lengths of extents from the start of a range, each with 1 if it was written since
/// the base and 0 if not.
fn dirty_extents(volume: &Volume, range: Range<u64>) -> Vec<(u64, u32)> {
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
}

/// A snapshot, read-only.
pub struct SnapshotExport(pub Arc<SnapshotDisk>);

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
