//! `icecore snapshot copy`: snapshots appear in another repository.

use crate::support::Fixture;

/// A place with a snapshot, and another repository beside it with another level.
fn two() -> Fixture {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["--repo", "other", "init", "--level", "3"]).exits(0);
    fixture
}

#[test]
fn a_copy_restores_to_the_same_image_and_costs_what_is_missing_there() {
    let fixture = two();
    let id = fixture.result(&["snapshot", "get", "base"])["snapshots"][0]["id"].clone();
    let done = fixture.run(&["snapshot", "copy", "base", "--to", "other"]).exits(0);
    assert!(done.out.contains("copied base"), "{done:?}");
    fixture.run(&["--repo", "other", "restore", "base", "copy.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "copy.raw");

    fixture.scribble("disk.raw", 8192, 4096);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "next", "--tag", "t"]).exits(0);
    // In any order, and what is there already is left as it is.
    let result = fixture.result(&["snapshot", "cp", "next", "base", "--to", "other"]);
    let copied = result["copied"].as_array().unwrap();
    assert_eq!(copied.iter().map(|one| one["was_there"].clone()).collect::<Vec<_>>(), [true, false]);
    assert_eq!((&copied[0]["snapshot"]["id"], &copied[0]["read_bytes"]), (&id, &0.into()));
    assert_eq!((&copied[1]["parent"], &copied[1]["snapshot"]["tags"][0]), (&id, &"t".into()));
    assert_eq!((&copied[1]["read_bytes"], &copied[1]["new_bytes"]), (&65536.into(), &4096.into()));
    fixture.run(&["--repo", "other", "restore", "next", "next.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "next.raw");
    let again = fixture.run(&["snapshot", "copy", "next", "--to", "other"]).exits(0);
    assert!(again.out.contains("is already there"), "{again:?}");
    fixture.run(&["--repo", "other", "verify", "--read-data"]).exits(0);

    // Each lives on without the other.
    fixture.run(&["snapshot", "delete", "base", "next", "--force"]).exits(0);
    fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
    fixture.run(&["--repo", "other", "verify", "--read-data"]).exits(0);
}

#[test]
fn a_copy_that_cannot_be_says_why_and_copies_nothing() {
    let fixture = two();
    fixture.run(&["snapshot", "copy", "base", "--to", "nowhere"]).exits(3).says(&["nowhere", "init"]);
    fixture.run(&["snapshot", "copy", "none", "--to", "other"]).exits(3).says(&["none"]);
    fixture.run(&["snapshot", "copy", "base"]).exits(2).says(&["--to"]);
    fixture.image("other.raw", 7);
    let create = ["--repo", "other", "snapshot", "create", "other.raw", "--volume", "disk", "--name", "base"];
    fixture.run(&create).exits(0);
    fixture.run(&["snapshot", "copy", "base", "--to", "other"]).exits(4).says(&["base", "hint:"]);
    let list = fixture.run(&["--repo", "other", "-o", "json", "snapshot", "list"]).exits(0).json();
    assert_eq!(list["result"]["snapshots"].as_array().unwrap().len(), 1);
    // Into itself: it is there.
    let same = fixture.run(&["snapshot", "copy", "base", "--to", "repo"]).exits(0);
    assert!(same.out.contains("is already there"), "{same:?}");
}

#[test]
fn what_is_damaged_is_named_and_not_copied() {
    let fixture = two();
    let pack = fixture.data_pack();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[30_000] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    fixture.run(&["snapshot", "copy", "base", "--to", "other"]).exits(6).says(&["base", "bytes ", "hint:"]);
    fixture.run(&["--repo", "other", "snapshot", "get", "base"]).exits(3);
}
