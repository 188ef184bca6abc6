//! The one pair of traits for everything that is read and written at an offset: images, restore targets, views of
//! snapshots, exports, test doubles.

use std::io;
use std::ops::Range;

use crate::format::record::FileIdentity;

/// What can be known of an image without reading it; compared before and after a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageState {
    /// The size in bytes.
    pub size_bytes: u64,
    /// Which file it is and when it was last changed; none for devices and for what is not a file.
    pub identity: Option<FileIdentity>,
    /// Sectors ever written to the device, where the kernel counts them.
    pub sectors_written: Option<u64>,
    /// A number that is another one when the file's name, owner, mode or number of links is.
    pub standing: Option<u64>,
}

impl ImageState {
    /// Tells whether what was an image in this state was written to by the time when it was in the state `after`.
    ///
    /// The time at which an inode changed shows writes of whoever sets the other one back. It changes with names, owners, modes
    /// and links too: where one of those explains it, it shows nothing.
    pub fn was_written(&self, after: &Self) -> bool {
        let content = |state: &Self| {
            let identity = state.identity.map(|file| FileIdentity { ctime_ns: 0, ..file });
            (state.size_bytes, identity, state.sectors_written)
        };
        content(self) != content(after) || self.identity != after.identity && self.standing == after.standing
    }
}

/// Something with a length that is read at an offset. What a signal has interrupted is tried again by the implementation.
pub trait ReadAt: Send + Sync {
    /// Returns the length in bytes.
    fn len(&self) -> u64;

    /// Tells whether the length is zero.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset` on. Fewer bytes there than that are an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Returns the first range at or after `offset` that may hold anything but zeros, or none if there is none.
    /// What lies before it, from `offset` on, is a hole.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok((offset < self.len()).then(|| offset..self.len()))
    }

    /// Tells that `range` will be read soon. Returns whether that means that it must be fetched from a medium, and so
    /// that it should be followed by [`done_with`](Self::done_with).
    fn will_need(&self, _range: Range<u64>) -> bool {
        false
    }

    /// Tells that `range` was read, and need not be kept in memory.
    fn done_with(&self, _range: Range<u64>) {}

    /// Returns what can be known without reading, as it is now.
    fn state(&self) -> io::Result<ImageState> {
        Ok(ImageState { size_bytes: self.len(), identity: None, sectors_written: None, standing: None })
    }
}

/// Something that is also written at an offset.
pub trait WriteAt: ReadAt {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Tells that all of `range` will be written soon, so that room for it can be taken at once. An error, of a full
    /// file system for instance, is what writing it would have met.
    fn will_write(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    /// Makes `range` read as zeros, as a hole where that is possible.
    fn zero_at(&self, range: Range<u64>) -> io::Result<()>;

    /// Makes a part of `range` read as zeros, where that is less work than to look whether it does, and returns which part:
    /// an empty one, at the start, where it is not.
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
