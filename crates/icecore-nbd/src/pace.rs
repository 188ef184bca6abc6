//! Whether the next request is read while this one is worked on.
//!
//! To wake another thread takes longer than to answer a small request from memory, so one thread does all while requests
//! are fast. Once the disk is seen to be slow, each request has a thread of its own, until many in a row were fast.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::wire::Request;
use crate::wire::command;
use crate::wire::flag;

/// A request takes long when the disk takes longer than this.
const SLOW: Duration = Duration::from_micros(100);
/// So many fast ones follow a slow one before the next is taken for fast.
const FAST_RUN: u32 = 64;
/// Requests of so many bytes take long in any case.
const LARGE_BYTES: u32 = 512 << 10;

/// How fast the requests of a connection are.
#[derive(Default)]
pub(crate) struct Pace {
    /// Requests that will be taken for slow.
    slow: AtomicU32,
}

impl Pace {
    /// Tells whether a request is likely to take long.
    pub(crate) fn is_slow(&self, request: &Request) -> bool {
        let moves = matches!(request.command, command::READ | command::WRITE);
        moves && request.length >= LARGE_BYTES
            || matches!(request.command, command::FLUSH | command::WRITE_ZEROES | command::TRIM)
            || request.has(flag::FUA)
            || self.slow.load(Ordering::Relaxed) > 0
    }

    /// Takes note of how long the disk took for a request.
    pub(crate) fn note(&self, disk_time: Duration) {
        let slow = self.slow.load(Ordering::Relaxed);
        if disk_time > SLOW {
            self.slow.store(FAST_RUN, Ordering::Relaxed);
        } else if slow > 0 {
            self.slow.store(slow - 1, Ordering::Relaxed);
        }
    }
}
