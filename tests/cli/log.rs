//! `icecore log`: who did what, and when.

use std::sync::Arc;

use icecore::NoProgress;
use icecore::image::ImageFile;
use icecore::repository::Repository;
use icecore::repository::Session;
use icecore::snapshot;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::storage::FsStorage;
use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::support::Fixture;

const MONDAY: SnapshotId = SnapshotId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
const TUESDAY: SnapshotId = SnapshotId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002));

/// Opens the repository as another machine does, at 2020-05-01T06:00:00Z or a day later.
fn open(fixture: &Fixture, host: &str, next_day: bool) -> Repository {
    let clock = if next_day { || 1_588_399_200_000 } else { || 1_588_312_800_000 };
    let session = Session {
        host: host.to_owned(),
        program: "a test".to_owned(),
        clock,
        ..Session::from(Uuid::new_v4())
    };
    Repository::open(Arc::new(FsStorage::new(fixture.path("repo"))), session).unwrap()
}

fn capture(fixture: &Fixture, repo: &Repository, id: SnapshotId, resource: &str, name: &str) {
    let image = ImageFile::open(&fixture.path("disk.raw")).unwrap();
    let options = CaptureOptions::new(id, 1_588_312_800_000, ResourceKind::Droplet, resource, name);
    snapshot::capture(repo, &image, &options, &NoProgress).unwrap();
}

/// A repository in which two machines, and an account on one of them, did this and that.
fn history() -> Fixture {
    let fixture = Fixture::new();
    fixture.image("disk.raw", 1);
    let alpha = open(&fixture, "alpha", false);
    capture(&fixture, &alpha, MONDAY, "web-1", "monday");
    let ann = alpha.on_behalf_of("ann");
    capture(&fixture, &ann, TUESDAY, "db", "tuesday");
    snapshot::retag(&ann, TUESDAY, &["nightly".to_owned()], &[]).unwrap();
    let beta = open(&fixture, "beta", true);
    snapshot::rename(&beta, MONDAY, "first", RenameOptions::default()).unwrap();
    snapshot::set_protected(&beta, TUESDAY, true).unwrap();
    snapshot::set_protected(&beta, TUESDAY, false).unwrap();
    snapshot::delete_all(&beta, &[MONDAY, TUESDAY], DeleteOptions::default()).unwrap();
    snapshot::undelete(&beta, &[MONDAY], RenameOptions::default()).unwrap();
    fixture
}

/// Returns the lines of the log, without its header.
fn log(fixture: &Fixture, arguments: &[&str]) -> Vec<String> {
    let done = fixture.run(&[&["log"], arguments].concat()).exits(0);
    let mut lines = done.out.lines().map(str::to_owned);
    let head = lines.next().unwrap();
    assert!(head.starts_with("Time") && head.ends_with("What"), "{head}");
    lines.collect()
}

#[test]
fn the_log_tells_who_did_what_and_when() {
    let fixture = history();
    let done = fixture.run(&["log"]).exits(0).says(&["back to the creation of the repository"]);
    let lines = [
        "Time                   Who         Event      What",
        "2020-05-01T06:00:00Z   alpha       made       monday of web-1",
        "2020-05-01T06:00:00Z   ann@alpha   made       tuesday of db",
        "2020-05-01T06:00:00Z   ann@alpha   changed    tuesday of db: +nightly",
        "2020-05-02T06:00:00Z   beta        changed    monday of web-1: renamed to first",
        "2020-05-02T06:00:00Z   beta        changed    tuesday of db: protected",
        "2020-05-02T06:00:00Z   beta        changed    tuesday of db: unprotected",
        "2020-05-02T06:00:00Z   beta        deleted    first of web-1",
        "2020-05-02T06:00:00Z   beta        deleted    tuesday of db",
        "2020-05-02T06:00:00Z   beta        restored   first of web-1",
    ];
    assert_eq!(done.out.lines().collect::<Vec<_>>(), lines);
    let json = fixture.result(&["log"]);
    assert_eq!(
        (&json["complete"], &json["oldest_entry"]),
        (&json!(true), &json!("2020-05-01T06:00:00.000Z"))
    );
    let entry = &json["entries"][1];
    assert_eq!(
        (&entry["number"], &entry["host"], &entry["account"]),
        (&json!(2), &json!("alpha"), &json!("ann"))
    );
    assert_eq!((&entry["program"], &entry["events"][0]["kind"]), (&json!("a test"), &json!("made")));
    assert_eq!(json["entries"][0]["account"], Value::Null);
    // What was done together is one entry.
    let together = &json["entries"][6]["events"];
    assert_eq!(together.as_array().unwrap().len(), 1, "{together}");
    assert_eq!(together[0]["snapshots"].as_array().unwrap().len(), 2, "{together}");
}

#[test]
fn filters_choose_events_of_the_log() {
    let fixture = history();
    let count = |arguments: &[&str]| log(&fixture, arguments).len();
    assert_eq!(count(&["--account", "ann"]), 2);
    assert_eq!(count(&["--host", "alpha"]), 3);
    assert_eq!(count(&["--host", "alpha", "--account", "bob"]), 0);
    assert_eq!(count(&["--of", "db"]), 5);
    assert_eq!(count(&["--kind", "deleted"]), 2);
    assert_eq!(count(&["--kind", "deleted", "--kind", "made"]), 4);
    assert_eq!(count(&["--kind", "deleted", "--of", "db"]), 1);
    assert_eq!(count(&["--since", "2020-05-02"]), 6);
    assert_eq!(count(&["--since", "2020-05-02T07:00:00+01:00"]), 6);
    assert_eq!(count(&["--since", "2020-05-02T06:00:01"]), 0);
    assert_eq!(count(&["--since", "14d"]), 0);
    // The last entries, one of which deleted two snapshots.
    assert_eq!(count(&["-n", "2"]), 3);
    assert_eq!(count(&["--last", "1", "--of", "db"]), 1);
    // By any name that it had, by its id, and after its deletion.
    for spec in ["monday", "first", &MONDAY.to_string(), "web-1@latest"] {
        assert_eq!(count(&["--snapshot", spec]), 4, "{spec}");
    }
    assert_eq!(count(&["--snapshot", "tuesday"]), 5);
    fixture.run(&["log", "--snapshot", "sunday"]).exits(3).says(&["sunday"]);
    fixture.run(&["log", "--since", "yesterday"]).exits(2).says(&["yesterday", "14d"]);
    let json = fixture.result(&["log", "--snapshot", "tuesday", "--kind", "deleted"]);
    let deleted = &json["entries"][0]["events"][0]["snapshots"];
    assert_eq!(deleted.as_array().unwrap().len(), 1, "only what was asked for: {json}");
}

#[test]
fn the_program_names_its_machine_and_itself() {
    let fixture = Fixture::with_snapshot();
    let entry = &fixture.result(&["log"])["entries"][0];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(entry["host"].as_str().unwrap(), host.trim_end());
    assert_eq!(entry["program"], format!("icecore {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn volumes_gc_and_parity_are_in_the_log() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "clone", "--snapshot", "base"]).exits(0);
    fixture.run(&["volume", "delete", "-f", "clone"]).exits(0);
    fixture.run(&["snapshot", "delete", "-f", "base"]).exits(0);
    fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
    fixture.run(&["parity", "3+1"]).exits(0);
    let lines = log(&fixture, &[]);
    let ends = |number: usize, end: &str| assert!(lines[number].ends_with(end), "{lines:#?}");
    ends(1, "volume      clone, on base");
    ends(2, "volume      clone, deleted");
    assert!(lines[4].contains("collected   ") && lines[4].contains(" pack"), "{lines:#?}");
    ends(5, "parity      3+1");
    assert_eq!(log(&fixture, &["--kind", "volume", "--snapshot", "base"]).len(), 1);
}

#[test]
fn a_log_that_does_not_reach_back_to_the_beginning_says_so() {
    let fixture = Fixture::with_snapshot();
    let repo = open(&fixture, "alpha", false);
    let id = snapshot::find(&repo, "base").unwrap().id;
    for number in 0..150_usize {
        snapshot::set_protected(&repo, id, number.is_multiple_of(2)).unwrap();
    }
    let done = fixture.run(&["log", "-n", "1"]).exits(0);
    let done = done.says(&["the log reaches back to 2020-05-01T06:00:00Z; older entries are not kept"]);
    assert_eq!(done.out.lines().count(), 2, "{done:?}");
    let json = fixture.result(&["log"]);
    assert_eq!(json["complete"], false);
    assert!(json["entries"].as_array().unwrap().len() >= 64, "{json}");
}
