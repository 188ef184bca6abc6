//! `icecore snapshot prune`: what a policy does not keep goes, and nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use icecore::NoProgress;
use icecore::image::ImageFile;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotDisk;
use icecore::snapshot::SnapshotId;
use icecore::storage::FsStorage;
use serde_json::Value;
use uuid::Uuid;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::noise;

fn open(fixture: &Fixture) -> Repository {
    Repository::open(Arc::new(FsStorage::new(fixture.path("repo"))), Uuid::new_v4()).unwrap()
}

/// Captures `disk.raw`, each time changed a little, as if it had been at these times.
fn capture_at(fixture: &Fixture, kind: ResourceKind, resource: &str, tags: &[&str], times: &[&str]) {
    let repo = open(fixture);
    for time in times {
        let created_unix_ms = time.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let image = File::options().write(true).open(fixture.path("disk.raw")).unwrap();
        image.write_all_at(&noise(created_unix_ms.unsigned_abs(), 5000), 8192).unwrap();
        let options = CaptureOptions {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..CaptureOptions::new(
                SnapshotId(Uuid::now_v7()),
                created_unix_ms,
                kind,
                resource,
                time.trim_end_matches(":00:00Z"),
            )
        };
        let image = ImageFile::open(&fixture.path("disk.raw")).unwrap();
        icecore::snapshot::capture(&repo, &image, &options, &NoProgress).unwrap();
    }
}

/// A droplet and a volume with snapshots of some days in 2020.
fn history() -> Fixture {
    let fixture = Fixture::new();
    fixture.image("disk.raw", 1);
    let web =
        ["2020-05-01T06:00:00Z", "2020-05-01T18:00:00Z", "2020-05-02T18:00:00Z", "2020-05-04T18:00:00Z"];
    capture_at(&fixture, ResourceKind::Droplet, "web", &["auto"], &web);
    capture_at(&fixture, ResourceKind::Volume, "db", &[], &["2020-05-01T07:00:00Z", "2020-06-01T07:00:00Z"]);
    fixture
}

fn names(fixture: &Fixture) -> String {
    let list = fixture.run(&["snapshot", "list", "--format", "Name", "--no-header"]).exits(0);
    list.out.split_whitespace().collect::<Vec<_>>().join(" ")
}

const ALL: &str = "2020-05-01T06 2020-05-01T07 2020-05-01T18 2020-05-02T18 2020-05-04T18 2020-06-01T07";

/// Returns the names of a table's snapshots, each with what becomes of it.
fn fates(done: &Done) -> Vec<String> {
    let rows = done.out.lines().skip(1).take_while(|line| !line.is_empty());
    let cells =
        |row: &str| row.split("   ").map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    rows.iter().map(|row| format!("{} {}", row[1], row[5..].join(": "))).collect()
}

#[test]
fn a_dry_run_names_the_rules_that_keep_each_snapshot_and_a_run_deletes_the_others() {
    let fixture = history();
    let policy = ["snapshot", "prune", "--keep-last", "1", "--keep-daily", "2", "--keep-monthly", "1"];
    let dry = fixture.run(&[&policy[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!(
        fates(&dry),
        [
            "2020-05-01T07 stays: daily 2020-05-01",
            "2020-06-01T07 stays: last 1 of 1, daily 2020-06-01, monthly 2020-06",
            "2020-05-01T06 goes",
            "2020-05-01T18 goes",
            "2020-05-02T18 stays: daily 2020-05-02",
            "2020-05-04T18 stays: last 1 of 1, daily 2020-05-04, monthly 2020-05",
        ]
    );
    assert!(
        dry.out.contains("\ndry run: nothing was deleted; 2 of 6 snapshots would be deleted, and gc"),
        "{dry:?}"
    );
    assert_eq!(names(&fixture), ALL);

    let foreseen = fixture.result(&[&policy[..], &["--dry-run"]].concat());
    let done = fixture.result(&[&policy[..], &["--force"]].concat());
    let unused = fixture.result(&["stats"])["repository"]["unused_bytes"].as_u64().unwrap();
    assert!(unused.abs_diff(foreseen["freed_bytes"].as_u64().unwrap()) < 4096, "{unused} {foreseen}");
    assert!(unused > 0 && done["freed_bytes"].is_null(), "{unused} {done}");
    assert_eq!((&foreseen["dry_run"], &done["dry_run"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!((&foreseen["kept"], &foreseen["deleted"]), (&done["kept"], &done["deleted"]));
    assert_eq!(done["kept"][0]["rules"], serde_json::json!(["daily 2020-05-01"]));
    assert_eq!(names(&fixture), "2020-05-01T07 2020-05-02T18 2020-05-04T18 2020-06-01T07");
    fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
    fixture.run(&["restore", "db@latest", "x.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "x.raw");
    let again = fixture.run(&policy).exits(0);
    assert_eq!(again.out, "nothing to delete: all 4 snapshots stay\n");
}

#[test]
fn only_the_snapshots_that_are_asked_for_are_looked_at() {
    let fixture = history();
    let going = |arguments: &[&str]| {
        let all = [&["snapshot", "prune", "--keep-last", "1", "--dry-run"], arguments].concat();
        let gone = fixture.result(&all)["deleted"].clone();
        gone.as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let web = "2020-05-01T06 2020-05-01T18 2020-05-02T18";
    assert_eq!(going(&[]), format!("2020-05-01T07 {web}"));
    assert_eq!(going(&["--of", "w?b"]), web);
    assert_eq!(going(&["--of", "none", "--of", "d*"]), "2020-05-01T07");
    assert_eq!(going(&["--resource", "droplet"]), web);
    assert_eq!(going(&["--tag", "auto"]), web);
    assert_eq!(going(&["--tag", "auto", "--of", "db"]), "");
    assert_eq!(going(&["--keep-tag", "auto"]), "2020-05-01T07");
    assert_eq!(going(&["--keep-within", "1000y"]), "");
    fixture.run(&["snapshot", "protect", "2020-05-01T06"]).exits(0);
    assert_eq!(going(&["--of", "web"]), "2020-05-01T18 2020-05-02T18");
    let none =
        fixture.run(&["snapshot", "prune", "--keep-last", "1", "--of", "nobody", "--dry-run"]).exits(0);
    assert_eq!(
        none.out,
        "dry run: nothing was deleted; 0 of 0 snapshots would be deleted, and gc could then free about 0 B\n"
    );
}

#[test]
fn nothing_goes_without_a_policy_a_terminal_to_ask_on_or_force() {
    let fixture = history();
    fixture.run(&["snapshot", "prune", "--force"]).exits(2).says(&["delete all", "hint:"]);
    fixture.run(&["snapshot", "prune", "--force", "--keep-last", "0"]).exits(2).says(&["delete all"]);
    fixture.run(&["snapshot", "prune", "--force", "--keep-tag", "a b"]).exits(2).says(&["tag"]);
    fixture.run(&["snapshot", "prune", "--force", "--keep-within", "14"]).exits(2).says(&["14d"]);
    fixture.run(&["snapshot", "prune", "--force", "--keep-within", "6m"]).exits(2).says(&["mo or min"]);
    fixture.run(&["snapshot", "prune", "--keep-last", "1"]).exits(2).says(&["--force", "goes"]);
    assert_eq!(names(&fixture), ALL);
}

#[test]
fn what_is_in_use_stays_and_the_rest_goes() {
    let fixture = history();
    fixture.run(&["volume", "create", "clone", "--snapshot", "2020-05-01T06"]).exits(0);
    let policy = ["snapshot", "prune", "--keep-last", "1", "--of", "web"];
    let dry = fixture.run(&[&policy[..], &["--dry-run"]].concat()).exits(0).says(&["volume clone"]);
    assert_eq!(fates(&dry)[..2], ["2020-05-01T06 in use", "2020-05-01T18 goes"]);
    assert!(dry.out.contains("; 2 of 4 snapshots would be deleted"), "{dry:?}");

    let dry = fixture.run(&[&policy[..], &["--dry-run", "--keep-clones"]].concat()).exits(0);
    assert_eq!(fates(&dry)[..2], ["2020-05-01T06 goes", "2020-05-01T18 goes"]);

    let repo = open(&fixture);
    let read = icecore::snapshot::find(&repo, "2020-05-01T18").unwrap().id;
    let disk = SnapshotDisk::open(Arc::new(repo), read, BlockCache::new(1 << 20)).unwrap();
    let done = fixture.run(&[&["-o", "json"], &policy[..], &["--force"]].concat()).exits(5);
    assert!(done.err.contains("volume clone") && done.err.contains("is being read"), "{done:?}");
    let result = &done.json()["result"];
    assert_eq!(result["deleted"].as_array().unwrap().len(), 1);
    assert_eq!(result["in_use"][1]["snapshot"]["name"], "2020-05-01T18");
    assert_eq!(names(&fixture), "2020-05-01T06 2020-05-01T07 2020-05-01T18 2020-05-04T18 2020-06-01T07");

    drop(disk);
    fixture.run(&["volume", "export", "clone", "before.raw"]).exits(0);
    fixture.run(&[&policy[..], &["--force", "--keep-clones"]].concat()).exits(0).says(&["gc"]);
    fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
    fixture.run(&["volume", "export", "clone", "after.raw"]).exits(0);
    fixture.assert_equal("before.raw", "after.raw");
    assert_eq!(names(&fixture), "2020-05-01T07 2020-05-04T18 2020-06-01T07");
}

#[test]
fn days_are_those_of_the_time_zone() {
    let fixture = Fixture::new();
    fixture.image("disk.raw", 1);
    // One day in UTC, and two in Berlin, where it is two hours later.
    capture_at(&fixture, ResourceKind::Volume, "v", &[], &["2020-05-01T21:00:00Z", "2020-05-01T23:00:00Z"]);
    let kept = |zone: Option<&str>| {
        let mut prune = fixture.program();
        prune.env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3").args([
            "snapshot",
            "prune",
            "--keep-daily",
            "9",
            "--dry-run",
        ]);
        fates(&crate::support::finish(prune.args(zone.map(|zone| format!("--timezone={zone}")))).exits(0))
    };
    let utc = ["2020-05-01T21 goes", "2020-05-01T23 stays: daily 2020-05-01"];
    assert_eq!(kept(None), utc);
    assert_eq!(kept(Some("UTC")), utc);
    let berlin = ["2020-05-01T21 stays: daily 2020-05-01", "2020-05-01T23 stays: daily 2020-05-02"];
    assert_eq!(kept(Some("local")), berlin);
    let unknown = ["snapshot", "prune", "--keep-daily", "1", "--timezone", "No/Where"];
    fixture.run(&unknown).exits(2).says(&["No/Where", "UTC"]);
}
