//! A repository in a directory tree: an object is a file that a rename makes appear, and a claim is
//! a lock on a file.

use std::io;
use std::sync::Arc;

use crate::format::layout;
use crate::world::objects::Freeing;
use crate::world::objects::NewObject;
use crate::world::objects::Objects;
use crate::world::objects::Put;
use crate::world::sessions::Claim;
use crate::world::sessions::Sessions;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::NewFile;
use crate::world::storage::Storage;
use crate::world::storage::StoredFile;
use crate::world::storage::Wait;
use crate::world::storage::create;
use crate::world::storage::gone;
use crate::world::storage::parent;
use crate::world::storage::read_all;
use crate::world::storage::with_dir;

/// The longest list of packs that a writer's lock can hold: 64 TiB of packs.
const ANNOUNCED_BYTES_MAX: u64 = 64 << 20;

/// The objects and the claims in a directory tree.
#[derive(Clone)]
pub struct Directory(Arc<dyn Storage>);

impl Directory {
    /// Returns what is in this tree.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self(storage)
    }
}

impl Objects for Directory {
    fn prepare(&self, dir: &str) -> io::Result<()> {
        self.0.make_dir(dir)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.0.open(name)
    }

    fn begin(&self, spool: &str) -> io::Result<Box<dyn NewObject>> {
        let file = create(&*self.0, spool)?;
        let storage = Arc::clone(&self.0);
        Ok(Box::new(Unnamed { storage, spool: spool.to_owned(), file: Some(file), state: State::Written }))
    }

    fn put_hint(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // A crash may have left one that is not whole.
        let _ = self.0.remove(name);
        create(&*self.0, name)?.append(bytes)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        gone(self.0.remove(name))
    }

    /// Moves the file away: a rename is fast.
    fn delete_fast(&self, name: &str, spool: &str) -> io::Result<Freeing> {
        match with_dir(&*self.0, spool, || self.0.rename(name, spool)) {
            Ok(()) => {
                let (storage, spool) = (Arc::clone(&self.0), spool.to_owned());
                return Ok(Box::new(move || gone(storage.remove(&spool))));
            }
            // There may be no space for another name.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.delete(name)?,
            failed => gone(failed)?,
        }
        Ok(Box::new(|| Ok(())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        with_dir(&*self.0, to, || self.0.rename_new(from, to))?;
        self.0.sync_dir(parent(to))?;
        self.0.sync_dir(parent(from))
    }

    fn sync(&self, dir: &str) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
}

/// A file without its final name.
struct Unnamed {
    storage: Arc<dyn Storage>,
    spool: String,
    /// None once it is to get its name.
    file: Option<Box<dyn NewFile>>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Written,
    Synced,
    Named,
}

impl Unnamed {
    fn file(&mut self) -> io::Result<&mut Box<dyn NewFile>> {
        self.file.as_mut().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Makes the file appear, whole and durable, by giving it its name.
    fn appear(&mut self, name: &str, give: impl Fn(&dyn Storage, &str) -> io::Result<()>) -> io::Result<()> {
        self.sync()?;
        self.file = None;
        with_dir(&*self.storage, name, || give(&*self.storage, &self.spool))?;
        self.state = State::Named;
        self.storage.sync_dir(parent(name))
    }
}

impl NewObject for Unnamed {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.state = State::Written;
        self.file()?.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.state == State::Written {
            self.file()?.sync()?;
            self.state = State::Synced;
        }
        Ok(())
    }

    fn open(&self) -> io::Result<Box<dyn StoredFile>> {
        self.storage.open(&self.spool)
    }

    fn publish(&mut self, name: &str) -> io::Result<Put> {
        match self.appear(name, |storage, spool| storage.rename_new(spool, name)) {
            Ok(()) => Ok(Put::Made),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
            Err(error) => Err(error),
        }
    }

    fn mend(&mut self, name: &str) -> io::Result<()> {
        self.appear(name, |storage, spool| storage.rename(spool, name))
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        self.file = None;
        if self.state != State::Named {
            // There is nobody to report to; gc removes what is left.
            let _ = self.storage.remove(&self.spool);
        }
    }
}

impl Sessions for Directory {
    fn claim(&self, claim: Claim<'_>, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        let name = claim.file();
        with_dir(&*self.0, &name, || self.0.lock(&name, mode, wait))
    }

    fn writers(&self) -> io::Result<Vec<String>> {
        let locks = self.0.list(layout::LOCKS)?;
        Ok(locks.iter().filter_map(|file| file.strip_prefix("writer-")).map(str::to_owned).collect())
    }

    fn announced(&self, writer: &str) -> io::Result<Vec<u8>> {
        read_all(self.0.open(&Claim::Writer(writer).file()), ANNOUNCED_BYTES_MAX)
    }

    fn traces(&self, own: &str) -> io::Result<Vec<String>> {
        let own = Claim::Writer(own).file();
        let mut traces: Vec<String> =
            self.0.list(layout::LOCKS)?.iter().map(|file| layout::lock(file)).collect();
        // The others are not named after who has them, and stay.
        let of_holders = ["writer-", "pin-", "record-"].map(layout::lock);
        traces.retain(|name| *name != own && of_holders.iter().any(|kind| name.starts_with(kind)));
        Ok(traces)
    }

    fn remove_trace(&self, trace: &str) -> io::Result<bool> {
        match self.0.lock(trace, LockMode::Exclusive, Wait::No)? {
            Some(guard) => guard.dismiss().map(|()| true),
            None => Ok(false),
        }
    }
}
