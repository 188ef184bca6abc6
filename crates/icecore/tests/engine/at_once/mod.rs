//! Operations at once, as several processes would do them, taken forward call by call: whatever the
//! order, no snapshot loses a byte, every operation ends, and gc gives back what is not used.

pub(crate) mod broken;
mod fixture;
pub(crate) mod hooked;
mod schedule;
mod stale;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::NoProgress;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::capture;
use icecore::storage::MemoryStorage;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::image_of;
use icecore_testing::repository::init;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open;
use icecore_testing::repository::open_with_small_packs;
use icecore_testing::repository::options;

use crate::at_once::broken::Break;
use crate::at_once::fixture::Doing;
use crate::at_once::fixture::Fixture;
use crate::at_once::hooked::hooked;
use crate::at_once::schedule::Plan;
use crate::volumes::support as volumes;

const SPAN: usize = 64 << 10;

#[test]
fn a_run_that_another_capture_merges_at_once_is_no_error() {
    // A capture opened the run that it had published by its name, and another one had merged and
    // removed it by then.
    let storage = MemoryStorage::new();
    let mut image = Random::new(81).bytes(3 * SPAN);
    let take =
        |repo: &Repository, image: &Vec<u8>| capture(repo, image, &options("disk"), &NoProgress).unwrap();
    take(&init(storage.clone()), &image);
    image.rotate_left(SPAN);
    take(&open(storage.clone()), &image);
    let merged = Arc::new(AtomicUsize::new(0));
    let hook = {
        let (storage, image, merged) = (storage.clone(), image.clone(), Arc::clone(&merged));
        move |call: &'static str, name: &str| {
            if (call, name) == ("sync_dir", "index") && merged.fetch_add(1, Ordering::SeqCst) == 0 {
                let mut image = image.clone();
                image.rotate_left(SPAN);
                meanwhile(|| drop(take(&open(storage.clone()), &image)));
                let runs = storage.files().keys().filter(|name| name.starts_with("index/")).count();
                assert_eq!(runs, 1, "all were merged");
            }
        }
    };
    let hooked = hooked(storage.clone(), Arc::new(hook));
    let other = Random::new(82).bytes(SPAN);
    let repo = open(hooked);
    let taken = take(&repo, &other);
    assert!(merged.load(Ordering::SeqCst) > 0);
    assert_same(&image_of(&repo, taken.snapshot.id), &other, "the handle that was overtaken");
    assert_sound(&open(storage), "afterwards");
}

fn packs(storage: &MemoryStorage) -> Vec<String> {
    storage.files().into_keys().filter(|name| name.starts_with("packs/")).collect()
}

#[test]
fn of_two_captures_of_an_image_the_second_stores_what_the_first_has_not_published() {
    let image = Random::new(83).bytes(3 * SPAN);
    let empty = || {
        let storage = MemoryStorage::new();
        drop(init(storage.clone()));
        storage
    };
    let alone = empty();
    capture(&open_with_small_packs(alone.clone()).unwrap(), &image, &options("disk"), &NoProgress).unwrap();
    for published in 1..=3 {
        let storage = empty();
        let (runs, second) = (AtomicUsize::new(0), Arc::new(OnceLock::new()));
        let hook = {
            let (storage, image, second) = (storage.clone(), image.clone(), Arc::clone(&second));
            move |call: &'static str, name: &str| {
                if (call, name) == ("sync_dir", "index")
                    && runs.fetch_add(1, Ordering::SeqCst) + 1 == published
                {
                    meanwhile(|| {
                        let repo = open_with_small_packs(storage.clone()).unwrap();
                        let taken = capture(&repo, &image, &options("other"), &NoProgress).unwrap();
                        second.set(taken.snapshot.stats.new_bytes).unwrap();
                    });
                }
            }
        };
        let repo = open_with_small_packs(hooked(storage.clone(), Arc::new(hook))).unwrap();
        capture(&repo, &image, &options("disk"), &NoProgress).unwrap();
        assert_eq!(second.get().copied(), Some(((3 - published) * SPAN) as u64));
        let repo = open_with_small_packs(storage.clone()).unwrap();
        assert_sound(&repo, "both");
        collect(&repo).unwrap();
        // Beside one of each, gc may leave a pack with the copy of the other record.
        assert!(packs(&storage).len() <= packs(&alone).len() + 1, "gc leaves one of each");
        assert_sound(&open(storage), "after gc");
    }
}

/// Returns how many times as many schedules as usual the environment asks for.
pub(crate) fn times() -> usize {
    std::env::var("ICECORE_SCHEDULES").ok().map_or(1, |times| times.parse().unwrap())
}

/// Returns some of a list, evenly spread; all of it if the environment asks for enough.
fn some<T: Clone>(all: &[T], count: usize) -> Vec<T> {
    all.iter().step_by(all.len().div_ceil(count * times()).max(1)).cloned().collect()
}

/// Operations of which the first is stopped at a call, and the others are done meanwhile.
const MEANWHILE: &[&[Doing]] = &[
    &[Doing::Capture(0), Doing::Gc],
    &[Doing::Capture(1), Doing::Gc],
    &[Doing::Capture(2), Doing::Delete(0), Doing::Gc],
    &[Doing::Capture(1), Doing::Capture(1), Doing::Gc],
    &[Doing::Capture(1), Doing::Repair],
    &[Doing::Gc, Doing::Capture(0)],
    &[Doing::Gc, Doing::Capture(1), Doing::Delete(1)],
    &[Doing::Gc, Doing::Delete(0), Doing::Capture(2)],
    &[Doing::Gc, Doing::Gc, Doing::Repair],
    &[Doing::Repair, Doing::Capture(1), Doing::Gc],
    &[Doing::Delete(1), Doing::Gc, Doing::Restore(1)],
    &[Doing::Restore(1), Doing::Delete(1), Doing::Gc],
    &[Doing::Restore(0), Doing::Gc, Doing::Repair],
    &[Doing::Verify, Doing::Capture(1), Doing::Gc],
    &[Doing::Verify, Doing::Delete(1), Doing::Gc],
    &[Doing::CopyIn, Doing::Gc],
    &[Doing::CopyIn, Doing::Delete(0), Doing::Gc],
    &[Doing::CopyIn, Doing::CopyIn, Doing::Gc],
    &[Doing::Gc, Doing::CopyIn],
    &[Doing::CopyOut(1), Doing::Delete(1), Doing::Gc],
];

#[test]
pub(crate) fn whatever_is_done_between_two_calls_of_an_operation() {
    let fixture = Fixture::new();
    for doings in MEANWHILE {
        let calls = fixture.play(doings, &Plan::Never, None).unwrap();
        for point in some(&calls[0], 8) {
            fixture.play(doings, &Plan::At(point), None).unwrap();
        }
    }
}

#[test]
fn whatever_two_operations_do_between_two_calls_of_each_other() {
    let fixture = Fixture::new();
    for doings in MEANWHILE {
        let calls = fixture.play(doings, &Plan::Never, None).unwrap();
        let mut noise = Random::new(92);
        for _ in 0..6 * times() {
            let [at, back] = [0, 1].map(|one| calls[one][noise.below(calls[one].len())].clone());
            fixture.play(doings, &Plan::Twice(at, back), None).unwrap();
        }
    }
}

#[test]
fn several_operations_in_any_order() {
    let fixture = Fixture::new();
    let mut noise = Random::new(93);
    let all = [
        Doing::Capture(0),
        Doing::Capture(1),
        Doing::Capture(2),
        Doing::Delete(0),
        Doing::Delete(1),
        Doing::Restore(0),
        Doing::Restore(1),
        Doing::Gc,
        Doing::Gc,
        Doing::Repair,
        Doing::Verify,
        Doing::CopyIn,
        Doing::CopyOut(0),
    ];
    for seed in 0..60 * times() as u64 {
        let doings: Vec<Doing> = (0..2 + noise.below(3)).map(|_| all[noise.below(all.len())]).collect();
        fixture.play(&doings, &Plan::Seed(seed, 4 + noise.below(20)), None).unwrap();
    }
}

#[test]
fn a_snapshot_that_is_deleted_and_copied_again_beside_gc_is_kept() {
    // It can have another manifest then, and gc took it for the one of the same id that it had
    // marked.
    let fixture = Fixture::new();
    for doings in [&[Doing::Gc, Doing::Recopy][..], &[Doing::Recopy, Doing::Gc, Doing::Gc]] {
        for seed in 0..25 * times() as u64 {
            fixture.play(doings, &Plan::Seed(seed, 4 + (seed % 20) as usize), None).unwrap();
        }
    }
}

#[test]
fn a_volume_and_a_snapshot_of_one_id_with_other_manifests_are_both_kept() {
    let fixture = Fixture::new();
    let (repo, id, image) = fixture.recopied("disk");
    let before = icecore::maintenance::stats(&repo, &NoProgress).unwrap().repository;
    assert!(before.unused_bytes > 0, "what neither needs: {before:?}");
    assert!(
        icecore::snapshot::own_bytes(&repo, &[id], &NoProgress).unwrap().manifest_bytes > 0,
        "its own pages"
    );
    collect(&repo).unwrap();
    let after = icecore::maintenance::stats(&repo, &NoProgress).unwrap().repository;
    assert_eq!(after.unused_bytes, 0);
    assert_sound(&repo, "after gc");
    assert_same(&image_of(&repo, id), image, "the snapshot");
    let volume = volumes::open(&repo, "disk").unwrap();
    assert_same(&volumes::content(&volume).unwrap(), image, "the volume");
    drop(volume);
    icecore::snapshot::delete(&repo, id, DeleteOptions { clones_keep_it: true }).unwrap();
    collect(&repo).unwrap();
    let volume = volumes::open(&repo, "disk").unwrap();
    assert_same(&volumes::content(&volume).unwrap(), image, "the volume without the snapshot");
}

/// Returns what goes wrong when something that keeps operations apart is left out, if anything
/// does.
fn without(left_out: Break, doings: &[Doing]) -> Option<String> {
    let fixture = Fixture::new();
    let calls = fixture.play(doings, &Plan::Never, None).unwrap();
    calls[0].iter().find_map(|point| fixture.play(doings, &Plan::At(point.clone()), Some(left_out)).err())
}

#[test]
fn what_keeps_operations_apart_is_missed_when_it_is_gone() {
    let missed = |left_out, doings: &[Doing]| {
        assert!(without(left_out, doings).is_some(), "{left_out:?} can be left out of {doings:?}");
    };
    missed(Break::Condemned, &[Doing::Capture(1), Doing::Gc]);
    missed(Break::PutNew, &[Doing::Capture(1), Doing::Capture(2)]);
    missed(Break::Lock("local/locks/pin"), &[Doing::Restore(1), Doing::Delete(1), Doing::Gc]);
    missed(Break::Lock("local/locks/gc"), &[Doing::Gc, Doing::Gc]);
    missed(Break::Condemned, &[Doing::CopyIn, Doing::Gc]);
    missed(Break::Lock("local/locks/pin"), &[Doing::CopyOut(1), Doing::Delete(1), Doing::Gc]);
}

#[test]
fn what_only_saves_work_loses_nothing_when_it_is_gone() {
    // Of two entries of one number, the storage takes one.
    assert_eq!(without(Break::Lock("local/locks/journal"), &[Doing::Capture(1), Doing::Gc]), None);
    assert_eq!(without(Break::Lock("local/locks/journal"), &[Doing::Gc, Doing::Capture(1)]), None);
    assert_eq!(without(Break::Lock("local/locks/journal"), &[Doing::Capture(1), Doing::Capture(2)]), None);
    // Gc takes the packs of a capture that runs: it finds out at its end, and reads the image
    // again.
    assert_eq!(without(Break::Announcements, &[Doing::Capture(1), Doing::Gc]), None);
    // A merge beside gc brings back entries that lead nowhere: they are not followed.
    assert_eq!(without(Break::Lock("local/locks/index"), &[Doing::Capture(1), Doing::Gc]), None);
    assert_eq!(without(Break::Lock("local/locks/index"), &[Doing::Gc, Doing::Capture(1)]), None);
}
