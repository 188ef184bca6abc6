//! The locks between sessions.
//! `docs/concurrency.md` describes them in full.

use std::io;
use std::sync::PoisonError;

use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::sync::Mutex;
use crate::world::sessions::Claim;
use crate::world::sessions::Work;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Wait;

/// A lock that is released when it is dropped.
pub(crate) struct Held(Box<dyn LockGuard>);

impl Held {
    /// Releases the lock and removes its file, unless another process holds it by then.
    pub(crate) fn dismiss(self) {
        // A lock file that stays has no meaning.
        let _ = self.0.dismiss();
    }
}

/// Waits until no other session does this work, and keeps others from it.
pub(crate) fn only(files: &RepositoryFiles, work: Work) -> Result<Held> {
    wait_for(files, Claim::Only(work))
}

/// Keeps others from this work; none if another session does it.
pub(crate) fn try_only(files: &RepositoryFiles, work: Work) -> Result<Option<Held>> {
    try_take(files, Claim::Only(work))
}

/// Begins the one gc or repair that may run.
pub(crate) fn only_gc(files: &RepositoryFiles) -> Result<Held> {
    if let Some(held) = try_only(files, Work::Gc)? {
        return Ok(held);
    }
    // A capture that puts small packs together may have it, for a moment.
    drop(only(files, Work::Join)?);
    try_only(files, Work::Gc)?.ok_or_else(|| {
        Error::new(ErrorKind::InUse, "another gc or repair is running on this repository")
            .with_hint("wait until it ends; if it was killed, its lock is already free")
    })
}

/// Takes a volume, by its key, to use or change it; none if another session has it.
pub(crate) fn try_volume(files: &RepositoryFiles, name: &str) -> Result<Option<Held>> {
    try_take(files, Claim::Volume(name))
}

/// Waits until no other session replaces the record of a volume, by its key, and keeps others from
/// it.
pub(crate) fn volume_record(files: &RepositoryFiles, name: &str) -> Result<Held> {
    wait_for(files, Claim::VolumeRecord(name))
}

fn wait_for(files: &RepositoryFiles, claim: Claim<'_>) -> Result<Held> {
    match take(files, claim, LockMode::Exclusive, Wait::Yes)? {
        Some(guard) => Ok(Held(guard)),
        None => Err(Error::new(ErrorKind::InUse, format!("another process holds the lock {}", claim.file()))),
    }
}

fn try_take(files: &RepositoryFiles, claim: Claim<'_>) -> Result<Option<Held>> {
    Ok(take(files, claim, LockMode::Exclusive, Wait::No)?.map(Held))
}

fn take(
    files: &RepositoryFiles,
    claim: Claim<'_>,
    mode: LockMode,
    wait: Wait,
) -> Result<Option<Box<dyn LockGuard>>> {
    files.place.sessions.claim(claim, mode, wait).map_err(|error| {
        let error = Error::stored_io(format!("taking the lock {}", claim.file()), error);
        match error.kind() {
            ErrorKind::PermissionDenied => error.with_hint(
                "the repository is read-only here; to change it, make its directory and files writable",
            ),
            _ => error,
        }
    })
}

/// The lock that a writer holds while it lives, and in it the packs that gc must leave alone.
pub(crate) struct Writer(Mutex<Option<Box<dyn LockGuard>>>);

impl Writer {
    pub(crate) fn begin(files: &RepositoryFiles) -> Result<Self> {
        // Gc may hold it for a moment, to check whether its writer lives.
        take(files, Claim::Writer(&files.session), LockMode::Exclusive, Wait::Yes)
            .map(|guard| Self(Mutex::new(guard)))
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

/// Returns the sessions that claim to be writers. Some may be dead.
pub(crate) fn writers(files: &RepositoryFiles) -> Result<Vec<String>> {
    files.place.sessions.writers().map_err(listing)
}

fn announced(files: &RepositoryFiles, wanted: impl Fn(&str) -> bool) -> Result<Vec<PackId>> {
    let mut packs = Vec::new();
    for writer in writers(files)? {
        let is_dead = || Ok::<_, Error>(try_take(files, Claim::Writer(&writer))?.is_some());
        if !wanted(&writer) || writer != files.session && is_dead()? {
            continue;
        }
        match files.place.sessions.announced(&writer) {
            Ok(bytes) => packs.extend(bytes.as_chunks::<32>().0.iter().map(|id| PackId(*id))),
            // The writer ended between the two steps; its record then says what it needs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Error::stored_io(format!("reading {}", Claim::Writer(&writer).file()), error));
            }
        }
    }
    Ok(packs)
}

/// Removes the locks of dead processes. Returns their number.
pub(crate) fn remove_dead_locks(files: &RepositoryFiles) -> Result<u64> {
    let sessions = &files.place.sessions;
    let mut removed = 0;
    for trace in sessions.traces(&files.session).map_err(listing)? {
        let removing = |error| Error::stored_io(format!("removing {trace}"), error);
        removed += u64::from(sessions.remove_trace(&trace).map_err(removing)?);
    }
    Ok(removed)
}

fn listing(error: io::Error) -> Error {
    Error::stored_io("listing the locks", error)
}

/// A pin: it prevents the deletion of a snapshot while it is read.
pub(crate) struct Pin(Option<Box<dyn LockGuard>>);

impl Pin {
    /// Pins a snapshot; the caller looks for its record after that. If the repository is read-only,
    /// or its file system has no locks, nobody can delete from it either, and there is no pin.
    pub(crate) fn take(files: &RepositoryFiles, id: SnapshotId) -> Result<Self> {
        match take(files, Claim::Snapshot(id), LockMode::Shared, Wait::Yes) {
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
        match take(files, Claim::Snapshot(id), LockMode::Exclusive, Wait::No) {
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
