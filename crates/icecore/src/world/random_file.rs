//! A file of a repository that is read and written at any offset.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::FallocateFlags;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::io::retry_on_intr;

use crate::words::sizes::to_usize;
use crate::world::storage::RandomFile;
use crate::world::unsupported::is_unsupported;

/// Zeros to write at once if no hole can be made.
const ZEROS_BYTES_MAX: u64 = 64 << 10;

/// An open file, for reading and writing.
#[derive(Debug)]
pub(crate) struct FsRandomFile(pub(crate) File);

impl RandomFile for FsRandomFile {
    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.0.read_at(buffer, offset) {
                Ok(0) => {
                    buffer.fill(0);
                    return Ok(());
                }
                Ok(read) => {
                    offset += read as u64;
                    buffer = &mut buffer[read..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let len = range.end.saturating_sub(range.start);
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match retry_on_intr(|| rustix::fs::fallocate(&self.0, flags, range.start, len)) {
            Ok(()) => Ok(()),
            Err(error) if is_unsupported(error) || error == Errno::NOSPC => self.write_zeros(range),
            Err(error) => Err(error.into()),
        }
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.0.metadata()?.len();
        if offset >= len {
            return Ok(None);
        }
        let seek = |to| retry_on_intr(|| rustix::fs::seek(&self.0, to));
        let start = match seek(SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            Err(error) if is_unsupported(error) => return Ok(Some(offset..len)),
            Err(error) => return Err(error.into()),
        };
        let end = match seek(SeekFrom::Hole(start)) {
            Ok(end) if end > start => end,
            _ => len.max(start + 1),
        };
        Ok(Some(start..end))
    }

    fn names(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.nlink())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl FsRandomFile {
    /// Writes zeros over the written part of `range`: beyond the end there are already zeros.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let end = range.end.min(self.0.metadata()?.len());
        let zeros = vec![0; to_usize(ZEROS_BYTES_MAX)];
        let mut at = range.start;
        while at < end {
            let part = &zeros[..to_usize((end - at).min(ZEROS_BYTES_MAX))];
            self.0.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }
}
