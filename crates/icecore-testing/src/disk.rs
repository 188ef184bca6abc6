//! Small mounted file systems for tests to fill up. They need root; without it the tests are
//! skipped.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system, unmounted when dropped.
pub struct Disk {
    pub point: PathBuf,
    _dir: TempDir,
}

/// The kind of file system: how to make it, and its size.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub mkfs: &'static [&'static str],
    pub mib: u64,
}

pub const EXT4: Kind =
    Kind { mkfs: &["mkfs.ext4", "-q", "-m", "0", "-b", "1024", "-O", "^has_journal"], mib: 6 };
/// A file system with room for few files.
pub const FEW_INODES: Kind =
    Kind { mkfs: &["mkfs.ext4", "-q", "-m", "0", "-b", "1024", "-N", "600", "-O", "^has_journal"], mib: 6 };
/// A file system with a journal and blocks of the usual size, as most are.
pub const EXT4_JOURNAL: Kind = Kind { mkfs: &["mkfs.ext4", "-q", "-m", "0", "-b", "4096"], mib: 24 };
pub const XFS: Kind = Kind { mkfs: &["mkfs.xfs", "-q"], mib: 320 };
pub const BTRFS: Kind = Kind { mkfs: &["mkfs.btrfs", "-q"], mib: 128 };

impl Disk {
    /// Makes and mounts a file system. If that is not possible, prints so and returns none.
    #[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
    pub fn get(kind: Kind) -> Option<Self> {
        if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
            eprintln!("skipped: this needs root, to mount a file system");
            return None;
        }
        match Self::mount(kind) {
            Ok(disk) => Some(disk),
            Err(why) => {
                eprintln!("skipped: no file system of {} can be mounted here: {why}", kind.mkfs[0]);
                None
            }
        }
    }

    fn mount(kind: Kind) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let (image, point) = (dir.path().join("image"), dir.path().join("mounted"));
        File::create(&image).unwrap().set_len(kind.mib << 20).unwrap();
        std::fs::create_dir(&point).unwrap();
        run(Command::new(kind.mkfs[0]).args(&kind.mkfs[1..]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).args([&image, &point]))?;
        Ok(Self { point, _dir: dir })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// Fills the file system, except for about `left` bytes.
    pub fn fill(&self, left: u64) {
        self.drain();
        let mut ballast = File::create(self.path("ballast")).unwrap();
        for part in [vec![7; 256 << 10], vec![7; 4096], vec![7; 1]] {
            while ballast.write_all(&part).is_ok() {}
            // This reports data that delayed allocation promised room for and cannot store.
            let _ = ballast.sync_all();
        }
        let len = ballast.metadata().unwrap().len();
        ballast.set_len(len.saturating_sub(left)).unwrap();
        let _ = ballast.sync_all();
    }

    /// Creates files until no more can be created, then makes room for `left`.
    pub fn fill_inodes(&self, left: usize) {
        self.drain();
        let dir = self.path("ballast");
        std::fs::create_dir(&dir).unwrap();
        let made = (0..).take_while(|n: &usize| File::create(dir.join(n.to_string())).is_ok()).count();
        (made.saturating_sub(left)..made)
            .for_each(|n| std::fs::remove_file(dir.join(n.to_string())).unwrap());
    }

    /// Removes the filling. Some file systems free the space only once the removal is on the
    /// medium; ext4 does so just after the commit that a sync waits for, and before the next one.
    pub fn drain(&self) {
        remove(&self.path("ballast"));
        for _ in 0..2 {
            run(Command::new("sync").arg("-f").arg(&self.point)).unwrap();
            let next = self.path("next");
            if File::create(&next).is_ok() {
                remove(&next);
            }
        }
    }

    /// Copies a directory there, in place of anything with its name.
    pub fn put(&self, dir: &Path, name: &str) {
        remove(&self.path(name));
        run(Command::new("cp").arg("-r").args([dir, &self.path(name)])).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.point));
    }
}

/// Removes a file or a directory, if it exists.
pub fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_dir_all(path);
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
}
