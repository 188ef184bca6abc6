//! A storage that fails on purpose, for tests: the n-th call that changes something fails, and all after it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::NewFile;
use crate::world::storage::Storage;
use crate::world::storage::StoredFile;
use crate::world::storage::Wait;

/// Wraps another storage and counts the calls that change it.
#[derive(Clone)]
pub struct FaultStorage<S> {
    inner: S,
    fault: Fault,
}

#[derive(Clone)]
struct Fault {
    calls: Arc<AtomicU64>,
    fails_from: u64,
    fails_until: u64,
    kind: io::ErrorKind,
}

impl<S: Storage> FaultStorage<S> {
    /// Returns a storage that only counts.
    pub fn counting(inner: S) -> Self {
        Self::failing(inner, u64::MAX, u64::MAX, io::ErrorKind::Other)
    }

    /// Returns a storage whose `n`-th changing call (from 0) fails with `kind`, and each one after it, as after a crash.
    pub fn failing_from(inner: S, n: u64, kind: io::ErrorKind) -> Self {
        Self::failing(inner, n, u64::MAX, kind)
    }

    /// Returns a storage whose `n`-th changing call (from 0) alone fails with `kind`.
    pub fn failing_once(inner: S, n: u64, kind: io::ErrorKind) -> Self {
        Self::failing(inner, n, n.saturating_add(1), kind)
    }

    fn failing(inner: S, fails_from: u64, fails_until: u64, kind: io::ErrorKind) -> Self {
        Self { inner, fault: Fault { calls: Arc::default(), fails_from, fails_until, kind } }
    }

    /// Returns how many calls changed something so far, or tried to.
    pub fn calls(&self) -> u64 {
        self.fault.calls.load(Ordering::SeqCst)
    }
}

impl Fault {
    fn pass(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if (self.fails_from..self.fails_until).contains(&call) { Err(self.kind.into()) } else { Ok(()) }
    }
}

impl<S: Storage> Storage for FaultStorage<S> {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.inner.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        self.fault.pass()?;
        Ok(Box::new(FaultNewFile { inner: self.inner.create(name)?, fault: self.fault.clone() }))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.fault.pass()?;
        self.inner.make_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.fault.pass()?;
        self.inner.rename(from, to)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.fault.pass()?;
        self.inner.sync_dir(dir)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.fault.pass()?;
        self.inner.remove(name)
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.fault.pass()?;
        self.inner.lock(name, mode, wait)
    }
}

struct FaultNewFile {
    inner: Box<dyn NewFile>,
    fault: Fault,
}

impl NewFile for FaultNewFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.fault.pass() {
            // A write that fails may have written a part.
            self.inner.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.fault.pass()?;
        self.inner.sync()
    }
}
