//! The open volumes. The first user opens a volume, all share it, and the last closes it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;

use icecore::Error;
use icecore::Result;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::volume::Volume;
use icecore_host::exports::Lent;
use icecore_host::repository;
use icecore_host::repository::SERVER;

use crate::pool::disk::OpenDisk;
use crate::pool::labels;
use crate::words::patience::patiently;

/// The state of one volume.
type Slot = Arc<Mutex<Weak<OpenDisk>>>;

/// The open volumes of a region, by their names in the engine.
pub(crate) struct Disks {
    dir: PathBuf,
    repo: Arc<Repository>,
    cache: Arc<BlockCache>,
    slots: Mutex<HashMap<String, Slot>>,
}

impl Disks {
    /// Returns the disks of a repository with the local files in a directory. All regions share
    /// `cache` for the data read from them.
    pub(super) fn new(dir: PathBuf, repo: Arc<Repository>, cache: Arc<BlockCache>) -> Self {
        Self { dir, repo, cache, slots: Mutex::default() }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, name: &str) -> Slot {
        Arc::clone(self.slots().entry(name.to_owned()).or_default())
    }

    /// Removes the slots that nobody uses.
    fn tidy(&self) {
        self.slots().retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot.lock().unwrap_or_else(PoisonError::into_inner).strong_count() > 0
        });
    }

    /// Opens a volume. It stays open as long as anyone holds the result.
    ///
    /// # Errors
    /// `NotFound`; `InUse` if another program has it open.
    pub(crate) fn open(&self, name: &str) -> Result<Arc<OpenDisk>> {
        let slot = self.slot(name);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = slot.upgrade().filter(|disk| disk.with(|_| ()).is_ok()) {
            return Ok(disk);
        }
        // Each volume has its own handle, so that its snapshots do not wait for those of another
        // volume. Only its owner can ask the server for one.
        let handle = repository::open_beside(&self.repo, SERVER);
        let owned = icecore::volume::find_volume(&handle, name)?.labels;
        let handle = Arc::new(match labels::text(&owned, labels::ACCOUNT) {
            Some(owner) => handle.on_behalf_of(owner),
            None => handle,
        });
        let volume = patiently(|| Volume::open(Arc::clone(&handle), name, Arc::clone(&self.cache)))?;
        let disk = Arc::new(OpenDisk::new(volume));
        let dir = self.dir.join(icecore::volume::volume_dir(&handle, name));
        if let Err(error) = disk.listen(&dir, name) {
            // The disk is useful even if other programs cannot request snapshots of it.
            tracing::warn!(volume = name, %error, "other programs cannot request snapshots");
        }
        *slot = Arc::downgrade(&disk);
        Ok(disk)
    }

    /// Takes a volume away from all its users, and calls `what` while it is closed and nobody can
    /// open it.
    pub(crate) fn with_closed<T>(&self, name: &str, what: impl Fn() -> Result<T>) -> Result<T> {
        let done = {
            let slot = self.slot(name);
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(disk) = slot.upgrade() {
                disk.take_away();
            }
            patiently(what)
        };
        self.tidy();
        done
    }

    /// Grows a volume, open or not. Clients see the new size when they reconnect.
    pub(crate) fn grow(&self, name: &str, size_bytes: u64) -> Result<()> {
        let disk = self.open(name)?;
        let grown = disk.with(|volume| volume.grow(size_bytes));
        grown.map_err(|error| Error::io(format!("growing volume {name}"), error))?
    }

    /// Returns the number of open volumes.
    pub(crate) fn open_count(&self) -> usize {
        // A locked slot is in use.
        let is_open = |slot: &&Slot| slot.try_lock().map_or(true, |slot| slot.strong_count() > 0);
        self.slots().values().filter(is_open).count()
    }
}

#[cfg(test)]
mod tests {
    use icecore::repository::DEFAULT_LEVEL;
    use icecore::snapshot::SnapshotId;
    use icecore::volume::VolumeId;
    use icecore::volume::VolumeOptions;
    use icecore::volume::VolumeSnapshotOptions;
    use icecore_host::clock::new_id;
    use icecore_host::control;
    use icecore_host::places::Location;
    use icecore_host::repository::NewRepository;

    use super::*;

    #[test]
    fn snapshots_are_asked_of_whoever_has_the_disk_at_the_moment() {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().join("here");
        let new = NewRepository { created_unix_ms: 0, level: DEFAULT_LEVEL, parity: None };
        let repo = Arc::new(repository::init(&Location::directory(&repository), SERVER, new).unwrap());
        let disks = Disks::new(repository.clone(), Arc::clone(&repo), BlockCache::usual());
        let options = VolumeOptions {
            id: VolumeId(new_id()),
            name: "web".to_owned(),
            created_unix_ms: 0,
            kind: None,
            snapshot: None,
            size_bytes: Some(1 << 20),
            labels: Default::default(),
        };
        icecore::volume::create_volume(&repo, &options).unwrap();
        let dir = repository.join(icecore::volume::volume_dir(&repo, "web"));
        let served = || control::is_served(&dir);
        let take = |name: &str| {
            let asked = VolumeSnapshotOptions::new(SnapshotId(new_id()), 1, name);
            control::ask(&dir, "web", &asked).unwrap().map(|taken| taken.map(|_| ()))
        };
        assert!(!served() && take("nobody").is_none());
        let pulled = disks.open("web").unwrap();
        take("first").unwrap().unwrap();
        // The volume is taken away and opened again while somebody still holds the old one.
        assert!(!disks.with_closed("web", || Ok(served())).unwrap());
        let disk = disks.open("web").unwrap();
        drop(pulled);
        take("second").unwrap().unwrap();
        assert_eq!(take("second").unwrap().unwrap_err().kind(), icecore::ErrorKind::AlreadyExists);
        drop(disk);
        assert!(!served());
        let names: Vec<String> =
            icecore::snapshot::list(&repo).unwrap().into_iter().map(|taken| taken.name).collect();
        assert_eq!(names, ["first", "second"]);
    }
}
