//! Packs that hold chunks and pages together, and the copies of records in packs.

use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::maintenance::Finding;
use icecore::maintenance::repair_index;
use icecore::maintenance::repair_packs;
use icecore::maintenance::set_parity;
use icecore::maintenance::stats;
use icecore::maintenance::verify;
use icecore::scale::record_copies;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::Snapshot;
use icecore::storage::Storage;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::image_of;

use crate::damage::BLOCK;
use crate::damage::CHUNK;
use crate::damage::PACK_HEADER;
use crate::damage::RECORD_HEADER;

/// Returns the packs, each with the kind in its header: 1 data, 2 pages, 3 both.
fn packs(bench: &TestRepository) -> Vec<(String, u8)> {
    let packs = bench.storage.files().into_iter().filter(|(name, _)| name.starts_with("packs/"));
    packs.map(|(name, bytes)| (name, bytes[10])).collect()
}

fn kinds(bench: &TestRepository) -> Vec<u8> {
    let mut kinds: Vec<u8> = packs(bench).into_iter().map(|(_, kind)| kind).collect();
    kinds.sort_unstable();
    kinds
}

fn findings(bench: &TestRepository) -> Vec<Finding> {
    verify(&bench.another(), None, Depth::ReadData, &NoProgress).unwrap().findings
}

fn copies(bench: &TestRepository) -> Vec<Snapshot> {
    let mut copies = record_copies(&bench.another()).unwrap();
    copies.sort_by_key(|record| record.id);
    copies
}

/// Returns where the records of a pack begin, each with its flags.
fn records(bytes: &[u8]) -> Vec<(usize, u8)> {
    let (mut found, mut at) = (Vec::new(), PACK_HEADER);
    while bytes[at..].starts_with(b"ICER") {
        found.push((at, bytes[at + 5]));
        let stored: [u8; 4] = bytes[at + 12..at + 16].try_into().unwrap();
        at += RECORD_HEADER + usize::try_from(u32::from_le_bytes(stored)).unwrap();
    }
    found
}

/// A repository with one pack, of three chunks, a page and the copy of a record.
fn one() -> (TestRepository, Snapshot, Vec<u8>, String) {
    let bench = TestRepository::new();
    let image = Random::new(1).bytes(3 * CHUNK);
    let snapshot = bench.capture("disk", &image).snapshot;
    assert_eq!(kinds(&bench), [3]);
    let pack = packs(&bench).remove(0).0;
    (bench, snapshot, image, pack)
}

fn flip(bench: &TestRepository, pack: &str, at: usize) {
    let mut bytes = bench.storage.files().remove(pack).unwrap();
    bytes[at] ^= 0x10;
    bench.storage.put(pack, bytes);
}

#[test]
fn a_small_capture_is_one_pack_with_a_copy_of_its_record_and_a_large_one_keeps_its_pages_apart() {
    let (bench, snapshot, mut image, pack) = one();
    let flags = |pack: &str| records(&bench.storage.files()[pack]).iter().map(|(_, flags)| *flags).collect();
    let found: Vec<u8> = flags(&pack);
    assert_eq!(found, [0, 0, 0, 0, 2], "three chunks, a page, the copy");
    assert_eq!(copies(&bench), std::slice::from_ref(&snapshot));
    assert_eq!(stats(&bench.another(), &NoProgress).unwrap().repository.unused_bytes, 0);
    // Nothing new: no page, and no copy.
    bench.capture("disk", &image);
    assert_eq!((kinds(&bench), copies(&bench).len()), (vec![3], 1));

    image.extend(Random::new(2).bytes(2 << 20));
    let large = bench.capture("disk", &image).snapshot;
    assert_eq!(kinds(&bench), [1, 2, 3]);
    assert_eq!(copies(&bench), [snapshot, large.clone()]);
    let pages = packs(&bench).into_iter().find(|(_, kind)| *kind == 2).unwrap().0;
    let found: Vec<u8> = flags(&pages);
    assert_eq!(found.last(), Some(&2));
    assert_same(&image_of(&bench.another(), large.id), &image, "the large one");
    assert_sound(&bench.another(), "both");
}

#[test]
fn damage_in_a_mixed_pack_is_named_for_what_it_is_and_repaired_as_far_as_possible() {
    // The bytes of the image that are lost; chunks and pages that are kept, blocks and pages that are
    // lost.
    for (record, object, lost_bytes, wanted) in [
        (1, "chunk ", BLOCK, (3, 1, 0)),
        (3, "manifest page ", 3 * CHUNK, (3, 0, 1)),
        (4, "copy of the record of snapshot ", 0, (4, 0, 0)),
    ] {
        let (bench, snapshot, image, pack) = one();
        let at = records(&bench.storage.files()[&pack])[record].0 + RECORD_HEADER + 9;
        flip(&bench, &pack, at);
        let found = findings(&bench);
        assert!(found.len() == 1 && found[0].object.starts_with(object), "{object}: {found:?}");
        let lost: u64 = found[0].lost.iter().map(|lost| lost.bytes).sum();
        assert_eq!(lost, lost_bytes as u64, "{object}");
        let report = repair_packs(&bench.another(), false, &NoProgress).unwrap();
        assert_eq!((report.chunks_kept, report.blocks_lost, report.pages_lost), wanted, "{object}");
        // The image brings back what is lost.
        let again = bench.capture("disk", &image).snapshot;
        assert_sound(&bench.another(), object);
        assert_same(&image_of(&bench.another(), snapshot.id), &image, object);
        assert_same(&image_of(&bench.another(), again.id), &image, object);
    }
}

#[test]
fn a_mixed_pack_whose_end_is_damaged_is_put_together_again() {
    let (bench, snapshot, image, pack) = one();
    let before = bench.storage.files()[&pack].clone();
    flip(&bench, &pack, before.len() - 1);
    let report = repair_index(&bench.another(), &NoProgress).unwrap();
    assert_eq!((report.chunks_saved, report.chunks), (4, 4), "copies of records are not in the index");
    assert!(bench.storage.files()[&pack] == before);
    assert_same(&image_of(&bench.another(), snapshot.id), &image, "from the index that was made anew");
    // Without its header it is another pack, and without an end of its own two: of each kind one.
    flip(&bench, &pack, 20);
    let report = repair_index(&bench.another(), &NoProgress).unwrap();
    assert_eq!((report.chunks_saved, kinds(&bench)), (4, vec![1, 2]));
    assert_eq!(copies(&bench), [snapshot]);
    assert_sound(&bench.another(), "from its records");
}

#[test]
fn gc_drops_what_is_unused_of_mixed_packs_and_keeps_the_copies_of_records_that_there_are() {
    let bench = TestRepository::new();
    let mut image = Random::new(3).bytes(4 * CHUNK);
    let mut taken = Vec::new();
    for changed in 0..4 {
        image[changed * CHUNK..][..BLOCK].copy_from_slice(&Random::new(9 + changed as u64).bytes(BLOCK));
        taken.push((bench.capture("disk", &image).snapshot, image.clone()));
    }
    assert_eq!(kinds(&bench), [3; 4]);
    for (gone, _) in [taken.remove(2), taken.remove(0)] {
        icecore::snapshot::delete(&bench.repo, gone.id, DeleteOptions::default()).unwrap();
    }
    for _ in 0..2 {
        collect(&bench.another()).unwrap();
        let left: Vec<Snapshot> = taken.iter().map(|(snapshot, _)| snapshot.clone()).collect();
        assert_eq!(copies(&bench), left);
        assert_eq!(stats(&bench.another(), &NoProgress).unwrap().repository.unused_bytes, 0);
        assert_sound(&bench.another(), "after gc");
        taken.iter().for_each(|(snapshot, image)| {
            assert_same(&image_of(&bench.another(), snapshot.id), image, "one that stays");
        });
    }
    for (gone, _) in &taken {
        icecore::snapshot::delete(&bench.another(), gone.id, DeleteOptions::default()).unwrap();
    }
    collect(&bench.another()).unwrap();
    assert_eq!(packs(&bench), [], "copies alone keep nothing");
}

#[test]
fn parity_brings_back_a_mixed_pack() {
    let bench = TestRepository::new();
    set_parity(&bench.repo, Some("3+1".parse().unwrap()), &NoProgress).unwrap();
    let repo = bench.another();
    let images = [4, 5].map(|seed| Random::new(seed).bytes(2 * CHUNK));
    let take = |image: &Vec<u8>| {
        let options = icecore_testing::repository::options("disk");
        icecore::snapshot::capture(&repo, image, &options, &NoProgress).unwrap().snapshot
    };
    let snapshots = [take(&images[0]), take(&images[1])];
    assert_eq!(kinds(&bench), [3, 3]);
    for (pack, _) in packs(&bench) {
        let whole = bench.storage.files().remove(&pack).unwrap();
        bench.storage.remove(&pack).unwrap();
        for (snapshot, image) in snapshots.iter().zip(&images) {
            assert_same(&image_of(&bench.another(), snapshot.id), image, "with parity");
        }
        repair_packs(&bench.another(), false, &NoProgress).unwrap();
        assert!(bench.storage.files().get(&pack) == Some(&whole));
    }
    assert_eq!(copies(&bench), snapshots);
}
