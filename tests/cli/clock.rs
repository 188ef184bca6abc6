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

use crate::support::Place;

/// Captures `disk.raw` as a machine would whose clock is ahead by so many hours.
fn capture_ahead(place: &Place, name: &str, hours: i64) -> Timestamp {
    let repo = Repository::open(Arc::new(FsStorage::new(place.path("repo"))), Uuid::new_v4()).unwrap();
    let time = Timestamp::now() + SignedDuration::from_hours(hours);
    let (seconds, nanos) = (u64::try_from(time.as_second()).unwrap(), 0);
    let options = CaptureOptions::new(
        SnapshotId(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))),
        time.as_millisecond(),
        ResourceKind::Volume,
        "web",
        name,
    );
    let image = ImageFile::open(&place.path("disk.raw")).unwrap();
    icecore::snapshot::capture(&repo, &image, &options, &NoProgress).unwrap();
    time
}

#[test]
fn what_is_captured_when_the_clock_has_gone_back_is_the_latest() {
    let place = Place::new();
    place.image("disk.raw", 1);
    let before = capture_ahead(&place, "before", 1);
    place.image("disk.raw", 2);
    let made = place.run(&["snapshot", "create", "disk.raw", "--volume", "web", "--name", "after"]).exits(0);
    made.says(&["warning: after (", "the newest snapshot of web", "hint: set the clock"]);
    place.run(&["restore", "web@latest", "x.raw"]).exits(0).says(&["later than now"]);
    place.assert_equal("disk.raw", "x.raw");
    let latest = place.result(&["snapshot", "get", "web@latest"])["snapshots"][0].clone();
    assert_eq!(latest["name"], "after");
    let created: Timestamp = latest["created"].as_str().unwrap().parse().unwrap();
    assert_eq!(created.as_millisecond(), before.as_millisecond() + 1);
    let list = place.run(&["snapshot", "list", "--format", "Name", "--no-header"]).exits(0);
    assert_eq!(list.out, "before\nafter\n");
    list.says(&["before (", "and so is 1 more"]);
    place.run(&["snapshot", "prune", "--keep-last", "1", "--force"]).exits(0).says(&["later than now"]);
    place.run(&["snapshot", "get", "after"]).exits(0);

    let again = ["snapshot", "create", "disk.raw", "--volume", "web", "--name", "again"];
    let behind = place.result(&again)["clock_behind_ms"].as_u64().unwrap();
    assert!((3_000_000..3_700_000).contains(&behind), "{behind}");
    let other = place.result(&["snapshot", "create", "disk.raw", "--volume", "db"]);
    assert!(other["clock_behind_ms"].is_null(), "{other}");
}

#[test]
fn one_from_the_future_takes_no_other_ones_place() {
    let place = Place::new();
    place.image("disk.raw", 1);
    place.run(&["snapshot", "create", "disk.raw", "--volume", "web", "--name", "old"]).exits(0);
    capture_ahead(&place, "ahead", 70 * 366 * 24);
    let listed = place.result(&["snapshot", "list"]);
    assert_eq!(listed["from_the_future"], serde_json::json!([listed["snapshots"][1]["id"]]));
    let prune = ["snapshot", "prune", "--keep-last", "1"];
    let kept = |arguments: &[&str]| {
        let done = place.result(&[&prune[..], arguments].concat());
        let kept = done["kept"].as_array().unwrap().clone();
        let line = |it: &serde_json::Value| format!("{} {}", it["snapshot"]["name"], it["rules"]);
        kept.iter().map(line).collect::<Vec<_>>().join(", ").replace('"', "")
    };
    assert_eq!(kept(&["--dry-run"]), "old [last 1 of 1], ahead [from the future]");
    place.run(&["snapshot", "create", "disk.raw", "--volume", "web", "--name", "new"]).exits(0);
    assert_eq!(kept(&["--force"]), "ahead [from the future], new [last 1 of 1]");
    assert_eq!(place.result(&["snapshot", "get", "web@latest"])["snapshots"][0]["name"], "new");
}

#[test]
fn a_snapshot_of_a_volume_warns_of_the_clock_too() {
    let place = Place::new();
    place.image("disk.raw", 1);
    capture_ahead(&place, "before", 1);
    place.run(&["volume", "create", "web", "--snapshot", "before"]).exits(0);
    let taken = place.run(&["volume", "snapshot", "web"]).exits(0);
    taken.says(&["warning: web-", "the clock shows"]);
    let taken = place.result(&["volume", "snapshot", "web"]);
    assert!(taken["clock_behind_ms"].as_u64().unwrap() > 3_000_000, "{taken}");
}
