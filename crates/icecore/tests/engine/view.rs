//! A snapshot as a disk: whatever is read of it, in whatever order, is what was captured.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::image::ReadAt;
use icecore::snapshot::BlockCache;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotDisk;
use icecore::snapshot::delete;
use icecore_testing::bytes::assert_same;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use proptest::prelude::*;

const BLOCK: usize = 4096;
const LEAF: usize = 4 << 20;
const TIB: u64 = 1 << 40;

/// Returns the ranges that are not holes, each as far as it goes.
fn data_of(disk: &dyn ReadAt) -> Vec<Range<u64>> {
    let (mut data, mut at): (Vec<Range<u64>>, u64) = (Vec::new(), 0);
    while let Some(next) = disk.next_data(at).unwrap() {
        assert!(next.start >= at && next.end > next.start && next.end <= disk.len());
        at = next.end;
        match data.last_mut() {
            Some(last) if last.end == next.start => last.end = next.end,
            _ => data.push(next),
        }
    }
    data
}

/// Returns the ranges of an image in which no block is zero.
fn data_of_image(image: &[u8]) -> Vec<Range<u64>> {
    let mut data: Vec<Range<u64>> = Vec::new();
    for (at, block) in (0..).step_by(BLOCK).zip(image.chunks(BLOCK)) {
        let (at, end) = (at, at + block.len() as u64);
        match data.last_mut() {
            _ if block.iter().all(|byte| *byte == 0) => {}
            Some(last) if last.end == at => last.end = end,
            _ => data.push(at..end),
        }
    }
    data
}

fn read(disk: &dyn ReadAt, range: Range<usize>) -> io::Result<Vec<u8>> {
    // What was there before must not shine through.
    let mut bytes = vec![0xa5; range.len()];
    disk.read_at(range.start as u64, &mut bytes)?;
    Ok(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(24), ..ProptestConfig::default() })]

    #[test]
    fn any_range_reads_as_it_was_captured(
        seed in any::<u64>(),
        len in prop_oneof![0..3 * BLOCK, 0..3 * LEAF, Just(BLOCK), Just(LEAF), Just(LEAF + 1)],
        cache_bytes in prop_oneof![Just(0), Just(100_000), Just(3 << 20), Just(64 << 20)],
        reads in prop::collection::vec((any::<u32>(), 0..600_000_usize), 1..40),
    ) {
        let bench = TestRepository::new();
        let image = Random::new(seed).disk(len.max(1))[..len].to_vec();
        let id = bench.snapshot("disk", &image);
        let disk = SnapshotDisk::open(Arc::new(bench.another()), id, BlockCache::new(cache_bytes)).unwrap();
        prop_assert_eq!(disk.len(), len as u64);
        prop_assert_eq!(data_of(&disk), data_of_image(&image));
        for (at, bytes) in reads {
            let at = at as usize % (len + 1);
            let range = at..(at + bytes).min(len);
            assert_same(&read(&disk, range.clone()).unwrap(), &image[range.clone()], "a range");
        }
    }
}

#[test]
fn the_smallest_disks_read_to_their_last_byte_and_no_further() {
    let bench = TestRepository::new();
    for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, LEAF + 1] {
        let image = Random::new(len as u64).bytes(len);
        let id = bench.snapshot("small", &image);
        let disk = SnapshotDisk::open(Arc::new(bench.another()), id, BlockCache::usual()).unwrap();
        assert_same(&read(&disk, 0..len).unwrap(), &image, "all of it");
        assert_same(
            &read(&disk, len.saturating_sub(1)..len).unwrap(),
            &image[len.saturating_sub(1)..],
            "its end",
        );
        assert_eq!(disk.next_data(len as u64).unwrap(), None);
        for beyond in [0..len + 1, len..len + 1, len + 1..len + 1] {
            assert_eq!(read(&disk, beyond).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        assert_eq!(disk.read_at(u64::MAX, &mut [0; 2]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_disk_of_16_tib_passes_over_its_holes() {
    let bench = TestRepository::new();
    let data = Random::new(16).bytes(3 * BLOCK + 7);
    let places = [5 << 12, 3 * TIB + (1 << 21), 16 * TIB - data.len() as u64];
    let image = places.iter().fold(TestImage::new(16 * TIB), |image, at| image.with(*at, &data));
    let id = bench.snapshot("huge", &image);
    let disk = SnapshotDisk::open(Arc::new(bench.another()), id, BlockCache::usual()).unwrap();
    let (mut at, mut found) = (0, Vec::new());
    while let Some(next) = disk.next_data(at).unwrap() {
        at = next.end;
        found.push(next);
    }
    let blocks = |at: u64| at / 4096 * 4096..(at + data.len() as u64).div_ceil(4096) * 4096;
    assert_eq!(found, places.map(blocks));
    for place in places {
        let mut bytes = vec![1; data.len() + 4096];
        disk.read_at(place - 4096, &mut bytes).unwrap();
        assert_same(&bytes, &[&[0; 4096][..], &data].concat(), "with what is before it");
    }
    let mut hole = vec![1; 1 << 20];
    disk.read_at(7 * TIB + 3, &mut hole).unwrap();
    assert_same(&hole, &vec![0; 1 << 20], "a hole");
}

#[test]
fn a_snapshot_is_not_deleted_while_a_disk_of_it_is_open() {
    let bench = TestRepository::new();
    let image = Random::new(3).bytes(LEAF);
    let id = bench.snapshot("disk", &image);
    let disk = SnapshotDisk::open(Arc::new(bench.another()), id, BlockCache::usual()).unwrap();
    assert_eq!(delete(&bench.repo, id, DeleteOptions::default()).unwrap_err().kind(), ErrorKind::InUse);
    // What is read ahead on other threads does not keep it.
    (0..20).for_each(|at| drop(read(&disk, at * BLOCK..(at + 1) * BLOCK).unwrap()));
    drop(disk);
    delete(&bench.repo, id, DeleteOptions::default()).unwrap();
    let gone = SnapshotDisk::open(Arc::new(bench.another()), id, BlockCache::usual());
    assert_eq!(gone.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
}
