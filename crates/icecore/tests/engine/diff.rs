//! Diffs against a comparison of the images, block by block.

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::repository::Repository;
use icecore::snapshot::Change;
use icecore::snapshot::ChangedRange;
use icecore::snapshot::DiffTotals;
use icecore::snapshot::SnapshotId;
use icecore_testing::images::TestImage;
use icecore_testing::images::blocks;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::options;

const MIB: usize = 1 << 20;

fn diff(repo: &Repository, from: SnapshotId, to: SnapshotId) -> (Vec<ChangedRange>, DiffTotals) {
    let mut ranges = Vec::new();
    let totals = icecore::snapshot::diff(repo, from, to, &mut |range| {
        ranges.push(range);
        Ok(())
    })
    .unwrap();
    (ranges, totals)
}

/// The rules of a diff, applied to each block of both images.
fn expected(from: &[u8], to: &[u8]) -> Vec<ChangedRange> {
    let (from_blocks, to_blocks) = (blocks(from), blocks(to));
    let mut ranges: Vec<ChangedRange> = Vec::new();
    let mut push = |offset: usize, end: usize, change: Change| {
        if offset >= end {
            return;
        }
        let (offset, bytes) = (offset as u64, (end - offset) as u64);
        match ranges.last_mut() {
            Some(last) if last.change == change && last.offset + last.bytes == offset => last.bytes += bytes,
            _ => ranges.push(ChangedRange { offset, bytes, change }),
        }
    };
    let both = from.len().min(to.len());
    for (at, new) in to_blocks.iter().enumerate() {
        let change = if new.is_some() { Change::Data } else { Change::Zero };
        let (begin, end) = (at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES);
        if from_blocks.get(at).is_some_and(|old| old != new) {
            push(begin, end.min(both), change);
        }
        push(begin.max(from.len()), end.min(to.len()), change);
    }
    push(to.len(), from.len(), Change::Gone);
    ranges
}

#[test]
fn a_diff_is_what_a_comparison_of_the_images_finds() {
    let mut noise = Random::new(1);
    for (from_len, to_len) in [
        (0, 0),
        (0, 5000),
        (5000, 0),
        (5000, 9000),
        (9000, 5000),
        (4 * MIB, 4 * MIB),
        (4 * MIB + 1, 4 * MIB - 1),
        (3 * MIB, 8 * MIB + 12345),
        (8 * MIB + 12345, 3 * MIB),
        (9 * MIB, 9 * MIB),
    ] {
        let bench = TestRepository::new();
        let from = noise.disk(from_len);
        let mut to = from.clone();
        to.resize(to_len, 0);
        if to_len > from_len {
            let at = noise.below(to_len);
            noise.fill(&mut to[at..]);
        }
        (0..4).filter(|_| to_len > 0).for_each(|_| noise.scribble(&mut to));
        let (a, b) = (bench.snapshot("disk", &from), bench.snapshot("disk", &to));
        for (x, y, x_image, y_image) in [(a, b, &from, &to), (b, a, &to, &from), (a, a, &from, &from)] {
            let (ranges, totals) = diff(&bench.repo, x, y);
            assert_eq!(ranges, expected(x_image, y_image), "{from_len} {to_len}");
            let sum = |change| {
                ranges.iter().filter(|range| range.change == change).map(|range| range.bytes).sum::<u64>()
            };
            let sums = [sum(Change::Data), sum(Change::Zero), sum(Change::Gone), ranges.len() as u64];
            assert_eq!(sums, [totals.data_bytes, totals.zero_bytes, totals.gone_bytes, totals.ranges]);
        }
    }
}

#[test]
fn a_last_block_that_only_grew_is_new_where_it_grew() {
    let bench = TestRepository::new();
    let short = Random::new(2).bytes(5000);
    let mut long = short.clone();
    long.resize(20_000, 0);
    let (a, b) = (bench.snapshot("disk", &short), bench.snapshot("disk", &long));
    let range = |offset, bytes, change| ChangedRange { offset, bytes, change };
    assert_eq!(
        diff(&bench.repo, a, b).0,
        [range(5000, 8192 - 5000, Change::Data), range(8192, 20_000 - 8192, Change::Zero)]
    );
    assert_eq!(diff(&bench.repo, b, a).0, [range(5000, 15_000, Change::Gone)]);
}

#[test]
fn trees_of_different_height_are_compared_and_only_what_differs_is_read() {
    let bench = TestRepository::new();
    let gib = 1_u64 << 30;
    let mut noise = Random::new(3);
    let parts: Vec<Vec<u8>> = (0..60).map(|_| noise.bytes(BLOCK_BYTES)).collect();
    let image = |len: u64| {
        parts.iter().zip(0..).fold(TestImage::new(len), |image, (part, at)| image.with(at * (7 << 20), part))
    };
    let small = bench.snapshot("disk", &image(gib / 2));
    let large = bench.snapshot("disk", &image(300 * gib));
    let other = noise.bytes(BLOCK_BYTES);
    let changed =
        bench.snapshot("disk", &image(300 * gib).with(35 << 20, &other).with(200 * gib + 4096, &other));
    let range = |offset, bytes, change| ChangedRange { offset, bytes, change };

    let (ranges, totals) = diff(&bench.repo, small, large);
    assert_eq!(ranges, [range(gib / 2, 300 * gib - gib / 2, Change::Zero)]);
    assert!(totals.pages_read <= 8, "{totals:?}");
    assert_eq!(diff(&bench.repo, large, small).0, [range(gib / 2, 300 * gib - gib / 2, Change::Gone)]);

    let (ranges, totals) = diff(&bench.repo, large, changed);
    assert_eq!(ranges, [range(35 << 20, 4096, Change::Data), range(200 * gib + 4096, 4096, Change::Data)]);
    // Two paths of at most four pages, in both trees.
    assert!(totals.pages_read <= 16, "{totals:?}");
}

#[test]
fn equal_content_that_is_stored_twice_does_not_differ() {
    // Two captures at once store the same blocks in chunks of their own, so that their pages differ
    // too.
    let bench = TestRepository::new();
    let image = Random::new(4).bytes(5 * MIB);
    let mut first = image.clone();
    // One block of a span: the others of it are equal, and are compared one by one.
    first[MIB + 5 * BLOCK_BYTES] ^= 1;
    let between = std::sync::Once::new();
    let other = bench.another();
    let slow = TestImage::full(&image).on_read(|_| {
        between.call_once(|| {
            meanwhile(|| {
                icecore::snapshot::capture(&other, &first, &options("first"), &NoProgress).unwrap();
                icecore::snapshot::capture(&other, &image, &options("first"), &NoProgress).unwrap();
            });
        });
        Ok(())
    });
    let stored = bench.capture("second", &slow).snapshot;
    assert!(
        stored.stats.new_bytes >= 4 << 20,
        "the test needs content that is stored twice: {:?}",
        stored.stats
    );
    let all = icecore::snapshot::list(&bench.repo).unwrap();
    let [first_id, image_id] =
        [0, 1].map(|at| all.iter().filter(|s| s.resource == "first").nth(at).unwrap().id);

    let (ranges, totals) = diff(&bench.repo, image_id, stored.id);
    assert_eq!((ranges.len(), totals.pages_read), (0, 0));
    assert_eq!(diff(&bench.repo, first_id, stored.id).0, expected(&first, &image));
}

#[test]
fn a_diff_stops_where_its_reader_does_and_names_what_is_missing() {
    let bench = TestRepository::new();
    let (a, b) = (
        bench.snapshot("disk", &Random::new(5).bytes(MIB)),
        bench.snapshot("disk", &Random::new(6).bytes(MIB)),
    );
    let enough = |_| Err(icecore::Error::new(ErrorKind::Interrupted, "enough"));
    assert_eq!(
        icecore::snapshot::diff(&bench.repo, a, b, &mut { enough }).unwrap_err().kind(),
        ErrorKind::Interrupted
    );
    let nobody = options("disk").id;
    let error = icecore::snapshot::diff(&bench.repo, a, nobody, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
