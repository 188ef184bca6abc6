//! The memory for what is read and written, of which there is so much for all connections together. No connection gets all of it,
//! and each always gets a little.

use std::collections::TryReserveError;
use std::collections::VecDeque;
use std::mem;
use std::ops::Deref;
use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::limits::REQUEST_BYTES_MAX;
use crate::sync::lock;

/// Buffers are at least so long.
const BUFFER_BYTES_MIN: usize = 4096;
/// So many unused buffers are kept.
const IDLE_MAX: usize = 64;

/// What requests that are short, and those of clients that hold nothing, can still have when others have taken all else.
const RESERVE_BYTES: usize = 16 << 20;
/// A client that holds nothing gets so much out of the reserve.
const RESERVED_MAX: usize = 1 << 20;
/// A client has one buffer of so many bytes beside all that is counted: the short requests of one client never wait for another.
const OWN_BYTES: usize = 64 << 10;
/// What one client holds at most, unless it is a single buffer.
const CLIENT_BYTES_MAX: usize = 16 << 20;

/// Hands out buffers.
///
/// Those who wait stand in one of two lines, by what they ask for, and each line is served in its order. A client that has what it
/// may have waits for itself and stands in none.
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
    /// Those who wait for memory that others hold, by [`Kind`].
    lines: [VecDeque<u64>; 2],
    next_ticket: u64,
    /// Those who wait, in a line or for themselves.
    waiting: usize,
}

/// Which line a request stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Takes what is not reserved.
    Usual = 0,
    /// Takes from the reserve, too.
    Reserved = 1,
}

impl State {
    fn leave(&mut self, line: Option<Kind>, ticket: u64) {
        if let Some(kind) = line {
            self.lines[kind as usize].retain(|standing| *standing != ticket);
        }
    }

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
        let total_bytes = total_bytes.max(REQUEST_BYTES_MAX as usize + RESERVE_BYTES);
        Arc::new(Self { total_bytes, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Returns what one client may have of it.
    pub(crate) fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share {
            memory: Arc::clone(self),
            held: AtomicUsize::new(0),
            own_is_used: AtomicBool::new(false),
        })
    }

    fn tell_those_who_wait(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }
}

/// What one client has of the memory. Both numbers change under the lock of the memory only.
pub(crate) struct Share {
    memory: Arc<Memory>,
    /// What is counted of what it holds, in bytes.
    held: AtomicUsize,
    own_is_used: AtomicBool,
}

impl Share {
    /// Returns a buffer of `length` bytes with any content, once there is room for it. The system may have no memory.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Result<Buffer, TryReserveError> {
        let memory = &self.memory;
        let bytes = length.next_power_of_two().max(BUFFER_BYTES_MIN);
        let mut state = lock(&memory.state);
        let is_own = bytes <= OWN_BYTES && !self.own_is_used.swap(true, Ordering::Relaxed);
        if !is_own {
            state = self.wait_for_room(state, bytes);
            state.used_bytes += bytes;
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }
        let idle = state.reuse(bytes, memory.total_bytes);
        drop(state);
        // From here on the buffer gives back its room whatever happens.
        let counted = if is_own { None } else { Some(bytes) };
        let mut buffer = Buffer { share: Arc::clone(self), counted, length, bytes: idle.unwrap_or_default() };
        if buffer.bytes.is_empty() {
            buffer.bytes.try_reserve_exact(bytes)?;
            buffer.bytes.resize(bytes, 0);
        }
        Ok(buffer)
    }

    /// Returns where a request of this client waits now, and up to what of the memory it takes; nothing if the client has what it may
    /// have.
    fn place(&self, bytes: usize) -> Option<(Kind, usize)> {
        let held = self.held.load(Ordering::Relaxed);
        let total = self.memory.total_bytes;
        match held {
            0 if bytes <= RESERVED_MAX => Some((Kind::Reserved, total)),
            0 => Some((Kind::Usual, total - RESERVE_BYTES)),
            held => (held + bytes <= CLIENT_BYTES_MAX).then_some((Kind::Usual, total - RESERVE_BYTES)),
        }
    }

    /// Waits until there is room. What the client holds changes meanwhile, and with it the line that this stands in.
    fn wait_for_room<'a>(&'a self, mut state: MutexGuard<'a, State>, bytes: usize) -> MutexGuard<'a, State> {
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let mut standing = None;
        loop {
            let place = self.place(bytes);
            let kind = place.map(|(kind, _)| kind);
            if standing != kind {
                state.leave(standing, ticket);
                if let Some(kind) = kind {
                    state.lines[kind as usize].push_back(ticket);
                }
                standing = kind;
                // Somebody else may be the first now.
                self.memory.tell_those_who_wait(&state);
            }
            if let Some((kind, limit)) = place
                && state.lines[kind as usize].front() == Some(&ticket)
                && state.used_bytes + bytes <= limit
            {
                state.leave(standing, ticket);
                self.memory.tell_those_who_wait(&state);
                return state;
            }
            state = self.memory.wait(state);
        }
    }

    /// Tells whether anyone waits for memory that others hold.
    pub(crate) fn is_short(&self) -> bool {
        lock(&self.memory.state).lines.iter().any(|line| !line.is_empty())
    }
}

/// Bytes that are read or written.
pub(crate) struct Buffer {
    share: Arc<Share>,
    /// What is counted for it, in bytes; nothing for the one that a client has of its own.
    counted: Option<usize>,
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
        let memory = &self.share.memory;
        let mut state = lock(&memory.state);
        match self.counted {
            None => self.share.own_is_used.store(false, Ordering::Relaxed),
            Some(counted) => {
                state.used_bytes -= counted;
                self.share.held.fetch_sub(counted, Ordering::Relaxed);
            }
        }
        if !bytes.is_empty() && state.idle.len() < IDLE_MAX {
            state.idle_bytes += bytes.len();
            state.idle.push(bytes);
        }
        memory.tell_those_who_wait(&state);
    }
}
