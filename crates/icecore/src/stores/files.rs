//! The files of a repository, for all stores: the storage, the digests, and names for unfinished
//! files.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use memmap2::MmapMut;

use crate::format::layout;
use crate::format::pack::PackKind;
use crate::format::pack::SALT_BYTES;
use crate::pure::hash::Hasher;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::RepositoryId;
use crate::world::noticing::NoticingStorage;
use crate::world::noticing::Shortages;
use crate::world::pages;
use crate::world::storage::NewFile;
use crate::world::storage::Replace;
use crate::world::storage::Storage;
use crate::world::storage::StoredFile;
use crate::world::storage::create;
use crate::world::storage::give_name;
use crate::world::storage::publish_bytes;

/// The length at which a pack is finished.
const PACK_BYTES_TARGET: u64 = 64 << 20;
/// The most bytes of new chunks, and of new pages, that a capture puts into one pack together.
const MIXED_BYTES_MAX: u64 = 1 << 20;
/// The most entries of an index run: its tables of buckets count them in 32 bits.
const RUN_ENTRIES_MAX: u64 = (1 << 32) - 1;
/// The fewest and the most entries of the journal after a checkpoint: opening each of them takes
/// some ten microseconds.
const TAIL: (u64, u64) = (64, 512);

/// The files of a repository, and other state that the stores of one handle share.
pub(crate) struct RepositoryFiles {
    pub(crate) storage: Arc<dyn Storage>,
    /// Recorded shortages of descriptors or memory: code that finds damage checks whether they are
    /// the cause.
    pub(crate) shortages: Shortages,
    pub(crate) hasher: Hasher,
    pub(crate) repository: RepositoryId,
    /// The session, unique to this handle; it names its temporary files and its writer lock.
    pub(crate) session: String,
    /// The length at which a pack is finished. Only tests set less than the default.
    pub(crate) pack_bytes: u64,
    /// The most bytes of chunks, and of pages, that share a pack. Only tests set less than the
    /// default.
    pub(crate) mixed_bytes: u64,
    /// The most entries of an index run. Only tests set less than the format's limit.
    pub(crate) run_entries: u64,
    /// The fewest and the most entries of the journal after a checkpoint before the next one is
    /// made. Only tests set other numbers than the default.
    pub(crate) tail: (u64, u64),
    temps: AtomicU64,
    /// The packs begun, by kind.
    packs: [AtomicU64; 4],
}

/// The number of bytes to collect before a write: direct writes are fastest when they are long.
const BUFFER_BYTES: usize = 4 << 20;

/// An unpublished file. It disappears when it is dropped before it is published.
pub(crate) struct TempFile<'a> {
    files: &'a RepositoryFiles,
    temp: String,
    file: Option<Box<dyn NewFile>>,
    /// The unwritten end of the file. It is page-aligned in memory and starts at a multiple of its
    /// size in the file, so that it can be written directly.
    buffer: MmapMut,
    buffered: usize,
    /// Whether all of it is on the medium.
    synced: bool,
}

impl RepositoryFiles {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        hasher: Hasher,
        repository: RepositoryId,
        session: String,
    ) -> Self {
        let shortages = Shortages::default();
        let storage = Arc::new(NoticingStorage::new(storage, shortages.clone()));
        Self {
            storage,
            shortages,
            hasher,
            repository,
            session,
            pack_bytes: PACK_BYTES_TARGET,
            mixed_bytes: MIXED_BYTES_MAX,
            run_entries: RUN_ENTRIES_MAX,
            tail: TAIL,
            temps: AtomicU64::new(0),
            packs: Default::default(),
        }
    }

    /// Starts a file to publish.
    pub(crate) fn temp_file(&self) -> Result<TempFile<'_>> {
        let temp = self.temp_name();
        let file = create(&*self.storage, &temp)
            .map_err(|error| Error::stored_io(format!("creating {temp}"), error))?;
        let buffer = pages::allocate(BUFFER_BYTES)
            .map_err(|error| Error::stored_io("allocating memory for a new file", error))?;
        Ok(TempFile { files: self, temp, file: Some(file), buffer, buffered: 0, synced: false })
    }

    /// Publishes a small file, whole and durable, replacing the file with its name.
    pub(crate) fn publish_bytes(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temp = self.temp_name();
        publish_bytes(&*self.storage, &temp, name, bytes, Replace::Yes)
            .map_err(|error| Error::stored_io(format!("writing {name}"), error))
    }

    /// Publishes a small file, whole and durable, under a free name.
    pub(crate) fn publish_new_bytes(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temp = self.temp_name();
        publish_bytes(&*self.storage, &temp, name, bytes, Replace::No)
            .map_err(|error| Error::stored_io(format!("writing {name}"), error))
    }

    /// Removes a file; the caller syncs its directory. A missing file is not an error.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match self.storage.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::stored_io(format!("removing {name}"), error))
            }
            _ => Ok(()),
        }
    }

    /// Returns the salt of a new pack. It never returns the same again, and no other session's handle
    /// returns it either. Each kind is counted by itself, since threads may begin packs of
    /// different kinds at the same time: so the salts depend on the session and the image alone.
    pub(crate) fn new_salt(&self, kind: PackKind) -> [u8; SALT_BYTES] {
        let kind = kind.number();
        let number = self.packs[usize::from(kind)].fetch_add(1, Ordering::Relaxed);
        self.hasher.salt(&self.session, kind, number)
    }

    fn temp_name(&self) -> String {
        layout::temp(&self.session, self.temps.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives back the space of the reserve; returns whether there was any.
    pub(crate) fn give_back_reserve(&self) -> Result<bool> {
        match self.storage.remove(layout::RESERVE) {
            Ok(()) => self.sync_dir(layout::LOCAL).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::stored_io(format!("removing {}", layout::RESERVE), error)),
        }
    }

    pub(crate) fn sync_dir(&self, dir: &str) -> Result<()> {
        self.storage
            .sync_dir(dir)
            .map_err(|error| Error::stored_io(format!("syncing the directory {dir}"), error))
    }

    pub(crate) fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.storage.list(dir).map_err(|error| Error::stored_io(format!("listing {dir}"), error))
    }
}

/// Files moved out of their directories, to be removed later: freeing a large file takes long, and
/// a rename does not. Dropping this value removes them too.
pub(crate) struct SetAside<'a> {
    files: &'a RepositoryFiles,
    names: Vec<String>,
}

impl<'a> SetAside<'a> {
    pub(crate) fn new(files: &'a RepositoryFiles) -> Self {
        Self { files, names: Vec::new() }
    }

    /// Moves a file out of its directory, which the caller syncs. A missing file is not an error.
    pub(crate) fn take(&mut self, name: &str) -> Result<()> {
        let aside = self.files.temp_name();
        match self.files.storage.rename(name, &aside) {
            Ok(()) => self.names.push(aside),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // There may be no space for another name.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.files.remove(name)?,
            Err(error) => return Err(Error::stored_io(format!("removing {name}"), error)),
        }
        Ok(())
    }

    /// Removes them.
    pub(crate) fn remove(mut self) -> Result<()> {
        std::mem::take(&mut self.names).iter().try_for_each(|name| self.files.remove(name))
    }
}

impl Drop for SetAside<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            // There is nobody to report to; gc removes files left in tmp/.
            let _ = self.files.storage.remove(name);
        }
    }
}

impl TempFile<'_> {
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.synced &= bytes.is_empty();
        while !bytes.is_empty() {
            let free = &mut self.buffer[self.buffered..];
            let (now, later) = bytes.split_at(bytes.len().min(free.len()));
            free[..now.len()].copy_from_slice(now);
            self.buffered += now.len();
            bytes = later;
            if self.buffered == BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = &self.buffer[..std::mem::take(&mut self.buffered)];
        let Some(file) = self.file.as_mut().filter(|_| !bytes.is_empty()) else { return Ok(()) };
        file.append(bytes).map_err(|error| Error::stored_io(format!("writing {}", self.temp), error))
    }

    /// Opens the file to read the appended bytes: once it is published, others may remove it.
    pub(crate) fn open(&mut self) -> Result<Box<dyn StoredFile>> {
        self.flush()?;
        self.files
            .storage
            .open(&self.temp)
            .map_err(|error| Error::stored_io(format!("opening {}", self.temp), error))
    }

    /// Syncs the appended bytes, so that publishing the file takes no longer than a rename.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        let syncing = |error| Error::stored_io(format!("syncing {}", self.temp), error);
        if let Some(file) = self.file.as_mut().filter(|_| !self.synced) {
            file.sync().map_err(syncing)?;
            self.synced = true;
        }
        Ok(())
    }

    /// Publishes the file as `name`, whole and durable.
    pub(crate) fn publish(mut self, name: &str) -> Result<()> {
        let synced = self.sync();
        if self.file.take().is_none() {
            return Ok(());
        }
        let give = |error| Error::stored_io(format!("publishing {name}"), error);
        let named = || give_name(&*self.files.storage, &self.temp, name, Replace::Yes);
        let published = synced.and_then(|()| named().map_err(give));
        if published.is_err() {
            // The first error is the one to report; gc removes files left in tmp/.
            let _ = self.files.storage.remove(&self.temp);
        }
        published
    }
}

impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // There is nobody to report to; gc removes files left in tmp/.
            let _ = self.files.storage.remove(&self.temp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::memory::MemoryStorage;

    fn files(storage: impl Storage + 'static) -> RepositoryFiles {
        RepositoryFiles::new(
            Arc::new(storage),
            Hasher::new(&[1; 32]),
            RepositoryId::from([0; 16]),
            "test".to_owned(),
        )
    }

    /// Returns a storage with a file `locks/file`, and files over it of which the next change
    /// fails with `kind`.
    fn failing(kind: io::ErrorKind) -> (MemoryStorage, RepositoryFiles) {
        let storage = MemoryStorage::new();
        files(storage.clone()).publish_bytes("local/locks/file", b"bytes").unwrap();
        storage.fail_changes(0..1, kind);
        (storage.clone(), files(storage))
    }

    #[test]
    fn what_is_gone_already_is_removed_and_what_cannot_be_removed_is_told() {
        let (storage, files) = failing(io::ErrorKind::PermissionDenied);
        let error = files.remove("local/locks/file").unwrap_err();
        assert!(error.to_string().contains("removing local/locks/file"), "{error}");
        assert_eq!(storage.list("local/locks").unwrap(), ["file"]);
        files.remove("local/locks/file").unwrap();
        files.remove("local/locks/file").unwrap();
        assert!(storage.list("local/locks").unwrap().is_empty());
    }

    #[test]
    fn what_is_set_aside_is_out_of_its_directory_and_removed_in_the_end_also_where_there_is_no_room_for_a_name()
     {
        let removed = |aside: SetAside<'_>| aside.remove().unwrap();
        for (kind, ends) in [
            (io::ErrorKind::Other, removed as fn(SetAside<'_>)),
            (io::ErrorKind::Other, |aside| drop(aside)),
            (io::ErrorKind::StorageFull, removed),
        ] {
            let (storage, files) = failing(kind);
            let mut aside = SetAside::new(&files);
            if kind == io::ErrorKind::Other {
                let error = aside.take("local/locks/file").unwrap_err();
                assert!(error.to_string().contains("removing local/locks/file"), "{error}");
                assert_eq!(storage.list("local/locks").unwrap(), ["file"]);
            }
            aside.take("local/locks/file").unwrap();
            aside.take("local/locks/file").unwrap();
            assert!(storage.list("local/locks").unwrap().is_empty());
            assert_eq!(storage.list(layout::TMP).unwrap().len(), usize::from(kind == io::ErrorKind::Other));
            ends(aside);
            assert!(storage.list(layout::TMP).unwrap().is_empty());
        }
    }
}
