//! A storage that fails on purpose, for tests.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use icecore::storage::LockGuard;
use icecore::storage::LockMode;
use icecore::storage::Mapped;
use icecore::storage::NewFile;
use icecore::storage::RandomFile;
use icecore::storage::Storage;
use icecore::storage::StoredFile;
use icecore::storage::Wait;

use crate::fault::Calls;
use crate::fault::Fault;

/// A storage that wraps another one and fails on purpose. Listing an empty directory does not count
/// as a call.
#[derive(Clone)]
pub struct FaultStorage<S> {
    inner: S,
    fault: Fault,
}

impl<S: Storage> FaultStorage<S> {
    /// Returns a storage whose calls fail as `fault` decides.
    pub fn new(inner: S, fault: Fault) -> Self {
        Self { inner, fault }
    }

    /// Returns a storage whose `n`-th changing call (from 0) and all later ones fail with `kind`,
    /// as after a crash.
    pub fn failing_from(inner: S, n: u64, kind: io::ErrorKind) -> Self {
        Self::new(inner, Fault::new(Calls::Changes, n..u64::MAX, move || kind.into()))
    }

    /// Returns a storage in which only the `n`-th changing call (from 0) fails, with `kind`.
    pub fn failing_once(inner: S, n: u64, kind: io::ErrorKind) -> Self {
        Self::new(inner, Fault::new(Calls::Changes, n..n.saturating_add(1), move || kind.into()))
    }
}

impl<S: Storage> Storage for FaultStorage<S> {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = self.inner.list(dir)?;
        if !names.is_empty() {
            self.fault.read("list", dir)?;
        }
        Ok(names)
    }

    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = self.inner.list_dirs(dir)?;
        if !names.is_empty() {
            self.fault.read("list_dirs", dir)?;
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.fault.read("open", name)?;
        let inner = self.inner.open(name)?;
        Ok(Box::new(FaultFile { inner, name: name.to_owned(), fault: self.fault.clone() }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        self.fault.change("create", name)?;
        let inner = self.inner.create(name)?;
        Ok(Box::new(FaultNewFile { inner, name: name.to_owned(), fault: self.fault.clone() }))
    }

    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>> {
        self.fault.change("open_random", name)?;
        let inner = self.inner.open_random(name)?;
        Ok(Box::new(FaultRandomFile { inner, name: name.to_owned(), fault: self.fault.clone() }))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.fault.change("make_dir", dir)?;
        self.inner.make_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.fault.change("rename", to)?;
        self.inner.rename(from, to)
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.fault.change("rename_new", to)?;
        self.inner.rename_new(from, to)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.fault.change("sync_dir", dir)?;
        self.inner.sync_dir(dir)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.fault.change("remove", name)?;
        self.inner.remove(name)
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.fault.change("remove_dir", dir)?;
        self.inner.remove_dir(dir)
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.fault.change("lock", name)?;
        let Some(inner) = self.inner.lock(name, mode, wait)? else { return Ok(None) };
        Ok(Some(Box::new(FaultLock { inner, name: name.to_owned(), fault: self.fault.clone() })))
    }
}

struct FaultFile {
    inner: Box<dyn StoredFile>,
    name: String,
    fault: Fault,
}

impl StoredFile for FaultFile {
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.inner.allocated_bytes()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.fault.read("read_at", &self.name)?;
        self.inner.read_at(offset, buffer)
    }

    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        self.fault.read("map", &self.name)?;
        let inner = self.inner.map(range)?;
        let (broken, zeros) = (Arc::default(), vec![0; inner.len()]);
        let map = FaultMap {
            inner,
            zeros,
            broken: Arc::clone(&broken),
            name: self.name.clone(),
            fault: self.fault.clone(),
        };
        Ok(Mapped::that_may_break(map, broken))
    }

    fn load(&self, range: Range<u64>) -> io::Result<Mapped> {
        self.fault.read("load", &self.name)?;
        self.inner.load(range)
    }
}

struct FaultMap {
    inner: Mapped,
    zeros: Vec<u8>,
    broken: Arc<AtomicBool>,
    name: String,
    fault: Fault,
}

impl AsRef<[u8]> for FaultMap {
    fn as_ref(&self) -> &[u8] {
        if self.fault.look(&self.name).is_err() {
            self.broken.store(true, Ordering::SeqCst);
        }
        if self.broken.load(Ordering::SeqCst) { &self.zeros } else { &self.inner }
    }
}

struct FaultRandomFile {
    inner: Box<dyn RandomFile>,
    name: String,
    fault: Fault,
}

impl RandomFile for FaultRandomFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.fault.read("read_at", &self.name)?;
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.fault.change("write_at", &self.name) {
            // A failing write may have written a part.
            self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write_at(offset, bytes)
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        self.fault.change("punch", &self.name)?;
        self.inner.punch(range)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.fault.read("next_data", &self.name)?;
        self.inner.next_data(offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.fault.change("sync", &self.name)?;
        self.inner.sync()
    }
}

struct FaultNewFile {
    inner: Box<dyn NewFile>,
    name: String,
    fault: Fault,
}

impl NewFile for FaultNewFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.fault.change("append", &self.name) {
            // A failing write may have written a part.
            self.inner.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.fault.change("sync", &self.name)?;
        self.inner.sync()
    }
}

struct FaultLock {
    inner: Box<dyn LockGuard>,
    name: String,
    fault: Fault,
}

impl LockGuard for FaultLock {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fault.change("append", &self.name)?;
        self.inner.append(bytes)
    }

    fn dismiss(self: Box<Self>) -> io::Result<()> {
        self.fault.change("dismiss", &self.name)?;
        self.inner.dismiss()
    }
}
