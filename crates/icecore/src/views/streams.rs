//! Notices who reads a disk from one end to the other, and says how far ahead of them to read.

use std::ops::Range;
use std::sync::PoisonError;

use crate::words::sync::Mutex;

/// Readers of one disk that are followed at once.
const STREAMS_MAX: usize = 8;
/// Reads in a row after which more is expected to follow.
const READS_IN_A_ROW: u32 = 3;
/// The first read-ahead of a stream. It doubles with each one.
const WINDOW_BYTES_MIN: u64 = 256 << 10;
/// Reads of one stream that may come in another order than they are in.
const READS_IN_DISORDER: u64 = 4;

/// The last positions of readers.
pub(super) struct Streams {
    bytes_ahead_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: Vec<Stream>,
    clock: u64,
}

struct Stream {
    /// Where its next read begins.
    next: u64,
    /// Up to where it was read ahead.
    ahead: u64,
    window: u64,
    in_a_row: u32,
    used: u64,
}

impl Streams {
    /// Follows readers, up to `bytes_ahead_max` ahead of each.
    pub(super) fn new(bytes_ahead_max: u64) -> Self {
        Self { bytes_ahead_max, state: Mutex::default() }
    }

    /// Notes a read. Returns what is to be read ahead now, if anything.
    pub(super) fn note(&self, read: &Range<u64>) -> Option<Range<u64>> {
        if self.bytes_ahead_max < WINDOW_BYTES_MIN {
            return None;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let near = (read.end - read.start).saturating_mul(READS_IN_DISORDER);
        let found = state.streams.iter_mut().find(|stream| stream.next.abs_diff(read.start) <= near);
        let Some(stream) = found else {
            state.follow(Stream {
                next: read.end,
                ahead: 0,
                window: WINDOW_BYTES_MIN,
                in_a_row: 1,
                used: now,
            });
            return None;
        };
        stream.used = now;
        if read.end <= stream.next {
            return None;
        }
        stream.next = read.end;
        stream.in_a_row = stream.in_a_row.saturating_add(1);
        let window = stream.window.min(self.bytes_ahead_max);
        let from = stream.ahead.max(stream.next);
        let upto = stream.next.saturating_add(window);
        // Not for every small read: where less than half of the window is there, the rest of it is asked for.
        if stream.in_a_row < READS_IN_A_ROW || upto.saturating_sub(from) < window / 2 {
            return None;
        }
        (stream.ahead, stream.window) = (upto, window.saturating_mul(2));
        Some(from..upto)
    }
}

impl State {
    /// Begins to follow a reader, in the place of the one that was silent for longest.
    fn follow(&mut self, stream: Stream) {
        if self.streams.len() < STREAMS_MAX {
            self.streams.push(stream);
        } else if let Some(oldest) = self.streams.iter_mut().min_by_key(|stream| stream.used) {
            *oldest = stream;
        }
    }
}
