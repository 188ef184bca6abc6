//! Captures of what is known to have changed: they must give what a capture of the whole image
//! gives, and read what changed.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Mutex;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::SPAN_BYTES;
use icecore::image::ReadAt;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CaptureReport;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::KeptBase;
use icecore::snapshot::OnDamage;
use icecore::snapshot::Parent;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::Storage;
use icecore_testing::bytes::assert_same;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::image_of;
use icecore_testing::repository::options;
use proptest::prelude::any;
use proptest::test_runner::Config;
use proptest::test_runner::TestRunner;

use crate::damage::Fixture;
use crate::damage::RECORD_HEADER;

const BLOCK: u64 = BLOCK_BYTES as u64;
const SPAN: u64 = SPAN_BYTES as u64;
const LEAF: u64 = 4 << 20;
/// Cases unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 20;

/// Returns a report of a capture of what has changed since a snapshot.
fn capture_changed(
    repo: &Repository,
    image: &dyn ReadAt,
    base: Option<&KeptBase>,
    changed: &[Range<u64>],
) -> icecore::Result<CaptureReport> {
    icecore::snapshot::capture_ranges(repo, image, base, changed, &options("disk"), &NoProgress)
}

fn one(range: Range<u64>) -> Vec<Range<u64>> {
    vec![range]
}

fn keep(repo: &Repository, id: SnapshotId) -> KeptBase {
    KeptBase::load(repo, id).unwrap()
}

/// A large image with little data, that notes where it is read.
#[derive(Default)]
struct Sparse {
    len: u64,
    /// Blocks that may not be zero, the last one filled up with zeros.
    blocks: BTreeMap<u64, Vec<u8>>,
    reads: Mutex<Vec<Range<u64>>>,
}

impl Sparse {
    fn write(&mut self, block: u64, bytes: Vec<u8>) {
        let left = self.len.saturating_sub(block * BLOCK).min(BLOCK);
        let mut bytes = bytes;
        bytes[usize::try_from(left).unwrap()..].fill(0);
        if left > 0 {
            self.blocks.insert(block, bytes);
        }
    }
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        assert!(offset.is_multiple_of(BLOCK) && end <= self.len);
        self.reads.lock().unwrap().push(offset..end);
        for (number, into) in (offset / BLOCK..).zip(buffer.chunks_mut(BLOCK_BYTES)) {
            match self.blocks.get(&number) {
                Some(bytes) => into.copy_from_slice(&bytes[..into.len()]),
                None => into.fill(0),
            }
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        if offset >= self.len {
            return Ok(None);
        }
        let next = self.blocks.range(offset / BLOCK..).next().map(|(number, _)| number * BLOCK);
        Ok(next.map(|at| at.max(offset)..(at + BLOCK).min(self.len)))
    }
}

/// An image that changes at random, and what is known of that.
struct Changing {
    noise: Random,
    image: Sparse,
    changed: Vec<Range<u64>>,
}

/// Sizes on both sides of those where the tree grows a level.
const SIZES: [u64; 9] = [
    0,
    1000,
    LEAF - 3 * BLOCK - 100,
    LEAF,
    3 * LEAF + 77,
    128 * LEAF - SPAN - 1,
    128 * LEAF + 5,
    (128 << 7) * LEAF,
    (128 << 7) * LEAF + 3 * LEAF + 4095,
];

impl Changing {
    /// Chooses a block, most often one near something that matters.
    fn place(&mut self) -> u64 {
        let blocks = self.image.len.div_ceil(BLOCK).max(1);
        let near = match self.noise.below_u64(6) {
            0 => 0,
            1 => blocks,
            2 => LEAF / BLOCK * (1 + self.noise.below_u64(3)),
            3 => LEAF / BLOCK * 128,
            4 => {
                self.image.blocks.keys().nth(self.noise.below(self.image.blocks.len())).copied().unwrap_or(0)
            }
            _ => self.noise.below_u64(blocks),
        };
        (near + self.noise.below_u64(40)).saturating_sub(20).min(blocks - 1)
    }

    fn note(&mut self, blocks: Range<u64>) {
        self.changed.push(blocks.start * BLOCK..(blocks.end * BLOCK).min(self.image.len.max(1)));
    }

    fn step(&mut self, kind: u8) {
        let first = self.place();
        let run = first..first + 1 + self.noise.next() % 40;
        match kind % 8 {
            0 | 1 => {
                for block in run.clone() {
                    let bytes = self.noise.bytes(BLOCK_BYTES);
                    self.image.write(block, bytes);
                }
                self.note(run);
            }
            2 => {
                self.image.blocks.retain(|block, _| !run.contains(block));
                self.note(run);
            }
            3 => {
                // Regions as a whole become zero: as holes, or as zeros that are there.
                let first = first * BLOCK / LEAF * (LEAF / BLOCK);
                let run = first..first + LEAF / BLOCK * (1 + self.noise.next() % 3);
                let holes = self.noise.next().is_multiple_of(2);
                for (_, bytes) in self.image.blocks.range_mut(run.clone()) {
                    bytes.fill(0);
                }
                self.image.blocks.retain(|block, _| !(holes && run.contains(block)));
                self.note(run);
            }
            4 => self.note(run),
            5 => {
                // What is there already, elsewhere.
                let from = self.place();
                let known: Vec<_> =
                    self.image.blocks.range(from..from + 20).map(|(_, b)| b.clone()).collect();
                let end = first + known.len() as u64;
                (first..).zip(known).for_each(|(block, bytes)| self.image.write(block, bytes));
                self.note(first..end);
            }
            6 => {
                if let Some(larger) = SIZES.iter().find(|size| **size > self.image.len) {
                    self.image.len = *larger;
                }
            }
            _ => {
                let byte = self.noise.below(BLOCK_BYTES);
                let mut bytes = self.image.blocks.get(&first).cloned().unwrap_or(vec![0; BLOCK_BYTES]);
                bytes[byte] ^= 1;
                self.image.write(first, bytes);
                self.note(first..first + 1);
            }
        }
    }
}

/// Joins ranges and puts them in order.
fn in_order(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Captures the whole image in the same repository, where everything that was stored otherwise
/// would show, and in another one.
fn assert_as_a_full_capture(bench: &TestRepository, image: &dyn ReadAt, report: &CaptureReport) {
    let whole = CaptureOptions {
        parent: report
            .parent
            .filter(|id| KeptBase::load(&bench.repo, *id).is_ok())
            .map_or(Parent::None, Parent::Snapshot),
        ..options("whole")
    };
    let full = icecore::snapshot::capture(&bench.repo, image, &whole, &NoProgress).unwrap();
    let root = |id| keep(&bench.repo, id).root();
    assert_eq!(root(report.snapshot.id), root(full.snapshot.id));
    assert_eq!((full.snapshot.stats.new_bytes, full.snapshot.stats.manifest_bytes), (0, 0), "all was there");
    let alone = TestRepository::new().capture("disk", image);
    for full in [full, alone] {
        assert_eq!(report.snapshot.content, full.snapshot.content);
        assert_eq!(report.snapshot.size_bytes, full.snapshot.size_bytes);
        assert_eq!(report.snapshot.stats.data_bytes, full.snapshot.stats.data_bytes);
    }
    icecore::snapshot::delete(&bench.repo, whole.id, DeleteOptions::default()).unwrap();
}

fn play(size: usize, seed: u64, steps: &[Vec<u8>]) {
    let bench = TestRepository::new();
    let image = Sparse { len: SIZES[size % SIZES.len()], ..Sparse::default() };
    let mut world = Changing { noise: Random::new(seed), image, changed: Vec::new() };
    let mut base: Option<KeptBase> = None;
    for kinds in steps {
        kinds.iter().for_each(|kind| world.step(*kind));
        let changed = in_order(std::mem::take(&mut world.changed));
        world.image.reads.lock().unwrap().clear();
        let report = capture_changed(&bench.repo, &world.image, base.as_ref(), &changed).unwrap();

        let reads = std::mem::take(&mut *world.image.reads.lock().unwrap());
        assert_eq!(report.read_bytes, reads.iter().map(|read| read.end - read.start).sum::<u64>());
        for span in reads.iter().flat_map(|read| read.start / SPAN..read.end.div_ceil(SPAN)) {
            let touched =
                changed.iter().any(|range| range.start < (span + 1) * SPAN && range.end > span * SPAN);
            assert!(touched, "span {span} was read");
        }
        assert_as_a_full_capture(&bench, &world.image, &report);
        let id = report.snapshot.id;
        if world.image.len <= 8 * LEAF {
            let mut bytes = vec![0; usize::try_from(world.image.len).unwrap()];
            world.image.read_at(0, &mut bytes).unwrap();
            assert_same(&image_of(&bench.repo, id), &bytes, "the image");
        }
        base = Some(keep(&bench.repo, id));
        if seed.is_multiple_of(2) {
            // Its data stays, for there was no gc.
            icecore::snapshot::delete(&bench.repo, id, DeleteOptions::default()).unwrap();
        }
    }
    assert_sound(&bench.repo, "afterwards");
}

#[test]
fn what_has_changed_gives_what_the_whole_image_gives() {
    let mut config = Config { source_file: Some(file!()), max_shrink_iters: 500, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let steps = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 1..6);
    let played =
        TestRunner::new(config).run(&(any::<usize>(), any::<u64>(), steps), |(size, seed, steps)| {
            play(size, seed, &steps);
            Ok(())
        });
    played.unwrap_or_else(|error| panic!("{error}"));
}

/// An image of which every read fails outside of some ranges.
fn unreadable_outside<'a>(bytes: &[u8], readable: &'a [Range<u64>]) -> TestImage<'a> {
    TestImage::full(bytes).on_read(move |read| {
        match readable.iter().any(|range| range.start <= read.start && read.end <= range.end) {
            true => Ok(()),
            false => Err(io::Error::other("cannot be read")),
        }
    })
}

/// Damages a repository of one snapshot.
type DamageOne = fn(&Fixture);

#[test]
fn where_the_base_is_damaged_the_image_is_read_or_the_capture_fails() {
    let image = Random::new(7).bytes(3 * (4 << 20) + 5000);
    let mut changed = image.clone();
    let at = 4 << 20;
    changed[at..at + 100].fill(9);
    let ranges = one(LEAF..LEAF + 100);
    // What is wrong with the second leaf or one of its chunks.
    let damages: [(&str, DamageOne); 3] = [
        ("its page cannot be read", |fixture| {
            let pages = &fixture.packs[0].1;
            fixture.flip(pages, fixture.records(pages)[1] + RECORD_HEADER + 3);
        }),
        ("one of its chunks is known as damaged", |fixture| {
            let pack = &fixture.packs[0].0;
            fixture.flip(pack, fixture.records(pack)[64 + 20] + RECORD_HEADER + 3);
            let repo = fixture.open();
            icecore::maintenance::verify_and_note(
                &repo,
                None,
                icecore::maintenance::Depth::ReadData,
                1,
                &NoProgress,
            )
            .unwrap();
        }),
        ("its chunks are not in the index", |fixture| {
            fixture.storage.remove(&fixture.packs[0].0).unwrap();
            icecore::maintenance::repair_index(&fixture.open(), &NoProgress).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let fixture = Fixture::new(vec![("disk", image.clone())]);
        let before = icecore::snapshot::list(&fixture.open()).unwrap();
        let base = keep(&fixture.open(), fixture.id(0));
        damage(&fixture);
        let repo = fixture.open();
        // As a view that cannot read there either.
        let first_span = one(LEAF..LEAF + SPAN);
        let error = capture_changed(&repo, &unreadable_outside(&changed, &first_span), Some(&base), &ranges);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Io, "{what}");
        assert_eq!(icecore::snapshot::list(&repo).unwrap(), before, "{what}");

        let region = one(LEAF..2 * LEAF);
        let view = unreadable_outside(&changed, &region);
        let report = capture_changed(&repo, &view, Some(&base), &ranges).unwrap();
        assert_eq!(report.read_bytes, LEAF, "{what}");
        let full = TestRepository::new().capture("disk", &changed).snapshot;
        assert_eq!(report.snapshot.stats.data_bytes, full.stats.data_bytes, "{what}");
        let mut restored = Vec::new();
        icecore::snapshot::restore(
            &fixture.open(),
            report.snapshot.id,
            RestoreTo::Stream(&mut restored),
            OnDamage::GoOn,
            &NoProgress,
        )
        .unwrap();
        assert_same(&restored[at..2 * at], &changed[at..2 * at], what);
    }
}

#[test]
fn an_image_that_is_shorter_than_its_base_is_refused() {
    let bench = TestRepository::new();
    let image = Random::new(8).bytes(20_000);
    let base = keep(&bench.repo, bench.snapshot("disk", &image));
    let error = capture_changed(&bench.repo, &image[..19_999].to_vec(), Some(&base), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[test]
fn ranges_that_are_not_in_order_are_refused() {
    let bench = TestRepository::new();
    let image = vec![1; 9 << 20];
    for ranges in [[LEAF..LEAF + 1, 0..1], [0..3 * LEAF, LEAF..LEAF + 1]] {
        let error = capture_changed(&bench.repo, &image, None, &ranges).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}
