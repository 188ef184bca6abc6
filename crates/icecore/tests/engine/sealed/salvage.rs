//! What is left of damaged packs of a sealed repository is brought back.

use std::sync::Arc;

use icecore::NoProgress;
use icecore::maintenance::repair_index;
use icecore::repository::Repository;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore_testing::random::Random;
use icecore_testing::repository::init_options;
use icecore_testing::repository::on_sealed_repositories;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;

const CHUNK: usize = 64 << 10;
const HEADER: usize = 64;
const RECORD: usize = 40;
/// A chunk of random bytes is stored as it is, with its seal.
const STORED: usize = CHUNK + 28;

/// Makes a repository with one snapshot of 20 chunks. Returns it, the image, and the name of its pack
/// of data.
fn fixture() -> (MemoryStorage, SnapshotId, Vec<u8>, String) {
    let storage = MemoryStorage::new();
    let repo = Repository::init(Arc::new(storage.clone()), session(), &init_options()).unwrap();
    let image = Random::new(5).bytes(20 * CHUNK);
    let id = icecore::snapshot::capture(&repo, &image, &options("disk"), &NoProgress).unwrap().snapshot.id;
    let is_data = |(name, bytes): &(String, Vec<u8>)| name.starts_with("packs/") && bytes.len() > 20 * CHUNK;
    let (pack, _) = storage.files().into_iter().find(is_data).unwrap();
    (storage, id, image, pack)
}

/// Damages the pack, repairs the index, and returns how many chunks were saved, and whether the
/// snapshot is whole.
fn repaired(damage: impl Fn(&mut Vec<u8>)) -> (u64, bool) {
    let (storage, id, image, pack) = fixture();
    let mut bytes = storage.files().remove(&pack).unwrap();
    damage(&mut bytes);
    storage.put(&pack, bytes);
    let open = || Repository::open(Arc::new(storage.clone()), session()).unwrap();
    let report = repair_index(&open(), &NoProgress).unwrap();
    (report.chunks_saved, restores(&open(), id, &image).is_ok())
}

/// Returns where a record of the pack begins.
fn record(number: usize) -> usize {
    HEADER + number * (RECORD + STORED)
}

#[test]
fn records_are_found_without_the_directory_and_without_one_end_of_the_pack() {
    on_sealed_repositories(|| {
        let end = |bytes: &mut Vec<u8>| bytes.truncate(record(20));
        assert_eq!(repaired(end), (20, true));
        assert_eq!(repaired(|bytes| bytes[..HEADER].fill(0)), (20, true));
        let both = |bytes: &mut Vec<u8>| {
            bytes[..HEADER].fill(0);
            end(bytes);
        };
        assert_eq!(repaired(both), (0, false), "nothing says what they are sealed with");
    });
}

#[test]
fn records_behind_unreadable_ones_are_opened_with_their_numbers() {
    on_sealed_repositories(|| {
        for (lost, saved) in [(vec![0], 19), (vec![3], 19), (vec![3, 4, 5], 17), (vec![18, 19], 18)] {
            let heads = |bytes: &mut Vec<u8>| {
                bytes.truncate(record(20));
                lost.iter().for_each(|number| bytes[record(*number)..record(*number) + RECORD].fill(0));
            };
            assert_eq!(repaired(heads), (saved, false), "without the heads of {lost:?}");
            let contents = |bytes: &mut Vec<u8>| {
                bytes.truncate(record(20));
                lost.iter().for_each(|number| bytes[record(*number) + RECORD + 100] ^= 1);
            };
            assert_eq!(repaired(contents), (saved, false), "without the contents of {lost:?}");
        }
    });
}
