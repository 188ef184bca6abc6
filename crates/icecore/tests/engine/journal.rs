//! The journal of the catalog: what is committed is there for everybody, whatever file is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::maintenance::Event;
use icecore::maintenance::repair_catalog;
use icecore::repository::Repository;
use icecore::repository::Session;
use icecore::scale::checkpoint_after;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::collect;
use icecore_testing::repository::image_of;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::session;
use proptest::prelude::*;

use crate::at_once::broken::Break;
use crate::at_once::broken::broken;
use crate::at_once::hooked::hooked;
use crate::volumes::support::volume_options;

/// Opens a repository whose checkpoints come after this many entries.
fn open_with(storage: &MemoryStorage, tail: u64) -> Repository {
    let mut repo = open(storage.clone());
    checkpoint_after(&mut repo, tail);
    repo
}

fn take(repo: &Repository, volume: &str) -> Snapshot {
    icecore::snapshot::capture(repo, &vec![7; 5000], &options(volume), &NoProgress).unwrap().snapshot
}

fn ids(snapshots: &[Snapshot]) -> Vec<SnapshotId> {
    snapshots.iter().map(|snapshot| snapshot.id).collect()
}

fn list(repo: &Repository) -> Vec<SnapshotId> {
    ids(&icecore::snapshot::list(repo).unwrap())
}

fn files(storage: &MemoryStorage, dir: &str) -> Vec<String> {
    storage.files().into_keys().filter(|name| name.starts_with(dir)).collect()
}

/// A repository with entries before its checkpoints, between them, and after them.
fn bench() -> (MemoryStorage, Vec<(SnapshotId, Vec<u8>)>) {
    let bench = TestRepository::new();
    let repo = open_with(&bench.storage, 3);
    let images: Vec<(SnapshotId, Vec<u8>)> = (0..8)
        .map(|seed| {
            let image = Random::new(seed).bytes(20_000);
            let taken = icecore::snapshot::capture(&repo, &image, &options("disk"), &NoProgress).unwrap();
            (taken.snapshot.id, image)
        })
        .collect();
    assert_eq!(files(&bench.storage, "checkpoint/").len(), 2);
    assert_eq!(files(&bench.storage, "journal/").len(), 5);
    assert_eq!(files(&bench.storage, "journal-copies/").len(), 2);
    (bench.storage, images)
}

#[test]
fn no_file_of_the_catalog_costs_a_snapshot() {
    let (sound, images) = bench();
    let of_catalog =
        |name: &String| ["journal", "checkpoint/", "config"].iter().any(|dir| name.starts_with(dir));
    let names: Vec<String> = sound.files().into_keys().filter(of_catalog).collect();
    assert_eq!(names.len(), 2 + 5 + 2 + 1);
    for name in names {
        let bytes = sound.files()[&name].clone();
        let cut = bytes[..bytes.len() / 2].to_vec();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        for damaged in [None, Some(cut), Some(flipped), Some(Vec::new())] {
            let storage = MemoryStorage::new();
            sound.files().into_iter().for_each(|(name, bytes)| storage.put(&name, bytes));
            match &damaged {
                Some(bytes) => storage.put(&name, bytes.clone()),
                None => storage.remove(&name).unwrap(),
            }
            let what = format!("{name}: {:?}", damaged.as_ref().map(Vec::len));
            if name != "config" {
                let repo = open(storage.clone());
                assert_eq!(list(&repo), images.iter().map(|(id, _)| *id).collect::<Vec<_>>(), "{what}");
                let report =
                    icecore::maintenance::verify(&repo, None, Depth::Structure, &NoProgress).unwrap();
                let is_copy = name.starts_with("journal-copies/");
                // A checkpoint that is lost is not missed as long as another one is there.
                let is_missed = !(is_copy || damaged.is_none() && name.starts_with("checkpoint/"));
                let objects: Vec<&str> = report.findings.iter().map(|found| found.object.as_str()).collect();
                let expected = format!("file {name}");
                assert_eq!(objects, if is_missed { vec![expected.as_str()] } else { Vec::new() }, "{what}");
            }
            let before = storage.files();
            let planned = repair_catalog(Arc::new(storage.clone()), session(), true).unwrap();
            assert!(storage.files() == before, "{what}: a dry run changes nothing");
            let report = repair_catalog(Arc::new(storage.clone()), session(), false).unwrap();
            assert_eq!((planned.mended, planned.lost), (report.mended, report.lost.clone()), "{what}");
            assert_eq!((report.snapshots, report.lost), (8, Vec::new()), "{what}");
            let repo = open(storage.clone());
            let report = icecore::maintenance::verify(&repo, None, Depth::Structure, &NoProgress).unwrap();
            assert!(report.findings.is_empty(), "{what}: {report:?}");
            for (id, image) in &images {
                assert!(image_of(&repo, *id) == *image, "{what}");
            }
            take(&repo, "another");
            assert_eq!(list(&open(storage)).len(), 9, "{what}");
        }
    }
}

#[test]
fn an_entry_that_is_lost_with_its_copy_is_told_and_costs_what_it_said() {
    let (storage, images) = bench();
    let last = files(&storage, "journal/").pop().unwrap();
    let copy = files(&storage, "journal-copies/").pop().unwrap();
    storage.put(&last, b"nothing".to_vec());
    storage.put(&copy, b"nothing".to_vec());
    let error = icecore::snapshot::list(&open(storage.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("entry 8 of the journal"), "{error}");
    let planned = repair_catalog(Arc::new(storage.clone()), session(), true).unwrap();
    let report = repair_catalog(Arc::new(storage.clone()), session(), false).unwrap();
    assert_eq!(planned, report);
    // Its pack has a copy of what it said.
    assert_eq!((report.lost, ids(&report.found), report.snapshots), (vec![8], vec![images[7].0], 8));
    let repo = open(storage.clone());
    assert_eq!(list(&repo), images.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    assert!(image_of(&repo, images[7].0) == images[7].1);
    take(&repo, "disk");
    assert_eq!(list(&open(storage)).len(), 9);
}

#[test]
fn of_a_catalog_that_is_lost_altogether_packs_tell_the_snapshots() {
    let (storage, images) = bench();
    for dir in ["journal", "checkpoint/"] {
        files(&storage, dir).iter().for_each(|name| storage.remove(name).unwrap());
    }
    let error = icecore::snapshot::list(&open(storage.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let error = collect(&open(storage.clone())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "gc removes nothing");
    let report = repair_catalog(Arc::new(storage.clone()), session(), false).unwrap();
    assert_eq!((report.found.len(), report.snapshots), (8, 8));
    collect(&open(storage.clone())).unwrap();
    let repo = open(storage);
    for (id, image) in &images {
        assert!(image_of(&repo, *id) == *image);
    }
}

#[test]
fn a_handle_that_slept_while_entries_were_removed_knows_what_happened() {
    let bench = TestRepository::new();
    let sleeper = bench.another();
    let first = take(&sleeper, "disk");
    let repo = open_with(&bench.storage, 2);
    let others: Vec<Snapshot> = (0..9).map(|_| take(&repo, "disk")).collect();
    icecore::snapshot::delete(&repo, others[3].id, DeleteOptions::default()).unwrap();
    assert!(!files(&bench.storage, "journal/").contains(&"journal/0000000000000002".to_owned()));
    let mut expected = vec![first.id];
    expected.extend(others.iter().map(|snapshot| snapshot.id).filter(|id| *id != others[3].id));
    assert_eq!(list(&sleeper), expected);
    let last = take(&sleeper, "disk");
    assert_eq!(list(&repo).last(), Some(&last.id));
}

#[test]
fn an_entry_at_a_number_that_was_removed_is_made_again() {
    // A process stalls before its entry gets its name, long enough for the number to be taken, taken
    // in by a checkpoint, and removed.
    let bench = TestRepository::new();
    let stalled = Arc::new(AtomicBool::new(false));
    let hook = {
        let (storage, stalled) = (bench.storage.clone(), Arc::clone(&stalled));
        move |call: &'static str, name: &str| {
            if call == "rename_new" && name.starts_with("journal/") && !stalled.swap(true, Ordering::SeqCst) {
                // Where there are no locks, nobody waits.
                let without = Some(Break::Lock("local/locks/journal"));
                let mut repo = open(broken(storage.clone(), without));
                checkpoint_after(&mut repo, 2);
                (0..9).for_each(|_| drop(take(&repo, "other")));
            }
        }
    };
    let repo = open(hooked(bench.storage.clone(), Arc::new(hook)));
    let taken = take(&repo, "disk");
    assert!(stalled.load(Ordering::SeqCst));
    assert_eq!(list(&open(bench.storage.clone())).len(), 10);
    assert!(list(&open(bench.storage)).contains(&taken.id));
}

#[test]
fn what_was_deleted_can_be_restored_until_gc_has_taken_its_data() {
    let bench = TestRepository::new();
    let image = Random::new(1).bytes(100_000);
    let [first, second] = [1, 2].map(|_| bench.snapshot("disk", &image));
    let options = DeleteOptions::default();
    let deleted = icecore::snapshot::delete_all(&bench.repo, &[first, second], options).unwrap();
    assert_eq!(ids(&deleted), [first, second]);
    assert_eq!(list(&bench.another()), []);
    let left = icecore::snapshot::list_deleted(&bench.another()).unwrap();
    assert_eq!(left.iter().map(|left| left.snapshot.id).collect::<Vec<_>>(), [first, second]);
    let found = icecore::snapshot::find_deleted(&bench.repo, &deleted[1].name).unwrap();
    assert_eq!(found.snapshot, deleted[1]);
    let how = RenameOptions::default();
    let restored = icecore::snapshot::undelete(&bench.another(), &[first], how).unwrap();
    assert_eq!(restored, deleted[..1]);
    assert_eq!(list(&bench.repo), [first]);
    let error = icecore::snapshot::undelete(&bench.repo, &[first], how).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(image_of(&bench.repo, first) == image);

    icecore::snapshot::delete(&bench.repo, first, options).unwrap();
    assert!(collect(&bench.another()).unwrap().packs_removed > 0);
    assert_eq!(icecore::snapshot::list_deleted(&bench.repo).unwrap(), []);
    let error = icecore::snapshot::undelete(&bench.repo, &[first], how).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_restored_has_a_name_that_nothing_else_has() {
    let bench = TestRepository::new();
    let first = bench.snapshot("disk", &vec![1; 5000]);
    let name = icecore::snapshot::delete(&bench.repo, first, DeleteOptions::default()).unwrap().name;
    let other = CaptureOptions { name, ..options("disk") };
    icecore::snapshot::capture(&bench.repo, &vec![2; 5000], &other, &NoProgress).unwrap();
    let restore = |name_may_repeat| {
        icecore::snapshot::undelete(&bench.repo, &[first], RenameOptions { name_may_repeat })
    };
    assert_eq!(restore(false).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(restore(true).unwrap()[0].id, first);
}

#[test]
fn of_several_snapshots_all_are_deleted_or_none() {
    let bench = TestRepository::new();
    let all: Vec<SnapshotId> = (0..3).map(|seed| bench.snapshot("disk", &vec![seed; 5000])).collect();
    icecore::snapshot::set_protected(&bench.repo, all[2], true).unwrap();
    let entries = files(&bench.storage, "journal/").len();
    let error = icecore::snapshot::delete_all(&bench.repo, &all, DeleteOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert_eq!(list(&bench.repo), all);
    icecore::snapshot::delete_all(&bench.repo, &all[..2], DeleteOptions::default()).unwrap();
    assert_eq!(list(&bench.repo), all[2..]);
    assert_eq!(files(&bench.storage, "journal/").len(), entries + 1);
}

#[test]
fn the_log_tells_who_did_what_and_when() {
    let bench = TestRepository::new();
    let by = |host: &str, clock: fn() -> i64| {
        let session = Session { host: host.to_owned(), program: "test 1".to_owned(), clock, ..session() };
        Repository::open(Arc::new(bench.storage.clone()), session).unwrap()
    };
    let (lab, office) = (by("lab", || 1000), by("office", || 2000).on_behalf_of("ops"));
    let taken = take(&lab, "disk");
    let renamed = icecore::snapshot::rename(&office, taken.id, "new", RenameOptions::default()).unwrap();
    icecore::volume::create_volume(&lab, &volume_options("vol", Some(taken.id), None)).unwrap();
    icecore::volume::delete_volume(&lab, "vol").unwrap();
    icecore::snapshot::delete(&office, taken.id, DeleteOptions::default()).unwrap();
    icecore::snapshot::undelete(&lab, &[taken.id], RenameOptions::default()).unwrap();
    icecore::snapshot::delete(&lab, taken.id, DeleteOptions::default()).unwrap();
    collect(&office).unwrap();
    let log = icecore::maintenance::log(&lab).unwrap();
    assert_eq!(log.iter().map(|entry| entry.number).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    let who: Vec<(&str, Option<&str>, i64)> = log
        .iter()
        .map(|entry| (entry.author.host.as_str(), entry.author.account.as_deref(), entry.created_unix_ms))
        .collect();
    let (of_lab, of_office) = (("lab", None, 1000), ("office", Some("ops"), 2000));
    assert_eq!(who, [of_lab, of_office, of_lab, of_lab, of_office, of_lab, of_lab, of_office]);
    let events: Vec<&Event> = log.iter().flat_map(|entry| &entry.events).collect();
    assert_eq!(*events[0], Event::Made(Box::new(taken.clone())));
    assert_eq!(*events[1], Event::Changed { before: Box::new(taken), after: Box::new(renamed.clone()) });
    assert!(
        matches!(events[2], Event::VolumeStandsOn { name, origin, .. } if name == "vol" && *origin == Some(renamed.id))
    );
    assert!(matches!(events[3], Event::VolumeGone { name, .. } if name == "vol"));
    assert_eq!(*events[4], Event::Deleted(vec![renamed.clone()]));
    assert_eq!(*events[5], Event::Restored(vec![renamed.clone()]));
    assert_eq!(*events[6], Event::Deleted(vec![renamed]));
    assert!(matches!(events[7], Event::Collected { packs } if *packs > 0));
}

/// A change of the catalog, of a snapshot that a number chooses.
#[derive(Debug, Clone)]
enum Step {
    Take(u8),
    Rename(prop::sample::Index, u8),
    Protect(prop::sample::Index),
    Delete(prop::sample::Index),
    Undelete(prop::sample::Index),
    Collect,
    OpenAgain,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..3_u8).prop_map(Step::Take),
        2 => (index(), 0..4_u8).prop_map(|(at, name)| Step::Rename(at, name)),
        1 => index().prop_map(Step::Protect),
        3 => index().prop_map(Step::Delete),
        2 => index().prop_map(Step::Undelete),
        1 => Just(Step::Collect),
        2 => Just(Step::OpenAgain),
    ]
}

fn chosen<V: Clone>(at: &prop::sample::Index, all: &BTreeMap<SnapshotId, V>) -> Option<(SnapshotId, V)> {
    let at = (!all.is_empty()).then(|| at.index(all.len()))?;
    all.iter().nth(at).map(|(id, snapshot)| (*id, snapshot.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// With checkpoints after any number of entries, the catalog is what a map says.
    #[test]
    fn the_catalog_is_what_a_map_says(steps in prop::collection::vec(step(), 1..50), tail in 1..12_u64) {
        let bench = TestRepository::new();
        let mut repo = open_with(&bench.storage, tail);
        let (mut live, mut deleted) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Take(volume) => {
                    let snapshot = take(&repo, ["a", "b", "c"][usize::from(volume)]);
                    live.insert(snapshot.id, snapshot);
                }
                Step::Rename(at, name) => {
                    let Some((id, mut snapshot)) = chosen(&at, &live) else { continue };
                    snapshot.name = format!("name {name}");
                    let is_taken = live.values().any(|other: &Snapshot| {
                        other.id != id && (&other.resource, &other.name) == (&snapshot.resource, &snapshot.name)
                    });
                    let done = icecore::snapshot::rename(&repo, id, &snapshot.name, RenameOptions::default());
                    prop_assert_eq!(done.is_err(), is_taken);
                    if !is_taken {
                        live.insert(id, snapshot);
                    }
                }
                Step::Protect(at) => {
                    let Some((id, mut snapshot)) = chosen(&at, &live) else { continue };
                    snapshot.protected = !snapshot.protected;
                    icecore::snapshot::set_protected(&repo, id, snapshot.protected).unwrap();
                    live.insert(id, snapshot);
                }
                Step::Delete(at) => {
                    let Some((id, snapshot)) = chosen(&at, &live) else { continue };
                    let done = icecore::snapshot::delete(&repo, id, DeleteOptions::default());
                    prop_assert_eq!(done.is_err(), snapshot.protected);
                    if !snapshot.protected {
                        live.remove(&id);
                        deleted.insert(id, snapshot);
                    }
                }
                Step::Undelete(at) => {
                    let Some((id, snapshot)) = chosen(&at, &deleted) else { continue };
                    icecore::snapshot::undelete(&repo, &[id], RenameOptions { name_may_repeat: true }).unwrap();
                    deleted.remove(&id);
                    live.insert(id, snapshot);
                }
                Step::Collect => {
                    if collect(&repo).unwrap().packs_removed > 0 {
                        deleted.clear();
                    }
                }
                Step::OpenAgain => repo = open_with(&bench.storage, tail),
            }
            let mut expected: Vec<Snapshot> = live.values().cloned().collect();
            expected.sort_by_key(|snapshot| (snapshot.created_unix_ms, snapshot.id));
            prop_assert_eq!(&icecore::snapshot::list(&repo).unwrap(), &expected);
            let left = icecore::snapshot::list_deleted(&repo).unwrap();
            let left: BTreeMap<SnapshotId, Snapshot> =
                left.into_iter().map(|left| (left.snapshot.id, left.snapshot)).collect();
            prop_assert_eq!(&left, &deleted);
            for snapshot in &expected {
                let found = icecore::snapshot::find(&repo, &snapshot.id.to_string()).unwrap();
                prop_assert_eq!(&found, snapshot);
                let same: Vec<&Snapshot> = expected.iter().filter(|other| other.name == snapshot.name).collect();
                let found = icecore::snapshot::find(&repo, &snapshot.name).ok();
                prop_assert_eq!(found.as_ref(), if same.len() == 1 { Some(snapshot) } else { None });
                let latest = expected.iter().rfind(|other| other.resource == snapshot.resource);
                let found = icecore::snapshot::find(&repo, &format!("{}@latest", snapshot.resource)).ok();
                prop_assert_eq!(found.as_ref(), latest);
            }
            for id in deleted.keys() {
                let missing = icecore::snapshot::find(&repo, &id.to_string()).unwrap_err();
                prop_assert_eq!(missing.kind(), ErrorKind::NotFound);
            }
            prop_assert!(files(&bench.storage, "checkpoint/").len() <= 2);
            prop_assert!(files(&bench.storage, "journal/").len() as u64 <= 2 * tail + 1);
        }
    }
}

#[test]
fn whoever_only_looks_is_told_what_has_changed_through_many_checkpoints() {
    let storage = TestRepository::new().storage;
    let (writer, reader) = (open_with(&storage, 48), open(storage.clone()));
    let mut before = icecore::snapshot::now(&reader).unwrap();
    let mut known = BTreeMap::new();
    let mut random = Random::new(31);
    // Enough changes for the reader to go on from a later checkpoint, again and again.
    for round in 0..160 {
        let all: Vec<Snapshot> = (0..4).map(|_| take(&writer, "disk")).collect();
        let some = list(&writer)[random.below(3 * round + 3)];
        icecore::snapshot::rename(&writer, some, &format!("name {round}"), RenameOptions::default()).unwrap();
        icecore::snapshot::delete(&writer, all[1].id, DeleteOptions::default()).unwrap();
        let now = icecore::snapshot::now(&reader).unwrap();
        let changed = icecore::snapshot::changed_between(&reader, &before, &now).unwrap();
        for id in changed {
            match now.find(id).unwrap() {
                Some(snapshot) => drop(known.insert(id, snapshot)),
                None => drop(known.remove(&id)),
            }
        }
        before = now;
    }
    let there = icecore::snapshot::list(&writer).unwrap();
    let there: BTreeMap<SnapshotId, Snapshot> = there.into_iter().map(|it| (it.id, it)).collect();
    assert!(known == there, "{} are known, {} are there", known.len(), there.len());
    assert_eq!(before.count().unwrap(), there.len() as u64);
    let mut each = 0;
    before.for_each(|snapshot| each += usize::from(there[&snapshot.id] == snapshot)).unwrap();
    assert_eq!(each, there.len());
    // Of the time before that, nobody knows.
    let first = icecore::snapshot::now(&open(storage)).unwrap();
    assert!(icecore::snapshot::changed_between(&writer, &before, &first).is_some_and(|none| none.is_empty()));
}
