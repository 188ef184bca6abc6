//! Notices clients that read a disk from one end to the other, and tells how far ahead to read.

use std::ops::Range;
use std::sync::PoisonError;

use crate::words::sync::Mutex;

/// How many readers of one disk are followed at once.
const STREAMS_MAX: usize = 8;
/// The number of reads in a row after which more are expected.
const READS_IN_A_ROW: u32 = 3;
/// The first read-ahead of a stream. It doubles with each one.
const WINDOW_BYTES_MIN: u64 = 256 << 10;
/// How many reads of one stream may arrive out of order.
const READS_IN_DISORDER: u64 = 4;

/// The last positions of a disk's readers.
pub(super) struct Streams {
    bytes_ahead_max: u64,
    state: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    streams: Vec<Stream>,
    clock: u64,
}

struct Stream {
    /// Where the stream's next read begins.
    next: u64,
    /// The end of what was read ahead.
    ahead: u64,
    window: u64,
    in_a_row: u32,
    used: u64,
}

impl Streams {
    /// Creates the state to follow readers, up to `bytes_ahead_max` ahead of each.
    pub(super) fn new(bytes_ahead_max: u64) -> Self {
        Self { bytes_ahead_max, state: Mutex::default() }
    }

    /// Notes a read. Returns the range to read ahead now, if any.
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
        // Read ahead more than one read, or the reader would overtake it.
        let window = stream.window.max(2 * (read.end - read.start)).min(self.bytes_ahead_max);
        let from = stream.ahead.max(stream.next);
        let upto = stream.next.saturating_add(window);
        // Do not read ahead for every small read: wait until less than half of the window is left,
        // then fill the rest.
        if stream.in_a_row < READS_IN_A_ROW || upto.saturating_sub(from) < window / 2 {
            return None;
        }
        (stream.ahead, stream.window) = (upto, window.saturating_mul(2));
        Some(from..upto)
    }
}

impl Followed {
    /// Starts to follow a reader, in place of the one that was silent for longest.
    fn follow(&mut self, stream: Stream) {
        if self.streams.len() < STREAMS_MAX {
            self.streams.push(stream);
        } else if let Some(oldest) = self.streams.iter_mut().min_by_key(|stream| stream.used) {
            *oldest = stream;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 4 << 20;

    /// Reads on from `at`, and returns the end of the read-ahead, which must have no gap.
    fn read_on(streams: &Streams, at: u64, bytes: u64, reads: u64) -> u64 {
        let mut ahead = None;
        for number in 0..reads {
            let begin = at + number * bytes;
            if let Some(range) = streams.note(&(begin..begin + bytes)) {
                assert!(ahead.is_none_or(|ahead| range.start == ahead), "{range:?} after {ahead:?}");
                assert!(range.start >= begin + bytes && range.end <= begin + bytes + MAX);
                ahead = Some(range.end);
            }
        }
        ahead.unwrap_or(0)
    }

    #[test]
    fn whoever_reads_on_is_read_ahead_of_and_ever_further() {
        for bytes in [512, 4096, 100_000, 1 << 20] {
            let streams = Streams::new(MAX);
            assert_eq!(read_on(&streams, 0, bytes, 2), 0, "two reads are not many");
            let begin = 2 * bytes;
            let reads = (20 << 20) / bytes;
            let ahead = read_on(&streams, begin, bytes, reads);
            let end = begin + reads * bytes;
            assert!(ahead >= end + MAX / 2, "{ahead} at {end}");
        }
    }

    #[test]
    fn reads_here_and_there_are_not_followed() {
        let streams = Streams::new(MAX);
        let mut at = 12_345_u64;
        for _ in 0..10_000 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let begin = (at >> 24) * 4096;
            assert_eq!(streams.note(&(begin..begin + 4096)), None);
        }
        // Reading one place again, or backwards, is no stream either.
        for number in (0..1000).rev() {
            assert_eq!(streams.note(&((1 << 50) + number * 4096..(1 << 50) + (number + 1) * 4096)), None);
        }
    }

    #[test]
    fn several_readers_are_followed_at_once_and_in_some_disorder() {
        let streams = Streams::new(MAX);
        let mut ahead = [0; STREAMS_MAX];
        for step in 0..64_u64 {
            for (stream, ahead) in (0..).zip(&mut ahead) {
                let begin = (stream << 40) + (step ^ 1) * (64 << 10);
                let range = streams.note(&(begin..begin + (64 << 10)));
                *ahead = range.map_or(*ahead, |range| range.end);
            }
        }
        for (stream, ahead) in (0..).zip(ahead) {
            assert!(ahead > (stream << 40) + 64 * (64 << 10), "stream {stream}: {ahead}");
        }
    }

    #[test]
    fn where_there_is_no_room_nothing_is_read_ahead() {
        assert_eq!(read_on(&Streams::new(WINDOW_BYTES_MIN - 1), 0, 4096, 1000), 0);
    }
}
