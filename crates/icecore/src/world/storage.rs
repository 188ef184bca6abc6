//! What a repository needs of the place it is kept in. Names are relative, with `/` between their parts.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;

/// A directory tree with durable renames and locks.
///
/// An implementation tries again what a signal has interrupted: none of its methods fails for that. `InvalidData` says that
/// something is in the place of a file or a directory that is none.
pub trait Storage: Send + Sync {
    /// Returns the names of the files in `dir`, in no order; none where there is no such directory.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Returns the names of the directories in `dir`, in no order; none where there is no such directory.
    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Opens a file to read it.
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>>;

    /// Makes a file that does not exist yet, in a directory that does.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;

    /// Opens a file to read and write it at any offset, and makes it where there is none.
    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>>;

    /// Makes a directory where there is none. Durable after a [`sync_dir`](Self::sync_dir) of its parent.
    fn make_dir(&self, dir: &str) -> io::Result<()>;

    /// Gives a file another name, replacing what has that name. Durable after a sync of the directory.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file another name, which nothing must have: `AlreadyExists` otherwise, and both stay what they are. Of several that
    /// try it at once, one succeeds. Durable after a sync of the directory.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes durable which names are in `dir` (the empty name is the root).
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Removes a file. Durable after a sync of the directory.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Removes a directory that has nothing in it. Durable after a sync of its parent.
    fn remove_dir(&self, dir: &str) -> io::Result<()>;

    /// Takes the lock that is the file `name`, made if needed. The lock of a process that died is free.
    /// Returns none where [`Wait::No`] was asked and another holds it.
    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>>;
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// With others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// Whether to wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until it is free.
    Yes,
    /// Not at all.
    No,
}

/// A held lock; dropping it releases it.
pub trait LockGuard: Send {
    /// Adds to the content of the lock's file, for others to read while the lock is held. Need not be durable.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Releases the lock, and removes its file if nobody else holds it.
    fn dismiss(self: Box<Self>) -> io::Result<()>;
}

/// A file that is read.
pub trait StoredFile: Send + Sync {
    /// Returns its length in bytes.
    fn len(&self) -> u64;

    /// Tells whether it is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how much room it takes, in bytes: less than its length where it has holes.
    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.len())
    }

    /// Fills `buffer` from `offset` on. Fewer bytes there than that are an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Returns `range` as memory. Only for files that never change once they have their name. What cannot be read of it later is
    /// told by [`Mapped::is_broken`].
    fn map(&self, range: Range<u64>) -> io::Result<Mapped>;

    /// Returns `range` as memory that holds it whatever becomes of the file: what the medium does not give is an error here, and
    /// nothing of it breaks later. For what is used whole, and is not large.
    fn load(&self, range: Range<u64>) -> io::Result<Mapped> {
        self.map(range)
    }
}

/// A file that is being written, from its beginning to its end.
pub trait NewFile: Send {
    /// Writes all of `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once all of it is on the medium.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is read and written at any offset, and grows as it is written.
pub trait RandomFile: Send + Sync {
    /// Fills `buffer` from `offset` on. What was never written reads as zeros, also beyond the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes `range` read as zeros, and gives its room back where that is possible.
    fn punch(&self, range: Range<u64>) -> io::Result<()>;

    /// Returns the first range at or after `offset` that may hold anything but zeros, or none if there is none.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>>;

    /// Returns how many names the file has. Whoever writes it writes the file of all of them.
    fn names(&self) -> io::Result<u64> {
        Ok(1)
    }

    /// Returns once everything written is on the medium.
    fn sync(&self) -> io::Result<()>;
}

/// Part of a file, as memory. Cheap to clone.
#[derive(Clone)]
pub struct Mapped {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    broken: Option<Arc<AtomicBool>>,
}

impl Mapped {
    /// Wraps whatever holds the bytes.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self { bytes: Arc::new(bytes), broken: None }
    }

    /// Wraps bytes that may not all be readable for ever. `broken` is set before anybody sees others in their place.
    pub fn that_may_break(bytes: impl AsRef<[u8]> + Send + Sync + 'static, broken: Arc<AtomicBool>) -> Self {
        Self { bytes: Arc::new(bytes), broken: Some(broken) }
    }

    /// Tells whether something of it could not be read since it was mapped: what was seen of it before this is called may be wrong
    /// then. A read that fails is only noticed here where [`guard_mappings`](crate::guard_mappings) was called.
    pub fn is_broken(&self) -> bool {
        // The bytes that were looked at were looked at before the mark is.
        fence(Ordering::Acquire);
        self.broken.as_ref().is_some_and(|broken| broken.load(Ordering::Relaxed))
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
pub(crate) fn read_all(storage: &dyn Storage, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(name)?;
    if file.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {bytes_max} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap_or(0)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Whether a file that appears may replace another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replace {
    /// It takes the place of what has its name.
    Yes,
    /// Its name must be free.
    No,
}

/// Makes `name` appear, durably, with what was written to `temp` and is on the medium.
pub(crate) fn give_name(storage: &dyn Storage, temp: &str, name: &str, replace: Replace) -> io::Result<()> {
    match replace {
        Replace::Yes => storage.rename(temp, name)?,
        Replace::No => storage.rename_new(temp, name)?,
    }
    storage.sync_dir(name.rsplit_once('/').map_or("", |(dir, _)| dir))
}

/// Writes a small file under `temp` and makes it appear as `name`.
pub(crate) fn publish_bytes(
    storage: &dyn Storage,
    temp: &str,
    name: &str,
    bytes: &[u8],
    replace: Replace,
) -> io::Result<()> {
    let mut file = storage.create(temp)?;
    let synced = file.append(bytes).and_then(|()| file.sync());
    drop(file);
    let written = synced.and_then(|()| give_name(storage, temp, name, replace));
    if written.is_err() {
        // The error that is reported is the first one; what is left in tmp/ is removed by the next gc.
        let _ = storage.remove(temp);
    }
    written
}
