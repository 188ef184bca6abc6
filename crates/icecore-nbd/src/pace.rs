//! The decision whether to read the next request while one is being processed.
//!
//! Waking another thread takes longer than answering a small request from memory, so one thread
//! does everything while requests are fast. Once the disk is slow, each request gets its own
//! thread, until many in a row were fast.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::wire::Request;
use crate::wire::command;
use crate::wire::flag;

/// The disk time from which a request counts as slow.
const SLOW: Duration = Duration::from_micros(100);
/// The number of fast requests after a slow one before the next counts as fast.
const FAST_RUN: u32 = 64;
/// The length from which a request counts as slow in any case.
const LARGE_BYTES: u32 = 512 << 10;

/// The pace of a connection's requests.
#[derive(Default)]
pub(crate) struct Pace {
    /// The number of coming requests that count as slow.
    slow: AtomicU32,
}

impl Pace {
    /// Returns whether a request is likely to be slow.
    pub(crate) fn is_slow(&self, request: &Request) -> bool {
        let moves = matches!(request.command, command::READ | command::WRITE);
        moves && request.length >= LARGE_BYTES
            || matches!(request.command, command::FLUSH | command::WRITE_ZEROES | command::TRIM)
            || request.has(flag::FUA)
            || self.slow.load(Ordering::Relaxed) > 0
    }

    /// Records the disk time of a request.
    pub(crate) fn note(&self, disk_time: Duration) {
        let slow = self.slow.load(Ordering::Relaxed);
        if disk_time > SLOW {
            self.slow.store(FAST_RUN, Ordering::Relaxed);
        } else if slow > 0 {
            self.slow.store(slow - 1, Ordering::Relaxed);
        }
    }
}
