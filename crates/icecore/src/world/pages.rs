//! Large page-aligned buffers.

use std::io;

use memmap2::Advice;
use memmap2::MmapMut;

/// Returns page-aligned memory that is all zero: the kernel copies to it noticeably faster, and
/// direct writes need it.
pub(crate) fn allocate(bytes: usize) -> io::Result<MmapMut> {
    MmapMut::map_anon(bytes)
}

/// Like [`allocate`], for memory that is soon used whole.
pub(crate) fn allocate_whole(bytes: usize) -> io::Result<MmapMut> {
    let pages = allocate(bytes)?;
    // Fewer, larger pages make it a little faster. Without them, nothing is lost.
    let _ = pages.advise(Advice::HugePage);
    Ok(pages)
}
