//! Naming, changing and deleting snapshots.

use std::collections::BTreeMap;
use std::sync::Mutex;

use icecore::ErrorKind;
use icecore::NextStep;
use icecore::NoProgress;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::Snapshot;
use icecore_testing::bytes::assert_same;
use icecore_testing::images::Target;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::options;

fn found(bench: &TestRepository, spec: &str) -> Result<Snapshot, ErrorKind> {
    icecore::snapshot::find(&bench.repo, spec).map_err(|error| error.kind())
}

/// Returns a snapshot with something changed.
fn with(snapshot: &Snapshot, change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut snapshot = snapshot.clone();
    change(&mut snapshot);
    snapshot
}

#[test]
fn a_snapshot_is_found_by_id_and_prefix_and_name_and_as_the_latest() {
    let bench = TestRepository::new();
    let image = vec![1; 100];
    let one = bench.capture("web", &image).snapshot;
    let two = bench.capture("web", &image).snapshot;
    let db = bench.capture("db", &image).snapshot;
    let id = one.id.to_string();
    assert_eq!(found(&bench, &id), Ok(one.clone()));
    assert_eq!(found(&bench, &id[..8]), Ok(one.clone()));
    assert_eq!(found(&bench, &id[..3]), Err(ErrorKind::NotFound), "too short to be meant");
    assert_eq!(found(&bench, &one.name), Ok(one.clone()));
    assert_eq!(found(&bench, "web@latest"), Ok(two.clone()));
    assert_eq!(found(&bench, "nobody@latest"), Err(ErrorKind::NotFound));
    assert_eq!(found(&bench, "nobody"), Err(ErrorKind::NotFound));

    // Names are unique for a resource only; ids of one moment begin alike.
    icecore::snapshot::rename(&bench.repo, db.id, &one.name, RenameOptions::default()).unwrap();
    let error = icecore::snapshot::find(&bench.repo, &one.name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(&id) && error.to_string().contains(&db.id.to_string()), "{error}");
    let common: String =
        id.chars().zip(two.id.to_string().chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    assert_eq!(found(&bench, &common), Err(ErrorKind::InvalidInput));
    // A name goes before the beginning of an id.
    icecore::snapshot::rename(&bench.repo, two.id, &id[..8], RenameOptions::default()).unwrap();
    assert_eq!(found(&bench, &id[..8]).map(|snapshot| snapshot.id), Ok(two.id));
}

#[test]
fn a_listing_is_in_the_order_of_time() {
    let bench = TestRepository::new();
    let old = CaptureOptions { created_unix_ms: 5, kind: ResourceKind::Droplet, ..options("db") };
    let new = bench.capture("web", &vec![1; 100]).snapshot;
    let old = icecore::snapshot::capture(&bench.repo, &vec![1; 100], &old, &NoProgress).unwrap().snapshot;
    bench.storage.put("journal/notes.txt", b"remember the milk".to_vec());
    assert_eq!(icecore::snapshot::list(&bench.repo).unwrap(), [old, new]);
}

#[test]
fn renaming_and_tagging_change_that_and_nothing_else() {
    let bench = TestRepository::new();
    let first = bench.capture("web", &vec![1; 100]).snapshot;
    let second = bench.capture("web", &vec![1; 100]).snapshot;
    let renamed =
        icecore::snapshot::rename(&bench.repo, first.id, "before the upgrade", RenameOptions::default())
            .unwrap();
    assert_eq!(renamed, with(&first, |it| it.name = "before the upgrade".to_owned()));
    let taken =
        icecore::snapshot::rename(&bench.repo, second.id, "before the upgrade", RenameOptions::default())
            .unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    let bad =
        icecore::snapshot::rename(&bench.repo, second.id, "a\nb", RenameOptions::default()).unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::InvalidInput);

    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let tagged = icecore::snapshot::retag(&bench.repo, first.id, &tags(&["b", "a", "b"]), &[]).unwrap();
    assert_eq!(tagged, with(&renamed, |it| it.tags = tags(&["a", "b"])));
    let tagged = icecore::snapshot::retag(&bench.repo, first.id, &tags(&["c"]), &tags(&["a", "x"])).unwrap();
    assert_eq!(tagged.tags, tags(&["b", "c"]));
    let many: Vec<String> = (0..64).map(|n| format!("t{n}")).collect();
    let error = icecore::snapshot::retag(&bench.repo, first.id, &many, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(icecore::snapshot::list(&bench.another()).unwrap(), [tagged, second]);
}

#[test]
fn a_protected_snapshot_stays() {
    let bench = TestRepository::new();
    let id = bench.snapshot("web", &vec![1; 100]);
    icecore::snapshot::set_protected(&bench.repo, id, true).unwrap();
    let error = icecore::snapshot::delete(&bench.repo, id, DeleteOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(matches!(error.next_step(), Some(NextStep::UnprotectSnapshot(_))), "{error}");
    icecore::snapshot::set_protected(&bench.repo, id, false).unwrap();
    assert_eq!(icecore::snapshot::delete(&bench.repo, id, DeleteOptions::default()).unwrap().id, id);
    assert_eq!(
        icecore::snapshot::delete(&bench.repo, id, DeleteOptions::default()).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(icecore::snapshot::list(&bench.repo).unwrap(), []);
}

#[test]
fn a_snapshot_that_is_being_read_is_not_deleted() {
    let bench = TestRepository::new();
    let image = Random::new(51).bytes(100_000);
    let id = bench.snapshot("web", &image);
    let other = bench.another();
    let outcomes = Mutex::new(Vec::new());
    let target = Target::new(vec![0; image.len()]).on_write(|| {
        outcomes
            .lock()
            .unwrap()
            .push(icecore::snapshot::delete(&other, id, DeleteOptions::default()).unwrap_err().kind())
    });
    icecore::snapshot::restore(&bench.repo, id, RestoreTo::Fresh(&target), OnDamage::Stop, &NoProgress)
        .unwrap();
    assert_same(&target.into_bytes(), &image, "restored");
    let outcomes = outcomes.into_inner().unwrap();
    assert!(!outcomes.is_empty() && outcomes.iter().all(|kind| *kind == ErrorKind::InUse), "{outcomes:?}");

    let mut refused = None;
    icecore::snapshot::diff(&bench.repo, id, bench.snapshot("web", &vec![1; 100]), &mut |_| {
        refused = Some(icecore::snapshot::delete(&other, id, DeleteOptions::default()).unwrap_err().kind());
        Ok(())
    })
    .unwrap();
    assert_eq!(refused, Some(ErrorKind::InUse));
    icecore::snapshot::delete(&other, id, DeleteOptions::default()).unwrap();
    assert_eq!(bench.count("local/locks/pin-"), 0);
}

#[test]
fn labels_are_set_and_removed_and_nothing_else_changes() {
    let bench = TestRepository::new();
    let labels = |labels: &[(&str, &str)]| {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let first = bench.capture("web", &vec![1; 100]).snapshot;
    assert_eq!(first.labels, labels(&[]));
    let set =
        icecore::snapshot::relabel(&bench.repo, first.id, &labels(&[("b", "2"), ("a", "1")]), &[]).unwrap();
    assert_eq!(set, with(&first, |it| it.labels = labels(&[("a", "1"), ("b", "2")])));
    let renamed = icecore::snapshot::rename(&bench.repo, first.id, "new", RenameOptions::default()).unwrap();
    assert_eq!(renamed.labels, set.labels);
    let gone = ["a".to_owned(), "x".to_owned()];
    let changed = icecore::snapshot::relabel(&bench.repo, first.id, &labels(&[("c", "\n")]), &gone).unwrap();
    assert_eq!(changed.labels, labels(&[("b", "2"), ("c", "\n")]));
    assert_eq!(icecore::snapshot::list(&bench.another()).unwrap(), [changed]);
    let all = ["b".to_owned(), "c".to_owned()];
    let none = icecore::snapshot::relabel(&bench.repo, first.id, &labels(&[]), &all).unwrap();
    assert_eq!(none, with(&first, |it| it.name = "new".to_owned()));
}

#[test]
fn names_repeat_only_where_that_is_asked_for() {
    let bench = TestRepository::new();
    let first = bench.capture("web", &vec![1; 100]).snapshot;
    let same = || CaptureOptions { name: first.name.clone(), ..options("web") };
    let error = icecore::snapshot::capture(&bench.repo, &vec![2; 100], &same(), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let again = CaptureOptions { name_may_repeat: true, ..same() };
    let second =
        icecore::snapshot::capture(&bench.repo, &vec![2; 100], &again, &NoProgress).unwrap().snapshot;
    assert_eq!(second.name, first.name);
    assert_eq!(found(&bench, &first.name), Err(ErrorKind::InvalidInput), "it can mean both");
    icecore::snapshot::rename(&bench.repo, second.id, "other", RenameOptions::default()).unwrap();
    assert_eq!(
        icecore::snapshot::rename(&bench.repo, second.id, &first.name, RenameOptions::default())
            .unwrap_err()
            .kind(),
        ErrorKind::AlreadyExists
    );
    let options = RenameOptions { name_may_repeat: true };
    assert_eq!(
        icecore::snapshot::rename(&bench.repo, second.id, &first.name, options).unwrap().name,
        first.name
    );
    // What has the name of another can be changed in all other ways.
    icecore::snapshot::retag(&bench.repo, second.id, &["a".to_owned()], &[]).unwrap();
}
