//! What one process knows of the index while others change it. A run that gc has replaced must not
//! come back: its entries lead to packs that are gone, for ever, and each look-up of what was in
//! them opens a pack that is not there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::maintenance::gc;
use icecore::maintenance::verify_and_note;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::capture;
use icecore::snapshot::delete;
use icecore::snapshot::list;
use icecore::storage::LockMode;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore::storage::Wait;
use icecore_testing::bytes::assert_same;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::image_of;
use icecore_testing::repository::init_apart as init;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open_apart as open;
use icecore_testing::repository::options;

use crate::at_once::SPAN;
use crate::at_once::hooked::Watch;
use crate::at_once::hooked::hooked;
use crate::at_once::packs;
use crate::damage::noise;

fn take(repo: &Repository, volume: &str, image: &[u8]) -> SnapshotId {
    capture(repo, &image.to_vec(), &options(volume), &NoProgress).unwrap().snapshot.id
}

/// Captures an image on a handle of its own so that its chunks, which have the ids that they have
/// always, give other packs.
fn take_at_another_level(storage: &MemoryStorage, volume: &str, image: &[u8]) -> SnapshotId {
    let how = CaptureOptions { level: Some(9), ..options(volume) };
    capture(&open(storage.clone()), &image.to_vec(), &how, &NoProgress).unwrap().snapshot.id
}

fn runs(storage: &MemoryStorage) -> BTreeSet<String> {
    storage.files().into_keys().filter(|name| name.starts_with("index/")).collect()
}

/// Returns the packs that the index names, as their files are called.
fn named(storage: &MemoryStorage) -> BTreeSet<String> {
    let of_run = |run: String| {
        let run = storage.files().remove(&run).unwrap();
        let packs = usize::try_from(u32::from_le_bytes(*run[12..].first_chunk().unwrap())).unwrap();
        let name = |id: &[u8]| {
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("packs/{hex}")
        };
        run[64..64 + 32 * packs].chunks(32).map(name).collect::<Vec<_>>()
    };
    runs(storage).into_iter().flat_map(of_run).collect()
}

fn data_packs(storage: &MemoryStorage) -> Vec<String> {
    let files = storage.files().into_iter();
    files.filter(|(name, bytes)| name.starts_with("packs/") && bytes[10] == 1).map(|(name, _)| name).collect()
}

/// Two snapshots, each with packs and runs of its own, so that the next capture merges the runs.
fn two() -> (MemoryStorage, [SnapshotId; 2]) {
    let storage = MemoryStorage::new();
    let repo = init(storage.clone());
    let ids = [1, 2].map(|seed| take(&repo, &format!("volume {seed}"), &Random::new(seed).bytes(2 * SPAN)));
    assert_eq!(runs(&storage).len(), 4);
    (storage, ids)
}

fn assert_names_what_is_there(storage: &MemoryStorage, gone: &BTreeSet<String>) {
    assert!(gone.iter().any(|pack| !packs(storage).contains(pack)), "gc has removed something");
    assert_eq!(
        named(storage),
        packs(storage).into_iter().collect(),
        "packs that the index names, and those that there are"
    );
    assert_sound(&open(storage.clone()), "afterwards");
}

#[test]
fn a_merge_of_runs_brings_nothing_back_that_gc_took_out_just_before() {
    let (storage, [first, _]) = two();
    let before = packs(&storage).into_iter().collect();
    let collected = Arc::new(AtomicBool::new(false));
    let hook = {
        let (storage, collected) = (storage.clone(), Arc::clone(&collected));
        move |call: &'static str, name: &str| {
            if (call, name) == ("lock", "local/locks/index") && !collected.swap(true, Ordering::SeqCst) {
                meanwhile(|| {
                    let repo = open(storage.clone());
                    delete(&repo, first, DeleteOptions::default()).unwrap();
                    collect(&repo).unwrap();
                });
            }
        }
    };
    let image = Random::new(3).bytes(SPAN);
    let id = take(&open(hooked(storage.clone(), Arc::new(hook))), "volume 3", &image);
    assert!(collected.load(Ordering::SeqCst), "the capture was about to merge");
    assert_same(&image_of(&open(storage.clone()), id), &image, "what was captured meanwhile");
    assert_names_what_is_there(&storage, &before);
}

#[test]
fn gc_does_not_wait_for_a_merge_of_runs_that_waits_for_those_who_commit() {
    let (storage, [first, _]) = two();
    let before = packs(&storage).into_iter().collect();
    let (merging, collected) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let hook = {
        let (storage, collected) = (storage.clone(), Arc::clone(&collected));
        move |call: &'static str, name: &str| match (call, name) {
            ("lock", "local/locks/merge") => merging.store(1, Ordering::SeqCst),
            // The first time, the merge begins.
            ("lock", "local/locks/index")
                if merging.load(Ordering::SeqCst) > 0 && merging.fetch_add(1, Ordering::SeqCst) == 2 =>
            {
                let index = storage.lock("local/locks/index", LockMode::Exclusive, Wait::No).unwrap();
                assert!(index.is_some(), "the merge holds it");
                drop(index);
                meanwhile(|| {
                    let repo = open(storage.clone());
                    delete(&repo, first, DeleteOptions::default()).unwrap();
                    collect(&repo).unwrap();
                });
                collected.store(true, Ordering::SeqCst);
            }
            _ => {}
        }
    };
    let image = Random::new(3).bytes(SPAN);
    let id = take(&open(hooked(storage.clone(), Arc::new(hook))), "volume 3", &image);
    assert!(collected.load(Ordering::SeqCst), "the capture was about to remove what it had merged");
    assert_same(&image_of(&open(storage.clone()), id), &image, "what was captured meanwhile");
    assert_names_what_is_there(&storage, &before);
}

#[test]
fn gc_takes_its_packs_out_of_runs_that_were_merged_after_it_had_marked() {
    let (storage, [first, _]) = two();
    let before = packs(&storage).into_iter().collect();
    let collector = open(storage.clone());
    delete(&collector, first, DeleteOptions::default()).unwrap();
    let plan = gc::plan(&collector, &gc::GcOptions::new(0.0), &NoProgress).unwrap();
    let image = Random::new(3).bytes(SPAN);
    let id = take(&open(storage.clone()), "volume 3", &image);
    assert!(runs(&storage).len() < 6, "it merged runs");
    gc::apply(&collector, plan, &NoProgress).unwrap();
    assert_same(&image_of(&open(storage.clone()), id), &image, "what was captured meanwhile");
    assert_names_what_is_there(&storage, &before);
}

#[test]
fn a_pack_that_a_killed_capture_left_goes_while_another_capture_stores_the_same_anew() {
    // A capture had published a pack and was killed before its run, so that gc takes the pack for
    // unused. Another capture stores the same anew, in a pack of another name. Its pages are old
    // ones, and known.
    let storage = MemoryStorage::new();
    let image = noise(1, SPAN);
    let first = take(&init(storage.clone()), "first", &image);
    let old = data_packs(&storage).remove(0);
    let mut bytes = storage.files().remove(&old).unwrap();
    bytes[64 + 40 + 9] ^= 1;
    storage.put(&old, bytes);
    verify_and_note(&open(storage.clone()), None, Depth::ReadData, 1, &NoProgress).unwrap();
    let before = runs(&storage);
    delete(
        &open(storage.clone()),
        take_at_another_level(&storage, "killed", &image),
        DeleteOptions::default(),
    )
    .unwrap();
    runs(&storage).difference(&before).for_each(|run| storage.remove(run).unwrap());
    let left = data_packs(&storage).into_iter().find(|pack| *pack != old).unwrap();

    let (marked, second) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::new()));
    let hook = {
        let (storage, image, marked, second) =
            (storage.clone(), image.clone(), Arc::clone(&marked), Arc::clone(&second));
        move |call: &'static str, name: &str| {
            if (call, name) == ("lock", "local/locks/journal") && marked.swap(false, Ordering::SeqCst) {
                meanwhile(|| second.set(take_at_another_level(&storage, "second", &image)).unwrap());
            }
        }
    };
    let collector = open(hooked(storage.clone(), Arc::new(hook)));
    let plan = gc::plan(&collector, &gc::GcOptions::new(0.0), &NoProgress).unwrap();
    assert_eq!(plan.totals.packs_removed, 1, "that of the capture that was killed");
    marked.store(true, Ordering::SeqCst);
    gc::apply(&collector, plan, &NoProgress).unwrap();
    assert!(!data_packs(&storage).contains(&left), "nothing leads to it");
    assert_eq!(data_packs(&storage).len(), 2);
    for id in [first, *second.get().unwrap()] {
        assert_same(&image_of(&open(storage.clone()), id), &image, "what was stored anew");
    }
}

/// Has something done when a capture is about to put its entry: when it takes the journal's lock.
struct BeforeRecord {
    what: Box<dyn Fn() + Send + Sync>,
    locked: AtomicUsize,
}

impl BeforeRecord {
    fn new(what: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { what: Box::new(what), locked: AtomicUsize::new(0) })
    }
}

impl Watch for BeforeRecord {
    fn before(&self, call: &'static str, name: &str) {
        if (call, name) == ("lock", "local/locks/journal") && self.locked.fetch_add(1, Ordering::SeqCst) == 0
        {
            (self.what)();
        }
    }
}

/// Captures an image, and has something done when all of it was looked up and the record is about
/// to be published. Returns how often the image was read.
fn take_while(
    storage: &MemoryStorage,
    image: &[u8],
    what: impl Fn(&Repository) + Send + Sync + 'static,
) -> u64 {
    let hook = {
        let storage = storage.clone();
        BeforeRecord::new(move || meanwhile(|| what(&open(storage.clone()))))
    };
    let source = TestImage::full(image);
    let repo = open(hooked(storage.clone(), hook));
    let id = capture(&repo, &source, &options("disk"), &NoProgress).unwrap().snapshot.id;
    assert_same(&image_of(&open(storage.clone()), id), image, "what was captured meanwhile");
    assert_sound(&open(storage.clone()), "afterwards");
    source.bytes_read() / image.len() as u64
}

/// A chunk of which a snapshot that goes has all blocks, and one that stays some.
fn shared() -> (MemoryStorage, SnapshotId, Vec<u8>) {
    let storage = MemoryStorage::new();
    let chunk = Random::new(4).bytes(SPAN);
    let repo = init(storage.clone());
    let goes = take(&repo, "goes", &chunk);
    take(&repo, "stays", &chunk[..SPAN / 4]);
    (storage, goes, chunk)
}

#[test]
fn an_image_is_read_again_where_gc_took_blocks_out_of_their_chunk_that_were_known_before() {
    let (storage, goes, chunk) = shared();
    // With something new, so that its pages are its own.
    let image = [&chunk[..], &Random::new(5).bytes(SPAN)].concat();
    let times = take_while(&storage, &image, move |repo| {
        delete(repo, goes, DeleteOptions::default()).unwrap();
        collect(repo).unwrap();
    });
    assert_eq!(times, 2);
}

#[test]
fn an_image_is_not_read_again_where_gc_took_away_what_it_does_not_need() {
    let (storage, goes, chunk) = shared();
    // More than a leaf, so that there is a page above.
    let image = [&chunk[..SPAN / 4], &Random::new(5).bytes(80 * SPAN)].concat();
    let times = take_while(&storage, &image, move |repo| {
        delete(repo, goes, DeleteOptions::default()).unwrap();
        collect(repo).unwrap();
    });
    assert_eq!(times, 1);
}

#[test]
fn a_name_that_another_capture_takes_meanwhile_is_refused_unless_it_may_be_repeated() {
    for may_repeat in [false, true] {
        let storage = MemoryStorage::new();
        drop(init(storage.clone()));
        let how = CaptureOptions { name: "same".to_owned(), name_may_repeat: may_repeat, ..options("disk") };
        let hook = {
            let (storage, how) = (storage.clone(), how.clone());
            BeforeRecord::new(move || {
                let how = CaptureOptions { id: options("disk").id, ..how.clone() };
                meanwhile(|| {
                    drop(capture(&open(storage.clone()), &vec![1; SPAN], &how, &NoProgress).unwrap());
                });
            })
        };
        let taken = capture(&open(hooked(storage.clone(), hook)), &vec![2; SPAN], &how, &NoProgress);
        assert_eq!(taken.err().map(|error| error.kind()), (!may_repeat).then_some(ErrorKind::AlreadyExists));
        assert_eq!(list(&open(storage)).unwrap().len(), if may_repeat { 2 } else { 1 });
    }
}
