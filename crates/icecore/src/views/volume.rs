//! A copy-on-write volume as a disk that is read and written at any offset, while snapshots of it
//! are taken.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::format::record::Record;
use crate::format::volume::VolumeRecord;
use crate::repository::Repository;
use crate::stores::locks::Held;
use crate::stores::volumes;
use crate::stores::volumes::overlay::Overlay;
use crate::views::cache::BlockCache;
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
/// What was written when `sync` is called is there after a crash once that returns; of what was
/// written since, each block of 4 KiB is there as it was written or as it was before.
pub struct Volume {
    pub(super) repo: Arc<Repository>,
    pub(super) cache: Arc<BlockCache>,
    pub(super) name: String,
    kind: ResourceKind,
    pub(super) locks: VolumeLocks,
    /// How many snapshots were begun.
    pub(super) begun: AtomicU64,
    /// The number of the last snapshot that was told to end, for what it keeps takes the room that
    /// a write needs.
    gives_way: AtomicU64,
    _lock: Mutex<Held>,
}

impl Volume {
    /// Opens a volume to read and write it.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name; `InUse` if another process has it open; `Corrupt`
    /// if its record or its map is damaged.
    pub fn open(repo: Arc<Repository>, name: &str, cache: Arc<BlockCache>) -> Result<Self> {
        repo.check_writable()?;
        // Before the lock, whose file would be made.
        volumes::load(repo.files(), name)?;
        let lock = volumes::lock(repo.files(), name)?;
        repo.check_writable()?;
        let record = volumes::load(repo.files(), name)?;
        let storage = &repo.files().storage;
        let numbers = record.sealed.iter().chain([&record.active]).rev();
        let opened =
            numbers.map(|number| Overlay::open(storage, name, *number, record.size_bytes).map(Arc::new));
        let overlays = opened
            .collect::<Result<Vec<_>>>()
            .map_err(|error| error.in_context(format!("volume {name} cannot be opened")))?;
        // What a crash left of overlays that are not used, or not used any more. They may stay.
        let used = |number| record.sealed.contains(&number) || record.active == number;
        let _ = Overlay::remove_files(&**storage, name, |number| !used(number));
        let base = disk_of(&repo, record.base.as_ref(), &cache)?;
        let stack = Stack { overlays, base, size_bytes: record.size_bytes, frozen: None };
        Ok(Self {
            name: name.to_owned(),
            kind: record.kind,
            locks: VolumeLocks::new(record, stack),
            begun: AtomicU64::new(0),
            gives_way: AtomicU64::new(0),
            _lock: Mutex::new(lock),
            repo,
            cache,
        })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what snapshots of it are snapshots of.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Returns when it was made, in milliseconds since 1970.
    pub(crate) fn created_unix_ms(&self) -> i64 {
        self.locks.published().record.created_unix_ms
    }

    /// Returns the first range at or after `offset` that was written to, or zeroed, since the
    /// snapshot below.
    pub fn next_dirty(&self, offset: u64) -> Option<Range<u64>> {
        self.locks.stack().next_dirty(offset)
    }

    pub(crate) fn repo(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// Keeps others from taking a snapshot meanwhile.
    pub(crate) fn one_snapshot(&self) -> MutexGuard<'_, ()> {
        self.locks.one_snapshot()
    }

    /// Publishes a record in the place of the one that the medium knows.
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

    /// Tells whether the record that is there leaves out nothing of the stack.
    pub(super) fn names_all(&self, published: &mut Published) -> bool {
        let before = &published.record;
        let is_kept = |found: VolumeRecord| {
            found.base == before.base && before.sealed.iter().all(|number| found.sealed.contains(number))
        };
        published.in_doubt =
            published.in_doubt && !volumes::load(self.repo.files(), &self.name).is_ok_and(is_kept);
        !published.in_doubt
    }

    /// Makes it larger while it is used. What is added is zero, and survives a power cut as a size
    /// when this returns. Who has asked for the size before knows the old one; a client of an NBD
    /// server sees the new one when it connects anew.
    ///
    /// # Errors
    /// `InvalidInput` for a size that is smaller than it has.
    pub fn grow(&self, size_bytes: u64) -> Result<()> {
        self.repo.check_writable()?;
        let mut published = self.locks.published();
        let grown = volumes::grown(&published.record, size_bytes)?;
        if grown.size_bytes == published.record.size_bytes {
            return Ok(());
        }
        // Nothing lies beyond the old end before the record says that there is room for it.
        self.publish(&mut published, grown)?;
        self.locks.stack_mut().size_bytes = size_bytes;
        Ok(())
    }

    /// Tells whether a snapshot should end, for a write needs the room.
    pub(crate) fn is_in_the_way(&self, snapshot: u64) -> bool {
        self.gives_way.load(Ordering::SeqCst) == snapshot
    }

    /// Does something that needs room, and tells which snapshot was being taken meanwhile. Where
    /// there is no room, that snapshot gives up, and it is done again: what the snapshot held can
    /// be written in place then, which needs none.
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

    /// Syncs all overlays. A map that needs room because of a snapshot gets that of the reserve.
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
