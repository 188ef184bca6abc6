//! The repository is checked, cleaned and counted.

use std::path::PathBuf;

use crate::support::Fixture;

#[test]
fn a_sound_repository_has_no_findings() {
    let fixture = Fixture::with_snapshot();
    for arguments in [&["verify"][..], &["verify", "--read-data"], &["verify", "base", "--sample", "50%"]] {
        let done = fixture.run(arguments).exits(0);
        assert!(done.out.ends_with("no problem found\n"), "{done:?}");
    }
}

#[test]
fn damage_is_found_and_told_by_snapshot_and_range() {
    let fixture = Fixture::with_snapshot();
    damage_largest_pack(&fixture);
    let done = fixture.run(&["verify", "--read-data"]).exits(1);
    assert!(done.out.contains("finding") && done.out.contains("lost: "), "{done:?}");
    let json = fixture.run(&["-o", "json", "verify", "--read-data"]).exits(1).json();
    assert_eq!(json["result"]["findings"][0]["lost"][0]["name"], "base", "{json}");
    let done = fixture.run(&["repair", "snapshots"]).exits(1);
    assert!(done.out.contains("lost: "), "{done:?}");
    fixture.run(&["restore", "base", "x.raw"]).exits(6).says(&["base"]);
    assert!(!fixture.path("x.raw").exists(), "a restore that failed leaves nothing under the name");
}

#[test]
fn damage_is_brought_back_or_told_and_heals_when_the_image_is_captured_again() {
    let fixture = Fixture::with_snapshot();
    damage_largest_pack(&fixture);
    let done = fixture.run(&["repair", "packs", "--dry-run"]).exits(1);
    assert!(done.out.contains("would be written") && done.out.contains("lost: "), "{done:?}");
    assert!(!fixture.path("repo/damaged").exists());
    // Noted, captured again, whole again; and then there is a place to bring it back from.
    fixture.run(&["verify", "--read-data"]).exits(1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "again"]).exits(0);
    fixture.run(&["restore", "base", "x.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "x.raw");
    let done = fixture.run(&["-o", "json", "repair", "packs"]).exits(1).json();
    assert_eq!(done["result"]["blocks_lost"], 0, "{done}");
    assert_eq!(done["result"]["chunks_brought_back"], 1, "{done}");
    fixture.run(&["repair", "packs"]).exits(0);
    fixture.run(&["verify", "--read-data"]).exits(0);
}

#[test]
fn a_verification_says_what_there_was_no_time_for() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["verify", "--max-duration", "10m"]).exits(2).says(&["--read-data"]);
    fixture.run(&["verify", "--read-data", "--max-duration", "soon"]).exits(2).says(&["10m"]);
    let result = fixture.result(&["verify", "--read-data", "--max-duration", "10m"]);
    assert_eq!((&result["packs_read"], &result["packs_left"]), (&result["packs"], &0.into()), "{result}");
    assert!(result["oldest_read"].is_string(), "{result}");
}

#[test]
fn a_pack_that_was_cut_off_is_set_aside_and_what_it_takes_along_is_told() {
    let fixture = Fixture::with_snapshot();
    let (len, path) = largest_pack(&fixture);
    std::fs::File::options().write(true).open(path).unwrap().set_len(len / 2).unwrap();
    let done = fixture.run(&["repair", "index"]).exits(1);
    assert!(done.out.contains("1 damaged pack"), "{done:?}");
    let done = fixture.run(&["repair", "snapshots"]).exits(1);
    assert!(done.out.contains("lost: ") && done.out.contains("base"), "{done:?}");
}

/// Turns bytes in the middle of the largest pack.
fn damage_largest_pack(fixture: &Fixture) {
    let (len, path) = largest_pack(fixture);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = usize::try_from(len / 2).unwrap();
    bytes[middle..middle + 16].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&path, bytes).unwrap();
}

fn largest_pack(fixture: &Fixture) -> (u64, PathBuf) {
    let files = std::fs::read_dir(fixture.path("repo/packs")).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.metadata().unwrap().len(), file.path())).max().unwrap()
}

#[test]
fn gc_gives_back_what_a_deleted_snapshot_used_and_a_dry_run_does_not() {
    let fixture = Fixture::with_snapshot();
    fixture.image("other.raw", 50);
    fixture.run(&["snapshot", "create", "other.raw", "--name", "other"]).exits(0);
    fixture.run(&["snapshot", "delete", "-f", "base"]).exits(0).says(&["gc"]);
    let plan = fixture.result(&["gc", "--dry-run", "--max-unused", "0%"]);
    assert_eq!(plan["dry_run"], true);
    assert!(plan["freed_bytes"].as_u64().unwrap() > 300_000, "{plan}");
    let again = fixture.result(&["gc", "--dry-run", "--max-unused", "0%"]);
    assert_eq!(plan["freed_bytes"], again["freed_bytes"]);
    let before = fixture.result(&["stats"])["repository"]["total_bytes"].as_u64().unwrap();
    let done = fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
    assert!(done.out.starts_with("freed "), "{done:?}");
    let after = fixture.result(&["stats"])["repository"]["total_bytes"].as_u64().unwrap();
    assert!(after + 300_000 < before, "{before} {after}");
    fixture.run(&["restore", "other", "x.raw"]).exits(0);
    fixture.assert_equal("other.raw", "x.raw");
}

#[test]
fn the_index_is_made_again_from_the_packs() {
    let fixture = Fixture::with_snapshot();
    for file in std::fs::read_dir(fixture.path("repo/index")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let done = fixture.run(&["repair", "index"]).exits(0);
    assert!(done.out.starts_with("rebuilt the index"), "{done:?}");
    fixture.run(&["restore", "base", "x.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "x.raw");
}

#[test]
fn stats_count_each_block_once() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "again"]).exits(0);
    let stats = fixture.result(&["stats"]);
    let all = &stats["repository"];
    assert_eq!(all["snapshots"], 2);
    assert_eq!(all["data_bytes"].as_u64().unwrap(), 2 * all["unique_bytes"].as_u64().unwrap());
    let one = fixture.result(&["stats", "again"]);
    assert_eq!(one["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(one["snapshots"][0]["own_bytes"], 0);
    let text = fixture.run(&["stats"]).exits(0);
    assert!(text.out.contains("dedup 2.0x") && text.out.contains("again"), "{text:?}");
}

#[test]
fn parity_brings_back_packs_that_are_gone() {
    let fixture = Fixture::with_snapshot();
    let off = fixture.result(&["parity"]);
    assert_eq!((&off["scheme"], &off["parity_bytes"]), (&serde_json::Value::Null, &0.into()));
    let on = fixture.result(&["parity", "10+2"]);
    assert_eq!((&on["scheme"], &on["packs"], &on["packs_without"]), (&"10+2".into(), &1.into(), &0.into()));
    assert!(fixture.result(&["stats"])["repository"]["parity_bytes"].as_u64().unwrap() > 0);
    let (_, pack) = largest_pack(&fixture);
    let whole = std::fs::read(&pack).unwrap();
    std::fs::remove_file(&pack).unwrap();
    let found = fixture.run(&["verify"]).exits(1);
    assert!(found.out.contains("parity") && !found.out.contains("lost: "), "{found:?}");
    let done = fixture.run(&["restore", "base", "x.raw"]).exits(0);
    assert!(done.out.contains("put back from parity"), "{done:?}");
    fixture.assert_equal("disk.raw", "x.raw");
    assert!(std::fs::read(&pack).unwrap() == whole);
    fixture.run(&["verify", "--read-data"]).exits(0);
    fixture.run(&["parity", "off"]).exits(0).says(&[]);
    assert_eq!(std::fs::read_dir(fixture.path("repo/parity")).unwrap().count(), 0);
}

#[test]
fn a_new_repository_keeps_parity_if_it_is_told_to() {
    let fixture = Fixture::bare();
    fixture.run(&["init", "--parity", "10"]).exits(2).says(&["10+2"]);
    fixture.run(&["init", "--parity", "3+1"]).exits(0);
    fixture.image("disk.raw", 5);
    fixture.run(&["snapshot", "create", "disk.raw"]).exits(0);
    let report = fixture.result(&["parity"]);
    assert_eq!(
        (&report["scheme"], &report["packs_without"], &report["groups"]),
        (&"3+1".into(), &0.into(), &1.into())
    );
}
