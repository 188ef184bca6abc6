//! Many threads use volumes, while snapshots are taken and a gc runs.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::volume::Volume;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::image_of;

use crate::volumes::support::content;
use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

const BLOCK: usize = 4096;
const WRITERS: usize = 3;
/// Blocks of each writer, side by side with those of the others: several writers change each region
/// and share its map.
const BLOCKS: usize = 40;
/// Bytes at the beginning of each block that its writer writes a number to, over and over.
const NUMBER_BYTES: usize = 8;
const ROUNDS: u64 = 5000;
/// Bytes at the end of the image that all threads write to at once.
const SHARED_BYTES: usize = 3 * BLOCK + 77;
const OWN_BYTES: usize = WRITERS * BLOCKS * BLOCK;
const IMAGE_BYTES: usize = OWN_BYTES + SHARED_BYTES;

/// How often everything here is done; `ICECORE_VOLUME_WRITES` makes it more.
fn rounds() -> u64 {
    std::env::var("ICECORE_VOLUME_WRITES").ok().map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

fn block_of(writer: usize, number: usize) -> usize {
    (number * WRITERS + writer) * BLOCK
}

fn number_at(image: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(image[at..at + NUMBER_BYTES].try_into().unwrap())
}

/// Writes rising numbers to the blocks of one writer, one after the other, and zeroes the rest of
/// some. Only a part of a block is written, so that what lies below it has to be filled in. Returns
/// the last number.
fn write(volume: &Volume, writer: usize, synced: &AtomicU64) -> u64 {
    let mut next = 1;
    for round in 0..rounds() {
        for number in 0..BLOCKS {
            let at = block_of(writer, number) as u64;
            volume.write_at(at, &u64::to_le_bytes(next)).unwrap();
            if (round + number as u64).is_multiple_of(7) {
                volume.zero_at(at + 2048..at + BLOCK as u64).unwrap();
            }
            next += 1;
        }
        // All threads at once: each byte is what one of them wrote.
        let shared = [u8::try_from(writer + 1).unwrap(); 2 * BLOCK];
        let at = OWN_BYTES as u64 + round * 613 % BLOCK as u64;
        volume.write_at(at, &shared).unwrap();
        if writer == 0 {
            volume.zero_at(at + 100..at + 5000).unwrap();
        }
        volume.sync().unwrap();
        synced.store(next - 1, Ordering::SeqCst);
    }
    next - 1
}

/// Checks that an image is the volume at one moment: of each writer everything up to some number,
/// and nothing after it.
fn check_moment(image: &[u8], origin: &[u8], at_least: &[u64]) {
    for (writer, at_least) in at_least.iter().enumerate() {
        let numbers: Vec<u64> =
            (0..BLOCKS).map(|number| number_at(image, block_of(writer, number))).collect();
        let unwritten = |number: usize| {
            let at = block_of(writer, number);
            image[at..at + NUMBER_BYTES] == origin[at..at + NUMBER_BYTES]
        };
        let last = (0..BLOCKS).filter(|at| !unwritten(*at)).map(|at| numbers[at]).max().unwrap_or(0);
        assert!(last >= *at_least, "writer {writer}: {last}, and {at_least} was synced before");
        for (number, found) in numbers.iter().enumerate() {
            // The largest number not above the last that goes to this block.
            let slot = number as u64 + 1;
            let blocks = BLOCKS as u64;
            match last.checked_sub(slot) {
                None => assert!(unwritten(number), "writer {writer}, block {number}: {found} of {last}"),
                Some(since) => {
                    let wanted = slot + since / blocks * blocks;
                    assert_eq!(*found, wanted, "writer {writer}, block {number}, up to {last}");
                }
            }
            // Between the number and what is zeroed nobody writes.
            let at = block_of(writer, number);
            let (from, to) = (at + NUMBER_BYTES, at + 2048);
            assert_same(&image[from..to], &origin[from..to], "what nobody wrote");
            let rest = &image[at + 2048..at + BLOCK];
            let kept = &origin[at + 2048..at + BLOCK];
            assert!(rest == kept || rest.iter().all(|byte| *byte == 0), "a block that is zeroed in part");
        }
    }
}

/// Says that the others may end, also when something fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Two volumes of one snapshot and what was taken of them.
struct TwoVolumes {
    repo: Arc<Repository>,
    origin: Vec<u8>,
    base: SnapshotId,
}

impl TwoVolumes {
    fn new(bench: &TestRepository) -> Self {
        let origin = Random::new(41).bytes(IMAGE_BYTES);
        let base = bench.snapshot("origin", &origin);
        let repo = Arc::new(bench.another());
        for name in ["one", "two"] {
            icecore::volume::create_volume(&repo, &volume_options(name, Some(base), None)).unwrap();
        }
        Self { repo, origin, base }
    }
}

#[test]
fn snapshots_of_a_volume_that_is_written_to_are_moments_of_it() {
    let bench = TestRepository::new();
    let two_volumes = TwoVolumes::new(&bench);
    let [one, two] = ["one", "two"].map(|name| open(&two_volumes.repo, name).unwrap());
    assert_eq!(open(&two_volumes.repo, "one").err().unwrap().kind(), ErrorKind::InUse);
    assert_eq!(icecore::volume::reset_volume(&two_volumes.repo, "one").unwrap_err().kind(), ErrorKind::InUse);
    two.write_at(0, &[7; 3 * BLOCK]).unwrap();
    let synced: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let last = Mutex::new(vec![0; WRITERS]);
    let done = AtomicBool::new(false);
    let taken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let ends = Done(&done);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (one, synced, last) = (&one, &synced[writer], &last);
                scope.spawn(move || {
                    let number = write(one, writer, synced);
                    last.lock().unwrap()[writer] = number;
                })
            })
            .collect();
        // Reads what the writers write: numbers never go back.
        scope.spawn(|| {
            let mut seen = vec![0; WRITERS * BLOCKS];
            while !done.load(Ordering::SeqCst) {
                for (block, seen) in seen.iter_mut().enumerate() {
                    let mut number = [0; NUMBER_BYTES];
                    one.read_at((block * BLOCK) as u64, &mut number).unwrap();
                    let at = block * BLOCK;
                    if number != two_volumes.origin[at..at + NUMBER_BYTES] {
                        let number = u64::from_le_bytes(number);
                        assert!(number >= *seen, "block {block} went back from {seen} to {number}");
                        *seen = number;
                    }
                }
            }
        });
        // Another process collects, and deletes all snapshots but the last: the volumes stand on
        // them.
        let (done_ref, bench_ref, taken_ref) = (&done, &bench, &taken);
        scope.spawn(move || {
            let other = bench_ref.another();
            while !done_ref.load(Ordering::SeqCst) {
                let known: Vec<SnapshotId> =
                    taken_ref.lock().unwrap().iter().map(|(id, _): &(SnapshotId, Vec<u8>)| *id).collect();
                for id in &known {
                    match icecore::snapshot::delete(&other, *id, DeleteOptions::default()) {
                        Ok(_) => {}
                        Err(error) => {
                            assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InUse), "{error}")
                        }
                    }
                }
                collect(&other).unwrap();
            }
        });
        // As many as there is time for while they write, and one at the end.
        let mut is_last = false;
        while !is_last {
            is_last = writers.iter().all(|writer| writer.is_finished());
            let at_least: Vec<u64> = synced.iter().map(|synced| synced.load(Ordering::SeqCst)).collect();
            let id = snapshot(&one).unwrap();
            let image = image_of(&two_volumes.repo, id);
            check_moment(&image, &two_volumes.origin, &at_least);
            taken.lock().unwrap().push((id, image));
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        drop(ends);
    });
    check_end(&two_volumes, one, &two, &last.lock().unwrap());
}

/// Checks that everything is there at the end, also when the volume is opened again.
fn check_end(two_volumes: &TwoVolumes, one: Volume, two: &Volume, last: &[u64]) {
    let expected = content(&one).unwrap();
    check_moment(&expected, &two_volumes.origin, last);
    drop(one);
    let error =
        icecore::snapshot::delete(&two_volumes.repo, two_volumes.base, DeleteOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    collect(&two_volumes.repo).unwrap();
    assert_same(
        &content(&open(&two_volumes.repo, "one").unwrap()).unwrap(),
        &expected,
        "the volume at the end",
    );
    let mut other = two_volumes.origin.clone();
    other[..3 * BLOCK].fill(7);
    assert_same(&content(two).unwrap(), &other, "the other volume of the same snapshot");
    assert_sound(&two_volumes.repo, "at the end");
}

#[test]
fn syncs_that_come_while_an_overlay_is_sealed_lose_nothing() {
    let bench = TestRepository::new();
    let two_volumes = TwoVolumes::new(&bench);
    let volume = open(&two_volumes.repo, "one").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ends = Done(&done);
        let handles: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let volume = &volume;
                scope.spawn(move || {
                    for round in 0..4 * rounds() {
                        let at = block_of(writer, usize::try_from(round).unwrap() % BLOCKS) as u64;
                        volume.write_at(at, &u64::to_le_bytes(round)).unwrap();
                        volume.sync().unwrap();
                    }
                })
            })
            .collect();
        let (volume, done) = (&volume, &done);
        scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                snapshot(volume).unwrap();
            }
        });
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        drop(ends);
    });
    let expected = content(&volume).unwrap();
    drop(volume);
    assert_same(
        &content(&open(&two_volumes.repo, "one").unwrap()).unwrap(),
        &expected,
        "after the last sync",
    );
}

/// Regions of 4 MiB of a volume that is written and trimmed in requests that go over all of them.
const REGIONS: usize = 6;
const REGION_BYTES: usize = 4 << 20;
const LONG_ROUNDS: u8 = 40;

/// Returns what all bytes of a region are once a request has come by it: odd ones write their
/// number, the others trim.
fn after(request: u8) -> u8 {
    if request.is_multiple_of(2) { 0 } else { request }
}

/// Checks that a request has come by some regions, from the first on, and by the others the one
/// before it.
fn check_regions(image: &[u8]) {
    let regions: Vec<u8> = image
        .chunks(REGION_BYTES)
        .map(|region| {
            assert!(region.iter().all(|byte| *byte == region[0]), "a region that was changed in part");
            region[0]
        })
        .collect();
    let is_moment = |request: u8, done: usize| {
        let wanted = |at| if at < done { after(request) } else { after(request - 1) };
        regions.iter().enumerate().all(|(at, byte)| *byte == wanted(at))
    };
    let moments = (1..=LONG_ROUNDS).flat_map(|request| (0..=REGIONS).map(move |done| (request, done)));
    assert!(moments.into_iter().any(|(request, done)| is_moment(request, done)), "{regions:?}");
}

#[test]
fn snapshots_between_the_regions_of_long_writes_and_trims_are_moments_of_them() {
    let bench = TestRepository::new();
    let repo = Arc::new(bench.another());
    let size = (REGIONS * REGION_BYTES) as u64;
    icecore::volume::create_volume(&repo, &volume_options("long", None, Some(size))).unwrap();
    let volume = open(&repo, "long").unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for request in 1..=LONG_ROUNDS {
                match after(request) {
                    0 => volume.zero_at(0..size).unwrap(),
                    byte => volume.write_at(0, &vec![byte; REGIONS * REGION_BYTES]).unwrap(),
                }
            }
        });
        let mut is_last = false;
        while !is_last {
            is_last = writer.is_finished();
            let image = image_of(&repo, snapshot(&volume).unwrap());
            check_regions(&image);
        }
        writer.join().unwrap();
    });
    volume.sync().unwrap();
    drop(volume);
    let volume = open(&repo, "long").unwrap();
    assert!(content(&volume).unwrap().iter().all(|byte| *byte == 0));
    assert_sound(&repo, "at the end");
}
