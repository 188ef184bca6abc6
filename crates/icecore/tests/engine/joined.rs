//! Small packs that captures put together.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::NoProgress;
use icecore::maintenance::Event;
use icecore::maintenance::log;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::capture;
use icecore::snapshot::delete;
use icecore::snapshot::undelete;
use icecore::storage::MemoryStorage;
use icecore_testing::random::Random;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::init;
use icecore_testing::repository::init_options;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;

use crate::at_once::hooked::Watch;
use crate::at_once::hooked::hooked;

const BLOCK: usize = 4096;

/// Snapshots of one disk, each with one new block, and what they hold.
struct Disk {
    storage: MemoryStorage,
    image: Vec<u8>,
    noise: Random,
    taken: Vec<(SnapshotId, Vec<u8>)>,
}

impl Disk {
    fn new(repo: &Repository, storage: &MemoryStorage) -> Self {
        let mut noise = Random::new(71);
        let image = noise.bytes(64 * BLOCK);
        let mut disk = Self { storage: storage.clone(), image, noise, taken: Vec::new() };
        disk.take(repo);
        disk
    }

    fn take(&mut self, repo: &Repository) {
        let at = self.noise.below(64) * BLOCK;
        self.image[at..at + BLOCK].copy_from_slice(&self.noise.bytes(BLOCK));
        let taken = capture(repo, &self.image, &options("disk"), &NoProgress).unwrap();
        self.taken.push((taken.snapshot.id, self.image.clone()));
    }

    fn count(&self, dir: &str) -> usize {
        self.storage.files().keys().filter(|name| name.starts_with(dir)).count()
    }

    fn all_restore(&self, when: &str) {
        let repo = open(self.storage.clone());
        assert_sound(&repo, when);
        self.taken.iter().for_each(|(id, image)| restores(&repo, *id, image).unwrap());
    }
}

fn joined(repo: &Repository) -> Vec<u64> {
    let events = log(repo).unwrap().into_iter().flat_map(|entry| entry.events);
    events.filter_map(|event| if let Event::Joined { packs } = event { Some(packs) } else { None }).collect()
}

#[test]
fn many_small_captures_leave_few_files() {
    let storage = MemoryStorage::new();
    let mut disk = Disk::new(&init(storage.clone()), &storage);
    for _ in 0..300 {
        disk.take(&open(storage.clone()));
    }
    // Up to 16 that are new, and seven of each class and kind.
    assert!(disk.count("packs/") <= 16 + 5 * 7, "{} packs", disk.count("packs/"));
    assert!(disk.count("index/") <= 16, "{} runs", disk.count("index/"));
    assert!(joined(&open(storage.clone())).iter().all(|packs| *packs >= 8));
    disk.all_restore("in the end");
    let (repo, before) = (open(storage.clone()), disk.count("packs/"));
    let (gone, kept) = disk.taken.split_at(150);
    gone.iter().for_each(|(id, _)| drop(delete(&repo, *id, DeleteOptions::default()).unwrap()));
    collect(&repo).unwrap();
    assert!(disk.count("packs/") < before);
    disk.taken = kept.to_vec();
    disk.all_restore("after gc");
}

#[test]
fn a_snapshot_that_was_deleted_before_its_pack_was_joined_can_be_restored() {
    let storage = MemoryStorage::new();
    let mut disk = Disk::new(&init(storage.clone()), &storage);
    let repo = open(storage.clone());
    (0..6).for_each(|_| disk.take(&repo));
    let id = disk.taken[3].0;
    delete(&repo, id, DeleteOptions::default()).unwrap();
    while joined(&repo).is_empty() {
        disk.take(&repo);
    }
    undelete(&repo, &[id], RenameOptions::default()).unwrap();
    disk.all_restore("after the joining");
}

#[test]
fn a_repository_with_parity_leaves_small_packs_to_gc() {
    let storage = MemoryStorage::new();
    let how = InitOptions { parity: Some("4+2".parse().unwrap()), ..init_options() };
    let mut disk =
        Disk::new(&Repository::init(Arc::new(storage.clone()), session(), &how).unwrap(), &storage);
    let repo = open(storage.clone());
    (0..40).for_each(|_| disk.take(&repo));
    assert_eq!((disk.count("packs/"), joined(&repo)), (41, vec![]));
    collect(&repo).unwrap();
    assert!(disk.count("packs/") < 15);
    disk.all_restore("after gc");
}

/// Returns a disk that needs this many snapshots more before small packs are put together.
fn nearly_due(captures_left: usize) -> Disk {
    let storage = MemoryStorage::new();
    let mut disk = Disk::new(&init(storage.clone()), &storage);
    let repo = open(storage.clone());
    (1..16 - captures_left).for_each(|_| disk.take(&repo));
    disk
}

/// Does something before a call to the storage, once, while no lock is held that it would wait for.
struct Stop {
    point: usize,
    calls: AtomicUsize,
    held: Mutex<Vec<String>>,
    does: Box<dyn Fn() + Send + Sync>,
    done: AtomicBool,
}

impl Watch for Stop {
    fn before(&self, call: &'static str, name: &str) {
        let is_free = self.held.lock().unwrap().is_empty();
        if self.calls.fetch_add(1, Ordering::SeqCst) >= self.point
            && is_free
            && !self.done.swap(true, Ordering::SeqCst)
        {
            meanwhile(|| (self.does)());
        }
        if call == "lock" && !["gc", "pin", "writer"].iter().any(|lock| name.contains(lock)) {
            self.held.lock().unwrap().push(name.to_owned());
        }
    }

    fn released(&self, name: &str) {
        self.held.lock().unwrap().retain(|held| held != name);
    }
}

/// Does something before each call to the storage that another operation makes, once for each call.
/// Both get a disk of their own.
fn beside(
    disk: impl Fn() -> Disk,
    operation: impl Fn(&mut Disk, &Repository),
    meanwhile_does: fn(&mut Disk, &Repository),
    check: impl Fn(&Disk, usize),
) {
    for point in 0.. {
        let mut disk = disk();
        let (storage, image) = (disk.storage.clone(), disk.image.clone());
        let of_other = Arc::new(Mutex::new(Vec::new()));
        let does = {
            let (storage, of_other) = (storage.clone(), Arc::clone(&of_other));
            move || {
                let (storage, image, noise) = (storage.clone(), image.clone(), Random::new(72));
                let mut beside = Disk { storage: storage.clone(), image, noise, taken: Vec::new() };
                meanwhile_does(&mut beside, &open(storage));
                of_other.lock().unwrap().extend(beside.taken);
            }
        };
        let stop = Arc::new(Stop {
            point,
            calls: AtomicUsize::new(0),
            held: Mutex::default(),
            does: Box::new(does),
            done: AtomicBool::new(false),
        });
        let watch: Arc<dyn Watch> = stop.clone();
        operation(&mut disk, &open(hooked(storage, watch)));
        if !stop.done.load(Ordering::SeqCst) {
            assert!(point > 50, "it makes more calls");
            return;
        }
        disk.taken.append(&mut of_other.lock().unwrap());
        disk.all_restore(&format!("stopped before call {point}"));
        check(&disk, point);
    }
}

#[test]
fn a_capture_that_refers_to_packs_that_go_meanwhile_is_whole_and_done_once() {
    beside(
        || nearly_due(2),
        |disk, repo| {
            let before = disk.count("packs/");
            disk.take(repo);
            assert!(disk.count("packs/") <= before + 3);
        },
        |disk, repo| (0..4).for_each(|_| disk.take(repo)),
        |disk, point| {
            let repo = open(disk.storage.clone());
            assert_eq!(joined(&repo).len(), 1, "stopped before call {point}");
        },
    );
}

#[test]
fn whatever_is_done_while_packs_are_put_together_nothing_is_lost() {
    let joins = |disk: &mut Disk, repo: &Repository| disk.take(repo);
    let captures = |disk: &mut Disk, repo: &Repository| (0..3).for_each(|_| disk.take(repo));
    let collects = |disk: &mut Disk, repo: &Repository| {
        disk.take(repo);
        // It may find the lock of gc taken.
        let _ = collect(repo);
        disk.take(repo);
    };
    beside(|| nearly_due(1), joins, captures, |_, _| ());
    beside(|| nearly_due(1), joins, collects, |_, _| ());
}
