//! Clocks that go back, that are ahead, and that were never set: the order of snapshots is that in
//! which they were made.

use std::sync::Arc;
use std::sync::Mutex;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::retention;
use icecore::snapshot::retention::Policy;
use icecore::storage::MemoryStorage;
use icecore::volume::VolumeOptions;
use icecore::volume::VolumeSnapshotOptions;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::init_options;
use icecore_testing::repository::options;
use icecore_testing::repository::session;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::volumes::support::open;
use crate::volumes::support::volume_options;

const NOON: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
/// The last millisecond of the year 9999.
const LAST: i64 = 253_402_300_799_999;

/// Returns options for a capture when a clock shows some time. Ids are made of it.
fn at(resource: &str, clock: i64) -> CaptureOptions {
    let options = options(resource);
    let random = options.id.0.as_u128() >> 96;
    let id = SnapshotId(Uuid::from_u128(u128::try_from(clock).unwrap() << 80 | 7 << 76 | random));
    CaptureOptions { id, created_unix_ms: clock, ..options }
}

fn capture(bench: &TestRepository, resource: &str, clock: i64) -> icecore::snapshot::CaptureReport {
    let image = Random::new(u64::try_from(clock).unwrap()).bytes(100_000);
    icecore::snapshot::capture(&bench.another(), &image, &at(resource, clock), &NoProgress).unwrap()
}

fn latest(bench: &TestRepository, resource: &str) -> Snapshot {
    icecore::snapshot::find(&bench.another(), &format!("{resource}@latest")).unwrap()
}

fn stay(bench: &TestRepository, policy: &Policy, now: i64) -> Vec<SnapshotId> {
    let all = icecore::snapshot::list(&bench.repo).unwrap();
    let plan = retention::plan(&all, policy, now, &TimeZone::UTC).unwrap();
    plan.decisions.iter().filter(|it| !it.goes()).map(|it| it.snapshot.id).collect()
}

#[test]
fn a_clock_that_goes_back_does_not_change_which_snapshot_is_the_newest() {
    let bench = TestRepository::new();
    let first = capture(&bench, "web", NOON);
    assert_eq!(first.dated_after, None);
    let second = capture(&bench, "web", NOON - HOUR);
    assert_eq!(second.dated_after, Some(first.snapshot.id));
    assert_eq!(second.snapshot.created_unix_ms, NOON + 1);
    assert!(second.snapshot.id < first.snapshot.id, "ids have what the clock showed");
    assert_eq!(second.parent, Some(first.snapshot.id));
    assert_eq!(latest(&bench, "web"), second.snapshot);
    let third = capture(&bench, "web", NOON - HOUR + 5);
    assert_eq!((third.parent, third.snapshot.created_unix_ms), (Some(second.snapshot.id), NOON + 2));
    let listed = icecore::snapshot::list(&bench.another()).unwrap();
    assert_eq!(listed, [first.snapshot, second.snapshot, third.snapshot.clone()]);
    let last = Policy { keep_last: Some(1), ..Policy::default() };
    for now in [NOON - HOUR + 10, NOON + HOUR] {
        assert!(stay(&bench, &last, now).contains(&third.snapshot.id), "the one just made is not pruned");
    }
    // What is right again needs nothing done to it.
    let fourth = capture(&bench, "web", NOON + HOUR);
    assert_eq!((fourth.dated_after, fourth.snapshot.created_unix_ms), (None, NOON + HOUR));
    assert_eq!(latest(&bench, "web"), fourth.snapshot);
    assert_eq!(capture(&bench, "db", NOON - HOUR).dated_after, None, "each resource has an order of its own");
}

#[test]
fn two_of_one_moment_and_of_both_kinds_have_an_order() {
    let bench = TestRepository::new();
    let first = capture(&bench, "web", NOON);
    let droplet = CaptureOptions { kind: ResourceKind::Droplet, ..at("web", NOON) };
    let droplet = icecore::snapshot::capture(&bench.repo, &vec![1; 100], &droplet, &NoProgress).unwrap();
    assert_eq!(droplet.parent, None, "a volume is no parent of a droplet");
    assert_eq!(droplet.snapshot.created_unix_ms, NOON + 1);
    assert_eq!(latest(&bench, "web"), droplet.snapshot);
    let third = capture(&bench, "web", NOON);
    assert_eq!((third.parent, latest(&bench, "web").id), (Some(first.snapshot.id), third.snapshot.id));
}

#[test]
fn of_two_captures_at_once_the_one_that_ends_last_is_the_newest() {
    let bench = TestRepository::new();
    let between = Mutex::new(None);
    let beside = |_| {
        between.lock().unwrap().get_or_insert_with(|| capture(&bench, "web", NOON + 5));
        Ok(())
    };
    let image = TestImage::full(&Random::new(1).bytes(100_000)).on_read(beside);
    let report = icecore::snapshot::capture(&bench.another(), &image, &at("web", NOON), &NoProgress).unwrap();
    drop(image);
    let beside = between.into_inner().unwrap().unwrap();
    assert_eq!(report.dated_after, Some(beside.snapshot.id));
    assert_eq!(report.snapshot.created_unix_ms, NOON + 6);
    assert_eq!(latest(&bench, "web"), report.snapshot);
}

#[test]
fn a_snapshot_of_a_volume_is_not_older_than_the_volume_or_the_snapshot_before() {
    let bench = TestRepository::new();
    let repo = Arc::new(bench.another());
    let made = VolumeOptions { created_unix_ms: NOON, ..volume_options("web", None, Some(1 << 20)) };
    icecore::volume::create_volume(&repo, &made).unwrap();
    let volume = open(&repo, "web").unwrap();
    let take = |clock: i64| {
        let at = at("web", clock.max(0));
        let options =
            VolumeSnapshotOptions { labels: at.labels, ..VolumeSnapshotOptions::new(at.id, clock, at.name) };
        icecore::volume::snapshot_volume(&volume, &options, &NoProgress)
    };
    let first = take(NOON - HOUR).unwrap();
    assert_eq!((first.snapshot.created_unix_ms, first.dated_after), (NOON, None));
    let second = take(NOON - HOUR).unwrap();
    assert_eq!((second.snapshot.created_unix_ms, second.dated_after), (NOON + 1, Some(first.snapshot.id)));
    assert_eq!(latest(&bench, "web"), second.snapshot);
    assert_eq!(take(-1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(take(LAST + 1).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_copy_keeps_its_time() {
    let bench = TestRepository::new();
    let other = TestRepository::new();
    let newest = capture(&other, "web", NOON + HOUR).snapshot;
    for clock in [NOON, NOON + 2 * HOUR] {
        let source = capture(&bench, "web", clock).snapshot;
        let how = CopyOptions::default();
        let repo = Arc::new(bench.another());
        let copy = icecore::snapshot::copy(&repo, source.id, &other.another(), &how, &NoProgress).unwrap();
        assert_eq!(copy.snapshot.created_unix_ms, clock);
        assert_eq!(latest(&other, "web").id, if clock == NOON { newest.id } else { source.id });
    }
}

#[test]
fn what_is_made_after_one_from_the_future_is_the_latest_and_is_kept_by_its_own_age() {
    let bench = TestRepository::new();
    let old = capture(&bench, "web", NOON - HOUR).snapshot;
    let ahead = capture(&bench, "web", NOON + 1_000_000 * HOUR).snapshot;
    assert!(ahead.is_from_the_future(NOON) && !old.is_from_the_future(NOON - HOUR - 60_000));
    let last = Policy { keep_last: Some(1), ..Policy::default() };
    assert_eq!(stay(&bench, &last, NOON), [old.id, ahead.id], "the newest real one stays");
    let made = capture(&bench, "web", NOON).snapshot;
    assert_eq!(latest(&bench, "web"), made);
    assert_eq!(stay(&bench, &last, NOON), [ahead.id, made.id], "so does the one just made");
    let within = Policy { keep_within: Some("2h".parse().unwrap()), ..Policy::default() };
    assert_eq!(stay(&bench, &within, NOON + HOUR), [old.id, ahead.id, made.id]);
    assert_eq!(stay(&bench, &within, NOON + 3 * HOUR), [ahead.id]);
}

#[test]
fn after_the_last_time_there_is_none() {
    let bench = TestRepository::new();
    let last = capture(&bench, "web", LAST).snapshot;
    let error =
        icecore::snapshot::capture(&bench.repo, &vec![1; 100], &at("web", NOON), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(&last.id.to_string()) && error.next_step().is_some(), "{error}");
    assert_eq!(icecore::snapshot::list(&bench.repo).unwrap().len(), 1);
    icecore::snapshot::delete(&bench.repo, last.id, DeleteOptions::default()).unwrap();
    assert_eq!(capture(&bench, "web", NOON).snapshot.created_unix_ms, NOON);
}

#[test]
fn a_clock_that_was_never_set_makes_nothing() {
    let bench = TestRepository::new();
    for clock in [i64::MIN, -1, LAST + 1, i64::MAX] {
        let error = |done: icecore::Result<()>| {
            let error = done.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("clock") && error.next_step().is_some(), "{error}");
        };
        let options = CaptureOptions { created_unix_ms: clock, ..options("web") };
        error(icecore::snapshot::capture(&bench.repo, &vec![1; 100], &options, &NoProgress).map(drop));
        let volume = VolumeOptions { created_unix_ms: clock, ..volume_options("web", None, Some(4096)) };
        error(icecore::volume::create_volume(&bench.repo, &volume).map(drop));
        let storage = MemoryStorage::new();
        let init = InitOptions { created_unix_ms: clock, ..init_options() };
        error(Repository::init(Arc::new(storage.clone()), session(), &init).map(drop));
        assert!(storage.files().is_empty());
    }
    assert_eq!(icecore::snapshot::list(&bench.repo).unwrap(), []);
    assert_eq!(icecore::volume::list_volumes(&bench.repo).unwrap().volumes, []);
}
