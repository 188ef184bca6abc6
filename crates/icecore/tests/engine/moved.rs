//! Readers whose chunks gc moves, at the one moment at which what they know of the index leads to a
//! part of a chunk only.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotDisk;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore_testing::bytes::assert_same;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::collect;
use icecore_testing::repository::open;
use icecore_testing::repository::restores;

use crate::at_once::hooked::hooked;
use crate::volumes::support::content;

const BLOCK: usize = 4096;
const CHUNK: usize = 16 * BLOCK;

/// A chunk is in two packs: with half of its slots beside one that is read first, and whole beside
/// one that nothing needs.
struct ChunkInTwoPacks {
    bench: TestRepository,
    image: Vec<u8>,
    id: SnapshotId,
    /// Snapshots that go: gc moves the whole chunk then, and drops the half.
    gone: [SnapshotId; 2],
    /// The pack with the whole chunk.
    whole: String,
}

impl ChunkInTwoPacks {
    fn new() -> Self {
        let bench = TestRepository::new();
        let [first, twice, unused] = [1, 2, 3].map(|seed| Random::new(seed).bytes(CHUNK));
        let image = [first.clone(), twice.clone()].concat();
        let other = bench.another();
        let half = std::sync::Mutex::new(None);
        // This capture has looked at the index before the others, and does not know what they
        // store.
        let source = TestImage::full(&[twice, unused].concat()).on_read(|_| {
            half.lock().unwrap().get_or_insert_with(|| {
                let beside =
                    TestRepository { storage: bench.storage.clone(), repo: open(bench.storage.clone()) };
                let all = beside.snapshot("first", &image);
                let half = beside.snapshot("half", &image[..CHUNK + CHUNK / 2].to_vec());
                icecore::snapshot::delete(&beside.repo, all, DeleteOptions::default()).unwrap();
                collect(&beside.repo).unwrap();
                half
            });
            Ok(())
        });
        let packs = || bench.storage.files().into_keys().filter(|name| name.starts_with("packs/"));
        let options = icecore_testing::repository::options("whole");
        let whole_id =
            icecore::snapshot::capture(&other, &source, &options, &NoProgress).unwrap().snapshot.id;
        drop(source);
        let half = half.into_inner().unwrap().unwrap();
        let largest = packs().max_by_key(|name| bench.storage.files()[name].len()).unwrap();
        let again = TestRepository { storage: bench.storage.clone(), repo: open(bench.storage.clone()) };
        let report = again.capture("both", &image);
        assert_eq!(report.snapshot.stats.new_bytes, 0, "all of it is there");
        Self { bench, image, id: report.snapshot.id, gone: [half, whole_id], whole: largest }
    }

    /// Opens the repository so that gc moves the chunk right before its pack is opened.
    fn reader(&self) -> (Repository, Arc<AtomicBool>) {
        let moved = Arc::new(AtomicBool::new(false));
        let (storage, whole, gone, done) =
            (self.bench.storage.clone(), self.whole.clone(), self.gone, Arc::clone(&moved));
        let before = move |call: &'static str, name: &str| {
            if call == "open" && name == whole && !done.swap(true, Ordering::SeqCst) {
                let repo = open(storage.clone());
                gone.iter().for_each(|id| {
                    drop(icecore::snapshot::delete(&repo, *id, DeleteOptions::default()).unwrap())
                });
                collect(&repo).unwrap();
                assert!(!storage.files().contains_key(&whole), "gc has left it where it was");
            }
        };
        let storage: MemoryStorage = self.bench.storage.clone();
        (open(hooked(storage, Arc::new(before))), moved)
    }
}

#[test]
fn a_restore_finds_a_chunk_that_gc_has_moved_although_a_part_of_it_is_where_it_was() {
    let stored = ChunkInTwoPacks::new();
    let (repo, moved) = stored.reader();
    restores(&repo, stored.id, &stored.image).unwrap();
    assert!(moved.load(Ordering::SeqCst), "gc did not run in the middle of it");
}

#[test]
fn so_do_statistics_a_verification_and_a_disk() {
    let stored = ChunkInTwoPacks::new();
    let (repo, moved) = stored.reader();
    icecore::maintenance::stats(&repo, &NoProgress).unwrap();
    assert!(moved.load(Ordering::SeqCst), "gc did not run in the middle of it");

    let stored = ChunkInTwoPacks::new();
    let (repo, moved) = stored.reader();
    let report = icecore::maintenance::verify(&repo, None, Depth::ReadData, &NoProgress).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(moved.load(Ordering::SeqCst), "gc did not run in the middle of it");

    let stored = ChunkInTwoPacks::new();
    let (repo, moved) = stored.reader();
    let disk = SnapshotDisk::open(Arc::new(repo), stored.id, BlockCache::new(1 << 20)).unwrap();
    assert_same(&content(&disk).unwrap(), &stored.image, "the disk");
    assert!(moved.load(Ordering::SeqCst), "gc did not run in the middle of it");
}
