//! The buffers that an image is read into. Their number is fixed, so that memory is bounded.

use std::sync::Arc;
use std::sync::PoisonError;

use memmap2::MmapMut;

use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sync::Condvar;
use crate::words::sync::Mutex;
use crate::world::pages;

/// A fixed number of buffers of 4 MiB each.
pub(crate) struct BufferPool {
    free: Mutex<Free>,
    returned: Condvar,
}

struct Free {
    buffers: Vec<MmapMut>,
    unmade: usize,
}

/// The bytes of a leaf region of an image. The buffer returns to its pool when nobody uses it any
/// more.
pub(crate) struct LeafBuffer {
    /// None only during its drop.
    bytes: Option<MmapMut>,
    pool: Arc<BufferPool>,
}

impl BufferPool {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let free = Free { buffers: Vec::with_capacity(count), unmade: count };
        Arc::new(Self { free: Mutex::new(free), returned: Condvar::new() })
    }

    /// Returns a buffer with arbitrary content. If all are in use, waits with `wait` and otherwise
    /// returns none.
    pub(crate) fn take(self: &Arc<Self>, wait: bool) -> Result<Option<LeafBuffer>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(bytes) = free.buffers.pop() {
                return Ok(Some(LeafBuffer { bytes: Some(bytes), pool: Arc::clone(self) }));
            }
            if free.unmade > 0 {
                free.unmade -= 1;
                return Ok(Some(LeafBuffer { bytes: Some(allocate()?), pool: Arc::clone(self) }));
            }
            if !wait {
                return Ok(None);
            }
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn allocate() -> Result<MmapMut> {
    pages::allocate_whole(LEAF_BYTES).map_err(|error| Error::io("allocating memory for a buffer", error))
}

impl LeafBuffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_deref_mut().unwrap_or_default()
    }

    /// Returns the blocks of the region.
    pub(crate) fn blocks(&self) -> &[[u8; BLOCK_BYTES]] {
        self.bytes().as_chunks::<BLOCK_BYTES>().0
    }
}

impl Drop for LeafBuffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.buffers.extend(self.bytes.take());
        drop(free);
        self.pool.returned.notify_one();
    }
}
