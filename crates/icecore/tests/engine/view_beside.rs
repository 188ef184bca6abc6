//! A disk of a snapshot while others use the repository: readers of the same disk, captures, gc.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use icecore::NoProgress;
use icecore::image::ReadAt;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotDisk;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::capture;
use icecore::snapshot::delete;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open_with_small_packs;
use icecore_testing::repository::options;

const BLOCK: usize = 4096;
const LEAF: usize = 4 << 20;

/// Opens a disk in a handle of its own.
fn disk(bench: &TestRepository, id: SnapshotId, cache_bytes: usize) -> SnapshotDisk {
    SnapshotDisk::open(Arc::new(bench.another()), id, BlockCache::new(cache_bytes)).unwrap()
}

/// Reads a range that a generator chooses, and compares it.
fn read_somewhere(disk: &SnapshotDisk, image: &[u8], noise: &mut Random) {
    let at = noise.below(image.len());
    let bytes = (1 + noise.below(300_000)).min(image.len() - at);
    let mut found = vec![0xa5; bytes];
    disk.read_at(at as u64, &mut found).unwrap();
    assert_same(&found, &image[at..at + bytes], &format!("bytes from {at} on"));
}

fn read_all(disk: &SnapshotDisk, image: &[u8], at_once: usize) {
    for (at, part) in (0..).step_by(at_once).zip(image.chunks(at_once)) {
        let mut found = vec![0xa5; part.len()];
        disk.read_at(at, &mut found).unwrap();
        assert_same(&found, part, &format!("bytes from {at} on"));
    }
}

#[test]
fn many_threads_read_one_disk_with_and_without_room_for_it() {
    let bench = TestRepository::new();
    let image = Random::new(40).disk(2 * LEAF + 12_345);
    let id = bench.snapshot("disk", &image);
    for cache_bytes in [0, 300_000, 64 << 20] {
        let (one, image) = (&disk(&bench, id, cache_bytes), &image);
        std::thread::scope(|threads| {
            for seed in 0..6 {
                threads.spawn(move || {
                    let mut noise = Random::new(seed);
                    (0..15).for_each(|_| read_somewhere(one, image, &mut noise));
                    read_all(one, image, 4096 << (2 * seed));
                });
            }
        });
    }
}

#[test]
fn workers_of_the_pool_may_read_too() {
    let bench = TestRepository::new();
    let image = Random::new(41).disk(LEAF);
    let id = bench.snapshot("disk", &image);
    let one = disk(&bench, id, 64 << 20);
    meanwhile(|| {
        rayon::scope(|tasks| {
            for seed in 0..8 {
                let (one, image) = (&one, &image);
                tasks.spawn(move |_| read_all(one, image, 30_000 + seed));
            }
        });
    });
}

/// Captures an image of which half of the blocks are those of `kept`, so that a gc has something to
/// take out of packs.
fn capture_beside(repo: &Repository, kept: &[u8], seed: u64) -> SnapshotId {
    let mut image = kept.to_vec();
    let mut noise = Random::new(seed);
    image.chunks_mut(BLOCK).step_by(2).for_each(|block| noise.fill(block));
    capture(repo, &image, &options("beside"), &NoProgress).unwrap().snapshot.id
}

#[test]
fn packs_that_gc_rewrites_are_found_where_they_are_now() {
    let bench = TestRepository::new();
    let writer = open_with_small_packs(bench.storage.clone()).unwrap();
    let mut image = Random::new(42).bytes(3 * LEAF / 2);
    let first = capture(&writer, &image, &options("disk"), &NoProgress).unwrap().snapshot.id;
    let mut noise = Random::new(43);
    image.chunks_mut(BLOCK).step_by(3).for_each(|block| noise.fill(block));
    let id = capture(&writer, &image, &options("disk"), &NoProgress).unwrap().snapshot.id;

    let packs = |bench: &TestRepository| -> Vec<String> {
        bench.storage.files().into_keys().filter(|name| name.starts_with("packs/")).collect()
    };
    let before = packs(&bench);
    // Opened before, and nothing of it read: where its chunks are is known from an index that will
    // be wrong.
    let cold = disk(&bench, id, 0);
    let warm = disk(&bench, id, 64 << 20);
    read_all(&warm, &image[..LEAF], 100_000);
    delete(&writer, first, DeleteOptions::default()).unwrap();
    collect(&writer).unwrap();
    let after = packs(&bench);
    let stayed = before.iter().filter(|pack| after.contains(pack)).count();
    assert!(stayed * 3 < before.len(), "{stayed} of {} packs are where they were", before.len());

    read_all(&cold, &image, 1 << 20);
    read_all(&warm, &image, 5000);
    assert_sound(&writer, "after all of it");
}

/// Tells threads to end when it goes.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_go_on_while_captures_and_gcs_come_and_go() {
    let bench = TestRepository::new();
    let writer = open_with_small_packs(bench.storage.clone()).unwrap();
    let image = Random::new(44).disk(LEAF + 77_777);
    let id = capture(&writer, &image, &options("disk"), &NoProgress).unwrap().snapshot.id;
    let over = AtomicBool::new(false);
    let disks = [disk(&bench, id, 0), disk(&bench, id, 200_000)];
    std::thread::scope(|threads| {
        for seed in 0..4 {
            let (disk, image, over) = (&disks[seed % 2], &image, &over);
            threads.spawn(move || {
                let mut noise = Random::new(seed as u64);
                while !over.load(Ordering::Relaxed) {
                    read_somewhere(disk, image, &mut noise);
                }
            });
        }
        // Also where what follows fails: the readers would never end.
        let _end = Ending(&over);
        for round in 0..6 {
            let beside = capture_beside(&writer, &image, 100 + round);
            delete(&writer, beside, DeleteOptions::default()).unwrap();
            collect(&writer).unwrap();
        }
    });
    disks.iter().for_each(|disk| read_all(disk, &image, 100_000));
}
