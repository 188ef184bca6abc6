//! Snapshots for which there is no room, and snapshots that fail again and again: the volume goes
//! on as if they had not been.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use icecore::ErrorKind;
use icecore::Meter;
use icecore::Progress;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::storage::MemoryStorage;
use icecore::volume::Volume;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::open as open_repo;
use icecore_testing::repository::restores;

use crate::volumes::room::Room;
use crate::volumes::room::room;
use crate::volumes::support::content;
use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::snapshot_with;
use crate::volumes::support::volume_options;

const NAME: &str = "disk";
const BLOCK: usize = 4096;
const BLOCKS: usize = 40;
/// Blocks at the beginning that are written to, before snapshots and after them.
const WRITTEN: usize = 30;

/// Returns a repository with a volume that was written to, and what that holds.
fn start() -> (MemoryStorage, Vec<u8>) {
    let bench = TestRepository::new();
    let mut image = Random::new(61).bytes(BLOCKS * BLOCK);
    let base = bench.snapshot("origin", &image);
    let repo = Arc::new(bench.another());
    icecore::volume::create_volume(&repo, &volume_options(NAME, Some(base), None)).unwrap();
    let volume = open(&repo, NAME).unwrap();
    overwrite(&volume, &mut image, 0, 62);
    (bench.storage, image)
}

fn copy(files: &MemoryStorage) -> MemoryStorage {
    let copy = MemoryStorage::new();
    files.files().into_iter().for_each(|(name, bytes)| copy.put(&name, bytes));
    copy
}

/// Writes over what is written, and flushes.
fn overwrite(volume: &Volume, image: &mut [u8], from: usize, seed: u64) {
    Random::new(seed).fill(&mut image[from * BLOCK..WRITTEN * BLOCK]);
    // In parts that fit no block.
    for part in (from * BLOCK..WRITTEN * BLOCK).step_by(5000) {
        let end = (part + 5000).min(WRITTEN * BLOCK);
        volume.write_at(part as u64, &image[part..end]).unwrap();
    }
    volume.sync().unwrap();
}

/// Says once that a snapshot is being taken, and waits then.
struct Pauses<'a> {
    said: AtomicBool,
    go: mpsc::SyncSender<()>,
    wait: &'a (dyn Fn() + Sync),
}

impl Progress for Pauses<'_> {
    fn total(&self, _meter: Meter, _total: u64) {}
    fn advance(&self, _meter: Meter, _amount: u64) {}

    fn cancelled(&self) -> bool {
        if !self.said.swap(true, Ordering::SeqCst) {
            self.go.send(()).unwrap();
            (self.wait)();
        }
        false
    }
}

/// Takes a snapshot while somebody overwrites what the volume has, and flushes that.
fn snapshot_beside_writes(room: &Room, volume: &Volume, image: &mut [u8]) -> icecore::Result<()> {
    let (go, is_going) = mpsc::sync_channel(2);
    let (done, refused) = (AtomicBool::new(false), room.refused());
    let wait = || room.wait_refused(refused, || done.load(Ordering::SeqCst));
    let pauses = Pauses { said: AtomicBool::new(false), go: go.clone(), wait: &wait };
    std::thread::scope(|scope| {
        let done = &done;
        let writer = scope.spawn(move || {
            is_going.recv().unwrap();
            let end = Done(done, room);
            overwrite(volume, image, 3, 63);
            drop(end);
        });
        let taken = snapshot_with(volume, &pauses).map(drop);
        // Where it failed before it began to read, the writer begins now.
        let _ = go.send(());
        writer.join().unwrap();
        taken
    })
}

/// Says that a writer has ended, however it does.
struct Done<'a>(&'a AtomicBool, &'a Room);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        self.1.wake();
    }
}

#[test]
fn a_snapshot_for_which_there_is_no_room_leaves_the_volume_as_it_was() {
    // What it had sealed stayed so: overwrites of it, flushes and trims failed for good.
    let (files, before) = start();
    let mut failed = 0;
    for left in 0.. {
        assert!(left < 500, "it never succeeds");
        let room = room(copy(&files));
        let repo = Arc::new(open_repo(room.clone()));
        let volume = open(&repo, NAME).unwrap();
        let mut image = before.clone();
        room.leave(Some(left));
        let taken = snapshot_beside_writes(&room, &volume, &mut image);
        let told = format!("with room for {left} blocks: {taken:?}");
        assert_same(&content(&volume).unwrap(), &image, &told);
        if let Err(error) = &taken {
            failed += 1;
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{told}");
            goes_on_without_room(&room, &volume, &mut image, &told);
        }
        drop(volume);
        room.leave(None);
        let repo: Arc<Repository> = Arc::new(open_repo(room.inner().clone()));
        let volume = open(&repo, NAME).unwrap();
        assert_same(&content(&volume).unwrap(), &image, &told);
        let id = snapshot(&volume).unwrap();
        collect(&repo).unwrap();
        restores(&repo, id, &image).unwrap();
        assert_sound(&repo, &told);
        assert_same(&content(&volume).unwrap(), &image, &told);
        if taken.is_ok() {
            break;
        }
    }
    assert!(failed > 3, "it failed only {failed} times");
}

/// Uses a volume where nothing more fits: what needed no room before the snapshot still needs none.
fn goes_on_without_room(room: &Room, volume: &Volume, image: &mut [u8], told: &str) {
    room.leave(Some(0));
    overwrite(volume, image, 0, 64);
    assert_same(&content(volume).unwrap(), image, told);
    // Each snapshot that fails is as the first.
    snapshot(volume).unwrap_err();
    let used = room.used();
    let trimmed = 2 * BLOCK..12 * BLOCK;
    volume.zero_at(trimmed.start as u64..trimmed.end as u64).unwrap();
    volume.sync().unwrap();
    image[trimmed].fill(0);
    assert!(room.used() + 10 <= used, "{told}: a trim gave back {} blocks", used - room.used());
    // What it gave back is there for others.
    room.leave(Some(0));
    overwrite(volume, image, 12, 65);
    assert_same(&content(volume).unwrap(), image, told);
}

/// Writes something during a snapshot, which stops then.
struct WritesAndStops<'a>(&'a Volume, AtomicUsize, usize);

impl Progress for WritesAndStops<'_> {
    fn total(&self, _meter: Meter, _total: u64) {}
    fn advance(&self, _meter: Meter, _amount: u64) {}

    fn cancelled(&self) -> bool {
        if self.1.fetch_add(1, Ordering::SeqCst) == 0 {
            self.0.write_at((self.2 % BLOCKS * BLOCK) as u64, &fill(self.2)).unwrap();
            self.0.sync().unwrap();
        }
        true
    }
}

fn fill(number: usize) -> Vec<u8> {
    vec![u8::try_from(number % 251).unwrap() + 1; BLOCK]
}

#[test]
fn a_volume_of_which_any_number_of_snapshots_failed_can_be_snapshotted() {
    // After 64 that failed none could be taken any more, and the advice was to drop what was
    // written.
    let (files, mut image) = start();
    let repo = Arc::new(open_repo(files));
    let mut volume = open(&repo, NAME).unwrap();
    for number in 0..150 {
        let error =
            snapshot_with(&volume, &WritesAndStops(&volume, AtomicUsize::new(0), number)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{number}: {error}");
        let at = number % BLOCKS * BLOCK;
        image[at..at + BLOCK].copy_from_slice(&fill(number));
        if number % 7 == 0 {
            let at = (number * 11) % WRITTEN * BLOCK;
            volume.zero_at(at as u64..(at + 2 * BLOCK) as u64).unwrap();
            image[at..at + 2 * BLOCK].fill(0);
        }
        assert_same(&content(&volume).unwrap(), &image, &format!("after {} that failed", number + 1));
        if number % 10 == 0 {
            volume.sync().unwrap();
            drop(volume);
            volume = open(&repo, NAME).unwrap();
            assert_same(&content(&volume).unwrap(), &image, "opened again");
        }
    }
    let id = snapshot(&volume).unwrap();
    restores(&repo, id, &image).unwrap();
    drop(volume);
    let volume = open(&repo, NAME).unwrap();
    assert_same(&content(&volume).unwrap(), &image, "after a snapshot");
    assert_eq!(volume.next_dirty(0), None, "all is in the snapshot");
    assert_sound(&repo, "at the end");
}

#[test]
fn snapshots_that_fail_while_nothing_is_written_leave_nothing() {
    let (files, mut image) = start();
    let repo = Arc::new(open_repo(files.clone()));
    let volume = open(&repo, NAME).unwrap();
    for number in 0..100 {
        overwrite(&volume, &mut image, 0, 100 + number);
        let stops = WritesAndStops(&volume, AtomicUsize::new(1), 0);
        assert_eq!(snapshot_with(&volume, &stops).unwrap_err().kind(), ErrorKind::Interrupted);
    }
    let overlays = files.files().into_keys().filter(|name| name.contains("/overlay-")).count();
    assert!(overlays <= 2, "{overlays} overlays");
    assert_same(&content(&volume).unwrap(), &image, "the volume");
    assert!(volume.len() > 0);
    drop(volume);
    assert_same(&content(&open(&repo, NAME).unwrap()).unwrap(), &image, "opened again");
}
