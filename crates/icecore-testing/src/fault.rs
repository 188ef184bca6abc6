//! Calls that fail on purpose, for tests: the n-th one, alone or with all after it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Which calls are counted, and may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Those that change something.
    Changes,
    /// Those that change nothing.
    Reads,
    /// Both.
    All,
    /// Looks at a mapping: what fails breaks the mapping, which is all zeros from then on.
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

/// Counts calls and says which of them fail. Clones count together, so that one can stand behind a
/// repository, an image and a target at once.
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
    /// Makes the calls with these numbers (from 0) fail with what `error` returns.
    pub fn new(
        counted: Calls,
        failing: Range<u64>,
        error: impl Fn() -> io::Error + Send + Sync + 'static,
    ) -> Self {
        let error = Box::new(error);
        Self(Arc::new(Counter { counted, failing, error, calls: AtomicU64::new(0), first: Mutex::new(None) }))
    }

    /// Returns how many calls were counted so far.
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

    /// Counts a look at a mapping.
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
