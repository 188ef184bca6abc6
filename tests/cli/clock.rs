//! Clocks that go back, and snapshots from the future: what was made last is the latest, and
//! whoever asks is told.

use std::sync::Arc;

use icecore::NoProgress;
use icecore::image::ImageFile;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::storage::FsStorage;
use jiff::SignedDuration;
use jiff::Timestamp;
use uuid::Uuid;

use crate::support::Fixture;

/// Captures `disk.raw` as a machine would whose clock is ahead by so many hours.
fn capture_ahead(fixture: &Fixture, name: &str, hours: i64) -> Timestamp {
    let repo = Repository::open(Arc::new(FsStorage::new(fixture.path("repo"))), Uuid::new_v4()).unwrap();
    let time = Timestamp::now() + SignedDuration::from_hours(hours);
    let (seconds, nanos) = (u64::try_from(time.as_second()).unwrap(), 0);
    let options = CaptureOptions::new(
        SnapshotId(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))),
        time.as_millisecond(),
        ResourceKind::Volume,
        "web",
        name,
    );
    let image = ImageFile::open(&fixture.path("disk.raw")).unwrap();
    icecore::snapshot::capture(&repo, &image, &options, &NoProgress).unwrap();
    time
}

#[test]
fn what_is_captured_when_the_clock_has_gone_back_is_the_latest() {
    let fixture = Fixture::new();
    fixture.image("disk.raw", 1);
    let before = capture_ahead(&fixture, "before", 1);
    fixture.image("disk.raw", 2);
    let made =
        fixture.run(&["snapshot", "create", "disk.raw", "--volume", "web", "--name", "after"]).exits(0);
    made.says(&["warning: after (", "the newest snapshot of web", "hint: set the clock"]);
    fixture.run(&["restore", "web@latest", "x.raw"]).exits(0).says(&["later than now"]);
    fixture.assert_equal("disk.raw", "x.raw");
    let latest = fixture.result(&["snapshot", "get", "web@latest"])["snapshots"][0].clone();
    assert_eq!(latest["name"], "after");
    let created: Timestamp = latest["created"].as_str().unwrap().parse().unwrap();
    assert_eq!(created.as_millisecond(), before.as_millisecond() + 1);
    let list = fixture.run(&["snapshot", "list", "--format", "Name", "--no-header"]).exits(0);
    assert_eq!(list.out, "before\nafter\n");
    list.says(&["before (", "and so is 1 more"]);
    fixture.run(&["snapshot", "prune", "--keep-last", "1", "--force"]).exits(0).says(&["later than now"]);
    fixture.run(&["snapshot", "get", "after"]).exits(0);

    let again = ["snapshot", "create", "disk.raw", "--volume", "web", "--name", "again"];
    let behind = fixture.result(&again)["clock_behind_ms"].as_u64().unwrap();
    assert!((3_000_000..3_700_000).contains(&behind), "{behind}");
    let other = fixture.result(&["snapshot", "create", "disk.raw", "--volume", "db"]);
    assert!(other["clock_behind_ms"].is_null(), "{other}");
}

#[test]
fn one_from_the_future_takes_no_other_ones_place() {
    let fixture = Fixture::new();
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--volume", "web", "--name", "old"]).exits(0);
    capture_ahead(&fixture, "ahead", 70 * 366 * 24);
    let listed = fixture.result(&["snapshot", "list"]);
    assert_eq!(listed["from_the_future"], serde_json::json!([listed["snapshots"][1]["id"]]));
    let prune = ["snapshot", "prune", "--keep-last", "1"];
    let kept = |arguments: &[&str]| {
        let done = fixture.result(&[&prune[..], arguments].concat());
        let kept = done["kept"].as_array().unwrap().clone();
        let line = |it: &serde_json::Value| format!("{} {}", it["snapshot"]["name"], it["rules"]);
        kept.iter().map(line).collect::<Vec<_>>().join(", ").replace('"', "")
    };
    assert_eq!(kept(&["--dry-run"]), "old [last 1 of 1], ahead [from the future]");
    fixture.run(&["snapshot", "create", "disk.raw", "--volume", "web", "--name", "new"]).exits(0);
    assert_eq!(kept(&["--force"]), "ahead [from the future], new [last 1 of 1]");
    assert_eq!(fixture.result(&["snapshot", "get", "web@latest"])["snapshots"][0]["name"], "new");
}

#[test]
fn a_snapshot_of_a_volume_warns_of_the_clock_too() {
    let fixture = Fixture::new();
    fixture.image("disk.raw", 1);
    capture_ahead(&fixture, "before", 1);
    fixture.run(&["volume", "create", "web", "--snapshot", "before"]).exits(0);
    let taken = fixture.run(&["volume", "snapshot", "web"]).exits(0);
    taken.says(&["warning: web-", "the clock shows"]);
    let taken = fixture.result(&["volume", "snapshot", "web"]);
    assert!(taken["clock_behind_ms"].as_u64().unwrap() > 3_000_000, "{taken}");
}
