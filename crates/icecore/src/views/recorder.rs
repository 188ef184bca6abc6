//! Notes what is read of the snapshot below a volume, in the order of the first reads.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::format::reads::SpanRange;
use crate::words::ids::SnapshotId;
use crate::words::sizes::SPAN_U64;
use crate::words::sizes::to_u64;
use crate::words::sync::Mutex;
use crate::world::io::ReadAt;

/// The most that is noted: 1 GiB. A first boot reads a few hundred MiB.
const SPANS_MAX: usize = 1 << 14;

/// What was read of a snapshot.
pub(super) struct Noted {
    pub(super) snapshot: SnapshotId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    spans: HashSet<u64>,
    ranges: Vec<SpanRange>,
    /// Whether more was read than is noted.
    is_full: bool,
}

impl Noted {
    pub(super) fn new(snapshot: SnapshotId) -> Arc<Self> {
        Arc::new(Self { snapshot, state: Mutex::default() })
    }

    fn note(&self, read: Range<u64>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for span in read.start / SPAN_U64..read.end.div_ceil(SPAN_U64) {
            if state.spans.contains(&span) {
                continue;
            }
            if state.spans.len() == SPANS_MAX {
                state.is_full = true;
                return;
            }
            state.spans.insert(span);
            match state.ranges.last_mut() {
                Some(last) if last.first + u64::from(last.spans) == span => last.spans += 1,
                _ => state.ranges.push(SpanRange { first: span, spans: 1 }),
            }
        }
    }

    /// Takes what is noted, and whether that is not all that was read.
    pub(super) fn take(&self) -> (Vec<SpanRange>, bool) {
        let state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        (state.ranges, state.is_full)
    }
}

/// A snapshot of which it is noted what is read.
pub(super) struct Recorder {
    pub(super) base: Arc<dyn ReadAt>,
    pub(super) noted: Arc<Noted>,
}

impl ReadAt for Recorder {
    fn len(&self) -> u64 {
        self.base.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.noted.note(offset..offset.saturating_add(to_u64(buffer.len())));
        self.base.read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.base.next_data(offset)
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.base.will_need(range)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn noted(reads: impl IntoIterator<Item = Range<u64>>) -> (Vec<(u64, u32)>, bool) {
        let noted = Noted::new(SnapshotId(Uuid::from_u128(1)));
        reads.into_iter().for_each(|read| noted.note(read));
        let (ranges, is_full) = noted.take();
        assert_eq!(noted.take(), (Vec::new(), false), "what is taken is noted no more");
        (ranges.into_iter().map(|range| (range.first, range.spans)).collect(), is_full)
    }

    #[test]
    fn spans_are_noted_once_in_the_order_of_their_first_read_and_joined_where_they_follow() {
        let span = SPAN_U64;
        let reads = [7 * span..7 * span + 1, 100..200, span - 1..span + 1, 0..8 * span, 9 * span..9 * span];
        assert_eq!(noted(reads), (vec![(7, 1), (0, 7)], false));
    }

    #[test]
    fn no_more_is_noted_than_a_record_may_have() {
        let max = to_u64(SPANS_MAX);
        let every_other = |count| (0..count).map(|number| 2 * number * SPAN_U64..2 * number * SPAN_U64 + 1);
        let (ranges, is_full) = noted(every_other(max));
        assert_eq!((ranges.len(), is_full), (SPANS_MAX, false));
        // What is noted already is no more.
        let again = every_other(max).chain(every_other(max));
        assert!(!noted(again).1);
        let (ranges, is_full) = noted(std::iter::once(0..(max + 5) * SPAN_U64));
        assert_eq!((ranges, is_full), (vec![(0, 1 << 14)], true));
    }
}
