//! Directory trees of this machine. Names are relative, with `/` between their components.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;

/// A directory tree with durable renames, files that are written at any offset, and locks.
///
/// An implementation repeats calls that a signal interrupted: none of its methods fails for that.
/// `InvalidData` means that the object in the place of a file or a directory is neither.
pub trait Storage: Send + Sync {
    /// Returns the names of the files in `dir`, in no order; none if there is no such directory.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Returns the names of the directories in `dir`, in no order; none if there is no such
    /// directory.
    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>>;

    /// Creates a file that does not exist yet, in a directory that does.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;

    /// Opens a file for reading and writing at any offset, and creates it if it is missing.
    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>>;

    /// Creates a directory if it is missing. Durable after a [`sync_dir`](Self::sync_dir) of its
    /// parent.
    fn make_dir(&self, dir: &str) -> io::Result<()>;

    /// Renames a file, replacing the file that has the new name. Durable after a sync of the
    /// directory.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Renames a file to a name that must be free: otherwise `AlreadyExists`, and both stay as they
    /// are. Of several concurrent calls, one succeeds. Durable after a sync of the directory.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names in `dir` durable (the empty name is the root).
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Removes a file. Durable after a sync of the directory.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Removes an empty directory. Durable after a sync of its parent.
    fn remove_dir(&self, dir: &str) -> io::Result<()>;

    /// Takes the lock on the file `name`, which is created if needed. The lock of a process that
    /// died is free. Returns none with [`Wait::No`] if another process holds it.
    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>>;
}

/// The mode of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Shared with others.
    Shared,
    /// Exclusive.
    Exclusive,
}

/// Whether to wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Wait until it is free.
    Yes,
    /// Do not wait.
    No,
}

/// A held lock; dropping it releases it.
pub trait LockGuard: Send {
    /// Appends to the lock's file, for others to read while the lock is held. Need not be durable.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Releases the lock, and removes its file if nobody else holds it.
    fn dismiss(self: Box<Self>) -> io::Result<()>;
}

/// A file open for reading.
pub trait StoredFile: Send + Sync {
    /// Returns its length in bytes.
    fn len(&self) -> u64;

    /// Returns whether it is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns its allocated size in bytes: less than its length if it has holes.
    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.len())
    }

    /// Fills `buffer` from `offset` on. Too few bytes there are an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Says that `range` is about to be read: an implementation may begin to fetch it. Returns at
    /// once, and says nothing of errors.
    fn will_read(&self, _range: Range<u64>) {}

    /// Brings `range` near, so that reading it later does not take long: into a cache on this
    /// machine if the file is elsewhere. Waits until it is there, if that can be waited for.
    fn bring_near(&self, range: Range<u64>) -> io::Result<()> {
        self.will_read(range);
        Ok(())
    }

    /// Maps `range`. Only for files that never change once they have their name.
    /// [`Mapped::is_broken`] reports parts that become unreadable later.
    fn map(&self, range: Range<u64>) -> io::Result<Mapped>;

    /// Returns `range` copied into memory, independent of the file: an unreadable part is an error
    /// here, and nothing breaks later. For small files that are used whole.
    fn load(&self, range: Range<u64>) -> io::Result<Mapped> {
        self.map(range)
    }
}

/// A file being written from beginning to end.
pub trait NewFile: Send {
    /// Writes all of `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once all of it is on the medium.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is read and written at any offset, and grows with writes.
pub trait RandomFile: Send + Sync {
    /// Fills `buffer` from `offset` on. Unwritten parts read as zeros, also beyond the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes `range` read as zeros, and frees its space if possible.
    fn punch(&self, range: Range<u64>) -> io::Result<()>;

    /// Returns the first range at or after `offset` that may hold anything but zeros, or none.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>>;

    /// Returns the number of names of the file. A write changes the file under all of them.
    fn names(&self) -> io::Result<u64> {
        Ok(1)
    }

    /// Returns once everything written is on the medium.
    fn sync(&self) -> io::Result<()>;
}

/// A part of a file in memory. Cheap to clone.
#[derive(Clone)]
pub struct Mapped {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    broken: Option<Arc<AtomicBool>>,
}

impl Mapped {
    /// Wraps the owner of the bytes.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self { bytes: Arc::new(bytes), broken: None }
    }

    /// Wraps bytes that may become unreadable. `broken` is set before anybody sees other bytes in
    /// their place.
    pub fn that_may_break(bytes: impl AsRef<[u8]> + Send + Sync + 'static, broken: Arc<AtomicBool>) -> Self {
        Self { bytes: Arc::new(bytes), broken: Some(broken) }
    }

    /// Returns a part of it, or none if it has no such part. For bytes that do not break.
    pub(crate) fn part(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        Some(Self::new(Part(self.clone(), range)))
    }

    /// Returns whether a part of it has become unreadable since it was mapped: bytes seen before
    /// this call may then be wrong. It notices failed reads only if
    /// [`guard_mappings`](crate::guard_mappings) was called.
    pub fn is_broken(&self) -> bool {
        // The bytes are read before the mark.
        fence(Ordering::Acquire);
        self.broken.as_ref().is_some_and(|broken| broken.load(Ordering::Relaxed))
    }
}

struct Part(Mapped, Range<usize>);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.0.get(self.1.clone()).unwrap_or_default()
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({} bytes)", self.len())
    }
}

/// Reads all of a file that must not be longer than `bytes_max`.
pub(crate) fn read_all(file: io::Result<Box<dyn StoredFile>>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = file?;
    if file.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {bytes_max} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap_or(0)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Returns the result of a removal. What is missing is gone.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Returns the directory that a name is in. The empty name is the root.
pub(crate) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Makes a directory and those above it, durably.
fn make_dirs(storage: &dyn Storage, dir: &str) -> io::Result<()> {
    if dir.is_empty() {
        return Ok(());
    }
    make_dirs(storage, parent(dir))?;
    storage.make_dir(dir)?;
    storage.sync_dir(parent(dir))
}

/// Makes a call that needs the directory of `name`. If that is missing, makes it and calls again:
/// tools that copy files leave out empty directories.
pub(crate) fn with_dir<T>(
    storage: &dyn Storage,
    name: &str,
    call: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    match call() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dirs(storage, parent(name))?;
            call()
        }
        called => called,
    }
}

/// Makes a directory durably, and its parent if that is missing.
pub(crate) fn make_dir(storage: &dyn Storage, dir: &str) -> io::Result<()> {
    with_dir(storage, dir, || storage.make_dir(dir))?;
    storage.sync_dir(parent(dir))
}

/// Creates a file, and its directory if that is missing.
pub(crate) fn create(storage: &dyn Storage, name: &str) -> io::Result<Box<dyn NewFile>> {
    with_dir(storage, name, || storage.create(name))
}

/// Writes a small file under `temp`, and makes it appear as `name`, whole and durable. Replaces the
/// file that has the name, and creates its directory if that is missing.
pub(crate) fn replace(storage: &dyn Storage, temp: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(storage, temp)?;
    let synced = file.append(bytes).and_then(|()| file.sync());
    drop(file);
    let named = synced.and_then(|()| with_dir(storage, name, || storage.rename(temp, name)));
    if named.is_err() {
        // The first error is the one to report; the next gc removes a file left in tmp/.
        let _ = storage.remove(temp);
    }
    named.and_then(|()| storage.sync_dir(parent(name)))
}
