//! A repository of one user, and root or another user at work in it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;

const OWNER: &str = "63118";
const OTHER: &str = "63119";

fn run_as(fixture: &Fixture, user: &str, arguments: &[&str]) -> Done {
    finish(fixture.program_as(user, &[]).args(arguments))
}

/// A directory with a repository that root has made, and given to its owner; none where the tests
/// are not run by root.
fn place_of_owner() -> Option<Fixture> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let fixture = Fixture::with_snapshot();
    fixture.give_to(OWNER);
    Some(fixture)
}

#[test]
fn what_root_captures_into_the_repository_of_a_user_locks_nobody_out() {
    let Some(fixture) = place_of_owner() else { return };
    fixture.image("root.raw", 5);
    for command in [
        &["snapshot", "create", "root.raw", "--name", "root"][..],
        &["volume", "create", "web", "--snapshot", "root"],
        &["volume", "snapshot", "web", "--name", "of-volume"],
        &["snapshot", "delete", "base", "--force"],
        &["parity", "2+1"],
        &["verify", "--read-data"],
        &["gc", "--max-unused", "0%"],
        &["repair", "index"],
    ] {
        fixture.run(command).exits(0);
    }
    for command in [
        &["snapshot", "list"][..],
        &["verify", "--read-data"],
        &["restore", "root", "out.raw"],
        &["snapshot", "create", "disk.raw", "--name", "own"],
        &["volume", "snapshot", "web"],
        &["volume", "delete", "web", "--force"],
        &["parity", "3+1"],
        &["gc", "--max-unused", "0%"],
        &["repair", "index"],
    ] {
        run_as(&fixture, OWNER, command).exits(0);
    }
    fixture.assert_equal("out.raw", "root.raw");
}

#[test]
fn who_may_not_read_a_repository_is_told_that_and_of_no_damage() {
    let Some(fixture) = place_of_owner() else { return };
    // As an older program that root ran has left it: the directories can be read, some files
    // cannot.
    let files = Command::new("find").arg(fixture.path("repo")).args(["-type", "d"]).output().unwrap();
    for dir in String::from_utf8(files.stdout).unwrap().lines() {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let config = fixture.path("repo/config");
    std::fs::set_permissions(config, PermissionsExt::from_mode(0o644)).unwrap();
    let open_to_others = |dir: &str, mode| {
        let files =
            Command::new("find").arg(fixture.path("repo").join(dir)).args(["-type", "f"]).output().unwrap();
        for file in String::from_utf8(files.stdout).unwrap().lines() {
            std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
        }
    };
    for (opened, refused) in
        [(&[][..], "index"), (&["index"], "snapshots"), (&["index", "snapshots"], "packs")]
    {
        open_to_others("", 0o600);
        open_to_others("config", 0o644);
        opened.iter().for_each(|dir| open_to_others(dir, 0o644));
        for command in [
            &["snapshot", "list"][..],
            &["verify"],
            &["verify", "--read-data"],
            &["restore", "base", "-"],
            &["stats"],
            &["repair", "index"],
        ] {
            if refused == "packs" && command[0] == "snapshot" {
                continue;
            }
            let done = run_as(&fixture, OTHER, command).exits(10);
            let wrong = ["medium", "damaged", "repair"].iter().find(|word| done.err.contains(*word));
            assert!(wrong.is_none() && done.err.contains("hint: "), "{refused} {command:?}: {done:?}");
        }
    }
}
