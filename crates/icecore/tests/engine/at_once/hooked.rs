//! A storage that tells somebody of each call before it is made.

use std::io;
use std::sync::Arc;

use icecore::storage::LockGuard;
use icecore::storage::LockMode;
use icecore::storage::NewFile;
use icecore::storage::RandomFile;
use icecore::storage::Storage;
use icecore::storage::StoredFile;
use icecore::storage::Wait;

/// What is told.
pub(crate) trait Watch: Send + Sync {
    /// A call is about to be made: its name, and the name of what it is about.
    fn before(&self, call: &'static str, name: &str);

    /// A lock that is to be waited for is held by another. Returns whether it is worth another try;
    /// otherwise the call waits.
    fn blocked(&self, _name: &str) -> bool {
        false
    }

    /// A lock was released.
    fn released(&self, _name: &str) {}
}

impl<F: Fn(&'static str, &str) + Send + Sync> Watch for F {
    fn before(&self, call: &'static str, name: &str) {
        self(call, name);
    }
}

/// Wraps another storage.
#[derive(Clone)]
pub(crate) struct Hooked<S> {
    inner: S,
    watch: Arc<dyn Watch>,
}

impl<S: Storage> Hooked<S> {
    pub(crate) fn new(inner: S, watch: Arc<dyn Watch>) -> Self {
        Self { inner, watch }
    }
}

impl<S: Storage> Storage for Hooked<S> {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.watch.before("list", dir);
        self.inner.list(dir)
    }

    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>> {
        self.watch.before("list_dirs", dir);
        self.inner.list_dirs(dir)
    }

    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>> {
        self.watch.before("open_random", name);
        self.inner.open_random(name)
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.watch.before("remove_dir", dir);
        self.inner.remove_dir(dir)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.watch.before("open", name);
        self.inner.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        self.watch.before("create", name);
        self.inner.create(name)
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.watch.before("make_dir", dir);
        self.inner.make_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch.before("rename", to);
        self.inner.rename(from, to)
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch.before("rename_new", to);
        self.inner.rename_new(from, to)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.watch.before("sync_dir", dir);
        self.inner.sync_dir(dir)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.watch.before("remove", name);
        self.inner.remove(name)
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.watch.before("lock", name);
        let mut guard = self.inner.lock(name, mode, Wait::No)?;
        while guard.is_none() && wait == Wait::Yes {
            let how = if self.watch.blocked(name) { Wait::No } else { Wait::Yes };
            guard = self.inner.lock(name, mode, how)?;
        }
        let watch = Arc::clone(&self.watch);
        Ok(guard
            .map(|inner| Box::new(HookedLock { inner: Some(inner), watch, name: name.to_owned() }) as Box<_>))
    }
}

struct HookedLock {
    /// None only while it is released.
    inner: Option<Box<dyn LockGuard>>,
    watch: Arc<dyn Watch>,
    name: String,
}

impl LockGuard for HookedLock {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.as_mut().unwrap().append(bytes)
    }

    fn dismiss(mut self: Box<Self>) -> io::Result<()> {
        let inner = self.inner.take().unwrap();
        let dismissed = inner.dismiss();
        self.watch.released(&self.name);
        dismissed
    }
}

impl Drop for HookedLock {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            drop(inner);
            self.watch.released(&self.name);
        }
    }
}
