//! Calls that fail on purpose, for tests: the n-th one, alone or with all that follow.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// The calls that are counted and may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Calls that change something.
    Changes,
    /// Calls that change nothing.
    Reads,
    /// Both.
    All,
    /// Reads of a mapping. A failure breaks the mapping, which is all zeros from then on.
    Looks,
}

/// A call that was made to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCall {
    /// The method that was called.
    pub method: &'static str,
    /// The file of the repository, or `image`, or `target`.
    pub name: String,
}

/// A counter of calls that decides which of them fail. Clones share their count, so that one fault
/// can cover a repository, an image and a target.
#[derive(Clone)]
pub struct Fault(Arc<Counter>);

struct Counter {
    counted: Calls,
    failing: Range<u64>,
    error: Box<dyn Fn() -> io::Error + Send + Sync>,
    calls: AtomicU64,
    first: Mutex<Option<FailedCall>>,
}

impl Fault {
    /// Makes the calls with these numbers (from 0) fail with the error that `error` returns.
    pub fn new(
        counted: Calls,
        failing: Range<u64>,
        error: impl Fn() -> io::Error + Send + Sync + 'static,
    ) -> Self {
        let error = Box::new(error);
        Self(Arc::new(Counter { counted, failing, error, calls: AtomicU64::new(0), first: Mutex::new(None) }))
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Returns the first call that failed.
    pub fn first(&self) -> Option<FailedCall> {
        self.0.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a call that changes something.
    pub fn change(&self, method: &'static str, name: &str) -> io::Result<()> {
        self.pass(&[Calls::Changes, Calls::All], method, name)
    }

    /// Counts a call that changes nothing.
    pub fn read(&self, method: &'static str, name: &str) -> io::Result<()> {
        self.pass(&[Calls::Reads, Calls::All], method, name)
    }

    /// Counts a read of a mapping.
    pub fn look(&self, name: &str) -> io::Result<()> {
        self.pass(&[Calls::Looks], "look", name)
    }

    fn pass(&self, kinds: &[Calls], method: &'static str, name: &str) -> io::Result<()> {
        if !kinds.contains(&self.0.counted) {
            return Ok(());
        }
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst);
        if !self.0.failing.contains(&call) {
            return Ok(());
        }
        let mut first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| FailedCall { method, name: name.to_owned() });
        Err((self.0.error)())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({} calls, first {:?})", self.calls(), self.first())
    }
}
