//! How much is given to clients.

use std::time::Duration;

/// The longest read or write, in bytes.
pub(crate) const REQUEST_BYTES_MAX: u32 = 32 << 20;
/// The size, in bytes, that requests should have a multiple of.
pub(crate) const BLOCK_BYTES: u32 = 4096;

/// How much clients may take of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, over all exports. A further one is closed at once.
    pub connections: usize,
    /// Requests of one connection that are worked on at once; as many threads.
    pub requests: usize,
    /// Bytes of memory for what is read and written, over all connections; at least 48 MiB. Requests wait for it. One connection
    /// gets 16 MiB, or one request if that is longer; 16 MiB are kept for connections that hold nothing; and each connection
    /// has 64 KiB of its own beside all that, so that its short requests never wait for other clients.
    pub memory_bytes: usize,
    /// How long a client may take to choose an export; and, while others wait for memory, to take a reply or to send 1 MiB
    /// of what it writes. Also how long a stop waits for clients to take their replies.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, requests: 16, memory_bytes: 256 << 20, patience: Duration::from_secs(30) }
    }
}
