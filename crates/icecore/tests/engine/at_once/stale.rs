//! What one process knows of the index while others change it. A run that gc has replaced must not come back: its entries lead to
//! packs that are gone, for ever, and each look-up of what was in them opens a pack that is not there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use icecore::MemoryStorage;
use icecore::NoProgress;
use icecore::Repository;
use icecore::SnapshotId;
use icecore::capture;
use icecore::delete;
use icecore::gc;

use crate::at_once::SPAN;
use crate::at_once::hooked::Hooked;
use crate::at_once::packs;
use crate::noise::Noise;
use crate::support::assert_same;
use crate::support::assert_sound;
use crate::support::collect;
use crate::support::image_of;
use crate::support::init;
use crate::support::meanwhile;
use crate::support::open;
use crate::support::options;

fn take(repo: &Repository, volume: &str, image: &Vec<u8>) -> SnapshotId {
    capture(repo, image, &options(volume), &NoProgress).unwrap().snapshot.id
}

/// Returns the packs that the index names, as their files are called.
fn named(storage: &MemoryStorage) -> BTreeSet<String> {
    let runs = storage.files().into_iter().filter(|(name, _)| name.starts_with("index/"));
    let of_run = |(_, run): (String, Vec<u8>)| {
        let packs = usize::try_from(u32::from_le_bytes(*run[12..].first_chunk().unwrap())).unwrap();
        let name = |id: &[u8]| {
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("packs/{}/{hex}", &hex[..2])
        };
        run[64..64 + 32 * packs].chunks(32).map(name).collect::<Vec<_>>()
    };
    runs.flat_map(of_run).collect()
}

/// Two snapshots, each with packs and runs of its own, so that the next capture merges the runs.
fn two() -> (MemoryStorage, [SnapshotId; 2]) {
    let storage = MemoryStorage::new();
    let repo = init(storage.clone());
    let ids = [1, 2].map(|seed| take(&repo, &format!("volume {seed}"), &Noise(seed).bytes(2 * SPAN)));
    assert_eq!(storage.files().keys().filter(|name| name.starts_with("index/")).count(), 4);
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
            if (call, name) == ("lock", "locks/index") && !collected.swap(true, Ordering::SeqCst) {
                meanwhile(|| {
                    let repo = open(storage.clone());
                    delete(&repo, first).unwrap();
                    collect(&repo).unwrap();
                });
            }
        }
    };
    let image = Noise(3).bytes(SPAN);
    let id = take(&open(Hooked::new(storage.clone(), Arc::new(hook))), "volume 3", &image);
    assert!(collected.load(Ordering::SeqCst), "the capture was about to merge");
    assert_same(&image_of(&open(storage.clone()), id), &image, "what was captured meanwhile");
    assert_names_what_is_there(&storage, &before);
}

#[test]
fn gc_takes_its_packs_out_of_runs_that_were_merged_after_it_had_marked() {
    let (storage, [first, _]) = two();
    let before = packs(&storage).into_iter().collect();
    let collector = open(storage.clone());
    delete(&collector, first).unwrap();
    let plan = gc::plan(&collector, &gc::GcOptions { max_unused: 0.0 }, &NoProgress).unwrap();
    let image = Noise(3).bytes(SPAN);
    let id = take(&open(storage.clone()), "volume 3", &image);
    assert_eq!(storage.files().keys().filter(|name| name.starts_with("index/")).count(), 3, "it merged runs");
    gc::apply(&collector, plan, &NoProgress).unwrap();
    assert_same(&image_of(&open(storage.clone()), id), &image, "what was captured meanwhile");
    assert_names_what_is_there(&storage, &before);
}

#[test]
fn gc_removes_what_a_snapshot_made_meanwhile_has_in_packs_of_its_own() {
    // The capture begins before there is a pack with its first chunk, so that it stores the chunk itself, and ends when gc has
    // marked that pack as unused and is about to remove it.
    let storage = MemoryStorage::new();
    drop(init(storage.clone()));
    let shared = Noise(1).bytes(SPAN);
    let image = [shared.clone(), Noise(2).bytes(SPAN)].concat();
    let (paused, begun) = mpsc::channel();
    let (go, going) = mpsc::channel::<()>();
    let (ended, end) = mpsc::channel();
    let going = Mutex::new(Some(going));
    let pause = move |call: &'static str, name: &str| {
        if call == "create"
            && name.starts_with("tmp/")
            && let Some(going) = going.lock().unwrap().take()
        {
            paused.send(()).unwrap();
            going.recv().unwrap();
        }
    };
    std::thread::scope(|threads| {
        let capturing = threads.spawn(|| {
            let repo = open(Hooked::new(storage.clone(), Arc::new(pause)));
            let id = take(&repo, "slow", &image);
            ended.send(()).unwrap();
            id
        });
        begun.recv().unwrap();
        let fast = open(storage.clone());
        delete(&fast, take(&fast, "fast", &shared)).unwrap();
        let unused: BTreeSet<String> = packs(&storage).into_iter().collect();

        let marked = Arc::new(AtomicBool::new(false));
        let (end, go) = (Mutex::new(end), Mutex::new(go));
        let hook = {
            let marked = Arc::clone(&marked);
            move |call: &'static str, name: &str| {
                if (call, name) == ("lock", "locks/commit") && marked.swap(false, Ordering::SeqCst) {
                    go.lock().unwrap().send(()).unwrap();
                    end.lock().unwrap().recv().unwrap();
                }
            }
        };
        let collector = open(Hooked::new(storage.clone(), Arc::new(hook)));
        let plan = gc::plan(&collector, &gc::GcOptions { max_unused: 0.0 }, &NoProgress).unwrap();
        marked.store(true, Ordering::SeqCst);
        gc::apply(&collector, plan, &NoProgress).unwrap();
        assert!(!marked.load(Ordering::SeqCst), "the capture ended meanwhile");

        let id = capturing.join().unwrap();
        assert_same(&image_of(&open(storage.clone()), id), &image, "what was captured meanwhile");
        assert!(unused.iter().all(|pack| !packs(&storage).contains(pack)), "nothing needs them");
        assert_names_what_is_there(&storage, &unused);
    });
}
