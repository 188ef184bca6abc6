//! Large pieces of memory that begin where a page does.

use memmap2::Advice;
use memmap2::MmapMut;

use crate::words::error::Error;
use crate::words::error::Result;

/// Returns memory that is all zero and begins at a page: the kernel copies to it noticeably faster than to other
/// places, and direct writes need it.
pub(crate) fn allocate(bytes: usize) -> Result<MmapMut> {
    let pages = MmapMut::map_anon(bytes).map_err(|error| Error::io("getting memory", error))?;
    // Fewer, larger pages make it a little faster. Where there are none, nothing is lost.
    let _ = pages.advise(Advice::HugePage);
    Ok(pages)
}
