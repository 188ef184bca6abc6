//! File systems on volumes: mounted through `nbdfuse`, written to, and snapshotted meanwhile. They
//! need root and FUSE, and are skipped without them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Stdio;

use crate::support::Fixture;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools;
use crate::volumes::tools::works;

/// A disk of an NBD server as a file.
struct Fused {
    child: Child,
    dir: PathBuf,
}

impl Fused {
    /// None where that is not possible, which is said.
    #[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
    fn get(dir: PathBuf, uri: &str) -> Option<Self> {
        std::fs::create_dir_all(&dir).unwrap();
        let disk = dir.join("disk.raw");
        let mut nbdfuse = tools::tool("nbdfuse");
        let child = nbdfuse.args([&disk, Path::new(uri)]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        // It says nothing when the file is there.
        while !disk.exists() {
            if child.try_wait().unwrap().is_some() {
                let output = child.wait_with_output().unwrap();
                eprintln!("skipped: nbdfuse does not work here: {}", String::from_utf8_lossy(&output.stderr));
                return None;
            }
            std::thread::yield_now();
        }
        Some(Self { child, dir })
    }

    fn file(&self) -> String {
        self.dir.join("disk.raw").to_str().unwrap().to_owned()
    }

    fn end(mut self) {
        works("umount", &[self.dir.to_str().unwrap()]);
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Fused {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            tools::run("umount", &["-l", self.dir.to_str().unwrap()]);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A file system of a file, mounted.
struct Mounted(String);

impl Mounted {
    /// None where that is not possible, which is said.
    #[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
    fn get(file: &str, point: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(point).unwrap();
        let point = point.to_str().unwrap().to_owned();
        let done = tools::run("mount", &["-o", options, file, &point]);
        if done.code != 0 {
            eprintln!("skipped: a file cannot be mounted here: {}", done.err);
            return None;
        }
        Some(Self(point))
    }

    fn sync(&self) {
        works("sync", &["-f", &self.0]);
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.0).join(name)
    }

    fn end(self) {
        works("umount", &[&self.0]);
        std::mem::forget(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        tools::run("umount", &["-l", &self.0]);
    }
}

/// Writes files: some small, one large, one that replaces another.
fn write_files(dir: &Path, seed: u64) {
    let dir = dir.join(format!("files-{seed}"));
    std::fs::create_dir_all(dir.join("deep/down")).unwrap();
    for n in 0..60_u64 {
        let len = usize::try_from((n * 7919) % 20_000).unwrap();
        std::fs::write(dir.join(format!("deep/{n}")), noise(seed * 100 + n, len)).unwrap();
    }
    std::fs::write(dir.join("deep/down/large"), noise(seed, 3_000_000)).unwrap();
    std::fs::rename(dir.join("deep/1"), dir.join("deep/2")).unwrap();
    std::fs::remove_file(dir.join("deep/3")).unwrap();
}

/// A kind of file system, and the options for a mount of a copy while the first is mounted.
struct Kind {
    mkfs: &'static [&'static str],
    fsck: &'static [&'static str],
    grow: Option<&'static [&'static str]>,
    copy_options: &'static str,
    mib: u64,
}

const EXT4: Kind = Kind {
    mkfs: &["mkfs.ext4", "-q", "-F"],
    fsck: &["e2fsck", "-f", "-n"],
    grow: Some(&["resize2fs"]),
    copy_options: "loop,ro,noload",
    mib: 48,
};
const XFS: Kind = Kind {
    mkfs: &["mkfs.xfs", "-q", "-f"],
    fsck: &["xfs_repair", "-n", "-f"],
    grow: None,
    copy_options: "loop,ro,norecovery,nouuid",
    mib: 320,
};
const BTRFS: Kind = Kind {
    mkfs: &["mkfs.btrfs", "-q", "-f"],
    fsck: &["btrfs", "check", "--readonly"],
    grow: None,
    copy_options: "loop,ro",
    mib: 160,
};

fn with(words: &[&str], last: &str) -> String {
    works(words[0], &[&words[1..], &[last]].concat())
}

#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
fn lives_on_a_volume(kind: &Kind) {
    let programs = ["nbdfuse", "mount", "diff", kind.mkfs[0], kind.fsck[0]];
    if !tools::have(&programs) {
        return;
    }
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        eprintln!("skipped: this needs root, to mount a file system");
        return;
    }
    let fixture = Fixture::new();
    fixture.run(&["volume", "create", "web", "--size", &format!("{}M", kind.mib)]).exits(0);
    let server = Server::start(&fixture, &["web"]);
    let Some(fused) = Fused::get(fixture.path("fused"), &server.uri("web")) else { return };
    with(kind.mkfs, &fused.file());
    let Some(live) = Mounted::get(&fused.file(), &fixture.path("live"), "loop") else { return };
    write_files(&live.path(""), 1);
    live.sync();
    // What the snapshot has to contain, kept where nothing of this is in the way.
    works("cp", &["-a", &live.0, fixture.path("kept-1").to_str().unwrap()]);
    fixture.run(&["volume", "snapshot", "web", "--name", "one"]).exits(0);
    write_files(&live.path(""), 2);
    std::fs::remove_file(live.path("files-1/deep/down/large")).unwrap();
    live.sync();
    works("cp", &["-a", &live.0, fixture.path("kept-2").to_str().unwrap()]);
    let second = fixture.result(&["volume", "snapshot", "web", "--name", "two"]);
    let read = second["read_bytes"].as_u64().unwrap();
    assert!(read < 24 << 20, "{read} were read for 4 MB of files");
    live.end();
    fused.end();
    server.stop();

    for (snapshot, kept) in [("one", "kept-1"), ("two", "kept-2")] {
        let image = format!("{snapshot}.raw");
        fixture.run(&["restore", snapshot, &image]).exits(0);
        let image = fixture.path(&image).to_str().unwrap().to_owned();
        let point = fixture.path(&format!("mounted-{snapshot}"));
        // What a mounted file system has in its journal is replayed first, as after a crash.
        Mounted::get(&image, &point, "loop").unwrap().end();
        with(kind.fsck, &image);
        let copy = Mounted::get(&image, &point, kind.copy_options).unwrap();
        works("diff", &["-r", &copy.0, fixture.path(kept).to_str().unwrap()]);
        copy.end();
    }
    // A clone of the first one, grown.
    let Some(grow) = kind.grow else { return };
    fixture.run(&["volume", "create", "clone", "--snapshot", "one"]).exits(0);
    fixture.run(&["volume", "resize", "clone", "96M"]).exits(0);
    let server = Server::start(&fixture, &["clone"]);
    let fused = Fused::get(fixture.path("fused"), &server.uri("clone")).unwrap();
    Mounted::get(&fused.file(), &fixture.path("live"), "loop").unwrap().end();
    works("e2fsck", &["-f", "-p", &fused.file()]);
    with(grow, &fused.file());
    let live = Mounted::get(&fused.file(), &fixture.path("live"), "loop").unwrap();
    std::fs::write(live.path("fills"), noise(3, 60 << 20)).unwrap();
    works("diff", &["-r", "-x", "fills", &live.0, fixture.path("kept-1").to_str().unwrap()]);
    live.sync();
    fixture.run(&["volume", "snapshot", "clone", "--name", "grown"]).exits(0);
    live.end();
    with(kind.fsck, &fused.file());
    fused.end();
    server.stop();
    fixture.run(&["verify", "--read-data"]).exits(0);
}

#[test]
fn ext4_lives_on_a_volume_and_in_its_snapshots() {
    lives_on_a_volume(&EXT4);
}

#[test]
fn other_file_systems_live_on_a_volume_and_in_its_snapshots() {
    if super::rounds(1) > 1 {
        lives_on_a_volume(&XFS);
        lives_on_a_volume(&BTRFS);
    }
}
