//! A storage wrapper that records when this process lacks permission, file descriptors or memory.
//!
//! Many places treat an error of one file as a problem of that file, and continue. These errors say
//! nothing about the stored data, so code that is about to report damage asks here first.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::error::is_shortage;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Mapped;
use crate::world::storage::NewFile;
use crate::world::storage::RandomFile;
use crate::world::storage::Storage;
use crate::world::storage::StoredFile;
use crate::world::storage::Wait;

/// The record so far. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Shortages(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    count: u64,
    /// The last error: its object, and its number or kind.
    last: Option<(String, Option<i32>)>,
}

impl Shortages {
    /// Returns the number of recorded errors.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Returns an error if there was one since there were `since`.
    pub(crate) fn check(&self, since: u64) -> Result<()> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &seen.last {
            Some((name, code)) if seen.count > since => {
                let error = code.map_or(io::ErrorKind::OutOfMemory.into(), io::Error::from_raw_os_error);
                Err(Error::stored_io(format!("reading {name}"), error))
            }
            _ => Ok(()),
        }
    }

    /// Records a shortage in a changing call. A lack of permission to change is not recorded: much
    /// can be done without it.
    fn notice<T>(&self, name: &str, result: io::Result<T>) -> io::Result<T> {
        self.notice_if(is_shortage, name, result)
    }

    /// Records a shortage or a lack of permission in a reading call.
    fn notice_read<T>(&self, name: &str, result: io::Result<T>) -> io::Result<T> {
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        self.notice_if(|error| is_shortage(error) || denied(error), name, result)
    }

    fn notice_if<T>(
        &self,
        of_process: impl FnOnce(&io::Error) -> bool,
        name: &str,
        result: io::Result<T>,
    ) -> io::Result<T> {
        if let Err(error) = &result
            && of_process(error)
        {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.count += 1;
            seen.last = Some((name.to_owned(), error.raw_os_error()));
        }
        result
    }
}

/// Wraps another storage.
pub(crate) struct NoticingStorage {
    inner: Arc<dyn Storage>,
    shortages: Shortages,
}

impl NoticingStorage {
    pub(crate) fn new(inner: Arc<dyn Storage>, shortages: Shortages) -> Self {
        Self { inner, shortages }
    }
}

impl Storage for NoticingStorage {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.shortages.notice_read(dir, self.inner.list(dir))
    }

    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>> {
        self.shortages.notice_read(dir, self.inner.list_dirs(dir))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let inner = self.shortages.notice_read(name, self.inner.open(name))?;
        Ok(Box::new(NoticingFile { inner, name: name.to_owned(), shortages: self.shortages.clone() }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        self.shortages.notice(name, self.inner.create(name))
    }

    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>> {
        self.shortages.notice(name, self.inner.open_random(name))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.shortages.notice(dir, self.inner.make_dir(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.shortages.notice(to, self.inner.rename(from, to))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.shortages.notice(to, self.inner.rename_new(from, to))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.shortages.notice(dir, self.inner.sync_dir(dir))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shortages.notice(name, self.inner.remove(name))
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.shortages.notice(dir, self.inner.remove_dir(dir))
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.shortages.notice(name, self.inner.lock(name, mode, wait))
    }
}

struct NoticingFile {
    inner: Box<dyn StoredFile>,
    name: String,
    shortages: Shortages,
}

impl StoredFile for NoticingFile {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.shortages.notice_read(&self.name, self.inner.allocated_bytes())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.shortages.notice_read(&self.name, self.inner.read_at(offset, buffer))
    }

    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        self.shortages.notice_read(&self.name, self.inner.map(range))
    }

    fn load(&self, range: Range<u64>) -> io::Result<Mapped> {
        self.shortages.notice_read(&self.name, self.inner.load(range))
    }
}
