//! A copy-on-write volume as a disk that you read and write at any offset, even during a snapshot.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::format::journal::Standing;
use crate::format::reads::Reads;
use crate::format::record::Record;
use crate::format::volume::VolumeRecord;
use crate::repository::Repository;
use crate::stores::locks::Held;
use crate::stores::volumes;
use crate::stores::volumes::overlay::Overlay;
use crate::views::cache::BlockCache;
use crate::views::recorder::Noted;
use crate::views::recorder::Recorder;
use crate::views::snapshot::SnapshotDisk;
use crate::views::stack::Stack;
use crate::views::volume_locks::Published;
use crate::views::volume_locks::VolumeLocks;
use crate::words::error::Result;
use crate::words::names::ResourceKind;
use crate::words::sync::Mutex;
use crate::words::sync::MutexGuard;
use crate::world::io::ReadAt;

/// An open volume. Nobody else has it open. Any number of threads may use it.
///
/// Once `sync` returns, everything written before it was called survives a crash. Of later writes,
/// each 4 KiB block holds either the new bytes or the old ones.
pub struct Volume {
    pub(super) repo: Arc<Repository>,
    pub(super) cache: Arc<BlockCache>,
    pub(super) name: String,
    kind: ResourceKind,
    pub(super) locks: VolumeLocks,
    /// How many snapshots have begun.
    pub(super) begun: AtomicU64,
    /// The number of the last snapshot that was told to end because the data it holds takes space
    /// that a write needs.
    gives_way: AtomicU64,
    /// What was read of the snapshot below, if that is recorded.
    noted: Mutex<Option<Arc<Noted>>>,
    _lock: Mutex<Held>,
}

impl Volume {
    /// Opens a volume to read and write it.
    ///
    /// # Errors
    /// `NotFound` if no volume has this name; `InUse` if another process has it open; `Corrupt` if
    /// its record or its map is damaged.
    pub fn open(repo: Arc<Repository>, name: &str, cache: Arc<BlockCache>) -> Result<Self> {
        repo.check_writable()?;
        // Load before taking the lock, because locking creates the lock's file.
        volumes::load(repo.files(), name)?;
        let lock = volumes::lock(repo.files(), name)?;
        repo.check_writable()?;
        let record = volumes::load(repo.files(), name)?;
        let files = repo.files();
        let numbers = record.sealed.iter().chain([&record.active]).rev();
        let opened = numbers.map(|number| Overlay::open(files, &record, *number).map(Arc::new));
        let overlays = opened
            .collect::<Result<Vec<_>>>()
            .map_err(|error| error.in_context(format!("volume {name} cannot be opened")))?;
        // A crash may have left overlays that are unused, or no longer used. They may stay.
        let used = |number| record.sealed.contains(&number) || record.active == number;
        let _ = Overlay::remove_files(files, name, |number| !used(number));
        let base = disk_of(&repo, record.base.as_ref(), &cache)?;
        let stack = Stack { overlays, base, size_bytes: record.size_bytes, frozen: None };
        Ok(Self {
            name: name.to_owned(),
            kind: record.kind,
            locks: VolumeLocks::new(record, stack),
            begun: AtomicU64::new(0),
            gives_way: AtomicU64::new(0),
            noted: Mutex::default(),
            _lock: Mutex::new(lock),
            repo,
            cache,
        })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the kind of resource that its snapshots record.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Returns the creation time in milliseconds since 1970.
    pub(crate) fn created_unix_ms(&self) -> i64 {
        self.locks.published().record.created_unix_ms
    }

    /// Returns the first range at or after `offset` that was written or zeroed since the snapshot
    /// below.
    pub fn next_dirty(&self, offset: u64) -> Option<Range<u64>> {
        self.locks.stack().next_dirty(offset)
    }

    /// Returns what the volume stands on.
    pub(crate) fn standing(&self) -> Standing {
        let published = self.locks.published();
        let record = &published.record;
        let bases = record.base.iter().cloned().collect();
        self.repo.standing(record.id, &self.name, record.origin.clone(), bases)
    }

    /// Returns the record of the snapshot below.
    pub(super) fn base(&self) -> Option<Record> {
        self.locks.published().record.base.clone()
    }

    /// Notes from now on what is read of the snapshot below, until a snapshot of the volume takes its
    /// place: up to 1 GiB, in parts of 64 KiB. [`store_reads`](crate::volume::store_reads) stores
    /// it. Tells whether there is a snapshot below.
    pub fn record_reads(&self) -> bool {
        let published = self.locks.published();
        let mut stack = self.locks.stack_mut();
        let Some((record, base)) = published.record.base.as_ref().zip(stack.base.take()) else {
            return false;
        };
        let noted = Noted::new(record.id);
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&noted));
        stack.base = Some(Arc::new(Recorder { base, noted }));
        true
    }

    /// Takes what was noted of the snapshot below, and whether more was read than that.
    pub(crate) fn take_reads(&self) -> Option<(Reads, bool)> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (ranges, is_full) = noted.take();
        Some((Reads { snapshot: noted.snapshot, ranges }, is_full))
    }

    pub(crate) fn repo(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// Keeps others from taking a snapshot while the guard lives.
    pub(crate) fn one_snapshot(&self) -> MutexGuard<'_, ()> {
        self.locks.one_snapshot()
    }

    /// Publishes a record in place of the one on the medium.
    pub(super) fn publish(&self, published: &mut Published, mut record: VolumeRecord) -> Result<()> {
        let files = self.repo.files();
        let saved = volumes::save(files, &mut record);
        if saved.is_ok() {
            *published = Published { record, in_doubt: false, spare: published.spare.take() };
        } else {
            published.in_doubt = true;
        }
        saved
    }

    /// Tells whether the record on the medium names every overlay of the stack.
    pub(super) fn names_all(&self, published: &mut Published) -> bool {
        let before = &published.record;
        let is_kept = |found: VolumeRecord| {
            found.base == before.base && before.sealed.iter().all(|number| found.sealed.contains(number))
        };
        published.in_doubt =
            published.in_doubt && !volumes::load(self.repo.files(), &self.name).is_ok_and(is_kept);
        !published.in_doubt
    }

    /// Grows the volume while it is in use. The added space reads as zeros, and the new size
    /// survives a power cut once this returns. A user who asked for the size before still knows the
    /// old one; an NBD client sees the new one when it reconnects.
    ///
    /// # Errors
    /// `InvalidInput` if the size is smaller than the current one.
    pub fn grow(&self, size_bytes: u64) -> Result<()> {
        self.repo.check_writable()?;
        let mut published = self.locks.published();
        let grown = volumes::grown(&published.record, size_bytes)?;
        if grown.size_bytes == published.record.size_bytes {
            return Ok(());
        }
        // Nothing may lie beyond the old end before the record allows it.
        self.publish(&mut published, grown)?;
        self.locks.stack_mut().size_bytes = size_bytes;
        Ok(())
    }

    /// Tells whether a snapshot should end because a write needs the space.
    pub(crate) fn is_in_the_way(&self, snapshot: u64) -> bool {
        self.gives_way.load(Ordering::SeqCst) == snapshot
    }

    /// Runs `what`, which needs space and returns the number of the snapshot being taken meanwhile.
    /// If space runs out, that snapshot gives up and `what` runs again: then the blocks that the
    /// snapshot held can be overwritten in place, which needs no space.
    pub(super) fn before_snapshots<T>(
        &self,
        what: impl Fn() -> (Option<u64>, io::Result<T>),
    ) -> io::Result<T> {
        let mut given_up = None;
        loop {
            match what() {
                (Some(snapshot), Err(error)) if is_full(&error) && given_up != Some(snapshot) => {
                    self.gives_way.store(snapshot, Ordering::SeqCst);
                    given_up = Some(snapshot);
                    drop(self.one_snapshot());
                }
                (_, result) => return result,
            }
        }
    }

    /// Syncs all overlays. A map that needs space because of a snapshot gets the reserve's.
    pub(super) fn sync_once(&self) -> (Option<u64>, io::Result<()>) {
        let stack = self.locks.stack().clone();
        let mut synced = stack.sync();
        if stack.overlays.len() > 1
            && synced.as_ref().is_err_and(is_full)
            && self.repo.files().give_back_reserve().unwrap_or(false)
        {
            synced = stack.sync();
        }
        (stack.frozen, synced)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns the snapshot below a volume as a disk. The volume's record keeps it, so it needs no pin.
pub(super) fn disk_of(
    repo: &Arc<Repository>,
    record: Option<&Record>,
    cache: &Arc<BlockCache>,
) -> Result<Option<Arc<dyn ReadAt>>> {
    let disk = record.map(|record| SnapshotDisk::of_record(Arc::clone(repo), record, Arc::clone(cache)));
    Ok(disk.transpose()?.map(|disk| Arc::new(disk) as Arc<dyn ReadAt>))
}
