//! The bytes of an open disk image, whether it is a file or a block device: exact reads and writes,
//! holes, zeros.
//!
//! Nothing here uses the kernel's position of an open file, so any number of threads may work at
//! once.

use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::Advice;
use rustix::fs::FallocateFlags;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::io::ReadWriteFlags;
use rustix::io::retry_on_intr;

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::IMAGE_BYTES_MAX;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::direct::Direct;
use crate::world::reread::read_exact_at;
use crate::world::unsupported::is_unsupported;

/// The most bytes to zero in one system call, so that a signal does not restart hours of work.
const ZERO_STEP_BYTES: u64 = 1 << 30;
/// The longest write through the page cache: longer ones were measured to be slower, by half.
const CACHED_BYTES_MAX: usize = 64 << 10;
/// The shortest range to preallocate.
const ALLOCATE_BYTES_MIN: u64 = 64 << 10;
/// The most zeros to keep in memory for writing.
const ZERO_BUFFER_BYTES: u64 = 1 << 20;

/// The kind of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Device,
}

impl Kind {
    /// Returns the kind of the object at `path`, or an error if it cannot be a disk image.
    pub(crate) fn of(path: &Path, metadata: &Metadata) -> Result<Self> {
        let file_type = metadata.file_type();
        if file_type.is_file() {
            return Ok(Self::File);
        }
        if file_type.is_block_device() {
            return Ok(Self::Device);
        }
        let (what, hint) = if file_type.is_dir() {
            ("a directory", "name a disk image in it, or the block device of the file system")
        } else if file_type.is_char_device() {
            ("a character device", "disks are block devices; `lsblk` lists them")
        } else if file_type.is_fifo() {
            ("a pipe", "a pipe has no offsets; write its content to a file first")
        } else {
            ("a socket", "name a file or a block device")
        };
        let message = format!("{} is {what}, not a disk image or a block device", path.display());
        Err(Error::new(ErrorKind::InvalidInput, message).with_hint(hint))
    }
}

/// An open file or block device, with the length that it had when it was opened.
#[derive(Debug)]
pub(crate) struct Raw {
    file: File,
    direct: Direct,
    len: u64,
    kind: Kind,
}

impl Raw {
    /// Takes over an open file or device, and determines its length.
    pub(crate) fn new(path: &Path, file: File, kind: Kind) -> Result<Self> {
        let doing = |error| Error::io(format!("determining the size of {}", path.display()), error);
        let len = size_of(&file, kind).map_err(doing)?;
        if kind == Kind::Device && len == 0 {
            let message = format!("the block device {} has a size of 0 bytes", path.display());
            return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("is there a medium in it?"));
        }
        check_size(path, len)?;
        Ok(Self { file, direct: Direct::none(), len, kind })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Sets the length of a file. A new part is a hole.
    pub(crate) fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    /// Ends at `len` from now on if it ended later, and returns how much that leaves out. The disk
    /// itself keeps its length.
    pub(crate) fn leave_out_beyond(&mut self, len: u64) -> u64 {
        let beyond = self.len.saturating_sub(len);
        self.len -= beyond;
        beyond
    }

    /// Returns the current size.
    pub(crate) fn size_now(&self) -> io::Result<u64> {
        size_of(&self.file, self.kind)
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if !self.holds(offset, buffer.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read_exact_at(&self.file, offset, buffer)
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.holds(offset, bytes.len()) {
            return Err(beyond_the_end());
        }
        let done = self.direct.write_at(offset, bytes)?;
        let offsets = (offset + to_u64(done)..).step_by(CACHED_BYTES_MAX);
        let mut rest = bytes[done..].chunks(CACHED_BYTES_MAX).zip(offsets);
        rest.try_for_each(|(bytes, offset)| self.file.write_all_at(bytes, offset))
    }

    /// Writes past the page cache from now on, where that is possible and worthwhile.
    pub(crate) fn write_directly(&mut self) {
        self.direct = Direct::open(&self.file);
    }

    /// Preallocates `range` of a file. Its blocks become contiguous, and writing them costs half:
    /// the file system has already chosen their places. If the file system cannot do that, nothing
    /// is lost.
    pub(crate) fn will_write(&self, range: Range<u64>) -> io::Result<()> {
        let len = range.end.saturating_sub(range.start);
        if self.kind == Kind::Device || len < ALLOCATE_BYTES_MIN {
            return Ok(());
        }
        let take = || rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, range.start, len);
        match retry_on_intr(take) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Tells the kernel that `range` will be read soon, unless it seems to be in memory, and
    /// returns whether it did. If the kernel ignores it, nothing is lost.
    pub(crate) fn will_need(&self, range: Range<u64>) -> bool {
        let middle = range.start.midpoint(range.end);
        // If everything is in memory, asking the kernel costs less than telling it.
        if [range.start, middle, range.end.saturating_sub(1)].iter().all(|offset| self.is_in_memory(*offset))
        {
            return false;
        }
        self.advise(range, Advice::WillNeed);
        true
    }

    /// Tells the kernel that it need not keep `range` of a device in memory: a file system on it
    /// has its own copy of the data it uses. The owner of a file may be the next reader, so files
    /// stay in memory.
    pub(crate) fn done_with(&self, range: Range<u64>) {
        if self.kind == Kind::Device {
            self.advise(range, Advice::DontNeed);
        }
    }

    fn advise(&self, range: Range<u64>, advice: Advice) {
        if let Some(len) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            let _ = rustix::fs::fadvise(&self.file, range.start, Some(len), advice);
        }
    }

    fn is_in_memory(&self, offset: u64) -> bool {
        let mut byte = [0];
        let into = &mut [IoSliceMut::new(&mut byte)];
        matches!(rustix::io::preadv2(&self.file, into, offset, ReadWriteFlags::NOWAIT), Ok(1))
    }

    /// Tells the kernel that reads are sequential.
    pub(crate) fn will_read_in_order(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::Sequential);
    }

    /// Returns the first range at or after `offset` that may hold anything but zeros.
    pub(crate) fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        if offset >= self.len {
            return Ok(None);
        }
        if self.kind == Kind::Device {
            return Ok(Some(offset..self.len));
        }
        let start = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start.max(offset),
            // A truncated file has no data there either, but that is not a hole of the image.
            Err(Errno::NXIO) if self.size_now()? < self.len => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Err(Errno::NXIO) => return Ok(None),
            Err(error) if is_unsupported(error) => return Ok(Some(offset..self.len)),
            Err(error) => return Err(error.into()),
        };
        if start >= self.len {
            return Ok(None);
        }
        let end = match seek(&self.file, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(self.len),
            // The file changes meanwhile. As data, the range is read, and the read reports the
            // problem.
            Ok(_) | Err(Errno::NXIO) => self.len,
            Err(error) if is_unsupported(error) => self.len,
            Err(error) => return Err(error.into()),
        };
        Ok(Some(start..end))
    }

    /// Makes `range` read as zeros: as a hole if possible, else by writing.
    pub(crate) fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        if range.start > range.end || range.end > self.len {
            return Err(beyond_the_end());
        }
        let inner = match self.kind {
            Kind::File => range.clone(),
            Kind::Device => self.aligned(&range),
        };
        self.write_zeros(range.start..inner.start)?;
        let mut from = inner.start;
        while from < inner.end {
            let to = inner.end.min(from.saturating_add(ZERO_STEP_BYTES));
            self.deallocate(from..to)?;
            from = to;
        }
        self.write_zeros(inner.end..range.end)
    }

    /// Makes a part of `range` read as zeros if the device does that without data being sent to it,
    /// and returns that part: an empty one, at the start, if it does not.
    pub(crate) fn zero_unread(&self, range: Range<u64>) -> io::Result<Range<u64>> {
        if range.start > range.end || range.end > self.len {
            return Err(beyond_the_end());
        }
        let inner = self.aligned(&range);
        let nothing = range.start..range.start;
        if self.kind == Kind::File || inner.is_empty() {
            return Ok(nothing);
        }
        let mut from = inner.start;
        while from < inner.end {
            let to = inner.end.min(from.saturating_add(ZERO_STEP_BYTES));
            // Without the flag, the kernel would write zeros if the device cannot make them.
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, from, to - from)) {
                Ok(()) => from = to,
                Err(error) if is_unsupported(error) || error == Errno::NOSPC => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(if from > inner.start { inner.start..from } else { nothing })
    }

    /// Returns the part of `range` that a device can zero by itself; empty, at its end, if there is
    /// none. It consists of whole pages of the page cache, so none is invalidated in part.
    fn aligned(&self, range: &Range<u64>) -> Range<u64> {
        let sector = rustix::fs::ioctl_blksszget(&self.file).map_or(BLOCK_U64, u64::from);
        let unit = sector.max(BLOCK_U64);
        let (start, end) = (range.start.next_multiple_of(unit), range.end / unit * unit);
        if start < end { start..end } else { range.end..range.end }
    }

    fn deallocate(&self, range: Range<u64>) -> io::Result<()> {
        // A hole first, for a device too: a range zeroed without a hole stays allocated below the
        // device, so a sparse loop device or a thin volume would grow to its full size.
        for flags in [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE] {
            let flags = flags | FallocateFlags::KEEP_SIZE;
            let len = range.end - range.start;
            match retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, range.start, len)) {
                Ok(()) => return Ok(()),
                // Without space for a new extent, plain zeros may still fit into the existing one.
                Err(Errno::NOSPC) => {}
                Err(error) if is_unsupported(error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.write_zeros(range)
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = vec![0; to_usize(range.end.saturating_sub(range.start).min(ZERO_BUFFER_BYTES))];
        let mut from = range.start;
        while from < range.end {
            let part = &zeros[..to_usize(range.end - from).min(zeros.len())];
            self.file.write_all_at(part, from)?;
            from += to_u64(part.len());
        }
        Ok(())
    }

    fn holds(&self, offset: u64, len: usize) -> bool {
        offset.checked_add(to_u64(len)).is_some_and(|end| end <= self.len)
    }
}

/// Refuses a size that no image can have.
pub(crate) fn check_size(path: &Path, size_bytes: u64) -> Result<()> {
    if size_bytes <= IMAGE_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "{}: {size_bytes} bytes are more than the limit of {IMAGE_BYTES_MAX} for an image",
        path.display()
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}

fn beyond_the_end() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the disk")
}

fn size_of(file: &File, kind: Kind) -> io::Result<u64> {
    match kind {
        Kind::File => Ok(file.metadata()?.len()),
        Kind::Device => Ok(seek(file, SeekFrom::End(0))?),
    }
}

/// Seeks to data or a hole. It moves the position of the open file, which nobody uses.
fn seek(file: &File, to: SeekFrom) -> rustix::io::Result<u64> {
    retry_on_intr(|| rustix::fs::seek(file, to))
}

/// Implements the methods of `ReadAt` for a type with a field `raw`.
macro_rules! read_through_raw {
    () => {
        fn len(&self) -> u64 {
            self.raw.len()
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            self.raw.read_at(offset, buffer)
        }

        fn next_data(&self, offset: u64) -> std::io::Result<Option<std::ops::Range<u64>>> {
            self.raw.next_data(offset)
        }

        fn will_need(&self, range: std::ops::Range<u64>) -> bool {
            self.raw.will_need(range)
        }

        fn done_with(&self, range: std::ops::Range<u64>) {
            self.raw.done_with(range);
        }
    };
}
pub(crate) use read_through_raw;

/// Implements the methods of `WriteAt` for a type with a field `raw`.
macro_rules! write_through_raw {
    () => {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
            self.raw.write_at(offset, bytes)
        }

        fn will_write(&self, range: std::ops::Range<u64>) -> std::io::Result<()> {
            self.raw.will_write(range)
        }

        fn zero_at(&self, range: std::ops::Range<u64>) -> std::io::Result<()> {
            self.raw.zero_at(range)
        }

        fn zero_unread(&self, range: std::ops::Range<u64>) -> std::io::Result<std::ops::Range<u64>> {
            self.raw.zero_unread(range)
        }

        fn sync(&self) -> std::io::Result<()> {
            self.raw.sync()
        }
    };
}
pub(crate) use write_through_raw;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files to try things on")]
mod tests {
    use super::*;
    use crate::world::pages;
    use crate::world::scratch::Outcome;
    use crate::world::scratch::allocated_bytes;
    use crate::world::scratch::pattern;

    #[test]
    fn what_is_written_directly_and_through_the_cache_comes_out_in_its_places() -> Outcome {
        const LEN: usize = (1 << 20) + 12_345;
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(to_u64(LEN))?;
        let mut raw = Raw::new(&path, file, Kind::File)?;
        raw.write_directly();
        let mut bytes = pages::allocate(LEN)?;
        bytes.copy_from_slice(&pattern(LEN));
        let mut wanted = vec![0; LEN];
        // All at once with a short end; from an unaligned offset in the file; from an unaligned
        // address; very little.
        for (offset, part) in [(0, 0..LEN), (5, 0..700_000), (4096, 11..700_000), (8192, 0..4096)] {
            raw.write_at(to_u64(offset), &bytes[part.clone()])?;
            wanted[offset..offset + part.len()].copy_from_slice(&bytes[part]);
            assert!(std::fs::read(&path)? == wanted, "written at {offset}");
        }
        Ok(())
    }

    #[test]
    fn room_is_taken_without_a_change_of_the_size_or_the_content() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(1 << 20)?;
        let raw = Raw::new(&path, file, Kind::File)?;
        raw.will_write(1 << 18..1 << 19)?;
        assert!(std::fs::read(&path)? == vec![0; 1 << 20]);
        assert!(allocated_bytes(&path)? >= 1 << 18, "no room was taken");
        Ok(())
    }

    #[test]
    fn zeros_are_written_where_the_file_system_cannot_make_holes() -> Outcome {
        let mut content = pattern(3 << 20);
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, &content)?;
        let file = File::options().read(true).write(true).open(&path)?;
        let raw = Raw::new(&path, file, Kind::File)?;
        for range in [0..0, 3..4, 4097..(2 << 20) + 777, (3 << 20) - 1..3 << 20] {
            raw.write_zeros(to_u64(range.start)..to_u64(range.end))?;
            content[range].fill(0);
            assert!(std::fs::read(&path)? == content);
        }
        Ok(())
    }

    #[test]
    fn nothing_is_written_beyond_the_end() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, [7; 100])?;
        let file = File::options().read(true).write(true).open(&path)?;
        let raw = Raw::new(&path, file, Kind::File)?;
        raw.write_at(90, &[8; 10])?;
        for refused in [raw.write_at(91, &[9; 10]), raw.write_at(u64::MAX, &[9]), raw.zero_at(99..101)] {
            assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput));
        }
        let (kept, written) = (vec![7; 90], vec![8; 10]);
        assert_eq!(std::fs::read(&path)?, [kept, written].concat());
        Ok(())
    }
}
