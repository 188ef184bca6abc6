//! The locks between processes.
//! `docs/concurrency.md` describes them in full.

use std::io;
use std::sync::PoisonError;

use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::sync::Mutex;
use crate::world::storage;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Wait;
use crate::world::storage::read_all;

/// The longest list of packs that a writer's lock can hold: 64 TiB of packs.
const LOCK_BYTES_MAX: u64 = 64 << 20;

/// A lock that is released when it is dropped.
pub(crate) struct Held(Box<dyn LockGuard>);

impl Held {
    /// Releases the lock and removes its file, unless another process holds it by then.
    pub(crate) fn dismiss(self) {
        // A lock file that stays has no meaning.
        let _ = self.0.dismiss();
    }
}

/// Takes a lock, and waits for it if necessary.
pub(crate) fn lock(files: &RepositoryFiles, name: &str, mode: LockMode) -> Result<Held> {
    match take(files, name, mode, Wait::Yes)? {
        Some(guard) => Ok(Held(guard)),
        None => Err(Error::new(ErrorKind::InUse, format!("another process holds the lock {name}"))),
    }
}

/// Takes a lock if nobody holds it.
pub(crate) fn try_lock(files: &RepositoryFiles, name: &str) -> Result<Option<Held>> {
    Ok(take(files, name, LockMode::Exclusive, Wait::No)?.map(Held))
}

fn take(
    files: &RepositoryFiles,
    name: &str,
    mode: LockMode,
    wait: Wait,
) -> Result<Option<Box<dyn LockGuard>>> {
    storage::lock(&*files.storage, name, mode, wait).map_err(|error| {
        let error = Error::stored_io(format!("taking the lock {name}"), error);
        match error.kind() {
            ErrorKind::PermissionDenied => error.with_hint(
                "the repository is read-only here; to change it, make its directory and files writable",
            ),
            _ => error,
        }
    })
}

/// Takes the lock of the one gc or repair that may run.
pub(crate) fn lock_gc(files: &RepositoryFiles) -> Result<Held> {
    try_lock(files, layout::LOCK_GC)?.ok_or_else(|| {
        Error::new(ErrorKind::InUse, "another gc or repair is running on this repository")
            .with_hint("wait until it ends; if it was killed, its lock is already free")
    })
}

/// The lock that a writer holds while it lives, and in it the packs that gc must leave alone.
pub(crate) struct Writer(Mutex<Option<Box<dyn LockGuard>>>);

impl Writer {
    pub(crate) fn begin(files: &RepositoryFiles) -> Result<Self> {
        let name = layout::writer_lock(&files.session);
        // Gc may hold it for a moment, to check whether its writer lives.
        take(files, &name, LockMode::Exclusive, Wait::Yes).map(|guard| Self(Mutex::new(guard)))
    }

    /// Announces a pack to gc before it appears.
    pub(crate) fn announce(&self, pack: PackId) -> Result<()> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(guard) => guard
                .append(&pack.0)
                .map_err(|error| Error::stored_io("writing a pack's id to the writer's lock", error)),
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(guard) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A lock file that stays is removed by the next gc.
            let _ = guard.dismiss();
        }
    }
}

/// Returns the packs that living writers have announced.
pub(crate) fn announced_packs(files: &RepositoryFiles) -> Result<Vec<PackId>> {
    announced(files, |_| true)
}

/// Returns the packs that other living writers have announced.
pub(crate) fn packs_of_other_writers(files: &RepositoryFiles) -> Result<Vec<PackId>> {
    announced(files, |writer| writer != files.session)
}

fn announced(files: &RepositoryFiles, wanted: impl Fn(&str) -> bool) -> Result<Vec<PackId>> {
    let mut packs = Vec::new();
    for file in files.list(layout::LOCKS)? {
        let Some(writer) = layout::writer_of_lock(&file).filter(|writer| wanted(writer)) else { continue };
        let name = layout::writer_lock(writer);
        if writer != files.session && try_lock(files, &name)?.is_some() {
            continue;
        }
        match read_all(&*files.storage, &name, LOCK_BYTES_MAX) {
            Ok(bytes) => packs.extend(bytes.as_chunks::<32>().0.iter().map(|id| PackId(*id))),
            // The writer ended between the two steps; its record then says what it needs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::stored_io(format!("reading {name}"), error)),
        }
    }
    Ok(packs)
}

/// Removes the lock files of dead processes. Returns their number.
pub(crate) fn remove_dead_locks(files: &RepositoryFiles) -> Result<u64> {
    let mut removed = 0;
    for file in files.list(layout::LOCKS)? {
        let named_after_its_holder =
            ["writer-", "pin-", "record-"].iter().any(|prefix| file.starts_with(prefix));
        if !named_after_its_holder || layout::writer_of_lock(&file) == Some(&files.session) {
            continue;
        }
        let name = format!("{}/{file}", layout::LOCKS);
        if let Some(guard) = take(files, &name, LockMode::Exclusive, Wait::No)? {
            guard.dismiss().map_err(|error| Error::stored_io(format!("removing {name}"), error))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// A pin: it prevents the deletion of a snapshot while it is read.
pub(crate) struct Pin(Option<Box<dyn LockGuard>>);

impl Pin {
    /// Pins a snapshot; the caller looks for its record after that. If the repository is read-only,
    /// or its file system has no locks, nobody can delete from it either, and there is no pin.
    pub(crate) fn take(files: &RepositoryFiles, id: SnapshotId) -> Result<Self> {
        match take(files, &layout::pin_lock(id), LockMode::Shared, Wait::Yes) {
            Ok(guard) => Ok(Self(guard)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::NoSpace | ErrorKind::Unsupported
                ) =>
            {
                Ok(Self(None))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the pin of a snapshot exclusively, to delete it; none if somebody reads it.
    pub(crate) fn take_alone(files: &RepositoryFiles, id: SnapshotId) -> Result<Option<Self>> {
        match take(files, &layout::pin_lock(id), LockMode::Exclusive, Wait::No) {
            Ok(guard) => Ok(guard.map(|guard| Self(Some(guard)))),
            // On a full disk, no lock file can be created; an existing pin can still be checked,
            // and there was none.
            Err(error) if error.kind() == ErrorKind::NoSpace => Ok(Some(Self(None))),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            // A lock file that stays is removed by the next gc.
            let _ = guard.dismiss();
        }
    }
}
