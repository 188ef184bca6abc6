//! The catalog of snapshots: deletions that are undone, changes that are made together or not at
//! all, and what is lost of it.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use icecore_testing::disk;
use serde_json::Value;

use crate::support::Fixture;

/// A repository with the snapshots `one`, `two` and `three`.
fn three() -> Fixture {
    let fixture = Fixture::new();
    for (name, seed) in [("one", 10), ("two", 20), ("three", 30)] {
        fixture.image("disk.raw", seed);
        fixture.run(&["snapshot", "create", "disk.raw", "--name", name]).exits(0);
    }
    fixture
}

fn names(fixture: &Fixture, more: &[&str]) -> String {
    let arguments = [&["snapshot", "list", "--no-header", "--format", "Name"], more].concat();
    fixture.run(&arguments).exits(0).out.replace('\n', " ")
}

fn entries(fixture: &Fixture) -> Vec<Value> {
    fixture.result(&["log"])["entries"].as_array().unwrap().clone()
}

#[test]
fn deleted_snapshots_are_restored_until_gc_has_freed_their_space() {
    let fixture = three();
    let id = fixture.result(&["snapshot", "get", "one"])["snapshots"][0]["id"].as_str().unwrap().to_owned();
    fixture.run(&["snapshot", "delete", "-f", "one"]).exits(0).says(&[&format!("snapshot undelete {id}")]);
    fixture.run(&["snapshot", "delete", "-f", "two"]).exits(0);
    assert_eq!(names(&fixture, &[]), "three ");
    assert_eq!(names(&fixture, &["--deleted"]), "one two ");
    assert_eq!(names(&fixture, &["--deleted", "t*"]), "two ");
    let head = fixture.run(&["snapshot", "list", "--deleted"]).exits(0).out;
    assert!(head.lines().next().unwrap().contains("Deleted"), "{head}");
    let listed = fixture.result(&["snapshot", "list", "--deleted"]);
    assert!(listed["snapshots"][0]["deleted"].is_string(), "{listed}");

    // By id and by name, and one that is named twice once.
    let restored = fixture.run(&["snapshot", "undelete", &id, "two", "one"]).exits(0);
    assert_eq!(restored.out.matches("restored ").count(), 2, "{restored:?}");
    assert_eq!(names(&fixture, &[]), "one two three ");
    assert_eq!(names(&fixture, &["--deleted"]), "");
    fixture.run(&["restore", "two", "two.raw"]).exits(0);
    fixture.run(&["verify", "--read-data"]).exits(0);

    fixture.run(&["snapshot", "delete", "-f", "one", "two"]).exits(0);
    fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
    assert_eq!(names(&fixture, &["--deleted"]), "");
    fixture.run(&["snapshot", "undelete", "one"]).exits(3).says(&["one", "snapshot list --deleted"]);
    assert_eq!(names(&fixture, &[]), "three ");
}

#[test]
fn a_snapshot_whose_name_is_taken_by_now_is_restored_only_if_that_is_allowed() {
    let fixture = three();
    fixture.run(&["snapshot", "delete", "-f", "one", "two"]).exits(0);
    fixture.run(&["snapshot", "rename", "three", "one"]).exits(0);
    let refused = fixture.run(&["snapshot", "undelete", "two", "one"]).exits(4);
    refused.says(&["nothing was restored", "--allow-duplicate-name"]);
    assert_eq!(names(&fixture, &["--deleted"]), "one two ");
    fixture.run(&["snapshot", "undelete", "--allow-duplicate-name", "two", "one"]).exits(0);
    assert_eq!(names(&fixture, &[]), "one two one ");
}

#[test]
fn of_several_snapshots_all_are_deleted_or_none() {
    let fixture = three();
    fixture.run(&["volume", "create", "clone", "--snapshot", "two"]).exits(0);
    let refused = fixture.run(&["snapshot", "delete", "-f", "one", "two", "three"]).exits(5);
    refused.says(&["nothing was deleted", "two", "clone", "--keep-clones"]);
    assert_eq!(names(&fixture, &[]), "one two three ");
    fixture.run(&["snapshot", "delete", "-f", "one", "nope"]).exits(3);
    assert_eq!(names(&fixture, &[]), "one two three ");
    let before = entries(&fixture).len();
    fixture.run(&["snapshot", "delete", "-f", "--keep-clones", "one", "two", "three"]).exits(0);
    assert_eq!(entries(&fixture).len(), before + 1);
}

#[test]
fn prune_deletes_together_what_is_not_in_use() {
    let fixture = three();
    fixture.run(&["volume", "create", "clone", "--snapshot", "one"]).exits(0);
    fixture.image("disk.raw", 40);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "four"]).exits(0);
    let before = entries(&fixture).len();
    let done = fixture.run(&["snapshot", "prune", "--keep-last", "1", "-f"]).exits(5);
    assert_eq!(done.out.matches("deleted ").count(), 2, "{done:?}");
    done.says(&["warning: one (", "stays: volume clone was created from", "undelete"]);
    assert_eq!(names(&fixture, &[]), "one four ");
    assert_eq!(entries(&fixture).len(), before + 1);
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Returns all files of the catalog, by their paths in the repository.
fn files(fixture: &Fixture) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("config")];
    for dir in ["journal", "journal-copies", "checkpoint"] {
        let names = std::fs::read_dir(fixture.path("repo").join(dir)).unwrap();
        files.extend(names.map(|entry| PathBuf::from(dir).join(entry.unwrap().file_name())));
    }
    files.sort();
    files
}

#[test]
fn any_one_file_of_the_catalog_that_is_lost_or_damaged_is_brought_back() {
    let fixture = three();
    fixture.run(&["snapshot", "rename", "two", "second"]).exits(0);
    let repo = fixture.path("repo");
    copy(&repo, &fixture.path("sound"));
    let run = |arguments: &[&str]| fixture.run(&[&["-o", "json"], arguments].concat());
    for file in files(&fixture) {
        for is_lost in [true, false] {
            let at = format!("{} {is_lost}", file.display());
            disk::remove(&repo);
            copy(&fixture.path("sound"), &repo);
            match is_lost {
                true => std::fs::remove_file(repo.join(&file)).unwrap(),
                false => std::fs::write(repo.join(&file), b"rubbish").unwrap(),
            }
            let dry = run(&["repair", "catalog", "--dry-run"]);
            let repaired = run(&["repair", "catalog"]);
            assert_eq!(dry.code, repaired.code, "{at}: {dry:?} {repaired:?}");
            let json = repaired.json();
            let mended = json["result"]["mended"].as_array().unwrap();
            assert_eq!(repaired.code, i32::from(!mended.is_empty()), "{at}: {repaired:?}");
            let noticed = mended.iter().any(|mended| mended["file"] == file.to_str().unwrap());
            // A second copy is made again without a word.
            assert!(noticed || !file.starts_with("config") && !file.starts_with("journal"), "{at}: {json}");
            assert_eq!(json["result"]["lost_entries"], serde_json::json!([]), "{at}");
            assert_eq!(json["result"]["snapshots"], 3, "{at}");
            assert_eq!(names(&fixture, &[]), "one second three ", "{at}");
            fixture.run(&["verify"]).exits(0);
            assert_eq!(run(&["repair", "catalog"]).code, 0, "{at}");
        }
    }
}

#[test]
fn a_repository_that_has_lost_its_config_is_none_that_is_not_there() {
    let fixture = three();
    std::fs::remove_file(fixture.path("repo/config")).unwrap();
    for arguments in [&["snapshot", "list"][..], &["verify"], &["snapshot", "create", "disk.raw"]] {
        fixture.run(arguments).exits(6).says(&["lost its config", "icecore repair catalog"]);
    }
    fixture.run(&["init"]).exits(4);
    let dry = fixture.run(&["repair", "catalog", "--dry-run"]).exits(1);
    assert_eq!(dry.out, "would be mended:\n  config: the repository has lost its config\n");
    assert!(!fixture.path("repo/config").exists());
    let done = fixture.run(&["repair", "catalog"]).exits(1);
    assert_eq!(
        done.out,
        "mended:\n  config: the repository has lost its config\nthe catalog has 3 snapshots\n"
    );
    fixture.run(&["verify", "--read-data"]).exits(0);
}

#[test]
fn an_entry_of_which_both_copies_are_damaged_is_brought_back_from_a_pack() {
    let fixture = three();
    for dir in ["journal", "journal-copies"] {
        std::fs::write(fixture.path("repo").join(dir).join("0000000000000002"), b"rubbish").unwrap();
    }
    fixture.run(&["snapshot", "list"]).exits(6).says(&["entry 2 of the journal", "icecore repair catalog"]);
    let json = fixture.run(&["-o", "json", "repair", "catalog"]).exits(1).json();
    assert_eq!(json["result"]["lost_entries"], serde_json::json!([2]), "{json}");
    assert_eq!(json["result"]["found"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(names(&fixture, &[]), "one two three ");
    fixture.run(&["verify", "--read-data"]).exits(0);
    let done = fixture.run(&["repair", "catalog"]).exits(0);
    assert_eq!(done.out, "nothing of the catalog is lost or damaged; it has 3 snapshots\n");
}
