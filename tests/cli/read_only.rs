//! Repositories in places that are mounted in another way: where nothing can be written, and at a
//! second place. They need root, for a namespace of mounts of their own, and are skipped without
//! it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;

/// Tells whether this can be tried here, and says so if not.
#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "mount", "--bind", "/tmp", "/tmp"]).output();
    let works = tried.as_ref().is_ok_and(|tried| tried.status.success());
    if !works {
        eprintln!("skipped: nothing can be mounted here: {tried:?}");
    }
    works
}

/// Runs the program where something was mounted before, which nobody else sees.
fn run_with(fixture: &Fixture, mount: &str, arguments: &[&str]) -> Done {
    let script = format!("set -e; {mount}; exec \"$0\" \"$@\"");
    finish(fixture.program_through("unshare", &["--mount", "sh", "-c", &script]).args(arguments))
}

/// Returns all files of the repository with their content.
fn files(fixture: &Fixture) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut dirs) = (BTreeMap::new(), vec![fixture.path("repo")]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path)
            } else {
                drop(found.insert(path.clone(), std::fs::read(path).unwrap()))
            }
        }
    }
    found
}

#[test]
fn a_repository_on_a_read_only_file_system_is_read_and_every_change_says_why_not() {
    if !can_mount() {
        return;
    }
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "v", "--snapshot", "base"]).exits(0);
    fixture.image("more.raw", 7);
    let run = |arguments: &[&str]| {
        run_with(&fixture, "mount --bind repo repo; mount -o remount,bind,ro repo", arguments)
    };
    let before = files(&fixture);
    for arguments in [
        &["snapshot", "list"][..],
        &["snapshot", "get", "base"],
        &["snapshot", "diff", "base", "base"],
        &["snapshot", "map", "base"],
        &["snapshot", "create", "more.raw", "--dry-run"],
        &["snapshot", "prune", "--keep-last", "1", "--force"],
        &["restore", "base", "new.raw"],
        &["restore", "base", "disk.raw", "--in-place"],
        &["verify", "--read-data"],
        &["repair", "snapshots"],
        &["gc", "--dry-run"],
        &["stats"],
        &["volume", "list"],
        &["volume", "get", "v"],
    ] {
        run(arguments).exits(0);
    }
    fixture.assert_equal("disk.raw", "new.raw");
    run(&["init"]).exits(4);
    for arguments in [
        &["snapshot", "create", "more.raw"][..],
        &["snapshot", "delete", "--force", "base"],
        &["snapshot", "rename", "base", "other"],
        &["snapshot", "tag", "base", "+x"],
        &["snapshot", "protect", "base"],
        &["gc"],
        &["repair", "index"],
        &["repair", "packs"],
        &["parity", "10+2"],
        &["volume", "create", "w", "--size", "1M"],
        &["volume", "delete", "--force", "v"],
        &["volume", "reset", "--force", "v"],
        &["volume", "resize", "v", "1G"],
        &["volume", "snapshot", "v"],
        &["volume", "serve", "v", "--socket", "socket"],
    ] {
        run(arguments).exits(10).says(&["Read-only file system", "hint:", "read"]);
    }
    assert!(files(&fixture) == before);
    fixture.run(&["snapshot", "create", "more.raw"]).exits(0);
}

#[test]
fn nothing_is_written_into_a_repository_through_a_second_place_where_it_is_mounted() {
    if !can_mount() {
        return;
    }
    let fixture = Fixture::with_snapshot();
    let packs = fixture.data_pack();
    let pack = packs.strip_prefix(fixture.path("")).unwrap().to_str().unwrap();
    std::fs::create_dir(fixture.path("dir")).unwrap();
    std::fs::write(fixture.path("file"), b"").unwrap();
    let before = files(&fixture);
    for (mounted, at) in [("repo", "dir"), ("repo/packs", "dir"), ("repo/journal", "dir"), (pack, "file")] {
        let mount = format!("mount --bind {mounted} {at}");
        let target = if at == "file" { "file".to_owned() } else { format!("{at}/config") };
        for how in [&[][..], &["--force"], &["--in-place"]] {
            let done = run_with(&fixture, &mount, &[&["restore", "base", &target], how].concat());
            // A mounted file has its name from the mount, which nothing replaces; what is not there
            // is not written in place.
            assert!([2, 3, 4, 5].contains(&done.code), "{mounted} {how:?}: {done:?}");
            if at == "dir" && how != ["--in-place"] {
                done.exits(2).says(&["is part of the repository", "hint:"]);
            }
        }
    }
    assert!(files(&fixture) == before);
    let done = run_with(&fixture, "mount --bind repo dir", &["restore", "base", "dir/config", "--in-place"]);
    done.exits(2).says(&["is part of the repository"]);
    let done =
        run_with(&fixture, &format!("mount --bind {pack} file"), &["restore", "base", "file", "--in-place"]);
    done.exits(2).says(&["is part of the repository"]);
    assert!(files(&fixture) == before);
}
