//! The space that a cache takes: when it is too much, what was not used for longest goes.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// The part of its limit that a process writes before it looks whether there is too much. Others
/// write too.
const LOOK_PART: u64 = 16;
/// The part of the limit that is free after room was made.
const FREE_PART: u64 = 8;

/// What is in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The repositories of which anything is there.
    pub repositories: u64,
    /// The pieces.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The space of a cache, as one process knows it.
#[derive(Debug)]
pub(super) struct Space {
    dir: PathBuf,
    bytes_max: u64,
    /// The bytes that may be written until the next look.
    left: AtomicU64,
    is_full: AtomicBool,
}

impl Space {
    /// The first thing that is written makes it look.
    pub(super) fn new(dir: &Path, bytes_max: u64) -> Self {
        let (left, is_full) = (AtomicU64::new(0), AtomicBool::new(bytes_max == 0));
        Self { dir: dir.to_owned(), bytes_max, left, is_full }
    }

    /// Returns what there is at least after room was made.
    pub(super) fn room_bytes(&self) -> u64 {
        self.bytes_max - self.bytes_max / FREE_PART
    }

    /// Tells whether it is worth trying to write.
    pub(super) fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    /// Notes that something could not be written. On a full disk nothing more is tried.
    pub(super) fn note_failure(&self, error: &io::Error) {
        let full =
            [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::ReadOnlyFilesystem];
        if full.contains(&error.kind()) {
            self.is_full.store(true, Ordering::Relaxed);
        }
    }

    /// Notes bytes that were written, and makes room now and then.
    pub(super) fn note(&self, bytes: u64) {
        let noted = |left: u64| left.checked_sub(bytes);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, noted).is_ok() {
            return;
        }
        self.left.store(self.bytes_max / LOOK_PART, Ordering::Relaxed);
        // What cannot be listed or removed now is removed another time.
        let _ = make_room(&self.dir, self.bytes_max);
    }
}

/// Removes the pieces that were not used for longest, if there are more than `bytes_max` bytes.
fn make_room(dir: &Path, bytes_max: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    each_file(dir, &mut |path, metadata| {
        files.push((metadata.modified()?, metadata.len(), path));
        Ok(())
    })?;
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    if bytes <= bytes_max {
        return Ok(());
    }
    files.sort_unstable();
    for (_, length, path) in files {
        if bytes <= bytes_max - bytes_max / FREE_PART {
            break;
        }
        let _ = fs::remove_file(path);
        bytes -= length;
    }
    Ok(())
}

/// Returns what is in a cache.
pub(super) fn usage(dir: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    for repository in dirs(dir)? {
        let before = usage.pieces;
        each_file(&repository, &mut |_, metadata| {
            usage.pieces += 1;
            usage.bytes += metadata.len();
            Ok(())
        })?;
        usage.repositories += u64::from(usage.pieces > before);
    }
    Ok(usage)
}

/// Removes what is in a cache, and returns what it was.
pub(super) fn clear(dir: &Path) -> io::Result<Usage> {
    let usage = usage(dir)?;
    for repository in dirs(dir)? {
        match fs::remove_dir_all(&repository) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(usage)
}

/// Calls `each` with every file below a directory, links not followed. What goes meanwhile is left
/// out.
fn each_file(dir: &Path, each: &mut dyn FnMut(PathBuf, fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        match metadata.is_dir() {
            true => each_file(&entry.path(), each)?,
            false => each(entry.path(), metadata)?,
        }
    }
    Ok(())
}

/// Returns the directories in a directory.
fn dirs(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut dirs = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            dirs.push(entry.path());
        }
    }
    Ok(dirs)
}
