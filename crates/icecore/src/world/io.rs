//! The pair of traits for everything that is read and written at an offset: images, restore
//! targets, views of snapshots, exports, test doubles.

use std::io;
use std::ops::Range;

use crate::format::record::FileIdentity;

/// The state of an image that is known without reading it; compared before and after a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageState {
    /// The size in bytes.
    pub size_bytes: u64,
    /// The identity of the file and its last change; none for devices and other objects that are
    /// not files.
    pub identity: Option<FileIdentity>,
    /// The number of sectors ever written to the device, if the kernel counts them.
    pub sectors_written: Option<u64>,
    /// A number that changes with the file's name, owner, mode or number of links.
    pub standing: Option<u64>,
}

impl ImageState {
    /// Returns whether an image was written to between this state and the state `after`.
    ///
    /// The change time of an inode shows writes of a program that sets the modification time back.
    /// It also changes with names, owners, modes and links: if one of those explains it, it shows
    /// nothing.
    pub fn was_written(&self, after: &Self) -> bool {
        let content = |state: &Self| {
            let identity = state.identity.map(|file| FileIdentity { ctime_ns: 0, ..file });
            (state.size_bytes, identity, state.sectors_written)
        };
        content(self) != content(after) || self.identity != after.identity && self.standing == after.standing
    }
}

/// An object with a length that is read at an offset. An implementation repeats calls that a signal
/// interrupted.
pub trait ReadAt: Send + Sync {
    /// Returns the length in bytes.
    fn len(&self) -> u64;

    /// Returns whether the length is zero.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset` on. Too few bytes there are an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Returns the first range at or after `offset` that may hold anything but zeros, or none.
    /// Everything between `offset` and it is a hole.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok((offset < self.len()).then(|| offset..self.len()))
    }

    /// Announces that `range` will be read soon. Returns whether it must be fetched from a medium,
    /// so that [`done_with`](Self::done_with) should follow.
    fn will_need(&self, _range: Range<u64>) -> bool {
        false
    }

    /// Announces that `range` was read, and need not stay in memory.
    fn done_with(&self, _range: Range<u64>) {}

    /// Returns the current state that is known without reading.
    fn state(&self) -> io::Result<ImageState> {
        Ok(ImageState { size_bytes: self.len(), identity: None, sectors_written: None, standing: None })
    }
}

/// An object that is also written at an offset.
pub trait WriteAt: ReadAt {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Announces that all of `range` will be written soon, so that its space can be allocated at
    /// once. An error, such as a full file system, is the one that the write would have met.
    fn will_write(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    /// Makes `range` read as zeros, as a hole if possible.
    fn zero_at(&self, range: Range<u64>) -> io::Result<()>;

    /// Makes a part of `range` read as zeros, if that is less work than checking whether it already
    /// does, and returns that part: an empty one, at the start, if it is not.
    fn zero_unread(&self, range: Range<u64>) -> io::Result<Range<u64>> {
        Ok(range.start..range.start)
    }

    /// Returns once everything written is on the medium.
    fn sync(&self) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| start.checked_add(buffer.len()).map(|end| start..end));
        let bytes = range.and_then(|range| self.get(range)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buffer)
    }
}
