//! A storage that leaves out something that keeps operations apart: what is tested here must be
//! noticed without it.

use std::io;

use icecore::PackId;
use icecore::storage::LockGuard;
use icecore::storage::LockMode;
use icecore::storage::Storage;
use icecore::storage::Wait;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// No entry condemns the packs that gc removes.
    Condemned,
    /// Names that are taken are given away again.
    PutNew,
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

impl<S: Storage> Broken<S> {
    /// Tells whether a file has the id of a pack in it, as the entries of a gc have.
    fn names_packs(&self, name: &str) -> io::Result<bool> {
        let file = self.inner.open(name)?;
        let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
        file.read_at(0, &mut bytes)?;
        let packs = self.inner.list("packs")?;
        let ids = packs.iter().map(|pack| pack.parse::<PackId>().unwrap());
        Ok(ids.into_iter().any(|id| bytes.windows(32).any(|window| *window == id.0)))
    }
}

impl<S: Storage> Storage for Broken<S> {
    icecore_testing::forward_storage!(inner: list, list_dirs, open, create, open_random, make_dir, rename, sync_dir, remove, remove_dir);

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        match self.without {
            Some(Break::Condemned) if self.names_packs(from)? => self.inner.remove(from),
            Some(Break::PutNew) => self.inner.rename(from, to),
            _ => self.inner.rename_new(from, to),
        }
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        match self.without {
            Some(Break::Lock(lock)) if name.starts_with(lock) => Ok(Some(Box::new(NoLock))),
            // Otherwise two of one number would not meet.
            Some(Break::PutNew) if name == "local/locks/journal" => Ok(Some(Box::new(NoLock))),
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
