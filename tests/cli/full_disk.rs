//! Every command on a file system that is full, or nearly so: it works, or says that there is no
//! space and leaves all as it was; deleting and collecting always work, and make room.

use std::cell::Cell;
use std::path::Path;
use std::path::PathBuf;

use icecore_testing::disk;
use icecore_testing::disk::Disk;
use icecore_testing::disk::Kind;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;
use crate::support::noise;

/// Tells whether the long form was asked for.
fn thorough() -> bool {
    std::env::var_os("ICECORE_FAULTS").is_some_and(|value| value == "1")
}

/// How many bytes are left.
fn levels() -> Vec<u64> {
    let short = [0, 4 << 10, 64 << 10, 300 << 10, 1 << 20];
    let long = (0..40).map(|n| n * 12_000).chain((1..10).map(|n| n * 220_000));
    if thorough() { long.collect() } else { short.to_vec() }
}

/// A repository with three snapshots, each of an image of its own, outside of the disk that is
/// filled.
struct Start {
    fixture: Fixture,
    /// Which snapshot the next check restores.
    turn: Cell<usize>,
}

impl Start {
    fn new() -> Self {
        let fixture = Fixture::new();
        for (name, seed) in [("one", 1), ("two", 2), ("three", 3)] {
            let image = format!("{name}.raw");
            fixture.image(&image, seed * 10);
            fixture.run(&["snapshot", "create", &image, "--name", name]).exits(0);
        }
        std::fs::write(fixture.path("small.raw"), noise(50, 60_000)).unwrap();
        std::fs::write(fixture.path("large.raw"), noise(60, 700_000)).unwrap();
        Self { fixture, turn: Cell::new(0) }
    }

    /// Runs the program on a repository that is somewhere else.
    fn run(&self, repo: &Path, arguments: &[&str]) -> Done {
        let done = finish(self.fixture.program().env("ICECORE_REPO", repo).args(arguments));
        assert!(!done.err.contains("panicked"), "{arguments:?}: {done:?}");
        done
    }

    /// Fails unless these snapshots are there, sound and whole.
    fn check(&self, repo: &Path, snapshots: &[&str], at: &str) {
        let listed = self.run(repo, &["snapshot", "list", "--no-header", "--format", "name"]);
        let listed: Vec<&str> = listed.out.lines().collect();
        assert!(snapshots.iter().all(|name| listed.contains(name)), "{at}: {listed:?}");
        let verified = self.run(repo, &["verify", "--read-data"]);
        assert_eq!(verified.code, 0, "{at}: {verified:?}");
        // What is read to verify it is what a restore gives: the short form restores one of them,
        // each in its turn.
        let turn = self.turn.replace(self.turn.get() + 1);
        for (number, name) in snapshots.iter().enumerate() {
            if number != turn % snapshots.len() && !thorough() {
                continue;
            }
            let out = self.fixture.path("out.raw");
            disk::remove(&out);
            let restored = self.run(repo, &["restore", name, "out.raw"]);
            assert_eq!(restored.code, 0, "{at}: {restored:?}");
            self.fixture.assert_equal("out.raw", &format!("{name}.raw"));
        }
    }

    /// Fails unless there is nothing of an operation that has ended.
    fn assert_clean(&self, repo: &Path, at: &str) {
        let names = |dir: &str| {
            let entries = std::fs::read_dir(repo.join(dir)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names("local/tmp"), Vec::<String>::new(), "{at}");
        let mut locks = names("local/locks");
        locks.retain(|name| name.starts_with("writer-") || name.starts_with("pin-"));
        assert_eq!(locks, Vec::<String>::new(), "{at}");
    }
}

/// Fails unless the command worked or said what is full.
fn assert_done_or_full(done: &Done, at: &str) -> bool {
    assert!(done.code == 0 || done.code == 8, "{at}: {done:?}");
    if done.code == 8 {
        assert_eq!(done.err.matches("error:").count(), 1, "{at}: {done:?}");
        assert!(done.err.contains("No space left") && done.err.contains("hint:"), "{at}: {done:?}");
    }
    done.code == 0
}

/// Commands that may fail for want of space, and those that must not.
const MAY_FAIL: [&[&str]; 4] = [
    &["snapshot", "create", "large.raw", "--name", "new"],
    &["snapshot", "create", "small.raw", "--name", "new"],
    &["snapshot", "rename", "two", "two"],
    &["repair", "index"],
];
const CHANGES: [(&[&str], &[&str]); 3] = [
    (&["snapshot", "rename", "two", "other"], &["snapshot", "rename", "other", "two"]),
    (&["snapshot", "tag", "two", "+a"], &["snapshot", "tag", "two", "-a"]),
    (&["snapshot", "protect", "two"], &["snapshot", "unprotect", "two"]),
];
const MUST_WORK: [&[&str]; 9] = [
    &["snapshot", "list"],
    &["snapshot", "get", "two"],
    &["snapshot", "diff", "one", "two"],
    &["stats"],
    &["verify"],
    &["verify", "--read-data"],
    &["repair", "snapshots"],
    &["gc", "--dry-run"],
    &["gc"],
];
const ALL: [&str; 3] = ["one", "two", "three"];

/// Tries all commands on a repository that is on a disk that `fill` fills.
fn commands_work_or_say_so(start: &Start, disk: &Disk, fill: &dyn Fn(), level: &str) {
    let repo = disk.path("repo");
    let fresh = || {
        disk.drain();
        disk.put(&start.fixture.path("repo"), "repo");
        fill();
    };
    fresh();
    for command in MUST_WORK {
        let done = start.run(&repo, command);
        assert_eq!(done.code, 0, "{level}, {command:?}: {done:?}");
    }
    start.check(&repo, &ALL, level);
    start.assert_clean(&repo, level);
    for (change, back) in CHANGES {
        let at = format!("{level}, {change:?}");
        if assert_done_or_full(&start.run(&repo, change), &at) {
            let done = start.run(&repo, back);
            if !assert_done_or_full(&done, &at) {
                fresh();
            }
        }
        start.assert_clean(&repo, &at);
        start.check(&repo, &ALL, &at);
    }
    for command in MAY_FAIL {
        fresh();
        let at = format!("{level}, {command:?}");
        assert_done_or_full(&start.run(&repo, command), &at);
        start.assert_clean(&repo, &at);
        start.check(&repo, &ALL, &at);
        room_is_made(start, disk, &at);
    }
}

/// On the disk as it is, a snapshot is deleted and collected, and a new one fits in its place. Then
/// the disk has room again, and all is well.
fn room_is_made(start: &Start, disk: &Disk, at: &str) {
    let repo = disk.path("repo");
    let deleted = start.run(&repo, &["snapshot", "delete", "--force", "one"]);
    assert_eq!(deleted.code, 0, "{at}: {deleted:?}");
    let collected = start.run(&repo, &["gc"]);
    assert_eq!(collected.code, 0, "{at}: {collected:?}");
    let again = start.run(&repo, &["snapshot", "create", "small.raw", "--name", "again"]);
    if at.contains("files left") {
        // It needs more files than the other one had.
        disk.drain();
        start.run(&repo, &["snapshot", "create", "small.raw", "--name", "again"]);
    } else {
        assert_eq!(again.code, 0, "{at}: {again:?}");
    }
    let image = start.fixture.path("again.raw");
    std::fs::copy(start.fixture.path("small.raw"), image).unwrap();
    start.check(&repo, &["two", "three", "again"], at);
    disk.drain();
    start.run(&repo, &["snapshot", "create", "large.raw", "--name", "large"]).exits(0);
    start.run(&repo, &["gc", "--max-unused", "0%"]).exits(0);
    start.check(&repo, &["two", "three", "again", "large"], at);
    start.assert_clean(&repo, at);
    let reserve = std::fs::metadata(repo.join("local/reserve")).map(|reserve| reserve.len());
    assert_eq!(reserve.ok(), Some(256 << 10), "{at}");
}

/// Tries to make a repository, and to restore onto a disk.
fn targets_work_or_are_left_alone(start: &Start, disk: &Disk, fill: &dyn Fn(), level: &str) {
    let repo = disk.path("repo");
    disk.drain();
    disk::remove(&repo);
    fill();
    assert_done_or_full(&start.run(&repo, &["init"]), level);
    disk.drain();
    if !repo.join("config").exists() {
        start.run(&repo, &["init"]).exits(0);
    }
    start.check(&repo, &[], level);
    disk::remove(&repo);

    let names = || {
        let entries = std::fs::read_dir(&disk.point).unwrap();
        let mut names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    fill();
    let before = names();
    let target = disk.path("two.raw");
    let restore = ["restore", "two", target.to_str().unwrap()];
    let home = start.fixture.path("repo");
    if assert_done_or_full(&start.run(&home, &restore), level) {
        assert!(std::fs::read(&target).unwrap() == std::fs::read(start.fixture.path("two.raw")).unwrap());
        disk::remove(&target);
    }
    assert_eq!(names(), before, "{level}");
    disk.drain();
    std::fs::copy(start.fixture.path("one.raw"), &target).unwrap();
    fill();
    let in_place = [&restore[..], &["--in-place"]].concat();
    assert_done_or_full(&start.run(&home, &in_place), level);
    disk.drain();
    start.run(&home, &in_place).exits(0);
    assert!(std::fs::read(&target).unwrap() == std::fs::read(start.fixture.path("two.raw")).unwrap());
    disk::remove(&target);
}

fn at_every_level(kind: Kind) {
    let Some(disk) = Disk::get(kind) else { return };
    let start = Start::new();
    for left in levels() {
        let level = format!("{}, {left} bytes left", kind.mkfs[0]);
        commands_work_or_say_so(&start, &disk, &|| disk.fill(left), &level);
        targets_work_or_are_left_alone(&start, &disk, &|| disk.fill(left), &level);
    }
}

#[test]
fn commands_on_a_full_ext4_work_or_say_so() {
    at_every_level(disk::EXT4);
}

#[test]
fn commands_on_other_full_file_systems_work_or_say_so() {
    if thorough() {
        at_every_level(disk::EXT4_JOURNAL);
        at_every_level(disk::XFS);
        at_every_level(disk::BTRFS);
    }
}

#[test]
fn commands_where_no_file_can_be_made_work_or_say_so() {
    let Some(disk) = Disk::get(disk::FEW_INODES) else { return };
    let start = Start::new();
    for left in if thorough() { 0..20 } else { 0..3 } {
        let level = format!("{left} files left");
        commands_work_or_say_so(&start, &disk, &|| disk.fill_inodes(left), &level);
        targets_work_or_are_left_alone(&start, &disk, &|| disk.fill_inodes(left), &level);
    }
}
