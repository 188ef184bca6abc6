//! Statistics against sets of the blocks of the images.

use std::collections::HashMap;
use std::collections::HashSet;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::StatsReport;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::storage::Storage;
use icecore_testing::images::blocks;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;

fn stats(bench: &TestRepository) -> StatsReport {
    icecore::maintenance::stats(&bench.repo, &NoProgress).unwrap()
}

fn check(bench: &TestRepository, images: &HashMap<SnapshotId, Vec<u8>>) -> StatsReport {
    let report = stats(bench);
    let sets: HashMap<SnapshotId, HashSet<Vec<u8>>> =
        images.iter().map(|(id, image)| (*id, blocks(image).into_iter().flatten().collect())).collect();
    let bytes = |count: usize| (count * BLOCK_BYTES) as u64;
    assert_eq!(report.snapshots.len(), images.len());
    for one in &report.snapshots {
        let id = one.snapshot.id;
        let elsewhere: HashSet<&Vec<u8>> =
            sets.iter().filter(|(other, _)| **other != id).flat_map(|(_, set)| set).collect();
        let own = sets[&id].iter().filter(|block| !elsewhere.contains(block)).count();
        assert_eq!(
            one.data_bytes,
            bytes(blocks(&images[&id]).iter().flatten().count()),
            "{}",
            one.snapshot.name
        );
        assert_eq!(one.unique_bytes, bytes(sets[&id].len()), "{}", one.snapshot.name);
        assert_eq!(one.own_bytes, bytes(own), "{}", one.snapshot.name);
        assert_eq!(one.shared_bytes, bytes(sets[&id].len() - own), "{}", one.snapshot.name);
        assert_eq!(one.own_stored_bytes == 0, own == 0, "{}", one.snapshot.name);
        assert_eq!(icecore::snapshot::snapshot_stats(&bench.repo, id, &NoProgress).unwrap(), *one);
    }
    let times: Vec<i64> = report.snapshots.iter().map(|one| one.snapshot.created_unix_ms).collect();
    assert!(times.is_sorted(), "{times:?}");

    let all = &report.repository;
    assert_eq!(all.snapshots, images.len() as u64);
    assert_eq!(all.logical_bytes, images.values().map(|image| image.len() as u64).sum::<u64>());
    assert_eq!(all.data_bytes, report.snapshots.iter().map(|one| one.data_bytes).sum::<u64>());
    assert_eq!(all.unique_bytes, bytes(sets.values().flatten().collect::<HashSet<_>>().len()));
    assert_eq!(all.total_bytes, bench.storage.files().values().map(|file| file.len() as u64).sum::<u64>());
    assert!(all.stored_bytes + all.metadata_bytes <= all.total_bytes, "{all:?}");
    assert!(report.snapshots.iter().map(|one| one.own_stored_bytes).sum::<u64>() <= all.stored_bytes);
    report
}

#[test]
fn statistics_are_what_sets_of_blocks_say() {
    let bench = TestRepository::new();
    let mut noise = Random::new(11);
    let mut images = HashMap::new();
    let mut disk = noise.disk(9 << 20);
    for volume in ["b", "a", "b", "a", "a"] {
        images.insert(bench.snapshot(volume, &disk), disk.clone());
        (0..5).for_each(|_| noise.scribble(&mut disk));
        disk.resize(disk.len() - 70_000, 0);
    }
    // Shared as a whole, and but for one leaf.
    noise.fill(&mut disk);
    images.insert(bench.snapshot("a", &disk), disk.clone());
    images.insert(bench.snapshot("c", &disk), disk.clone());
    disk[0] ^= 1;
    images.insert(bench.snapshot("c", &disk), disk.clone());
    images.insert(bench.snapshot("empty", &Vec::new()), Vec::new());
    images.insert(bench.snapshot("zeros", &vec![0; 1 << 20]), vec![0; 1 << 20]);
    // One block more often than a byte can count, and the same image twice.
    let repeated = noise.bytes(BLOCK_BYTES).repeat(700);
    for _ in 0..2 {
        images.insert(bench.snapshot("repeated", &repeated), repeated.clone());
    }
    let fewer = [repeated[..300 * BLOCK_BYTES].to_vec(), noise.bytes(BLOCK_BYTES)].concat();
    images.insert(bench.snapshot("repeated", &fewer), fewer);
    check(&bench, &images);
}

#[test]
fn what_a_snapshot_alone_has_becomes_unused_when_it_is_deleted() {
    let bench = TestRepository::new();
    let mut noise = Random::new(12);
    let mut disk = noise.bytes(6 << 20);
    let mut images = HashMap::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(bench.snapshot("disk", &disk));
        images.insert(ids[ids.len() - 1], disk.clone());
        // Single blocks, so that some chunks lose a part of their slots only.
        for _ in 0..100 {
            let at = noise.below(disk.len() / BLOCK_BYTES) * BLOCK_BYTES;
            noise.fill(&mut disk[at..at + BLOCK_BYTES]);
        }
    }
    let before = check(&bench, &images);
    assert_eq!(before.repository.unused_bytes, 0);
    let own = before.snapshots[1].own_stored_bytes;
    icecore::snapshot::delete(&bench.repo, ids[1], DeleteOptions::default()).unwrap();
    images.remove(&ids[1]);
    let after = check(&bench, &images);
    let unused = after.repository.unused_bytes;
    // Its pages come to it; shares of chunks are rounded.
    assert!(unused >= own && unused <= own + (64 << 10), "{own} {unused}");

    let plan = icecore::maintenance::gc::plan(
        &bench.repo,
        &icecore::maintenance::gc::GcOptions::new(0.0),
        &NoProgress,
    )
    .unwrap();
    icecore::maintenance::gc::apply(&bench.repo, plan, &NoProgress).unwrap();
    let cleaned = check(&bench, &images);
    assert_eq!(cleaned.repository.unused_bytes, 0);
    assert!(cleaned.repository.total_bytes < after.repository.total_bytes);
}

#[test]
fn a_missing_pack_is_an_error_that_names_the_snapshot() {
    let bench = TestRepository::apart();
    let report = bench.capture("disk", &Random::new(13).bytes(100_000));
    let packs: Vec<String> =
        bench.storage.files().into_keys().filter(|name| name.starts_with("packs/")).collect();
    assert_eq!(packs.len(), 2, "one of data, one of pages");
    for pack in packs {
        let bytes = bench.storage.files()[&pack].clone();
        bench.storage.remove(&pack).unwrap();
        let error = icecore::maintenance::stats(&bench.another(), &NoProgress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(&report.snapshot.name), "{error}");
        bench.storage.put(&pack, bytes);
    }
    stats(&bench);
}

#[test]
fn what_several_snapshots_have_together_is_what_their_deletion_leaves_unused() {
    let bench = TestRepository::new();
    let mut noise = Random::new(14);
    let mut images: Vec<(SnapshotId, Vec<u8>)> = Vec::new();
    let mut disk = noise.disk(6 << 20);
    for volume in ["a", "a", "b", "a", "b", "a"] {
        images.push((bench.snapshot(volume, &disk), disk.clone()));
        (0..3).for_each(|_| noise.scribble(&mut disk));
        // What only one has, and what two have that follow each other.
        noise.fill(&mut disk[..20 * BLOCK_BYTES]);
        let half = if images.len().is_multiple_of(2) { 20..30 } else { 30..40 };
        noise.fill(&mut disk[half.start * BLOCK_BYTES..half.end * BLOCK_BYTES]);
    }
    let own = |ids: &[SnapshotId]| icecore::snapshot::own_bytes(&bench.repo, ids, &NoProgress).unwrap();
    assert_eq!(own(&[]), icecore::snapshot::OwnBytes::default());
    for which in [&[1][..], &[1, 2], &[0, 3, 4], &[2, 3, 4, 5], &[0, 1, 2, 3, 4, 5]] {
        let ids: Vec<SnapshotId> = which.iter().map(|at| images[*at].0).collect();
        let blocks_of = |going: bool| {
            let wanted = images.iter().filter(|(id, _)| ids.contains(id) == going);
            wanted.flat_map(|(_, image)| blocks(image)).flatten().collect::<HashSet<_>>()
        };
        let alone = blocks_of(true).difference(&blocks_of(false)).count();
        assert_eq!(own(&ids).data_bytes, (alone * BLOCK_BYTES) as u64, "{which:?}");
        assert_eq!(own(&[ids.clone(), ids.clone()].concat()), own(&ids), "each counts once");
    }
    let ids = [images[1].0, images[2].0];
    let foreseen = own(&ids);
    assert!(foreseen.stored_bytes > 0 && foreseen.manifest_bytes > 0, "{foreseen:?}");
    assert_eq!(stats(&bench).repository.unused_bytes, 0);
    ids.iter()
        .for_each(|id| drop(icecore::snapshot::delete(&bench.repo, *id, DeleteOptions::default()).unwrap()));
    let unused = stats(&bench).repository.unused_bytes;
    let sum = foreseen.stored_bytes + foreseen.manifest_bytes;
    // Shares of chunks are rounded.
    assert!(unused.abs_diff(sum) < 4096, "{unused} {sum}");
    let error = icecore::snapshot::own_bytes(&bench.repo, &ids, &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn what_a_volume_stands_on_is_not_given_back() {
    let bench = TestRepository::new();
    let id = bench.snapshot("disk", &Random::new(15).bytes(1 << 20));
    let own = || icecore::snapshot::own_bytes(&bench.repo, &[id], &NoProgress).unwrap();
    assert_eq!(own().data_bytes, 1 << 20);
    let options = crate::volumes::support::volume_options("vol", Some(id), None);
    icecore::volume::create_volume(&bench.repo, &options).unwrap();
    assert_eq!(own(), icecore::snapshot::OwnBytes::default());
}
