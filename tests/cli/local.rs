//! A copy of a repository without `local/`, which is all that a tool for files or buckets would
//! bring elsewhere: everything in it works.

use std::process::Command;

use crate::support::Fixture;

#[test]
fn a_copy_without_what_one_machine_needs_is_the_repository() {
    let fixture = Fixture::with_snapshot();
    let image = std::fs::read(fixture.path("disk.raw")).unwrap();
    fixture.run(&["volume", "create", "stays", "--snapshot", "base"]).exits(0);
    Command::new("cp").arg("-a").args([fixture.path("repo"), fixture.path("copy")]).status().unwrap();
    std::fs::remove_dir_all(fixture.path("copy/local")).unwrap();
    let run = |arguments: &[&str]| fixture.run(&[&["--repo", "copy"], arguments].concat());

    // Readers first.
    assert!(run(&["snapshot", "list"]).out.contains("base"));
    run(&["verify", "--read-data"]).exits(0);
    run(&["restore", "base", "restored.raw"]).exits(0);
    assert!(std::fs::read(fixture.path("restored.raw")).unwrap() == image);
    // Tools that copy files leave out empty directories.
    for dir in ["copy/parity", "copy/local/tmp"] {
        let _ = std::fs::remove_dir(fixture.path(dir));
    }

    std::fs::write(fixture.path("disk.raw"), [&image[..], b"more"].concat()).unwrap();
    run(&["snapshot", "create", "disk.raw", "--name", "later"]).exits(0);
    run(&["volume", "create", "new", "--snapshot", "later"]).exits(0);
    run(&["snapshot", "delete", "-f", "base"]).exits(0);
    run(&["gc"]).exits(0);
    run(&["verify", "--read-data"]).exits(0);
    assert_eq!(run(&["volume", "get", "stays"]).code, 3, "volumes are of one machine");
    run(&["restore", "later", "later.raw"]).exits(0);
    assert!(std::fs::read(fixture.path("later.raw")).unwrap() == [&image[..], b"more"].concat());
}

#[test]
fn an_empty_repository_whose_directories_a_tool_left_out_takes_a_snapshot() {
    let fixture = Fixture::new();
    fixture.image("disk.raw", 1);
    for dir in ["packs", "index", "journal", "journal-copies", "parity", "local"] {
        std::fs::remove_dir_all(fixture.path("repo").join(dir)).unwrap();
    }
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.run(&["volume", "create", "v", "--snapshot", "base"]).exits(0);
    fixture.run(&["parity", "3+1"]).exits(0);
    fixture.run(&["restore", "base", "out.raw"]).exits(0);
    fixture.assert_equal("out.raw", "disk.raw");
    fixture.run(&["verify", "--read-data"]).exits(0);
}
