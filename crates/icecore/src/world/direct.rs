//! Writes past the page cache: they cost a tenth of the processor time, and displace nothing in
//! memory.
#![expect(clippy::disallowed_methods, reason = "opens a file again that another module has opened")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::words::sizes::to_u64;

/// The shortest direct write: each direct write waits for the medium.
const BYTES_MIN: usize = 256 << 10;
/// The alignment of direct writes, in the file and in memory: as much as any medium needs.
pub(crate) const ALIGNMENT: usize = 4096;

/// A file, open for direct writes if that is possible.
#[derive(Debug)]
pub(crate) struct Direct(Option<File>);

impl Direct {
    /// Returns one that never writes anything.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Opens `file` a second time, for direct writes.
    pub(crate) fn open(file: &File) -> Self {
        // The file may have no name, or a new one by now. A claimed device can be opened again this
        // way.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC | OFlags::NOCTTY;
        Self(rustix::fs::open(path, flags, Mode::empty()).ok().map(File::from))
    }

    /// Writes as much from the beginning of `bytes` as can be written directly, and returns that
    /// length. The caller writes the rest.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &self.0 else { return Ok(0) };
        let whole = bytes.len() / ALIGNMENT * ALIGNMENT;
        let aligned =
            bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) && offset.is_multiple_of(to_u64(ALIGNMENT));
        if whole < BYTES_MIN || !aligned {
            return Ok(0);
        }
        match file.write_all_at(&bytes[..whole], offset) {
            // The medium has other requirements. The caller writes these bytes again.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(0),
            written => written.map(|()| whole),
        }
    }
}
