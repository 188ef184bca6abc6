//! Chunks that several packs have, each with other slots.

use std::io;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::gc;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore_testing::bytes::assert_same;
use icecore_testing::fault::Calls;
use icecore_testing::fault::Fault;
use icecore_testing::fault_storage::FaultStorage;
use icecore_testing::images::Target;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::image_of;
use icecore_testing::repository::open;
use icecore_testing::repository::options;

fn collect(repo: &Repository, max_unused: f64) -> icecore::Result<()> {
    let plan = gc::plan(repo, &gc::GcOptions::new(max_unused), &NoProgress)?;
    gc::apply(repo, plan, &NoProgress).map(drop)
}

/// Runs a gc that fails right after it has published its first new pack and its index run: all is
/// there twice.
fn collect_half(storage: &MemoryStorage) {
    let packs =
        |storage: &MemoryStorage| storage.files().keys().filter(|name| name.starts_with("packs/")).count();
    let runs =
        |storage: &MemoryStorage| storage.files().keys().filter(|name| name.starts_with("index/")).count();
    let before = (packs(storage), runs(storage));
    for call in 0..100 {
        let copy = MemoryStorage::new();
        storage.files().into_iter().for_each(|(name, bytes)| copy.put(&name, bytes));
        let faulty = FaultStorage::new(
            copy.clone(),
            Fault::new(Calls::Changes, call..u64::MAX, || io::ErrorKind::Other.into()),
        );
        if collect(&open(faulty), 0.0).is_err() && (packs(&copy), runs(&copy)) == (before.0 + 1, before.1 + 1)
        {
            copy.files().into_iter().for_each(|(name, bytes)| storage.put(&name, bytes));
            return;
        }
    }
    panic!("gc never had two copies");
}

/// Makes a snapshot of blocks of a chunk whose slots are in two packs, some in each, and returns it
/// with its image. None where gc chose the other copy of the chunk beside it.
fn split(bench: &TestRepository, seed: u64) -> Option<(SnapshotId, Vec<u8>)> {
    let mut noise = Random::new(seed);
    let (chunk, beside) = (noise.bytes(16 * BLOCK_BYTES), noise.bytes(16 * BLOCK_BYTES));
    let blocks = |range: std::ops::Range<usize>| &chunk[range.start * BLOCK_BYTES..range.end * BLOCK_BYTES];
    let all = bench.snapshot("all", &[&chunk[..], &beside].concat());
    let low = bench.snapshot("low", &[blocks(0..4), &beside].concat());
    icecore::snapshot::delete(&bench.repo, all, DeleteOptions::default()).unwrap();
    collect_half(&bench.storage);
    let repo = &bench.another();
    let high = options("high");
    icecore::snapshot::capture(repo, &blocks(8..10).to_vec(), &high, &NoProgress).unwrap();
    let other = options("beside");
    icecore::snapshot::capture(repo, &beside, &other, &NoProgress).unwrap();
    icecore::snapshot::delete(repo, low, DeleteOptions::default()).unwrap();
    collect(repo, 0.5).unwrap();
    let image = [blocks(0..4), blocks(8..10)].concat();
    let both = icecore::snapshot::capture(repo, &image, &options("both"), &NoProgress).unwrap();
    (both.snapshot.stats.new_bytes == 0).then_some((both.snapshot.id, image))
}

/// A snapshot could need slots of a chunk of which one pack had some and another pack the others:
/// after a gc that was killed, both copies stay, and later ones punch each where it is. Whoever
/// looked at one copy only found slots missing.
#[test]
fn a_chunk_whose_slots_are_spread_over_packs_is_read_from_all_of_them() {
    let found = (0..40).find_map(|seed| {
        let bench = TestRepository::new();
        split(&bench, seed).map(|found| (bench, found))
    });
    let (bench, (id, image)) = found.unwrap();
    let repo = open(bench.storage.clone());
    assert_sound(&repo, "the slots of a chunk are in two packs");
    assert_same(&image_of(&repo, id), &image, "a restore");
    let target = Target::new(Random::new(9).bytes(image.len()));
    icecore::snapshot::restore(&repo, id, RestoreTo::InPlace(&target), OnDamage::Stop, &NoProgress).unwrap();
    assert_same(&target.into_bytes(), &image, "a restore in place");
    icecore::maintenance::stats(&repo, &NoProgress).unwrap();
    for max_unused in [0.5, 0.0] {
        collect(&repo, max_unused).unwrap();
        let repo = open(bench.storage.clone());
        assert_sound(&repo, "after gc");
        assert_same(&image_of(&repo, id), &image, "after gc");
    }
    icecore::snapshot::delete(&repo, id, DeleteOptions::default()).unwrap();
    let gone = icecore::snapshot::restore(
        &repo,
        id,
        RestoreTo::Stream(&mut Vec::new()),
        OnDamage::Stop,
        &NoProgress,
    )
    .map_err(|error| error.kind());
    assert_eq!(gone.err(), Some(ErrorKind::NotFound));
}
