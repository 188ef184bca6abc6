//! A repository in a directory of a file system. No other module opens files of a repository.
#![expect(clippy::disallowed_methods, reason = "the one place that opens and changes files of a repository")]

use std::ffi::CStr;
use std::fs::DirBuilder;
use std::fs::File;
use std::io;
use std::io::Write;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use memmap2::MmapOptions;
use rustix::fs::Advice;
use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::io::retry_on_intr;
use rustix::process::Gid;
use rustix::process::Uid;

use crate::words::sizes::to_u64;
use crate::world::direct::Direct;
use crate::world::guard::GuardedMap;
use crate::world::random_file::FsRandomFile;
use crate::world::rename::rename_new;
use crate::world::reread::read_exact_at;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Mapped;
use crate::world::storage::NewFile;
use crate::world::storage::RandomFile;
use crate::world::storage::Storage;
use crate::world::storage::StoredFile;
use crate::world::storage::Wait;
use crate::world::unsupported::Lacking;
use crate::world::unsupported::lacking;

/// The flags for opening every file of a repository. Links are foreign, a pipe must not make us
/// wait, and neither a child process nor a terminal may get the file.
const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Storage in a directory. It creates files with mode 0600 and directories with 0700, whatever the
/// process's mask is.
///
/// The path of the directory may contain links. Inside it none is followed: all names are looked up
/// component by component, from a kept descriptor of the directory.
#[derive(Debug, Clone)]
pub struct FsStorage {
    root: PathBuf,
    opened: Arc<OnceLock<OwnedFd>>,
}

/// A place: an open directory, and a name in it.
struct Spot<'a> {
    dir: OwnedFd,
    name: &'a str,
}

impl FsStorage {
    /// Returns the storage in the directory `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), opened: Arc::default() }
    }

    /// Returns the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn opened(&self) -> io::Result<&OwnedFd> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::open(&self.root, flags, Mode::empty()))?;
        Ok(self.opened.get_or_init(|| opened))
    }

    /// Returns the directory `dir`, for lookups.
    fn dir(&self, dir: &str) -> io::Result<OwnedFd> {
        let mut opened = None;
        for name in dir.split('/').filter(|name| !name.is_empty()) {
            check_name(name)?;
            opened = Some(open_dir(opened.as_ref().unwrap_or(self.opened()?), name, OFlags::PATH)?);
        }
        opened.map_or_else(|| self.opened()?.try_clone(), Ok)
    }

    /// Returns the directory `dir`, to list or to sync it.
    fn dir_to_read(&self, dir: &str) -> io::Result<OwnedFd> {
        match self.spot(dir) {
            Ok(spot) => open_dir(&spot.dir, spot.name, OFlags::RDONLY),
            Err(_) if dir.is_empty() => open_dir(self.opened()?, ".", OFlags::RDONLY),
            Err(error) => Err(error),
        }
    }

    /// Returns the names in a directory, with their types.
    fn entries(&self, dir: &str) -> io::Result<Vec<(String, FileType)>> {
        let opened = match self.dir_to_read(dir) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries = Vec::new();
        for entry in Dir::new(opened)? {
            let entry = entry?;
            // Names that are not UTF-8, or would break a line of a message, are foreign.
            let name = CStr::to_str(entry.file_name()).unwrap_or(".");
            if ![".", ".."].contains(&name) && !name.contains(char::is_control) {
                entries.push((name.to_owned(), entry.file_type()));
            }
        }
        Ok(entries)
    }

    fn spot<'a>(&self, path: &'a str) -> io::Result<Spot<'a>> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        check_name(name)?;
        Ok(Spot { dir: self.dir(dir)?, name })
    }
}

fn check_name(name: &str) -> io::Result<()> {
    match ["", ".", ".."].contains(&name) {
        true => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a valid file name")),
        false => Ok(()),
    }
}

fn open_dir(within: &OwnedFd, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match retry_on_intr(|| rustix::fs::openat(within, name, flags, Mode::empty())) {
        Ok(dir) => Ok(dir),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            Err(strange(&format!("{name} is not a directory (links are not followed)")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the error for an object in the place of a file or a directory of a repository that is
/// neither.
fn strange(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Spot<'_> {
    /// Opens the object, which must be a file.
    fn open(&self, flags: OFlags, mode: Mode) -> io::Result<File> {
        let opened = retry_on_intr(|| rustix::fs::openat(&self.dir, self.name, flags | FLAGS, mode));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => return Err(strange("it is a symbolic link")),
            // The answer of a pipe without a reader, a socket, or a device without a driver; of a
            // directory, to a writer.
            Err(Errno::NXIO | Errno::ISDIR) => return Err(strange("it is not a file")),
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(strange("it is not a file")) }
    }

    /// Creates a file that does not exist yet.
    fn create(&self, flags: OFlags) -> io::Result<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        let file = self.open(flags | OFlags::CREATE | OFlags::EXCL, mode)?;
        self.give_to_owner(&file)?;
        if file.metadata()?.mode() & 0o777 != mode.as_raw_mode() {
            rustix::fs::fchmod(&file, mode).map_err(|error| lacking(Lacking::Modes, error))?;
        }
        Ok(file)
    }

    /// Opens a file, or creates it.
    fn open_or_create(&self, flags: OFlags) -> io::Result<File> {
        loop {
            match self.open(flags, Mode::empty()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
            match self.create(flags) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created,
            }
        }
    }

    /// Gives a new file to the owner of the directory: files that root writes into a user's
    /// repository must not lock the user out.
    fn give_to_owner(&self, made: impl AsFd) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let (own, made_by) = (rustix::fs::fstat(&self.dir)?, rustix::fs::fstat(&made)?);
        if (own.st_uid, own.st_gid) != (made_by.st_uid, made_by.st_gid) && own.st_uid != 0 {
            let (user, group) = (Uid::from_raw(own.st_uid), Gid::from_raw(own.st_gid));
            retry_on_intr(|| rustix::fs::fchown(&made, Some(user), Some(group)))?;
        }
        Ok(())
    }

    fn make_dir(&self) -> io::Result<()> {
        match retry_on_intr(|| rustix::fs::mkdirat(&self.dir, self.name, Mode::RWXU)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return open_dir(&self.dir, self.name, OFlags::PATH).map(|_| ()),
            Err(error) => return Err(error.into()),
        }
        self.give_to_owner(open_dir(&self.dir, self.name, OFlags::RDONLY)?)?;
        let made = rustix::fs::statat(&self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if made.st_mode & 0o777 != 0o700 && FileType::from_raw_mode(made.st_mode) == FileType::Directory {
            let mode = Mode::from_raw_mode(made.st_mode & 0o7000) | Mode::RWXU;
            rustix::fs::chmodat(&self.dir, self.name, mode, AtFlags::empty())
                .map_err(|error| lacking(Lacking::Modes, error))?;
        }
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::unlinkat(&self.dir, self.name, AtFlags::empty()))?)
    }

    /// Returns whether `file` still has this name.
    fn is_still(&self, file: &File) -> io::Result<bool> {
        let ours = file.metadata()?;
        match rustix::fs::statat(&self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.dev(), ours.ino())),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Creates the repository's directory, and missing ones above it, durably.
fn make_root(root: &Path) -> io::Result<()> {
    let missing = root.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
    DirBuilder::new().mode(0o700).recursive(true).create(root)?;
    if missing > 0 {
        retry_on_intr(|| rustix::fs::chmod(root, Mode::RWXU))
            .map_err(|error| lacking(Lacking::Modes, error))?;
    }
    // It may be new in directories that are also new: nobody else syncs those.
    for parent in root.ancestors().skip(1).take(missing) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

impl Storage for FsStorage {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = self.entries(dir)?;
        Ok(entries.into_iter().map(|(name, _)| name).collect())
    }

    fn list_dirs(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut dirs = Vec::new();
        for (name, kind) in self.entries(dir)? {
            let is_dir = match kind {
                FileType::Directory => true,
                // Some file systems do not report the type.
                FileType::Unknown => self.dir(&format!("{dir}/{name}")).is_ok(),
                _ => false,
            };
            if is_dir {
                dirs.push(name);
            }
        }
        Ok(dirs)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let file = self.spot(name)?.open(OFlags::RDONLY, Mode::empty())?;
        let len = file.metadata()?.len();
        Ok(Box::new(FsFile { file, len }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let file = self.spot(name)?.create(OFlags::WRONLY)?;
        Ok(Box::new(FsNewFile { direct: Direct::open(&file), file, written_bytes: 0 }))
    }

    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>> {
        Ok(Box::new(FsRandomFile(self.spot(name)?.open_or_create(OFlags::RDWR)?)))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        if dir.is_empty() { make_root(&self.root) } else { self.spot(dir)?.make_dir() }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.spot(from)?, self.spot(to)?);
        Ok(retry_on_intr(|| rustix::fs::renameat(&from.dir, from.name, &to.dir, to.name))?)
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.spot(from)?, self.spot(to)?);
        Ok(rename_new((&from.dir, from.name.as_ref()), (&to.dir, to.name.as_ref()))?)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let dir = self.dir_to_read(dir)?;
        retry_on_intr(|| rustix::fs::fsync(&dir)).map_err(|error| lacking(Lacking::SyncedDirectories, error))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.spot(name)?.remove()
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        let spot = self.spot(dir)?;
        Ok(retry_on_intr(|| rustix::fs::unlinkat(&spot.dir, spot.name, AtFlags::REMOVEDIR))?)
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        let spot = self.spot(name)?;
        let operation = match (mode, wait) {
            (LockMode::Shared, Wait::Yes) => FlockOperation::LockShared,
            (LockMode::Exclusive, Wait::Yes) => FlockOperation::LockExclusive,
            (LockMode::Shared, Wait::No) => FlockOperation::NonBlockingLockShared,
            (LockMode::Exclusive, Wait::No) => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            let file = spot.open_or_create(OFlags::RDWR | OFlags::APPEND)?;
            match retry_on_intr(|| rustix::fs::flock(&file, operation)) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(lacking(Lacking::Locks, error)),
            }
            // The previous holder may have removed the file during the wait: then this is a lock on
            // nothing.
            if spot.is_still(&file)? {
                let Spot { dir, .. } = spot;
                let name = name.rsplit('/').next().unwrap_or(name).to_owned();
                return Ok(Some(Box::new(FsLock { file, dir, name })));
            }
        }
    }
}

struct FsLock {
    file: File,
    dir: OwnedFd,
    name: String,
}

impl LockGuard for FsLock {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn dismiss(self: Box<Self>) -> io::Result<()> {
        match retry_on_intr(|| rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let Self { file, dir, name } = *self;
        let spot = Spot { dir, name: &name };
        if spot.is_still(&file)? { spot.remove() } else { Ok(()) }
    }
}

struct FsFile {
    file: File,
    len: u64,
}

impl StoredFile for FsFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks().saturating_mul(512))
    }

    fn will_read(&self, range: Range<u64>) {
        let length = NonZeroU64::new(range.end.saturating_sub(range.start));
        // Without it, the kernel reads when it is asked.
        let _ = rustix::fs::fadvise(&self.file, range.start, length, Advice::WillNeed);
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_exact_at(&self.file, offset, buffer)
    }

    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        Ok(self.mapping(range)?.map_or_else(|| Mapped::new(Vec::new()), guarded))
    }

    fn load(&self, range: Range<u64>) -> io::Result<Mapped> {
        let mut bytes = vec![0; self.check(&range)?];
        read_exact_at(&self.file, range.start, &mut bytes)?;
        Ok(Mapped::new(bytes))
    }
}

impl FsFile {
    /// Returns the length of a range that must lie in the file.
    fn check(&self, range: &Range<u64>) -> io::Result<usize> {
        if range.end > self.len || range.start > range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    #[expect(
        unsafe_code,
        reason = "mapping a file is unsafe because another process could change or shorten it"
    )]
    fn mapping(&self, range: Range<u64>) -> io::Result<Option<GuardedMap>> {
        let len = self.check(&range)?;
        if len == 0 {
            return Ok(None);
        }
        // SAFETY: only index runs are mapped, and only once they are complete: nothing in this
        // program writes to them after that, and removing or renaming them leaves the mapping
        // valid. Anything else that makes a page unreadable raises a signal, which `guard_mappings`
        // turns into an error.
        let map = unsafe { MmapOptions::new().offset(range.start).len(len).map(&self.file)? };
        Ok(Some(GuardedMap::new(map)))
    }
}

fn guarded(mapping: GuardedMap) -> Mapped {
    let broken = mapping.broken();
    Mapped::that_may_break(mapping, broken)
}

struct FsNewFile {
    file: File,
    direct: Direct,
    written_bytes: u64,
}

impl NewFile for FsNewFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let done = self.direct.write_at(self.written_bytes, bytes)?;
        self.file.write_all_at(&bytes[done..], self.written_bytes + to_u64(done))?;
        self.written_bytes += to_u64(bytes.len());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::scratch::Outcome;
    use crate::world::scratch::Root;

    #[test]
    fn what_root_makes_belongs_to_whoever_has_the_directory() -> Outcome {
        if Root::get().is_none() {
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let owner = (63_117, 63_118);
        std::os::unix::fs::chown(dir.path(), Some(owner.0), Some(owner.1))?;
        let storage = FsStorage::new(dir.path());
        storage.make_dir("sub")?;
        storage.make_dir("sub/sub")?;
        drop(storage.create("sub/file")?);
        drop(storage.open_random("sub/sub/random")?);
        let lock = storage.lock("lock", LockMode::Exclusive, Wait::No)?;
        for name in ["sub", "sub/sub", "sub/file", "sub/sub/random", "lock"] {
            let made = std::fs::metadata(dir.path().join(name))?;
            assert_eq!((made.uid(), made.gid()), owner, "{name}");
        }
        drop(lock);
        Ok(())
    }

    #[test]
    fn what_is_loaded_stays_and_what_cannot_be_read_of_it_is_an_error() -> Outcome {
        let dir = tempfile::tempdir()?;
        let storage = FsStorage::new(dir.path());
        let bytes = vec![7; 100_000];
        std::fs::write(dir.path().join("file"), &bytes)?;
        let file = storage.open("file")?;
        let loaded = file.load(5000..90_000)?;
        assert!(file.load(0..0)?.is_empty());
        File::options().write(true).open(dir.path().join("file"))?.set_len(10_000)?;
        let error = file.load(0..100_000).err().ok_or("it was read")?;
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(loaded[..] == bytes[5000..90_000] && !loaded.is_broken(), "whatever becomes of the file");
        Ok(())
    }

    #[test]
    fn a_name_leads_to_nothing_outside() -> Outcome {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("outside"), b"outside")?;
        let storage = FsStorage::new(dir.path().join("repository"));
        storage.make_dir("")?;
        storage.make_dir("packs")?;
        for name in ["", ".", "..", "packs/..", "packs/"] {
            let error = storage.open(name).err().ok_or(name)?;
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        for name in ["../outside", "packs/../../outside"] {
            assert!(storage.open(name).is_err() && storage.remove(name).is_err(), "{name}");
            assert!(storage.lock(name, LockMode::Exclusive, Wait::No).is_err(), "{name}");
        }
        assert_eq!(std::fs::read(dir.path().join("outside"))?, b"outside");
        Ok(())
    }
}
