//! An index that is larger than one run may be.

use icecore::NoProgress;
use icecore::maintenance::repair_index;
use icecore::scale::close_packs_at;
use icecore::scale::limit_runs_to;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::delete;
use icecore::storage::MemoryStorage;
use icecore_testing::random::Random;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::init;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;

const ENTRIES_MAX: u64 = 1000;
const BLOCKS: usize = 100;
/// So few that a pack has fewer entries than a run may have.
const PACK_BYTES: u64 = 2 << 20;

/// Returns the entries of each run, from the runs' headers.
fn runs(storage: &MemoryStorage) -> Vec<u64> {
    let files = storage.files().into_iter().filter(|(name, _)| name.starts_with("index/"));
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    files.map(|(_, bytes)| number(&bytes, 16) + number(&bytes, 24)).collect()
}

/// Fails if a run has too many entries, or if there are many more runs than necessary.
fn assert_few(storage: &MemoryStorage, when: &str) {
    let runs = runs(storage);
    assert!(runs.iter().all(|entries| *entries <= ENTRIES_MAX), "{when}: {runs:?}");
    // A run that has a quarter of the most entries stays as it is, and up to a handful wait.
    let most = runs.iter().sum::<u64>() / (ENTRIES_MAX / 4) + 5;
    assert!(runs.len() as u64 <= most, "{when}: {runs:?}");
}

#[test]
fn an_index_that_no_single_run_can_hold_is_written_as_several() {
    let storage = MemoryStorage::new();
    let mut repo = init(storage.clone());
    limit_runs_to(&mut repo, ENTRIES_MAX);
    close_packs_at(&mut repo, PACK_BYTES);
    let mut taken = Vec::new();
    for seed in 0..40 {
        let image = Random::new(seed).bytes(BLOCKS * 4096);
        let how = options("disk");
        taken
            .push((icecore::snapshot::capture(&repo, &image, &how, &NoProgress).unwrap().snapshot.id, image));
        assert_few(&storage, &format!("after {seed}"));
    }
    let total: u64 = runs(&storage).iter().sum();
    assert!(total > 4 * ENTRIES_MAX, "{total} entries need several runs");

    let mut kept = Vec::new();
    for (number, (id, image)) in taken.into_iter().enumerate() {
        match number % 4 {
            0 => kept.push((id, image)),
            _ => drop(delete(&repo, id, DeleteOptions::default()).unwrap()),
        }
    }
    collect(&repo).unwrap();
    assert_few(&storage, "after gc");
    assert!(runs(&storage).iter().sum::<u64>() < total / 3, "entries of what is gone are gone");
    repair_index(&repo, &NoProgress).unwrap();
    assert_few(&storage, "after the repair of the index");
    assert_sound(&repo, "in the end");
    for (id, image) in &kept {
        restores(&repo, *id, image).unwrap();
    }
}
