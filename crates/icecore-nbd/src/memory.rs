//! The memory for what is read and written, of which there is so much for all connections together.

use std::collections::TryReserveError;
use std::mem;
use std::ops::Deref;
use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::limits::REQUEST_BYTES_MAX;
use crate::sync::lock;

/// Buffers are at least so long.
const BUFFER_BYTES_MIN: usize = 4096;
/// So many unused buffers are kept.
const IDLE_MAX: usize = 64;

/// Hands out buffers, in the order in which they are asked for.
pub(crate) struct Memory {
    total_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    used_bytes: usize,
    /// Buffers that were given back: not every one must be cleared and mapped anew.
    idle: Vec<Vec<u8>>,
    idle_bytes: usize,
    /// Those who wait stand in a line: the number of the first, and the number after the last.
    first: u64,
    end: u64,
}

impl State {
    /// Takes an idle buffer of exactly this length, or makes room for a new one.
    fn reuse(&mut self, bytes: usize, total_bytes: usize) -> Option<Vec<u8>> {
        if let Some(found) = self.idle.iter().rposition(|idle| idle.len() == bytes) {
            self.idle_bytes -= bytes;
            return Some(self.idle.swap_remove(found));
        }
        if self.used_bytes + self.idle_bytes > total_bytes {
            self.idle.clear();
            self.idle_bytes = 0;
        }
        None
    }
}

impl Memory {
    pub(crate) fn new(total_bytes: usize) -> Arc<Self> {
        let total_bytes = total_bytes.max(REQUEST_BYTES_MAX as usize);
        Arc::new(Self { total_bytes, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Returns a buffer of `length` bytes with any content, once there is room for it. The system may have no memory.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Result<Buffer, TryReserveError> {
        let bytes = length.next_power_of_two().max(BUFFER_BYTES_MIN).min(self.total_bytes).max(length);
        let mut state = lock(&self.state);
        if state.first != state.end || state.used_bytes + bytes > self.total_bytes {
            let own = state.end;
            state.end += 1;
            while state.first != own || state.used_bytes + bytes > self.total_bytes {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.first += 1;
            self.changed.notify_all();
        }
        state.used_bytes += bytes;
        let idle = state.reuse(bytes, self.total_bytes);
        drop(state);
        // From here on the buffer gives back its room whatever happens.
        let mut buffer =
            Buffer { memory: Arc::clone(self), room: bytes, length, bytes: idle.unwrap_or_default() };
        if buffer.bytes.is_empty() {
            buffer.bytes.try_reserve_exact(bytes)?;
            buffer.bytes.resize(bytes, 0);
        }
        Ok(buffer)
    }

    /// Tells whether anyone waits for memory.
    pub(crate) fn is_short(&self) -> bool {
        let state = lock(&self.state);
        state.first != state.end
    }
}

/// Bytes that are read or written.
pub(crate) struct Buffer {
    memory: Arc<Memory>,
    /// What is counted for it, in bytes.
    room: usize,
    length: usize,
    bytes: Vec<u8>,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        let mut state = lock(&self.memory.state);
        state.used_bytes -= self.room;
        if bytes.len() == self.room && state.idle.len() < IDLE_MAX {
            state.idle_bytes += bytes.len();
            state.idle.push(bytes);
        }
        let waits = state.first != state.end;
        drop(state);
        if waits {
            self.memory.changed.notify_all();
        }
    }
}
