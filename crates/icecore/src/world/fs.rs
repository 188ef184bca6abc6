//! A repository in a directory of a file system. Nothing else opens files of a repository.
#![expect(clippy::disallowed_methods, reason = "the one place that opens and changes files of a repository")]

use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::words::sizes::to_u64;
use crate::world::direct::Direct;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Mapped;
use crate::world::storage::NewFile;
use crate::world::storage::Storage;
use crate::world::storage::StoredFile;
use crate::world::storage::Wait;

/// Storage in a directory. Files are made with mode 0600 and directories with 0700.
#[derive(Debug, Clone)]
pub struct FsStorage {
    root: PathBuf,
}

impl FsStorage {
    /// Returns the storage in the directory `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

/// Options that never follow a symbolic link: a link in a repository is not ours.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

impl Storage for FsStorage {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.path(dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // Names that are not UTF-8 are not ours.
        entries
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let file = options().read(true).open(self.path(name))?;
        let len = file.metadata()?.len();
        Ok(Box::new(FsFile { file, len }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let file = options().write(true).create_new(true).open(self.path(name))?;
        Ok(Box::new(FsNewFile { direct: Direct::open(&file), file, written_bytes: 0 }))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir);
        let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
        DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
        // The repository's own directory may be new in directories that are new: nobody else syncs those.
        if dir.is_empty() {
            for parent in path.ancestors().skip(1).take(missing) {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn lock(&self, name: &str, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>> {
        let path = self.path(name);
        loop {
            let file = options().read(true).append(true).create(true).open(&path)?;
            let taken = match (mode, wait) {
                (LockMode::Shared, Wait::Yes) => file.lock_shared().map_err(TryLockError::Error),
                (LockMode::Exclusive, Wait::Yes) => file.lock().map_err(TryLockError::Error),
                (LockMode::Shared, Wait::No) => file.try_lock_shared(),
                (LockMode::Exclusive, Wait::No) => file.try_lock(),
            };
            match taken {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The holder before us may have removed the file while we waited: then this is a lock on nothing.
            if is_still(&file, &path)? {
                return Ok(Some(Box::new(FsLock { file, path })));
            }
        }
    }
}

fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

struct FsLock {
    file: File,
    path: PathBuf,
}

impl LockGuard for FsLock {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn dismiss(self: Box<Self>) -> io::Result<()> {
        match self.file.try_lock() {
            Ok(()) if is_still(&self.file, &self.path)? => std::fs::remove_file(&self.path),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        }
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

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    #[expect(
        unsafe_code,
        reason = "mapping a file is unsafe because another process could change or shorten it"
    )]
    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        if range.end > self.len || range.start > range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if len == 0 {
            return Ok(Mapped::new(Vec::new()));
        }
        // SAFETY: only packs and index runs are mapped, and only once they are complete: nothing in this program writes to
        // them after that, and removing or renaming them leaves the mapping valid.
        let map = unsafe { memmap2::MmapOptions::new().offset(range.start).len(len).map(&self.file)? };
        Ok(Mapped::new(map))
    }
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
