//! Disk images: files and block devices, as sources and as targets.

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::world::io::ReadAt;
use crate::world::io::WriteAt;
use std::io;
use std::ops::Range;
use std::path::Path;

/// A file or block device that is captured. Never written to.
pub struct ImageFile {
    _p: (),
}

impl ImageFile {
    /// Opens a file or a block device to read it.
    pub fn open(_path: &Path) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "image"))
    }
}
impl ReadAt for ImageFile {
    fn len(&self) -> u64 {
        0
    }
    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is being restored: it has its name only once it is complete.
pub struct NewTarget {
    _p: (),
}
impl NewTarget {
    /// Makes a sparse file of `size_bytes` beside `path`, under a temporary name made with `session`.
    /// With `replace`, a file at `path` is replaced by [`finish`](Self::finish); without, it is refused now and then.
    pub fn create(_path: &Path, _size_bytes: u64, _replace: bool, _session: uuid::Uuid) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "target"))
    }
    /// Makes the file durable and gives it its name. Dropped without this, it disappears.
    pub fn finish(self) -> Result<()> {
        Ok(())
    }
}
impl ReadAt for NewTarget {
    fn len(&self) -> u64 {
        0
    }
    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
        Ok(())
    }
}
impl WriteAt for NewTarget {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn zero_at(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An existing file or block device that is restored in place.
pub struct OpenTarget {
    _p: (),
}
impl OpenTarget {
    /// Opens it, alone: refused if it is mounted or in use. A file that is shorter than `size_bytes` is made longer, and
    /// one that is longer is kept so.
    pub fn open(_path: &Path, _size_bytes: u64) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "target"))
    }
}
impl ReadAt for OpenTarget {
    fn len(&self) -> u64 {
        0
    }
    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
        Ok(())
    }
}
impl WriteAt for OpenTarget {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn zero_at(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
