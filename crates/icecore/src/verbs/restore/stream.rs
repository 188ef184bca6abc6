//! Restores into a stream, from the first byte to the last, zeros included.

use std::io;
use std::io::Write;

use crate::verbs::restore::assemble::ProvenWindow;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::progress::Progress;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;

/// Zeros that are written in one call.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// A stream that receives an image.
pub(super) struct Stream<'a> {
    pub(super) out: &'a mut (dyn Write + Send),
    pub(super) image_bytes: u64,
    pub(super) progress: &'a dyn Progress,
    /// The offset up to which the image was written.
    pub(super) at: u64,
    /// The bytes of those that came from leaves.
    pub(super) leaf_bytes: u64,
}

impl Stream<'_> {
    /// Writes a window, and the zeros around its leaves.
    pub(super) fn write(&mut self, proven: &mut ProvenWindow) -> Result<()> {
        let ProvenWindow { window, buffer } = proven;
        // Zero blocks are not fetched, so the buffer's old content would show through.
        let mut filled = 0;
        for run in window.runs() {
            buffer.clear(filled..run.at.start);
            filled = run.at.end;
        }
        buffer.clear(filled..window.leaves.len() * LEAF_BYTES);
        for (leaf, begin) in window.leaves.iter().zip((0..).step_by(LEAF_BYTES)) {
            let offset = leaf.number.offset();
            self.write_zeros(offset)?;
            let inside = to_usize(self.image_bytes - offset).min(LEAF_BYTES);
            self.out.write_all(buffer.bytes(begin..begin + inside)).map_err(failed)?;
            self.at += to_u64(inside);
            self.leaf_bytes += to_u64(inside);
        }
        self.write_zeros(window.range.end)
    }

    /// Writes zeros up to an offset of the image.
    fn write_zeros(&mut self, upto: u64) -> Result<()> {
        while self.at < upto {
            if self.progress.cancelled() {
                return Err(Error::interrupted());
            }
            let part = to_usize(upto - self.at).min(ZEROS.len());
            self.out.write_all(&ZEROS[..part]).map_err(failed)?;
            self.at += to_u64(part);
        }
        Ok(())
    }
}

/// Returns the error for a failed write to the output.
pub(super) fn failed(error: io::Error) -> Error {
    Error::io("writing the image to the output", error)
}
