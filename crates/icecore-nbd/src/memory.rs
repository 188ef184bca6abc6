//! The memory for the data of requests, with one limit for all connections together. No connection
//! gets all of it, and each always gets a little.

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

/// The shortest buffer.
const BUFFER_BYTES_MIN: usize = 4096;
/// The most unused buffers to keep.
const IDLE_MAX: usize = 64;

/// The reserve for short requests, and for clients that hold nothing, when others have taken the
/// rest.
const RESERVE_BYTES: usize = 16 << 20;
/// The most that a client that holds nothing gets from the reserve.
const RESERVED_MAX: usize = 1 << 20;
/// The size of the one buffer that each client has in addition to the counted memory: the short
/// requests of one client never wait for another.
const OWN_BYTES: usize = 64 << 10;
/// The most that one client holds, unless it is a single buffer.
const CLIENT_BYTES_MAX: usize = 16 << 20;

/// A pool of buffers.
///
/// Waiting requests stand in one of two queues, by their kind, and each queue is served in order. A
/// client at its own limit waits for itself, outside the queues.
pub(crate) struct Memory {
    total_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    used_bytes: usize,
    /// Returned buffers: reusing one saves mapping and clearing memory.
    idle: Vec<Vec<u8>>,
    idle_bytes: usize,
    /// The requests that wait for memory held by others, by [`Kind`].
    lines: [VecDeque<u64>; 2],
    next_ticket: u64,
    /// The number of waiting requests, in a queue or not.
    waiting: usize,
}

/// The queue of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A request for memory outside the reserve.
    Usual = 0,
    /// A request that may also use the reserve.
    Reserved = 1,
}

impl State {
    fn leave(&mut self, line: Option<Kind>, ticket: u64) {
        if let Some(kind) = line {
            self.lines[kind as usize].retain(|standing| *standing != ticket);
        }
    }

    /// Takes an idle buffer of exactly this length, or frees memory for a new one.
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

    /// Returns one client's account.
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

/// The account of one client. Both numbers change only under the lock of the memory.
pub(crate) struct Share {
    memory: Arc<Memory>,
    /// The counted bytes that it holds.
    held: AtomicUsize,
    own_is_used: AtomicBool,
}

impl Share {
    /// Returns a buffer of `length` bytes with any content, once there is memory for it. Fails if
    /// the system has no memory.
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
        // From here on, dropping the buffer returns its memory whatever happens.
        let counted = if is_own { None } else { Some(bytes) };
        let mut buffer = Buffer { share: Arc::clone(self), counted, length, bytes: idle.unwrap_or_default() };
        if buffer.bytes.is_empty() {
            buffer.bytes.try_reserve_exact(bytes)?;
            buffer.bytes.resize(bytes, 0);
        }
        Ok(buffer)
    }

    /// Returns the queue of a request of this client, and the limit up to which it takes memory;
    /// none if the client is at its own limit.
    fn place(&self, bytes: usize) -> Option<(Kind, usize)> {
        let held = self.held.load(Ordering::Relaxed);
        let total = self.memory.total_bytes;
        match held {
            0 if bytes <= RESERVED_MAX => Some((Kind::Reserved, total)),
            0 => Some((Kind::Usual, total - RESERVE_BYTES)),
            held => (held + bytes <= CLIENT_BYTES_MAX).then_some((Kind::Usual, total - RESERVE_BYTES)),
        }
    }

    /// Waits until there is memory. The client's holdings change meanwhile, and with them the queue
    /// of this request.
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
                // Another request may be the first now.
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

    /// Returns whether a request waits for memory that others hold.
    pub(crate) fn is_short(&self) -> bool {
        lock(&self.memory.state).lines.iter().any(|line| !line.is_empty())
    }
}

/// A buffer for the data of a request.
pub(crate) struct Buffer {
    share: Arc<Share>,
    /// The bytes counted for it; zero for the client's own buffer.
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
