//! The files of a repository, for all stores: its place, the digests, and names for unfinished
//! files.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use memmap2::MmapMut;

use crate::format::layout;
use crate::format::pack::PackKind;
use crate::pure::hash::Hasher;
use crate::pure::keys::Salt;
use crate::pure::record_cipher::Kind;
use crate::stores::seals::Seals;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::RepositoryId;
use crate::world::objects::Freeing;
use crate::world::objects::NewObject;
use crate::world::objects::Put;
use crate::world::objects::Told;
use crate::world::objects::is_retained;
use crate::world::pages;
use crate::world::place::Place;
use crate::world::storage::StoredFile;
use crate::world::storage::gone;
use crate::world::storage::parent;
use crate::world::storage::replace;

/// The length at which a pack is finished.
const PACK_BYTES_TARGET: u64 = 64 << 20;
/// The most bytes of new chunks, and of new pages, that a capture puts into one pack together.
const MIXED_BYTES_MAX: u64 = 1 << 20;
/// The most entries of an index run: its tables of buckets count them in 32 bits.
const RUN_ENTRIES_MAX: u64 = (1 << 32) - 1;
/// The fewest and the most entries of the journal after a checkpoint: opening each of them takes
/// some ten microseconds.
const TAIL: (u64, u64) = (64, 256);

/// Packs that are published at once where others write too: a link that takes a while for each
/// request carries more of several. On a disk, one waits for the other anyway.
const PACKS_AT_ONCE: usize = 4;

/// The number for the salts of sealed files, beside those of the kinds of packs.
const SALTS_OF_FILES: u8 = 4;

/// The files of a repository, and other state that the stores of one handle share.
pub(crate) struct RepositoryFiles {
    pub(crate) place: Place,
    pub(crate) hasher: Hasher,
    /// How stored bytes are sealed, if they are.
    pub(crate) seals: Seals,
    pub(crate) repository: RepositoryId,
    /// The session, unique to this handle; it names its unfinished files and its writer's claim.
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
    /// Packs that a capture publishes at once. Only tests set another number than the default.
    pub(crate) packs_at_once: usize,
    temps: AtomicU64,
    /// The salts taken, by the kind of what they are of.
    salts: [AtomicU64; 5],
}

/// The number of bytes to collect before a write: direct writes are fastest when they are long.
const BUFFER_BYTES: usize = 4 << 20;
/// The number of bytes of two objects that are compared at once.
const COMPARED: usize = 1 << 20;

/// An unpublished object. It disappears when it is dropped before it is published.
pub(crate) struct TempFile<'a> {
    files: &'a RepositoryFiles,
    temp: String,
    object: Box<dyn NewObject>,
    /// The unwritten end of the object. It is page-aligned in memory and starts at a multiple of its
    /// size in the object, so that it can be written directly.
    buffer: MmapMut,
    buffered: usize,
}

impl RepositoryFiles {
    pub(crate) fn new(
        place: impl Into<Place>,
        hasher: Hasher,
        repository: RepositoryId,
        session: String,
    ) -> Self {
        let place = place.into();
        let packs_at_once = if place.objects.is_shared() { PACKS_AT_ONCE } else { 1 };
        Self {
            place,
            hasher,
            seals: Seals::default(),
            repository,
            session,
            pack_bytes: PACK_BYTES_TARGET,
            mixed_bytes: MIXED_BYTES_MAX,
            run_entries: RUN_ENTRIES_MAX,
            tail: TAIL,
            packs_at_once,
            temps: AtomicU64::new(0),
            salts: Default::default(),
        }
    }

    /// Starts an object to publish.
    pub(crate) fn temp_file(&self) -> Result<TempFile<'_>> {
        let temp = self.temp_name();
        let object = self
            .place
            .objects
            .begin(&temp)
            .map_err(|error| Error::stored_io(format!("creating {temp}"), error))?;
        let buffer = pages::allocate(BUFFER_BYTES)
            .map_err(|error| Error::stored_io("allocating memory for a new file", error))?;
        Ok(TempFile { files: self, temp, object, buffer, buffered: 0 })
    }

    /// Publishes a small object, whole and durable, if its name is free.
    pub(crate) fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Put> {
        self.place
            .objects
            .put_new(name, bytes, &self.temp_name())
            .map_err(|error| Error::stored_io(format!("writing {name}"), error))
    }

    /// Publishes a small object, whole and durable, also in the place of a damaged one.
    pub(crate) fn put_back(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let put = || {
            let mut object = self.place.objects.begin(&self.temp_name())?;
            object.append(bytes)?;
            object.mend(name)
        };
        put().map_err(|error| Error::stored_io(format!("writing {name}"), error))
    }

    /// Writes a small local file, whole and durable, replacing the file with its name.
    pub(crate) fn write_local(&self, name: &str, bytes: &[u8]) -> Result<()> {
        replace(&*self.place.local, &self.temp_name(), name, bytes)
            .map_err(|error| Error::stored_io(format!("writing {name}"), error))
    }

    /// Opens an object.
    pub(crate) fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.place.objects.open(name)
    }

    /// Opens a local file for reading.
    pub(crate) fn open_local(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.place.local.open(name)
    }

    /// Deletes an object; the caller makes that durable. A missing object is not an error.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        self.place.objects.delete(name).map_err(|error| removing(name, error))
    }

    /// Deletes an object that nothing needs; the caller makes that durable. Returns whether it is
    /// gone: one that its place keeps for a time stays until a later gc.
    pub(crate) fn delete_unneeded(&self, name: &str) -> Result<bool> {
        match self.place.objects.delete(name) {
            Err(error) if is_retained(&error) => Ok(false),
            deleted => deleted.map(|()| true).map_err(|error| removing(name, error)),
        }
    }

    /// Removes a local file; the caller syncs its directory. A missing file is not an error.
    pub(crate) fn remove_local(&self, name: &str) -> Result<()> {
        gone(self.place.local.remove(name)).map_err(|error| removing(name, error))
    }

    /// Returns the salt of a new pack. It never returns the same again, and no other session's handle
    /// returns it either. Each kind is counted by itself, since threads may begin packs of
    /// different kinds at the same time: so the salts depend on the session and the image alone.
    pub(crate) fn new_salt(&self, kind: PackKind) -> Salt {
        self.salt_of(kind.number())
    }

    fn salt_of(&self, kind: u8) -> Salt {
        let number = self.salts[usize::from(kind)].fetch_add(1, Ordering::Relaxed);
        self.hasher.salt(&self.session, kind, number)
    }

    /// Returns a file of the catalog, or one that only this machine needs, as it is stored.
    pub(crate) fn seal(&self, kind: Kind, number: u64, file: Vec<u8>) -> Result<Vec<u8>> {
        let sealed = self.seals.seal(kind, number, self.salt_of(SALTS_OF_FILES), file);
        sealed.map_err(|error| Error::new(ErrorKind::InvalidInput, format!("cannot seal a file: {error}")))
    }

    /// Returns what the directory and the locks of a volume are called: in a sealed repository
    /// nobody reads its name there.
    pub(crate) fn volume_key(&self, name: &str) -> String {
        match self.seals.are_used() {
            true => self.hasher.volume(name).to_string(),
            false => name.to_owned(),
        }
    }

    fn temp_name(&self) -> String {
        layout::temp(&self.session, self.temps.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives back the space of the reserve; returns whether there was any.
    pub(crate) fn give_back_reserve(&self) -> Result<bool> {
        match self.place.local.remove(layout::RESERVE) {
            Ok(()) => self.sync_local(layout::LOCAL).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::stored_io(format!("removing {}", layout::RESERVE), error)),
        }
    }

    /// Makes the names of objects in a directory durable.
    pub(crate) fn sync(&self, dir: &str) -> Result<()> {
        self.place.objects.sync(dir).map_err(|error| syncing(dir, error))
    }

    /// Makes the names of local files in a directory durable.
    pub(crate) fn sync_local(&self, dir: &str) -> Result<()> {
        self.place.local.sync_dir(dir).map_err(|error| syncing(dir, error))
    }

    /// Returns the names of the objects in a directory.
    pub(crate) fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.place.objects.list(dir).map_err(|error| listing(dir, error))
    }

    /// Returns the names of the objects in a directory that come after `after`.
    pub(crate) fn list_after(&self, dir: &str, after: &str) -> Result<Vec<String>> {
        self.place.objects.list_after(dir, after).map_err(|error| listing(dir, error))
    }

    /// Returns the objects in a directory with what is known of each.
    pub(crate) fn list_told(&self, dir: &str) -> Result<Vec<Told>> {
        self.place.objects.list_told(dir).map_err(|error| listing(dir, error))
    }

    /// Tells whether other machines write to the repository too.
    pub(crate) fn are_shared(&self) -> bool {
        self.place.objects.is_shared()
    }

    /// Returns the names of the local files in a directory.
    pub(crate) fn list_local(&self, dir: &str) -> Result<Vec<String>> {
        self.place.local.list(dir).map_err(|error| listing(dir, error))
    }
}

fn removing(name: &str, error: io::Error) -> Error {
    Error::stored_io(format!("removing {name}"), error)
}

fn listing(dir: &str, error: io::Error) -> Error {
    Error::stored_io(format!("listing {dir}"), error)
}

fn syncing(dir: &str, error: io::Error) -> Error {
    Error::stored_io(format!("syncing the directory {dir}"), error)
}

/// Deleted objects whose space is freed later, without locks. Dropping this value frees it too.
pub(crate) struct SetAside<'a> {
    files: &'a RepositoryFiles,
    rest: Vec<(String, Freeing)>,
}

impl<'a> SetAside<'a> {
    pub(crate) fn new(files: &'a RepositoryFiles) -> Self {
        Self { files, rest: Vec::new() }
    }

    /// Deletes an object; the caller makes that durable. A missing object is not an error, and one that
    /// its place keeps for a time stays.
    pub(crate) fn take(&mut self, name: &str) -> Result<()> {
        match self.files.place.objects.delete_fast(name, &self.files.temp_name()) {
            Ok(free) => self.rest.push((name.to_owned(), free)),
            Err(error) if is_retained(&error) => {}
            Err(error) => return Err(removing(name, error)),
        }
        Ok(())
    }

    /// Frees their space.
    pub(crate) fn remove(mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.rest);
        rest.into_iter().try_for_each(|(name, free)| free().map_err(|error| removing(&name, error)))
    }
}

impl Drop for SetAside<'_> {
    fn drop(&mut self) {
        for (_, free) in self.rest.drain(..) {
            // There is nobody to report to; gc removes what is left.
            let _ = free();
        }
    }
}

impl TempFile<'_> {
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
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
        if bytes.is_empty() {
            return Ok(());
        }
        self.object.append(bytes).map_err(|error| Error::stored_io(format!("writing {}", self.temp), error))
    }

    /// Opens the object to read the appended bytes: once it is published, others may remove it.
    pub(crate) fn open(&mut self) -> Result<Box<dyn StoredFile>> {
        self.flush()?;
        self.object.open().map_err(|error| Error::stored_io(format!("opening {}", self.temp), error))
    }

    /// Syncs the appended bytes, so that publishing the object takes no longer than a rename.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.object.sync().map_err(|error| Error::stored_io(format!("syncing {}", self.temp), error))
    }

    /// Publishes the object as `name`, whole and durable. The name is unique, or derived from the
    /// content: if it is taken, what has it is the same, or damaged.
    pub(crate) fn publish(mut self, name: &str) -> Result<()> {
        self.sync()?;
        let publishing = |error| Error::stored_io(format!("publishing {name}"), error);
        if self.object.publish(name).map_err(publishing)? == Put::Made {
            return Ok(());
        }
        match self.is_the_same_as(name) {
            true => self.files.sync(parent(name)),
            false => self.object.mend(name).map_err(publishing),
        }
    }

    fn is_the_same_as(&self, name: &str) -> bool {
        let same = || -> io::Result<bool> {
            let (new, old) = (self.object.open()?, self.files.open(name)?);
            let mut buffers = [const { Vec::new() }; 2];
            let mut at = 0;
            let mut is_same = new.len() == old.len();
            while is_same && at < new.len() {
                let bytes = usize::try_from(new.len() - at).map_or(COMPARED, |rest| rest.min(COMPARED));
                for (file, buffer) in [&new, &old].into_iter().zip(&mut buffers) {
                    buffer.resize(bytes, 0);
                    file.read_at(at, buffer)?;
                }
                is_same = buffers[0] == buffers[1];
                at += bytes as u64;
            }
            Ok(is_same)
        };
        same().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::world::memory::MemoryStorage;
    use crate::world::storage::Storage;

    const PACK: &str = "packs/file";

    fn files(storage: &MemoryStorage) -> RepositoryFiles {
        let storage = Arc::new(storage.clone());
        RepositoryFiles::new(storage, Hasher::new(&[1; 32]), RepositoryId::from([0; 16]), "test".to_owned())
    }

    /// Returns a storage with an object, and files over it of which the next change fails with
    /// `kind`.
    fn failing(kind: io::ErrorKind) -> (MemoryStorage, RepositoryFiles) {
        let storage = MemoryStorage::new();
        let files = files(&storage);
        assert_eq!(files.put_new(PACK, b"bytes").unwrap(), Put::Made);
        storage.fail_changes(0..1, kind);
        (storage, files)
    }

    #[test]
    fn what_is_gone_already_is_removed_and_what_cannot_be_removed_is_told() {
        let (storage, files) = failing(io::ErrorKind::PermissionDenied);
        let error = files.delete(PACK).unwrap_err();
        assert!(error.to_string().contains("removing packs/file"), "{error}");
        assert_eq!(storage.list("packs").unwrap(), ["file"]);
        files.delete(PACK).unwrap();
        files.delete(PACK).unwrap();
        assert!(storage.list("packs").unwrap().is_empty());
        files.remove_local(layout::RESERVE).unwrap();
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
                let error = aside.take(PACK).unwrap_err();
                assert!(error.to_string().contains("removing packs/file"), "{error}");
                assert_eq!(storage.list("packs").unwrap(), ["file"]);
            }
            aside.take(PACK).unwrap();
            aside.take(PACK).unwrap();
            assert!(storage.list("packs").unwrap().is_empty());
            assert_eq!(storage.list(layout::TMP).unwrap().len(), usize::from(kind == io::ErrorKind::Other));
            ends(aside);
            assert!(storage.list(layout::TMP).unwrap().is_empty());
        }
    }

    #[test]
    fn an_object_stays_unless_it_is_damaged() {
        let publish = |files: &RepositoryFiles, bytes: &[u8]| {
            let mut file = files.temp_file().unwrap();
            file.append(bytes).unwrap();
            file.publish(PACK).unwrap();
        };
        let storage = MemoryStorage::new();
        let files = files(&storage);
        let long = vec![7; COMPARED + 9];
        for (there, is_kept) in [(&long, true), (&[&long[..COMPARED + 8], &[8]].concat(), false)] {
            storage.put(PACK, there.clone());
            let before = storage.shared_files().remove(PACK).unwrap();
            publish(&files, &long);
            let after = storage.shared_files().remove(PACK).unwrap();
            assert_eq!(Arc::ptr_eq(&before, &after), is_kept);
            assert!(*after == long && storage.list(layout::TMP).unwrap().is_empty());
        }
        // A small object is never in the place of another one, but for repairs.
        assert_eq!(files.put_new(PACK, b"other").unwrap(), Put::Exists);
        assert!(*storage.shared_files()[PACK] == long && storage.list(layout::TMP).unwrap().is_empty());
        files.put_back(PACK, b"other").unwrap();
        assert_eq!(*storage.shared_files()[PACK], b"other");
    }
}
