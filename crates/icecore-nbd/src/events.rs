//! What the server tells of its work.

use std::io;

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A client has connected.
    Connected {
        /// The number of the connection, from 1 on.
        connection: u64,
        /// Where from, for people.
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
        /// What was wrong; none if the client ended it in the proper way, or the server was stopped.
        problem: Option<&'a str>,
    },
    /// A connection was closed at once.
    Refused {
        /// Why.
        problem: &'a str,
    },
    /// The disk could not do what a client asked for.
    RequestFailed {
        /// The number of the connection.
        connection: u64,
        /// The name of the export as the client gave it.
        export: &'a str,
        /// What was asked for.
        command: &'static str,
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// What the disk said.
        error: &'a io::Error,
    },
}

/// Hears of what happens. Calls come from many threads.
pub trait Events: Send + Sync {
    /// Takes one event; the server waits meanwhile.
    fn event(&self, event: &Event<'_>);
}

/// Hears nothing.
pub(crate) struct NoEvents;

impl Events for NoEvents {
    fn event(&self, _event: &Event<'_>) {}
}

/// What was done from the start to the stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections that were accepted.
    pub connections: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Those of them that were answered with an error.
    pub failed_requests: u64,
    /// Bytes that clients have read.
    pub read_bytes: u64,
    /// Bytes that clients have written.
    pub written_bytes: u64,
    /// Exports whose last sync failed, and why: what was written there may not be on the medium.
    pub unsynced: Vec<String>,
}
