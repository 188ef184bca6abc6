//! The limits of clients.

use std::time::Duration;

/// The longest read or write, in bytes.
pub(crate) const REQUEST_BYTES_MAX: u32 = 32 << 20;
/// The preferred block size of requests, in bytes.
pub(crate) const BLOCK_BYTES: u32 = 4096;

/// The resources that clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent connections of all exports. A further one is closed at once.
    pub connections: usize,
    /// Concurrent requests of one connection, each with a thread.
    pub requests: usize,
    /// Bytes of memory for the data of requests, over all connections; at least 48 MiB. Requests
    /// wait for it. One connection gets 16 MiB, or one request if that is longer. 16 MiB are
    /// reserved for connections that hold nothing. Each connection has another 64 KiB of its own,
    /// so that its short requests never wait for other clients.
    pub memory_bytes: usize,
    /// The time that a client may take to choose an export and, while others wait for memory, to
    /// take a reply or to send 1 MiB of data. Also the time that a stop waits for clients to take
    /// their replies.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, requests: 16, memory_bytes: 256 << 20, patience: Duration::from_secs(30) }
    }
}
