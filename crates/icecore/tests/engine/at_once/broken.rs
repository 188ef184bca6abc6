//! A storage that leaves out something that keeps operations apart: what is tested here must be
//! noticed without it.

use std::io;

use icecore::PackId;
use icecore::storage::LockGuard;
use icecore::storage::LockMode;
use icecore::storage::Storage;
use icecore::storage::Wait;
use icecore::storage::Watch;
use icecore::storage::Watched;

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

/// Wraps a storage.
pub(crate) fn broken<S>(inner: S, without: Option<Break>) -> Watched<S, Without> {
    Watched::new(inner, Without(without))
}

pub(crate) struct Without(Option<Break>);

/// Tells whether a file has the id of a pack in it, as the entries of a gc have.
fn names_packs(storage: &(impl Storage + ?Sized), name: &str) -> io::Result<bool> {
    let file = storage.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
    file.read_at(0, &mut bytes)?;
    let packs = storage.list("packs")?;
    let ids = packs.iter().map(|pack| pack.parse::<PackId>().unwrap());
    Ok(ids.into_iter().any(|id| bytes.windows(32).any(|window| *window == id.0)))
}

impl Watch for Without {
    fn rename_new<S: Storage + ?Sized>(&self, inner: &S, from: &str, to: &str) -> io::Result<()> {
        match self.0 {
            Some(Break::Condemned) if to.starts_with("journal/") && names_packs(inner, from)? => {
                inner.remove(from)
            }
            Some(Break::PutNew) => inner.rename(from, to),
            _ => inner.rename_new(from, to),
        }
    }

    fn lock<S: Storage + ?Sized>(
        &self,
        inner: &S,
        name: &str,
        mode: LockMode,
        wait: Wait,
    ) -> io::Result<Option<Box<dyn LockGuard>>> {
        match self.0 {
            Some(Break::Lock(lock)) if name.starts_with(lock) => Ok(Some(Box::new(NoLock))),
            // Otherwise two of one number would not meet.
            Some(Break::PutNew) if name == "local/locks/journal" => Ok(Some(Box::new(NoLock))),
            Some(Break::Announcements) if name.starts_with("local/locks/writer-") => {
                let inner = inner.lock(name, mode, wait)?;
                Ok(inner.map(|inner| Box::new(Silent(inner)) as Box<dyn LockGuard>))
            }
            _ => inner.lock(name, mode, wait),
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
