//! A repository in memory, for tests: files, names and locks, without durability.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::world::io::ReadAt;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Mapped;
use crate::world::storage::NewFile;
use crate::world::storage::RandomFile;
use crate::world::storage::Storage;
use crate::world::storage::StoredFile;
use crate::world::storage::Wait;

/// Storage in memory. Clones share their content.
#[derive(Clone, Default)]
pub struct MemoryStorage(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Vec<u8>>>,
    locks: BTreeMap<String, Held>,
    /// How many calls have changed something, or tried to.
    changes: u64,
    /// Which of them fail, and how.
    failing: Option<(Range<u64>, io::ErrorKind)>,
}

impl State {
    /// Counts a call that changes something, and fails where it is to.
    fn change(&mut self) -> io::Result<()> {
        let change = self.changes;
        self.changes += 1;
        match &self.failing {
            Some((failing, kind)) if failing.contains(&change) => Err((*kind).into()),
            _ => Ok(()),
        }
    }
}

#[derive(Default, PartialEq)]
struct Held {
    shared: usize,
    exclusive: bool,
}

impl MemoryStorage {
    /// Returns an empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the names and contents of all files.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().files.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())).collect()
    }

    /// Puts a file there, replacing what has its name.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state().files.insert(name.to_owned(), Arc::new(bytes));
    }

    /// Returns the names and contents of all files, not copied.
    pub fn shared_files(&self) -> BTreeMap<String, Arc<Vec<u8>>> {
        self.state().files.clone()
    }

    /// As [`put`](Self::put), of content that others may share.
    pub fn put_shared(&self, name: &str, bytes: Arc<Vec<u8>>) {
        self.state().files.insert(name.to_owned(), bytes);
    }

    /// Returns how many calls have changed something so far, or tried to.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Makes the changing calls with these numbers, counted from the next one, fail.
    pub fn fail_changes(&self, failing: Range<u64>, kind: io::ErrorKind) {
        let mut state = self.state();
        let next = state.changes;
        state.failing = Some((next + failing.start..next.saturating_add(failing.end), kind));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let state = self.state();
        let inside = state.files.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(inside.filter(|rest| !rest.contains('/')).map(str::to_owned).collect())
    }

    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let state = self.state();
        let below = state.files.keys().filter_map(|name| name.strip_prefix(&prefix)?.split_once('/'));
        let dirs: BTreeSet<&str> = below.map(|(dir, _)| dir).collect();
        Ok(dirs.into_iter().map(str::to_owned).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let bytes = self.state().files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile(bytes)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut state = self.state();
        state.change()?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(name.to_owned(), Arc::default());
        Ok(Box::new(MemoryNewFile { storage: self.clone(), name: name.to_owned() }))
    }

    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>> {
        let mut state = self.state();
        state.change()?;
        state.files.entry(name.to_owned()).or_default();
        Ok(Box::new(MemoryRandomFile { storage: self.clone(), name: name.to_owned() }))
    }

    fn make_dir(&self, _dir: &str) -> io::Result<()> {
        self.state().change()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let bytes = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if state.files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        self.state().change()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.files.remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.state().change()?;
        match self.list(dir)?.is_empty() && self.list_dirs(dir)?.is_empty() {
            true => Ok(()),
            false => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        }
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        let mut state = self.state();
        state.change()?;
        loop {
            let held = state.locks.entry(name.to_owned()).or_default();
            let free = !held.exclusive && (mode == LockMode::Shared || held.shared == 0);
            if free {
                match mode {
                    LockMode::Shared => held.shared += 1,
                    LockMode::Exclusive => held.exclusive = true,
                }
                state.files.entry(name.to_owned()).or_default();
                return Ok(Some(Box::new(MemoryLock { storage: self.clone(), name: name.to_owned(), mode })));
            }
            if wait == Wait::No {
                return Ok(None);
            }
            state = self.0.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct MemoryLock {
    storage: MemoryStorage,
    name: String,
    mode: LockMode,
}

impl LockGuard for MemoryLock {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.storage.state();
        state.change()?;
        Arc::make_mut(state.files.entry(self.name.clone()).or_default()).extend(bytes);
        Ok(())
    }

    fn dismiss(self: Box<Self>) -> io::Result<()> {
        let mut state = self.storage.state();
        state.change()?;
        let alone = state.locks.get(&self.name).is_some_and(|held| held.exclusive || held.shared == 1);
        if alone {
            state.files.remove(&self.name);
        }
        Ok(())
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.storage.state();
        if let Some(held) = state.locks.get_mut(&self.name) {
            match self.mode {
                LockMode::Shared => held.shared -= 1,
                LockMode::Exclusive => held.exclusive = false,
            }
        }
        state.locks.retain(|_, held| *held != Held::default());
        self.storage.0.released.notify_all();
    }
}

struct MemoryFile(Arc<Vec<u8>>);

impl StoredFile for MemoryFile {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        ReadAt::read_at(self.0.as_slice(), offset, buffer)
    }

    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        self.read_at(range.start, &mut bytes)?;
        Ok(Mapped::new(bytes))
    }
}

/// Unlike one of a file system, it does not work on after its name was removed: nothing must count
/// on that.
struct MemoryRandomFile {
    storage: MemoryStorage,
    name: String,
}

impl MemoryRandomFile {
    fn change(&self, range: Range<u64>, how: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let index = |offset| usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge);
        let (start, end) = (index(range.start)?, index(range.end)?);
        let mut state = self.storage.state();
        state.change()?;
        let bytes = Arc::make_mut(state.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        how(&mut bytes[start..end]);
        Ok(())
    }
}

impl RandomFile for MemoryRandomFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.storage.state().files.get(&self.name).cloned().ok_or(io::ErrorKind::NotFound)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let present = (bytes.len() - start).min(buffer.len());
        let (inside, beyond) = buffer.split_at_mut(present);
        inside.copy_from_slice(&bytes[start..start + present]);
        beyond.fill(0);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(offset..offset + bytes.len() as u64, |place| place.copy_from_slice(bytes))
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        self.change(range, |place| place.fill(0))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let bytes = self.storage.state().files.get(&self.name).cloned().ok_or(io::ErrorKind::NotFound)?;
        let len = bytes.len() as u64;
        Ok((offset < len).then_some(offset..len))
    }

    fn sync(&self) -> io::Result<()> {
        self.storage.state().change()
    }
}

struct MemoryNewFile {
    storage: MemoryStorage,
    name: String,
}

impl NewFile for MemoryNewFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.storage.state();
        state.change()?;
        let file = state.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        Arc::make_mut(file).extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.state().change()
    }
}
