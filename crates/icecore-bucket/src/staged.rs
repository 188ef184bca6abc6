//! Parts of an object that are fetched before anybody reads them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;

use bytes::Bytes;

use crate::fetch::Fetch;
use crate::runtime::runtime;

/// The most bytes that all objects of a process hold so.
const BYTES_MAX: u64 = 128 << 20;

/// The parts of one object, in the order in which they were begun.
#[derive(Default)]
pub(crate) struct Staged(Mutex<VecDeque<Arc<Part>>>);

/// A part, on its way or here.
struct Part {
    range: Range<u64>,
    state: Mutex<State>,
    landed: Condvar,
}

enum State {
    Coming,
    Here(Bytes),
    /// It could not be had, or it had to make room. Whoever needs it fetches it, and gets the error.
    Gone,
}

/// The parts of all objects, the oldest first.
static ALL: Mutex<All> = Mutex::new(All { parts: VecDeque::new(), bytes: 0 });

struct All {
    parts: VecDeque<Weak<Part>>,
    bytes: u64,
}

impl Staged {
    /// Begins to fetch a part, unless it is there or on its way.
    pub(crate) fn begin(&self, fetch: &Arc<dyn Fetch>, name: &str, range: Range<u64>) {
        let mut parts = lock(&self.0);
        parts.retain(|part| !part.is_gone());
        if range.is_empty() || parts.iter().any(|part| part.has(&range)) {
            return;
        }
        let Ok(handle) = runtime() else { return };
        let part =
            Arc::new(Part { range: range.clone(), state: Mutex::new(State::Coming), landed: Condvar::new() });
        parts.push_back(Arc::clone(&part));
        drop(parts);
        make_room(&part);
        let (fetch, name) = (Arc::clone(fetch), name.to_owned());
        handle.spawn_blocking(move || part.land(fetch.get(&name, range)));
    }

    /// Returns a range, once it is here. None if it was not begun, or could not be had.
    pub(crate) fn read(&self, range: &Range<u64>) -> Option<Bytes> {
        let part = lock(&self.0).iter().find(|part| part.has(range)).cloned()?;
        part.read(range)
    }
}

impl Part {
    fn has(&self, range: &Range<u64>) -> bool {
        self.range.start <= range.start && range.end <= self.range.end
    }

    fn is_gone(&self) -> bool {
        matches!(*lock(&self.state), State::Gone)
    }

    fn land(&self, fetched: io::Result<Bytes>) {
        let mut state = lock(&self.state);
        if let State::Coming = *state {
            *state = fetched.map_or(State::Gone, State::Here);
        }
        self.landed.notify_all();
    }

    fn read(&self, range: &Range<u64>) -> Option<Bytes> {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Coming => state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner),
                State::Gone => return None,
                State::Here(bytes) => {
                    let from = usize::try_from(range.start - self.range.start).ok()?;
                    let upto = usize::try_from(range.end - self.range.start).ok()?;
                    return (upto <= bytes.len()).then(|| bytes.slice(from..upto));
                }
            }
        }
    }
}

/// Counts a part, and lets go of the oldest ones if there are too many bytes.
fn make_room(part: &Arc<Part>) {
    let length = |part: &Part| part.range.end - part.range.start;
    let mut all = lock(&ALL);
    all.bytes += length(part);
    all.parts.push_back(Arc::downgrade(part));
    // Those of objects that are closed hold nothing any more.
    if all.bytes > BYTES_MAX {
        all.parts.retain(|part| part.strong_count() > 0);
        all.bytes = all.parts.iter().filter_map(Weak::upgrade).map(|part| length(&part)).sum();
    }
    while all.bytes > BYTES_MAX
        && let Some(oldest) = all.parts.pop_front()
    {
        if let Some(oldest) = oldest.upgrade() {
            all.bytes -= length(&oldest);
            *lock(&oldest.state) = State::Gone;
            oldest.landed.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::fetch::Tail;

    /// An object of numbers, and how often it was asked for. Nothing is there after the first MiB.
    struct Numbers(AtomicUsize);

    impl Fetch for Numbers {
        fn get(&self, _: &str, range: Range<u64>) -> io::Result<Bytes> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match range.end > 1 << 20 {
                true => Err(io::ErrorKind::UnexpectedEof.into()),
                false => Ok(range.map(|at| at.to_le_bytes()[0]).collect()),
            }
        }

        fn tail(&self, _: &str, _: u64) -> io::Result<Tail> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn head(&self, _: &str) -> io::Result<u64> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn what_was_begun_is_there_when_it_is_read_and_is_fetched_once() {
        let numbers = Arc::new(Numbers(AtomicUsize::new(0)));
        let fetch: Arc<dyn Fetch> = Arc::clone(&numbers) as _;
        let staged = Staged::default();
        assert_eq!(staged.read(&(0..10)), None);
        staged.begin(&fetch, "a", 1000..5000);
        staged.begin(&fetch, "a", 1000..5000);
        staged.begin(&fetch, "a", 2000..3000);
        for range in [1000..5000, 1003..1005, 4999..5000] {
            let wanted: Bytes = range.clone().map(|at: u64| at.to_le_bytes()[0]).collect();
            assert_eq!(staged.read(&range), Some(wanted), "{range:?}");
        }
        assert_eq!(staged.read(&(999..1001)), None);
        assert_eq!(numbers.0.load(Ordering::Relaxed), 1);
        // What cannot be had is for whoever needs it.
        staged.begin(&fetch, "a", 1 << 20..2 << 20);
        assert_eq!(staged.read(&(1 << 20..2 << 20)), None);
    }
}
