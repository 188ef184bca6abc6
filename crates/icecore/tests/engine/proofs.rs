//! What proves the bytes that are given out: the ids of blocks, the ids of chunks, and the digests
//! of spans. Of what is damaged by accident each finds the most; here only one of them can, since
//! all that the others compare is right.

use std::sync::Arc;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::fuzzing::forge::Forge;
use icecore::image::ReadAt;
use icecore::maintenance::Depth;
use icecore::maintenance::verify;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreReport;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotDisk;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::copy;
use icecore::snapshot::restore;
use icecore::storage::MemoryStorage;
use icecore_testing::images::Target;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::image_of;
use icecore_testing::repository::init;

const SPAN: usize = 16 * BLOCK_BYTES;
const IMAGE: usize = 3 * SPAN;

/// Returns blocks filled with these, and zeros up to the end of the image.
fn image(fills: &[u8]) -> Vec<u8> {
    let mut image: Vec<u8> = fills.iter().flat_map(|fill| [*fill; BLOCK_BYTES]).collect();
    image.resize(IMAGE, 0);
    image
}

/// A way to read a snapshot: into a target that holds something already, or without one.
type Way = fn(&Repository, SnapshotId, Vec<u8>) -> icecore::Result<Vec<u8>>;

const RESTORES: [(&str, Way); 3] = [
    ("a stream", |repo, id, _| {
        let mut out = Vec::new();
        restore(repo, id, RestoreTo::Stream(&mut out), OnDamage::Stop, &NoProgress).map(|_| out)
    }),
    ("a new file", |repo, id, _| {
        let target = Target::new(vec![0; IMAGE]);
        restore(repo, id, RestoreTo::Fresh(&target), OnDamage::Stop, &NoProgress).map(|_| target.into_bytes())
    }),
    ("in place", |repo, id, before| {
        let target = Target::new(before);
        restore(repo, id, RestoreTo::InPlace(&target), OnDamage::Stop, &NoProgress)
            .map(|_| target.into_bytes())
    }),
];

const KEEP_GOING: [(&str, Way); 2] = [
    ("a stream", |repo, id, _| {
        let mut out = Vec::new();
        restore(repo, id, RestoreTo::Stream(&mut out), OnDamage::GoOn, &NoProgress).map(
            |RestoreReport { bad, .. }| {
                assert_eq!((bad.ranges[0].offset, bad.bytes), (0, SPAN as u64), "{bad:?}");
                out
            },
        )
    }),
    ("in place", |repo, id, before| {
        let target = Target::new(before);
        restore(repo, id, RestoreTo::InPlace(&target), OnDamage::GoOn, &NoProgress).map(
            |RestoreReport { bad, .. }| {
                assert_eq!((bad.ranges[0].offset, bad.bytes), (0, SPAN as u64), "{bad:?}");
                target.into_bytes()
            },
        )
    }),
];

/// Makes a snapshot whose first span is a chunk of which something is a lie.
fn forged(lie: impl FnOnce(&mut Forge<'_>), honest: bool) -> (MemoryStorage, SnapshotId) {
    let bench = TestRepository::new();
    let mut forge = Forge::new(&bench.repo).unwrap();
    lie(&mut forge);
    forge.chunk(&[7; 16]).unwrap();
    forge.leaf(&[(16, Some((0, 0))), (1008, None)], honest).unwrap();
    forge.publish().unwrap();
    let id = forge.record(1, IMAGE as u64, Some(0), true).unwrap();
    drop(forge);
    (bench.storage, id)
}

/// Asserts that no restore and no copy gives the snapshot, whatever the target holds; what goes on
/// gives zeros.
fn assert_not_restored(storage: &MemoryStorage, id: SnapshotId, targets: &[Vec<u8>], why: &str) {
    let open = || icecore_testing::repository::open(storage.clone());
    for before in targets {
        for (way, restored) in RESTORES {
            let error = restored(&open(), id, before.clone()).map(|_| "it is restored").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{why}, {way}: {error}");
        }
        for (way, restored) in KEEP_GOING {
            assert!(restored(&open(), id, before.clone()).unwrap() == image(&[]), "{why}, {way}");
        }
    }
    let other = init(MemoryStorage::new());
    let how = CopyOptions { name_may_repeat: true, ..CopyOptions::default() };
    let error = copy(&Arc::new(open()), id, &other, &how, &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{why}, a copy: {error}");
}

/// Asserts that the snapshot, as a disk, has no byte of its first span: read by blocks, and all at
/// once.
fn assert_not_viewed(storage: &MemoryStorage, id: SnapshotId, why: &str) {
    let repo = Arc::new(icecore_testing::repository::open(storage.clone()));
    for at_once in [BLOCK_BYTES, SPAN, IMAGE] {
        let disk = SnapshotDisk::open(Arc::clone(&repo), id, BlockCache::usual()).unwrap();
        for offset in (0..SPAN).step_by(at_once) {
            let read = disk.read_at(offset as u64, &mut vec![0; at_once]);
            assert_eq!(
                read.unwrap_err().kind(),
                std::io::ErrorKind::InvalidData,
                "{why}, {at_once} at {offset}"
            );
        }
        disk.read_at(SPAN as u64, &mut [0; SPAN]).unwrap();
    }
}

fn assert_verify_tells(storage: &MemoryStorage, why: &str) {
    let report =
        verify(&icecore_testing::repository::open(storage.clone()), None, Depth::ReadData, &NoProgress)
            .unwrap();
    let lost: u64 = report.findings.iter().flat_map(|finding| &finding.lost).map(|lost| lost.bytes).sum();
    assert_eq!(lost, SPAN as u64, "{why}: {:?}", report.findings);
}

#[test]
fn what_is_forged_and_no_lie_is_restored() {
    let fills = Vec::from_iter(1..=16);
    let (storage, id) = forged(|forge| forge.false_chunk(&fills, &fills, &fills).unwrap(), true);
    assert!(image_of(&icecore_testing::repository::open(storage), id) == image(&fills));
}

#[test]
fn a_span_that_is_not_what_the_manifest_says_is_found_although_each_block_has_its_id() {
    let fills = Vec::from_iter(1..=16);
    let (storage, id) = forged(|forge| forge.chunk(&fills).unwrap(), false);
    // Also where the target has the blocks already, or some of them, and they are not fetched.
    let targets = [image(&[]), image(&[9; 48]), image(&fills), image(&fills[..7])];
    assert_not_restored(&storage, id, &targets, "the digest of the span is another");
}

#[test]
fn a_block_that_has_not_its_id_is_found_although_the_span_is_what_the_manifest_says() {
    let (fills, said) = (Vec::from_iter(1..=16), Vec::from_iter(17..=32));
    let (storage, id) = forged(|forge| forge.false_chunk(&fills, &said, &said).unwrap(), true);
    let targets = [image(&[]), image(&fills)];
    let why = "blocks have other ids";
    assert_not_restored(&storage, id, &targets, why);
    assert_not_viewed(&storage, id, why);
    assert_verify_tells(&storage, why);
}

#[test]
fn a_chunk_that_has_not_its_id_is_found_although_its_blocks_have_theirs() {
    let (fills, named) = (Vec::from_iter(1..=16), Vec::from_iter(17..=32));
    let (storage, id) = forged(|forge| forge.false_chunk(&fills, &fills, &named).unwrap(), true);
    let why = "the chunk has another id";
    assert_not_restored(&storage, id, &[image(&[])], why);
    assert_not_viewed(&storage, id, why);
    assert_verify_tells(&storage, why);
}
