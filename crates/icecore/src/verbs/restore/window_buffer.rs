//! The memory in which a window of an image is assembled.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;

use memmap2::MmapMut;

use crate::verbs::restore::window::Piece;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::SPAN_BYTES;
use crate::world::pages;

/// A buffer for the leaves of a window, one after another. It is aligned to a memory page, as
/// direct writes require.
pub(super) struct WindowBuffer(MmapMut);

/// A window's buffer while many threads write pieces to it. Each span has its own lock.
pub(super) struct BufferSpans<'a>(Vec<Mutex<&'a mut [u8]>>);

impl WindowBuffer {
    /// Returns a buffer for `leaves` leaves, with arbitrary content.
    pub(super) fn new(leaves: usize) -> Result<Self> {
        let pages = pages::allocate_whole(leaves.max(1) * LEAF_BYTES);
        pages.map(Self).map_err(|error| Error::io("allocating memory for a window", error))
    }

    /// Lets several threads write pieces to it.
    pub(super) fn spans(&mut self) -> BufferSpans<'_> {
        BufferSpans(self.0.chunks_mut(SPAN_BYTES).map(Mutex::new).collect())
    }

    /// Returns the bytes at a place.
    pub(super) fn bytes(&self, at: Range<usize>) -> &[u8] {
        self.0.get(at).unwrap_or_default()
    }

    /// Zeroes a place.
    pub(super) fn clear(&mut self, at: Range<usize>) {
        self.0.get_mut(at).unwrap_or_default().fill(0);
    }
}

impl BufferSpans<'_> {
    /// Copies the bytes of a piece to their place.
    pub(super) fn put(&self, piece: &Piece, mut bytes: &[u8]) {
        let mut at = piece.place().start;
        while let Some(span) = self.0.get(at / SPAN_BYTES).filter(|_| !bytes.is_empty()) {
            let within = at % SPAN_BYTES;
            let (now, later) = bytes.split_at(bytes.len().min(SPAN_BYTES - within));
            let mut span = span.lock().unwrap_or_else(PoisonError::into_inner);
            span[within..within + now.len()].copy_from_slice(now);
            (at, bytes) = (at + now.len(), later);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::sizes::BLOCK_BYTES;

    #[test]
    fn a_piece_over_several_spans_comes_out_as_it_was_put() {
        let bytes: Vec<u8> = (0..=250).flat_map(|value| [value; 653]).take(40 * BLOCK_BYTES).collect();
        let mut buffer = WindowBuffer::new(2).unwrap();
        let piece = Piece { chunk: 0, leaf: 1, block: 13, blocks: 40, slot: 0 };
        buffer.spans().put(&piece, &bytes);
        assert_eq!(buffer.bytes(piece.place()), bytes);
        assert!(buffer.bytes(0..LEAF_BYTES + 13 * BLOCK_BYTES).iter().all(|byte| *byte == 0));
        assert!(buffer.bytes(LEAF_BYTES + 53 * BLOCK_BYTES..2 * LEAF_BYTES).iter().all(|byte| *byte == 0));
        buffer.clear(piece.place());
        assert!(buffer.bytes(0..2 * LEAF_BYTES).iter().all(|byte| *byte == 0));
    }
}
