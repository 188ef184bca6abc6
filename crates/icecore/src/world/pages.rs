//! Large pieces of memory that begin where a page does.

use std::io;

use memmap2::Advice;
use memmap2::MmapMut;

/// Returns memory that is all zero and begins at a page: the kernel copies to it noticeably faster than to other
/// places, and direct writes need it.
pub(crate) fn allocate(bytes: usize) -> io::Result<MmapMut> {
    MmapMut::map_anon(bytes)
}

/// As [`allocate`], for what is soon used whole.
pub(crate) fn allocate_whole(bytes: usize) -> io::Result<MmapMut> {
    let pages = allocate(bytes)?;
    // Fewer, larger pages make it a little faster. Where there are none, nothing is lost.
    let _ = pages.advise(Advice::HugePage);
    Ok(pages)
}
