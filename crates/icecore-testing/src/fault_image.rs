//! Images and restore targets that fail on purpose, for tests.

use std::io;
use std::ops::Range;

use icecore::image::ImageState;
use icecore::image::ReadAt;
use icecore::image::WriteAt;

use crate::fault::Fault;

/// An image that wraps another one and fails on purpose.
pub struct FaultImage<'a> {
    inner: &'a dyn ReadAt,
    fault: Fault,
}

impl<'a> FaultImage<'a> {
    /// Returns an image whose calls fail as `fault` decides.
    pub fn new(inner: &'a dyn ReadAt, fault: Fault) -> Self {
        Self { inner, fault }
    }
}

impl ReadAt for FaultImage<'_> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.fault.read("read_at", "image")?;
        self.inner.read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.fault.read("next_data", "image")?;
        self.inner.next_data(offset)
    }

    fn state(&self) -> io::Result<ImageState> {
        self.fault.read("state", "image")?;
        self.inner.state()
    }
}

/// A restore target that wraps another one and fails on purpose.
pub struct FaultTarget<'a> {
    inner: &'a dyn WriteAt,
    fault: Fault,
}

impl<'a> FaultTarget<'a> {
    /// Returns a target whose calls fail as `fault` decides.
    pub fn new(inner: &'a dyn WriteAt, fault: Fault) -> Self {
        Self { inner, fault }
    }
}

impl ReadAt for FaultTarget<'_> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.fault.read("read_at", "target")?;
        self.inner.read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.fault.read("next_data", "target")?;
        self.inner.next_data(offset)
    }
}

impl WriteAt for FaultTarget<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.fault.change("write_at", "target") {
            // A failing write may have written a part.
            self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write_at(offset, bytes)
    }

    fn will_write(&self, range: Range<u64>) -> io::Result<()> {
        self.fault.change("will_write", "target")?;
        self.inner.will_write(range)
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        self.fault.change("zero_at", "target")?;
        self.inner.zero_at(range)
    }

    fn sync(&self) -> io::Result<()> {
        self.fault.change("sync", "target")?;
        self.inner.sync()
    }
}
