//! A copy of a repository without `local/`, which is all that a tool for files or buckets would
//! bring elsewhere: everything in it works.

use std::process::Command;

use crate::support::Place;

#[test]
fn a_copy_without_what_one_machine_needs_is_the_repository() {
    let place = Place::with_snapshot();
    let image = std::fs::read(place.path("disk.raw")).unwrap();
    place.run(&["volume", "create", "stays", "--snapshot", "base"]).exits(0);
    Command::new("cp").arg("-a").args([place.path("repo"), place.path("copy")]).status().unwrap();
    std::fs::remove_dir_all(place.path("copy/local")).unwrap();
    let run = |arguments: &[&str]| place.run(&[&["--repo", "copy"], arguments].concat());

    // Readers need nothing of it, and make nothing.
    assert!(run(&["snapshot", "list"]).out.contains("base"));
    run(&["verify", "--read-data"]).exits(0);
    run(&["restore", "base", "restored.raw"]).exits(0);
    assert!(std::fs::read(place.path("restored.raw")).unwrap() == image);
    // Tools that copy files leave out empty directories.
    for dir in ["copy/parity", "copy/local/tmp"] {
        let _ = std::fs::remove_dir(place.path(dir));
    }

    std::fs::write(place.path("disk.raw"), [&image[..], b"more"].concat()).unwrap();
    run(&["snapshot", "create", "disk.raw", "--name", "later"]).exits(0);
    run(&["volume", "create", "new", "--snapshot", "later"]).exits(0);
    run(&["snapshot", "delete", "-f", "base"]).exits(0);
    run(&["gc"]).exits(0);
    run(&["verify", "--read-data"]).exits(0);
    assert_eq!(run(&["volume", "get", "stays"]).code, 3, "volumes are of one machine");
    run(&["restore", "later", "later.raw"]).exits(0);
    assert!(std::fs::read(place.path("later.raw")).unwrap() == [&image[..], b"more"].concat());
}
