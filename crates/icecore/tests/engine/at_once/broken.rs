//! A storage that leaves out something that keeps operations apart: what is tested here must be
//! noticed without it.

use std::io;

use icecore::storage::LockGuard;
use icecore::storage::LockMode;
use icecore::storage::Storage;
use icecore::storage::Wait;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Gc does not count `generation` up.
    Generation,
    /// A lock keeps nobody out.
    Lock(&'static str),
    /// Writers do not say which packs are theirs.
    Announcements,
}

/// Wraps another storage.
pub(crate) struct Broken<S> {
    inner: S,
    without: Option<Break>,
}

impl<S> Broken<S> {
    pub(crate) fn new(inner: S, without: Option<Break>) -> Self {
        Self { inner, without }
    }
}

impl<S: Storage> Storage for Broken<S> {
    icecore_testing::forward_storage!(inner: list, list_dirs, open, create, open_random, make_dir, rename_new, sync_dir, remove, remove_dir);

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match self.without {
            Some(Break::Generation) if to == "local/generation" => self.inner.remove(from),
            _ => self.inner.rename(from, to),
        }
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        match self.without {
            Some(Break::Lock(lock)) if name.starts_with(lock) => Ok(Some(Box::new(NoLock))),
            Some(Break::Announcements) if name.starts_with("local/locks/writer-") => {
                let inner = self.inner.lock(name, mode, wait)?;
                Ok(inner.map(|inner| Box::new(Silent(inner)) as Box<dyn LockGuard>))
            }
            _ => self.inner.lock(name, mode, wait),
        }
    }
}

struct NoLock;

impl LockGuard for NoLock {
    fn append(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn dismiss(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

struct Silent(Box<dyn LockGuard>);

impl LockGuard for Silent {
    fn append(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn dismiss(self: Box<Self>) -> io::Result<()> {
        self.0.dismiss()
    }
}
