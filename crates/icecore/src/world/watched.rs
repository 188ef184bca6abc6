//! A storage that tells somebody of each call, before and after: to note failures, and for tests to
//! fail, record, delay or break calls.

use std::io;
use std::ops::Deref;
use std::ops::Range;
use std::sync::Arc;

use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Mapped;
use crate::world::storage::NewFile;
use crate::world::storage::RandomFile;
use crate::world::storage::Storage;
use crate::world::storage::StoredFile;
use crate::world::storage::Wait;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `Storage::list`. Its call is told of once the result is known: see [`Watch::listed`].
    List,
    /// `Storage::list_dirs`. As [`List`](Self::List).
    ListDirs,
    /// `Storage::open`.
    Open,
    /// `Storage::create`.
    Create,
    /// `Storage::open_random`.
    OpenRandom,
    /// `Storage::make_dir`.
    MakeDir,
    /// `Storage::rename`, to the name.
    Rename,
    /// `Storage::rename_new`, to the name.
    RenameNew,
    /// `Storage::sync_dir`.
    SyncDir,
    /// `Storage::remove`.
    Remove,
    /// `Storage::remove_dir`.
    RemoveDir,
    /// `Storage::lock`.
    Lock,
    /// `StoredFile::allocated_bytes`.
    Measure,
    /// `StoredFile::read_at`.
    Read,
    /// `StoredFile::map`.
    Map,
    /// `StoredFile::load`.
    Load,
    /// `NewFile::append`.
    Append,
    /// `NewFile::sync`.
    Sync,
    /// `RandomFile::read_at`.
    ReadRandom,
    /// `RandomFile::write_at`.
    Write,
    /// `RandomFile::punch`.
    Punch,
    /// `RandomFile::next_data`.
    NextData,
    /// `RandomFile::names`.
    CountNames,
    /// `RandomFile::sync`.
    SyncRandom,
    /// `LockGuard::append`.
    Announce,
    /// `LockGuard::dismiss`.
    Dismiss,
}

impl Op {
    /// Returns the name of the method.
    pub fn method(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::ListDirs => "list_dirs",
            Self::Open => "open",
            Self::Create => "create",
            Self::OpenRandom => "open_random",
            Self::MakeDir => "make_dir",
            Self::Rename => "rename",
            Self::RenameNew => "rename_new",
            Self::SyncDir => "sync_dir",
            Self::Remove => "remove",
            Self::RemoveDir => "remove_dir",
            Self::Lock => "lock",
            Self::Measure => "allocated_bytes",
            Self::Read | Self::ReadRandom => "read_at",
            Self::Map => "map",
            Self::Load => "load",
            Self::Append | Self::Announce => "append",
            Self::Sync | Self::SyncRandom => "sync",
            Self::Write => "write_at",
            Self::Punch => "punch",
            Self::NextData => "next_data",
            Self::CountNames => "names",
            Self::Dismiss => "dismiss",
        }
    }

    /// Returns whether it only looks.
    pub fn is_read(self) -> bool {
        matches!(
            self,
            Self::List
                | Self::ListDirs
                | Self::Open
                | Self::Measure
                | Self::Read
                | Self::Map
                | Self::Load
                | Self::ReadRandom
                | Self::NextData
                | Self::CountNames
        )
    }

    /// Returns whether it is a call of an open file or a held lock, not of the storage itself.
    pub fn is_of_file(self) -> bool {
        self as u8 >= Self::Measure as u8
    }
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// What it does.
    pub op: Op,
    /// The name of the file or directory; of a rename, the new one.
    pub name: &'a str,
    /// The old name of a renamed file, otherwise empty.
    pub from: &'a str,
    /// The bytes that are read or written, if any.
    pub range: Range<u64>,
}

/// Whoever is told of calls.
pub trait Watch: Send + Sync {
    /// A call is about to be made. An error is the result of the call, which is then not made.
    fn before(&self, _call: &Call<'_>) -> io::Result<()> {
        Ok(())
    }

    /// A call was made, and failed if there is an error.
    fn after(&self, _call: &Call<'_>, _error: Option<&io::Error>) {}

    /// A directory was listed. An error becomes the result of the call.
    fn listed(&self, _call: &Call<'_>, _names: &[String]) -> io::Result<()> {
        Ok(())
    }

    /// Returns how much of a write is made although [`before`](Self::before) failed it.
    fn torn(&self, _bytes: usize) -> usize {
        0
    }

    /// Returns what a part of a file is mapped to.
    fn mapped(&self, _name: &str, mapped: Mapped) -> Mapped {
        mapped
    }

    /// Makes a call of `rename_new`.
    fn rename_new<S: Storage + ?Sized>(&self, inner: &S, from: &str, to: &str) -> io::Result<()> {
        inner.rename_new(from, to)
    }

    /// Makes a call of `lock`.
    fn lock<S: Storage + ?Sized>(
        &self,
        inner: &S,
        name: &str,
        mode: LockMode,
        wait: Wait,
    ) -> io::Result<Option<Box<dyn LockGuard>>> {
        inner.lock(name, mode, wait)
    }

    /// A lock was released.
    fn released(&self, _name: &str) {}
}

/// A storage whose calls are watched. It dereferences to the watch.
pub struct Watched<S: ?Sized, W> {
    inner: Arc<S>,
    watch: Arc<W>,
}

impl<S, W> Watched<S, W> {
    /// Wraps a storage.
    pub fn new(inner: S, watch: W) -> Self {
        Self::over(Arc::new(inner), watch)
    }
}

impl<S: ?Sized, W> Watched<S, W> {
    /// Wraps a storage that others may use too.
    pub fn over(inner: Arc<S>, watch: W) -> Self {
        Self { inner, watch: Arc::new(watch) }
    }

    /// Returns the storage.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: Default, W: Default> Default for Watched<S, W> {
    fn default() -> Self {
        Self::new(S::default(), W::default())
    }
}

/// Clones share the storage and the watch.
impl<S: ?Sized, W> Clone for Watched<S, W> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), watch: Arc::clone(&self.watch) }
    }
}

impl<S: ?Sized, W> Deref for Watched<S, W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.watch
    }
}

impl<'a> Call<'a> {
    fn new(op: Op, name: &'a str) -> Self {
        Self { op, name, from: "", range: 0..0 }
    }

    fn of(op: Op, name: &'a str, offset: u64, bytes: usize) -> Self {
        Self { op, name, from: "", range: offset..offset.saturating_add(bytes as u64) }
    }
}

/// Makes a call, and tells of it before and after.
fn told<T>(watch: &impl Watch, call: &Call<'_>, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    watch.before(call)?;
    let made = make();
    watch.after(call, made.as_ref().err());
    made
}

impl<S: Storage + ?Sized, W: Watch> Watched<S, W> {
    fn told<T>(&self, op: Op, name: &str, make: impl FnOnce(&S) -> io::Result<T>) -> io::Result<T> {
        told(&*self.watch, &Call::new(op, name), || make(&self.inner))
    }

    fn list_with(
        &self,
        op: Op,
        dir: &str,
        list: impl FnOnce(&S) -> io::Result<Vec<String>>,
    ) -> io::Result<Vec<String>> {
        let names = self.told(op, dir, list)?;
        self.watch.listed(&Call::new(op, dir), &names)?;
        Ok(names)
    }

    fn file<F: ?Sized>(&self, name: &str, inner: Box<F>) -> WatchedFile<F, W> {
        WatchedFile { inner, name: name.to_owned(), written: 0, watch: Arc::clone(&self.watch) }
    }
}

impl<S: Storage + ?Sized, W: Watch + 'static> Storage for Watched<S, W> {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.list_with(Op::List, dir, |inner| inner.list(dir))
    }

    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>> {
        self.list_with(Op::ListDirs, dir, |inner| inner.list_dirs(dir))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let inner = self.told(Op::Open, name, |inner| inner.open(name))?;
        Ok(Box::new(self.file(name, inner)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let inner = self.told(Op::Create, name, |inner| inner.create(name))?;
        Ok(Box::new(self.file(name, inner)))
    }

    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>> {
        let inner = self.told(Op::OpenRandom, name, |inner| inner.open_random(name))?;
        Ok(Box::new(self.file(name, inner)))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.told(Op::MakeDir, dir, |inner| inner.make_dir(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let call = Call { from, ..Call::new(Op::Rename, to) };
        told(&*self.watch, &call, || self.inner.rename(from, to))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let call = Call { from, ..Call::new(Op::RenameNew, to) };
        told(&*self.watch, &call, || self.watch.rename_new(&*self.inner, from, to))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.told(Op::SyncDir, dir, |inner| inner.sync_dir(dir))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.told(Op::Remove, name, |inner| inner.remove(name))
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.told(Op::RemoveDir, dir, |inner| inner.remove_dir(dir))
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        let call = Call::new(Op::Lock, name);
        let guard = told(&*self.watch, &call, || self.watch.lock(&*self.inner, name, mode, wait))?;
        let watched =
            |inner| WatchedLock { inner: Some(inner), name: name.to_owned(), watch: Arc::clone(&self.watch) };
        Ok(guard.map(|inner| Box::new(watched(inner)) as Box<_>))
    }
}

struct WatchedFile<F: ?Sized, W> {
    inner: Box<F>,
    name: String,
    /// The length of a new file.
    written: u64,
    watch: Arc<W>,
}

impl<F: ?Sized, W: Watch> WatchedFile<F, W> {
    fn told<T>(&self, call: &Call<'_>, make: impl FnOnce(&F) -> io::Result<T>) -> io::Result<T> {
        told(&*self.watch, call, || make(&self.inner))
    }
}

impl<W: Watch> StoredFile for WatchedFile<dyn StoredFile, W> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.told(&Call::new(Op::Measure, &self.name), StoredFile::allocated_bytes)
    }

    fn will_read(&self, range: Range<u64>) {
        self.inner.will_read(range);
    }

    fn bring_near(&self, range: Range<u64>) -> io::Result<()> {
        self.inner.bring_near(range)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let call = Call::of(Op::Read, &self.name, offset, buffer.len());
        self.told(&call, |inner| inner.read_at(offset, buffer))
    }

    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        let call = Call { range: range.clone(), ..Call::new(Op::Map, &self.name) };
        let mapped = self.told(&call, |inner| inner.map(range))?;
        Ok(self.watch.mapped(&self.name, mapped))
    }

    fn load(&self, range: Range<u64>) -> io::Result<Mapped> {
        let call = Call { range: range.clone(), ..Call::new(Op::Load, &self.name) };
        self.told(&call, |inner| inner.load(range))
    }
}

impl<W: Watch> NewFile for WatchedFile<dyn NewFile, W> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let call = Call::of(Op::Append, &self.name, self.written, bytes.len());
        if let Err(error) = self.watch.before(&call) {
            return match self.watch.torn(bytes.len()) {
                0 => Err(error),
                torn => self.inner.append(&bytes[..torn]).and(Err(error)),
            };
        }
        let made = self.inner.append(bytes);
        self.watch.after(&call, made.as_ref().err());
        self.written = call.range.end;
        made
    }

    fn sync(&mut self) -> io::Result<()> {
        told(&*self.watch, &Call::new(Op::Sync, &self.name), || self.inner.sync())
    }
}

impl<W: Watch> RandomFile for WatchedFile<dyn RandomFile, W> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let call = Call::of(Op::ReadRandom, &self.name, offset, buffer.len());
        self.told(&call, |inner| inner.read_at(offset, buffer))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let call = Call::of(Op::Write, &self.name, offset, bytes.len());
        if let Err(error) = self.watch.before(&call) {
            return match self.watch.torn(bytes.len()) {
                0 => Err(error),
                torn => self.inner.write_at(offset, &bytes[..torn]).and(Err(error)),
            };
        }
        let made = self.inner.write_at(offset, bytes);
        self.watch.after(&call, made.as_ref().err());
        made
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let call = Call { range: range.clone(), ..Call::new(Op::Punch, &self.name) };
        self.told(&call, |inner| inner.punch(range))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.told(&Call::of(Op::NextData, &self.name, offset, 0), |inner| inner.next_data(offset))
    }

    fn names(&self) -> io::Result<u64> {
        self.told(&Call::new(Op::CountNames, &self.name), RandomFile::names)
    }

    fn sync(&self) -> io::Result<()> {
        self.told(&Call::new(Op::SyncRandom, &self.name), RandomFile::sync)
    }
}

struct WatchedLock<W: Watch> {
    /// None only while it is released.
    inner: Option<Box<dyn LockGuard>>,
    name: String,
    watch: Arc<W>,
}

impl<W: Watch> LockGuard for WatchedLock<W> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(inner) = &mut self.inner else { return Ok(()) };
        told(&*self.watch, &Call::new(Op::Announce, &self.name), || inner.append(bytes))
    }

    fn dismiss(mut self: Box<Self>) -> io::Result<()> {
        let Some(inner) = self.inner.take() else { return Ok(()) };
        let dismissed = told(&*self.watch, &Call::new(Op::Dismiss, &self.name), || inner.dismiss());
        self.watch.released(&self.name);
        dismissed
    }
}

impl<W: Watch> Drop for WatchedLock<W> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            drop(inner);
            self.watch.released(&self.name);
        }
    }
}
