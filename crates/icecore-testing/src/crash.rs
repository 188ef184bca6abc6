//! An in-memory storage that logs every change in order, for tests.
//! [`crash_states`](crate::crash_states) derives from this log the states that a power cut may
//! leave.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use icecore::storage::LockGuard;
use icecore::storage::LockMode;
use icecore::storage::MemoryStorage;
use icecore::storage::NewFile;
use icecore::storage::RandomFile;
use icecore::storage::Storage;
use icecore::storage::StoredFile;
use icecore::storage::Wait;

/// One change of a storage. Files have numbers, because their names change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logged {
    /// A directory was made.
    MakeDir(String),
    /// An empty file was made.
    Create(String, usize),
    /// Bytes were written at the end of a file.
    Append(usize, Arc<Vec<u8>>),
    /// Bytes were written at an offset in a file.
    Write(usize, u64, Arc<Vec<u8>>),
    /// The content of a file was made durable.
    SyncFile(usize),
    /// A file got another name: from, to.
    Rename(String, String),
    /// A file or a directory was removed.
    Remove(String),
    /// The names in a directory were made durable.
    SyncDir(String),
    /// The test marked an event, such as the return of an operation.
    Mark,
}

/// The initial content, and the changes since.
#[derive(Clone, Default)]
pub struct CrashLog {
    /// The changes, in order. A test may remove or reorder some, as if the engine had made them
    /// that way.
    pub changes: Vec<Logged>,
    pub files: BTreeMap<String, Arc<Vec<u8>>>,
    pub dirs: BTreeSet<String>,
}

/// An in-memory storage that tracks its directories and logs every change. Clones share their
/// content.
///
/// Unlike [`MemoryStorage`] it refuses to put a file into a directory that does not exist.
#[derive(Clone, Default)]
pub struct CrashStorage {
    inner: MemoryStorage,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    log: CrashLog,
    dirs: BTreeSet<String>,
    /// The numbers of the files, by name.
    numbers: BTreeMap<String, usize>,
    next: usize,
}

impl CrashStorage {
    /// Returns an empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a storage that durably holds these files and directories.
    pub fn with(files: &BTreeMap<String, Arc<Vec<u8>>>, dirs: &BTreeSet<String>) -> Self {
        let storage = Self::new();
        files.iter().for_each(|(name, bytes)| storage.inner.put_shared(name, Arc::clone(bytes)));
        storage.notes().dirs.clone_from(dirs);
        storage.settle();
        storage
    }

    /// Clears the log, and treats the current content as durable.
    pub fn settle(&self) {
        let mut notes = self.notes();
        let files = self.inner.shared_files();
        notes.numbers = files.keys().cloned().zip(0..).collect();
        notes.next = files.len();
        notes.log = CrashLog { changes: Vec::new(), files, dirs: notes.dirs.clone() };
    }

    /// Logs a mark: something has happened.
    pub fn mark(&self) {
        self.notes().log.changes.push(Logged::Mark);
    }

    /// Returns the log since the storage was made or [settled](Self::settle).
    pub fn log(&self) -> CrashLog {
        self.notes().log.clone()
    }

    /// Returns the content of all files by name.
    pub fn files(&self) -> BTreeMap<String, Arc<Vec<u8>>> {
        self.inner.shared_files()
    }

    /// Replaces the content of a file, durably and without a log entry, as damage does.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.inner.put(name, bytes);
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the directory that a name is in. The empty name is the root.
pub fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Notes {
    fn check_dir(&self, dir: &str) -> io::Result<()> {
        if dir.is_empty() || self.dirs.contains(dir) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn renamed(&mut self, from: &str, to: &str) {
        if let Some(file) = self.numbers.remove(from) {
            self.numbers.insert(to.to_owned(), file);
        }
        self.log.changes.push(Logged::Rename(from.to_owned(), to.to_owned()));
    }

    fn created(&mut self, name: &str) -> usize {
        let file = self.next;
        self.next += 1;
        self.numbers.insert(name.to_owned(), file);
        self.log.changes.push(Logged::Create(name.to_owned(), file));
        file
    }
}

impl Storage for CrashStorage {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.inner.open(name)
    }

    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>> {
        let notes = self.notes();
        let inside = notes.dirs.iter().filter(|name| !name.is_empty() && parent(name) == dir);
        Ok(inside.filter_map(|name| name.rsplit('/').next()).map(str::to_owned).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut notes = self.notes();
        notes.check_dir(parent(name))?;
        let inner = self.inner.create(name)?;
        let file = notes.created(name);
        Ok(Box::new(CrashNewFile { storage: self.clone(), inner, file }))
    }

    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>> {
        let mut notes = self.notes();
        notes.check_dir(parent(name))?;
        let inner = self.inner.open_random(name)?;
        let file = match notes.numbers.get(name) {
            Some(file) => *file,
            None => notes.created(name),
        };
        Ok(Box::new(CrashRandomFile { storage: self.clone(), inner, file }))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        let mut notes = self.notes();
        notes.check_dir(parent(dir))?;
        if !dir.is_empty() && notes.dirs.insert(dir.to_owned()) {
            notes.log.changes.push(Logged::MakeDir(dir.to_owned()));
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut notes = self.notes();
        notes.check_dir(parent(to))?;
        self.inner.rename(from, to)?;
        notes.renamed(from, to);
        Ok(())
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let mut notes = self.notes();
        notes.check_dir(parent(to))?;
        self.inner.rename_new(from, to)?;
        notes.renamed(from, to);
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut notes = self.notes();
        notes.check_dir(dir)?;
        notes.log.changes.push(Logged::SyncDir(dir.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut notes = self.notes();
        self.inner.remove(name)?;
        notes.numbers.remove(name);
        notes.log.changes.push(Logged::Remove(name.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        let mut notes = self.notes();
        notes.check_dir(dir)?;
        let inside = |name: &String| parent(name) == dir;
        if notes.numbers.keys().any(inside) || notes.dirs.iter().any(inside) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        notes.dirs.remove(dir);
        notes.log.changes.push(Logged::Remove(dir.to_owned()));
        Ok(())
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.notes().check_dir(parent(name))?;
        // The log must not be locked here: the holder of the file's lock may have something to log.
        let Some(inner) = self.inner.lock(name, mode, wait)? else { return Ok(None) };
        let mut notes = self.notes();
        if !notes.numbers.contains_key(name) {
            notes.created(name);
        }
        Ok(Some(Box::new(CrashLock { storage: self.clone(), inner, name: name.to_owned() })))
    }
}

struct CrashNewFile {
    storage: CrashStorage,
    inner: Box<dyn NewFile>,
    file: usize,
}

impl NewFile for CrashNewFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut notes = self.storage.notes();
        self.inner.append(bytes)?;
        notes.log.changes.push(Logged::Append(self.file, Arc::new(bytes.to_vec())));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.notes().log.changes.push(Logged::SyncFile(self.file));
        Ok(())
    }
}

struct CrashRandomFile {
    storage: CrashStorage,
    inner: Box<dyn RandomFile>,
    file: usize,
}

impl RandomFile for CrashRandomFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut notes = self.storage.notes();
        self.inner.write_at(offset, bytes)?;
        notes.log.changes.push(Logged::Write(self.file, offset, Arc::new(bytes.to_vec())));
        Ok(())
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let len = usize::try_from(range.end - range.start).unwrap_or(0);
        self.write_at(range.start, &vec![0; len])
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.inner.next_data(offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.storage.notes().log.changes.push(Logged::SyncFile(self.file));
        Ok(())
    }
}

struct CrashLock {
    storage: CrashStorage,
    inner: Box<dyn LockGuard>,
    name: String,
}

impl LockGuard for CrashLock {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut notes = self.storage.notes();
        self.inner.append(bytes)?;
        if let Some(file) = notes.numbers.get(&self.name).copied() {
            notes.log.changes.push(Logged::Append(file, Arc::new(bytes.to_vec())));
        }
        Ok(())
    }

    fn dismiss(self: Box<Self>) -> io::Result<()> {
        let Self { storage, inner, name } = *self;
        let mut notes = storage.notes();
        inner.dismiss()?;
        if storage.inner.open(&name).is_err() && notes.numbers.remove(&name).is_some() {
            notes.log.changes.push(Logged::Remove(name));
        }
        Ok(())
    }
}
