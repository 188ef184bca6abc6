//! The events that the server reports.

use std::io;

/// An event.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A client has connected.
    Connected {
        /// The number of the connection, starting at 1.
        connection: u64,
        /// The origin of the connection, for people.
        peer: &'a str,
    },
    /// A client uses an export.
    Opened {
        /// The number of the connection.
        connection: u64,
        /// The name as the client gave it.
        export: &'a str,
    },
    /// A connection has ended.
    Disconnected {
        /// The number of the connection.
        connection: u64,
        /// The problem; none if the client ended the connection properly, or the server was
        /// stopped.
        problem: Option<&'a str>,
    },
    /// A connection was closed at once.
    Refused {
        /// The reason.
        problem: &'a str,
    },
    /// The disk failed a request of a client.
    RequestFailed {
        /// The number of the connection.
        connection: u64,
        /// The name of the export as the client gave it.
        export: &'a str,
        /// The command of the request.
        command: &'static str,
        /// The offset of the request, in bytes.
        offset: u64,
        /// The length of the request, in bytes.
        length: u64,
        /// The error of the disk.
        error: &'a io::Error,
    },
}

/// A receiver of events. Many threads call it.
pub trait Events: Send + Sync {
    /// Receives one event; the server waits meanwhile.
    fn event(&self, event: &Event<'_>);
}

/// A receiver that ignores all events.
pub(crate) struct NoEvents;

impl Events for NoEvents {
    fn event(&self, _event: &Event<'_>) {}
}

/// The totals from the start to the stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections that were accepted.
    pub connections: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// The requests among them that were answered with an error.
    pub failed_requests: u64,
    /// Bytes that clients have read.
    pub read_bytes: u64,
    /// Bytes that clients have written.
    pub written_bytes: u64,
    /// The exports whose last sync failed, and why: data written there may not be on the medium.
    pub unsynced: Vec<String>,
}
