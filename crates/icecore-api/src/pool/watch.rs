//! Changes in the directories of volumes, as the kernel reports them.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::inotify;
use rustix::fs::inotify::CreateFlags;
use rustix::fs::inotify::ReadFlags;
use rustix::fs::inotify::WatchFlags;
use rustix::io::Errno;

/// The bytes of reports that are read at once.
const BUFFER_BYTES: usize = 16 << 10;
/// The file systems of this machine, by the numbers that statfs has for them. Of others, another
/// machine may change files without a report.
const LOCAL: [u32; 9] = [
    0x0000_ef53, // ext2 to ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
    0x794c_7630, // overlayfs
    0xca45_1a4e, // bcachefs
    0x8584_58f6, // ramfs
];

/// Reports of the kernel about a directory and the directories in it.
pub(super) struct Watch {
    reports: OwnedFd,
    path: PathBuf,
    /// The name of the file in each directory that matters.
    file: &'static str,
    root: i32,
    /// The directory as it was opened: its device and its inode.
    identity: (u64, u64),
    /// The directories in it, by the number of the watch.
    dirs: HashMap<i32, String>,
}

/// What has changed.
pub(super) enum Changed {
    /// The file in these directories: it was written, or is gone.
    In(BTreeSet<String>),
    /// Nobody knows: everything is to be read again, and watched anew.
    Unknown,
}

impl Watch {
    /// Watches a directory and those in it. None if that does not work, or does not report every
    /// change.
    pub(super) fn start(path: PathBuf, file: &'static str) -> Option<Self> {
        // The type differs between architectures.
        let kind = rustix::fs::statfs(&path).ok().and_then(|about| u32::try_from(about.f_type).ok())?;
        if !LOCAL.contains(&kind) {
            return None;
        }
        let identity = identity(&path).ok()?;
        let reports = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let own = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let root = inotify::add_watch(&reports, &path, own).ok()?;
        let mut watch = Self { reports, path, file, root, identity, dirs: HashMap::new() };
        for entry in fs::read_dir(&watch.path).ok()? {
            let entry = entry.ok()?;
            if entry.file_type().ok()?.is_dir() {
                watch.add(entry.file_name().to_str()?).ok()?;
            }
        }
        Some(watch)
    }

    /// Watches a directory in the directory. One that is gone needs no watch.
    fn add(&mut self, dir: &str) -> io::Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&self.reports, self.path.join(dir), flags) {
            Ok(number) => drop(self.dirs.insert(number, dir.to_owned())),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Returns what has changed since the last call. A change is reported before its system call
    /// returns, so nothing that another program has done by now is missing.
    pub(super) fn changed(&mut self) -> Changed {
        if identity(&self.path).ok() != Some(self.identity) {
            return Changed::Unknown;
        }
        self.read().map_or(Changed::Unknown, Changed::In)
    }

    /// Returns the directories whose file has changed, or none if that is unknown.
    fn read(&mut self) -> Option<BTreeSet<String>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let (mut changed, mut new) = (BTreeSet::new(), Vec::new());
        let mut reports = inotify::Reader::new(&self.reports, &mut buffer);
        loop {
            let report = match reports.next() {
                Ok(report) => report,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            };
            let (what, name) = (report.events(), report.file_name().and_then(|name| name.to_str().ok()));
            let lost = ReadFlags::QUEUE_OVERFLOW | ReadFlags::UNMOUNT;
            let moved = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED;
            if what.intersects(lost) || report.wd() == self.root && what.intersects(moved) {
                return None;
            }
            if report.wd() == self.root {
                let name = name?.to_owned();
                if what.contains(ReadFlags::ISDIR) && what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO)
                {
                    new.push(name.clone());
                }
                changed.insert(name);
            } else if what.contains(ReadFlags::IGNORED) {
                self.dirs.remove(&report.wd());
            } else if name == Some(self.file) {
                changed.extend(self.dirs.get(&report.wd()).cloned());
            }
        }
        // Watched before anybody reads what is in them.
        new.iter().try_for_each(|dir| self.add(dir)).ok()?;
        Some(changed)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|about| (about.dev(), about.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what has changed, or a word if that is unknown.
    fn changed(watch: &mut Watch) -> String {
        match watch.changed() {
            Changed::In(dirs) => dirs.into_iter().collect::<Vec<_>>().join(" "),
            Changed::Unknown => "?".to_owned(),
        }
    }

    #[test]
    fn what_others_do_to_the_file_of_a_directory_is_reported_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volumes");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/record"), "1").unwrap();
        let Some(mut watch) = Watch::start(root.clone(), "record") else {
            // A file system of which no reports come.
            return;
        };
        assert_eq!(changed(&mut watch), "");
        fs::write(root.join("a/other"), "1").unwrap();
        assert_eq!(changed(&mut watch), "");
        fs::write(root.join("a/record.new"), "2").unwrap();
        fs::rename(root.join("a/record.new"), root.join("a/record")).unwrap();
        assert_eq!(changed(&mut watch), "a");
        assert_eq!(changed(&mut watch), "");
        // A new one is watched from then on.
        fs::create_dir(root.join("b")).unwrap();
        assert_eq!(changed(&mut watch), "b");
        fs::write(root.join("b/record"), "1").unwrap();
        fs::remove_file(root.join("a/record")).unwrap();
        assert_eq!(changed(&mut watch), "a b");
        fs::remove_dir_all(root.join("a")).unwrap();
        assert_eq!(changed(&mut watch), "a");
        // Another directory in its place.
        fs::rename(&root, dir.path().join("away")).unwrap();
        fs::create_dir(&root).unwrap();
        assert_eq!(changed(&mut watch), "?");
    }
}
