//! The log of calls.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

/// A call, in the order of arrival. The status is there before the client can see it, and so are the
/// bytes of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Which request since the start of the server, from 0.
    pub number: u64,
    /// Which connection since the start, from 0.
    pub connection: u64,
    /// The access key, where the request is signed.
    pub access: String,
    /// What it asks for, such as `GetObject`; `Unknown` for what the server does not know.
    pub operation: &'static str,
    /// The HTTP method.
    pub method: String,
    /// The bucket, or nothing.
    pub bucket: String,
    /// The key; for lists, the prefix.
    pub key: String,
    /// The range that was asked for, as in the header.
    pub range: String,
    /// The HTTP status, unless there was none.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_up: u64,
    /// Bytes of the answer's body.
    pub bytes_down: u64,
    /// The fault that happened to it, in short.
    pub fault: Option<String>,
    /// When it arrived, in microseconds since the start of the server.
    pub began_us: u64,
    /// How long it took until the answer was handed over, if it is finished.
    pub took_us: Option<u64>,
}

/// Sums over the calls since the start, or since the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requests.
    pub requests: u64,
    /// New connections: with the requests, these are the round trips.
    pub connections: u64,
    /// Bytes of bodies of requests.
    pub bytes_up: u64,
    /// Bytes of bodies of answers.
    pub bytes_down: u64,
    /// Bytes that came in, with headers.
    pub wire_up: u64,
    /// Bytes that went out, with headers.
    pub wire_down: u64,
    /// Requests that a fault happened to.
    pub faults: u64,
    /// Requests by operation.
    pub operations: BTreeMap<&'static str, u64>,
    /// Requests by status; those without are under 0.
    pub statuses: BTreeMap<u16, u64>,
}

#[derive(Debug, Default)]
struct Kept {
    first: u64,
    calls: Vec<Call>,
    connections: u64,
    all_connections: u64,
    wire_up: u64,
    wire_down: u64,
}

/// The log, shared by the connections.
#[derive(Debug)]
pub(crate) struct Log {
    kept: Mutex<Kept>,
    file: Option<Mutex<File>>,
    started: Instant,
}

impl Log {
    pub(crate) fn new(file: Option<File>) -> Self {
        Self { kept: Mutex::default(), file: file.map(Mutex::new), started: Instant::now() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.kept().calls.clone()
    }

    /// Forgets what was. Calls that are not finished are forgotten too.
    pub(crate) fn reset(&self) {
        let mut kept = self.kept();
        kept.first += kept.calls.len() as u64;
        kept.calls.clear();
        (kept.connections, kept.wire_up, kept.wire_down) = (0, 0, 0);
    }

    pub(crate) fn counters(&self) -> Counters {
        let kept = self.kept();
        let mut sums = Counters {
            requests: kept.calls.len() as u64,
            connections: kept.connections,
            wire_up: kept.wire_up,
            wire_down: kept.wire_down,
            ..Counters::default()
        };
        for call in &kept.calls {
            sums.bytes_up += call.bytes_up;
            sums.bytes_down += call.bytes_down;
            sums.faults += u64::from(call.fault.is_some());
            *sums.operations.entry(call.operation).or_default() += 1;
            *sums.statuses.entry(call.status.unwrap_or_default()).or_default() += 1;
        }
        sums
    }

    /// Counts a connection, and returns its number.
    pub(crate) fn connected(&self) -> u64 {
        let mut kept = self.kept();
        kept.connections += 1;
        kept.all_connections += 1;
        kept.all_connections - 1
    }

    pub(crate) fn came_in(&self, bytes: usize) {
        self.kept().wire_up += bytes as u64;
    }

    pub(crate) fn went_out(&self, bytes: usize) {
        self.kept().wire_down += bytes as u64;
    }

    /// Takes back what was counted too early. A reset between both may have forgotten it.
    pub(crate) fn did_not_go_out(&self, bytes: usize) {
        let mut kept = self.kept();
        kept.wire_down = kept.wire_down.saturating_sub(bytes as u64);
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Takes a call down that has just arrived.
    pub(crate) fn begin(self: &Arc<Self>, mut call: Call) -> Entry {
        call.began_us = self.elapsed_us();
        let mut kept = self.kept();
        let number = kept.first + kept.calls.len() as u64;
        call.number = number;
        kept.calls.push(call);
        drop(kept);
        Entry(Arc::new(Open { log: Arc::clone(self), number }))
    }
}

/// A call in the log that goes on. It is finished when the last copy is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Entry(Arc<Open>);

#[derive(Debug)]
struct Open {
    log: Arc<Log>,
    number: u64,
}

impl Entry {
    /// Changes the call, unless the log was reset meanwhile.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Call)) {
        self.0.update(change);
    }
}

impl Open {
    fn update(&self, change: impl FnOnce(&mut Call)) {
        let mut kept = self.log.kept();
        let index = self.number.checked_sub(kept.first).and_then(|index| usize::try_from(index).ok());
        if let Some(call) = index.and_then(|index| kept.calls.get_mut(index)) {
            change(call);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = self.log.elapsed_us();
        let mut line = None;
        self.update(|call| {
            call.took_us = Some(now.saturating_sub(call.began_us));
            line = self.log.file.as_ref().and_then(|_| serde_json::to_vec(call).ok());
        });
        if let (Some(file), Some(mut line)) = (&self.log.file, line) {
            line.push(b'\n');
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A log that cannot be written must not change what the client sees.
            let _ = file.write_all(&line);
        }
    }
}
