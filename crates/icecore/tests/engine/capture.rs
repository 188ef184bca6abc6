//! Captures of images of all sizes, and of images that misbehave.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::SPAN_BYTES;
use icecore::image::ReadAt;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::FileIdentity;
use icecore::snapshot::Parent;
use icecore::snapshot::SnapshotId;
use icecore::storage::FsStorage;
use icecore::storage::MemoryStorage;
use icecore_testing::bytes::assert_same;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::Stopping;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::image_of;
use icecore_testing::repository::init;
use icecore_testing::repository::init_options;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use rayon::prelude::*;
use uuid::Uuid;

use crate::damage::PACK_HEADER;

const MIB: usize = 1 << 20;

/// Sizes at the edges of sectors, blocks, spans and leaves, and beyond.
pub(crate) const SIZES: [usize; 17] = [
    0,
    1,
    511,
    512,
    4095,
    4096,
    4097,
    SPAN_BYTES - 1,
    SPAN_BYTES,
    SPAN_BYTES + 1,
    4 * MIB - 1,
    4 * MIB,
    4 * MIB + 1,
    5 * MIB,
    8 * MIB - 4096,
    8 * MIB,
    8 * MIB + 12345,
];

#[test]
fn images_of_all_sizes_come_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let bench = TestRepository::new();
    let on_disk = init(FsStorage::new(dir.path()));
    let mut noise = Random::new(21);
    for len in SIZES {
        let mut image = noise.disk(len);
        if let Some(last) = image.last_mut() {
            *last = 1;
        }
        let report = bench.capture(&format!("disk-{len}"), &image);
        let filled: Vec<&[u8]> =
            image.chunks(BLOCK_BYTES).filter(|block| block.iter().any(|b| *b != 0)).collect();
        assert_eq!(report.snapshot.size_bytes, len as u64);
        assert_eq!(report.snapshot.stats.data_bytes, (filled.len() * BLOCK_BYTES) as u64, "{len}");
        assert!(!report.changed_while_read && !report.trusted_mtime && !report.unchanged, "{report:?}");
        assert_same(&image_of(&bench.repo, report.snapshot.id), &image, &format!("in memory, {len}"));

        let taken = icecore::snapshot::capture(&on_disk, &image, &options("disk"), &NoProgress).unwrap();
        // The same key and the same content: what else is in the repository does not count.
        assert_eq!(taken.snapshot.content, report.snapshot.content, "{len}");
        assert_same(
            &image_of(&open(FsStorage::new(dir.path())), taken.snapshot.id),
            &image,
            &format!("on disk, {len}"),
        );
    }
}

#[test]
fn of_a_huge_sparse_image_only_the_data_is_read() {
    let tib = 1_u64 << 40;
    let mut noise = Random::new(22);
    let pieces: Vec<(u64, Vec<u8>)> =
        [(3, 1), (4 * tib - 5, 10), (9 * tib + 4095, 70_000), (16 * tib - 12_001, 11_000)]
            .map(|(at, len)| (at, noise.bytes(len)))
            .to_vec();
    let image = |len| pieces.iter().fold(TestImage::new(len), |image, (at, bytes)| image.with(*at, bytes));
    let bench = TestRepository::new();
    let first = image(16 * tib - 1000);
    let report = bench.capture("huge", &first);
    // Spans are read whole: one for each piece, and the neighbours that pieces reach into.
    let spans: u64 = 1 + 2 + 2 + 2;
    assert!(report.read_bytes <= spans * SPAN_BYTES as u64, "{} bytes", report.read_bytes);
    assert_eq!(report.read_bytes, first.bytes_read());
    assert_eq!(report.snapshot.min_disk_gib(), 16 << 10);

    let again = bench.capture("huge", &image(16 * tib - 1000));
    assert!(again.unchanged);
    let other = bench.capture("huge", &image(16 * tib));
    assert_eq!(other.snapshot.stats.new_bytes, 0);
    assert_ne!(other.snapshot.content, report.snapshot.content, "the size is part of the content");
    let mut changes = Vec::new();
    icecore::snapshot::diff(&bench.repo, again.snapshot.id, other.snapshot.id, &mut |range| {
        changes.push((range.offset, range.bytes));
        Ok(())
    })
    .unwrap();
    assert_eq!(changes, [(16 * tib - 1000, 1000)]);
}

#[test]
fn an_unchanged_image_adds_nothing_but_its_entry() {
    let bench = TestRepository::new();
    let image = Random::new(23).disk(9 * MIB + 100);
    let first = bench.capture("disk", &image);
    let files = bench.storage.files();
    let again = bench.capture("disk", &image);
    assert!(again.unchanged);
    assert_eq!(again.parent, Some(first.snapshot.id));
    assert_eq!(again.snapshot.content, first.snapshot.content);
    let stats = again.snapshot.stats;
    assert_eq!([stats.new_bytes, stats.stored_bytes, stats.manifest_bytes], [0; 3]);
    let added: Vec<String> =
        bench.storage.files().into_keys().filter(|name| !files.contains_key(name)).collect();
    assert_eq!(added, ["journal-copies/0000000000000002", "journal/0000000000000002"]);
}

#[test]
fn a_capture_without_its_parent_has_the_same_result() {
    let bench = TestRepository::new();
    let mut noise = Random::new(24);
    let mut image = noise.disk(9 * MIB);
    bench.capture("disk", &image);
    (0..3).for_each(|_| noise.scribble(&mut image));
    let with = bench.capture("disk", &image).snapshot;
    let alone = CaptureOptions { parent: Parent::None, ..options("disk") };
    let without = icecore::snapshot::capture(&bench.repo, &image, &alone, &NoProgress).unwrap();
    assert_eq!(without.snapshot.content, with.content);
    assert_eq!((without.parent, without.snapshot.stats.new_bytes), (None, 0));
    assert_same(&image_of(&bench.repo, without.snapshot.id), &image, "without a parent");

    let unlike = CaptureOptions { parent: Parent::Snapshot(with.id), ..options("other") };
    let other = icecore::snapshot::capture(&bench.repo, &noise.bytes(100), &unlike, &NoProgress).unwrap();
    assert_eq!(other.parent, Some(with.id));
    assert_eq!(image_of(&bench.repo, other.snapshot.id).len(), 100);
    let nobody = CaptureOptions { parent: Parent::Snapshot(options("").id), ..options("other") };
    let error = icecore::snapshot::capture(&bench.repo, &image, &nobody, &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn blocks_are_found_again_wherever_they_stand() {
    let bench = TestRepository::new();
    let mut noise = Random::new(25);
    let image = noise.bytes(5 * MIB);
    bench.capture("disk", &image);
    let moved = [vec![0; 3 * BLOCK_BYTES], image.clone(), noise.bytes(BLOCK_BYTES)].concat();
    let report = bench.capture("other", &moved);
    assert_eq!(report.snapshot.stats.new_bytes, BLOCK_BYTES as u64);
    assert_same(&image_of(&bench.repo, report.snapshot.id), &moved, "moved blocks");
}

#[test]
fn a_short_last_block_has_nothing_of_what_was_read_before() {
    // More leaves than there are buffers, so that the last one is read into a buffer that was used.
    let leaves = 60_u64;
    let leaf = 4 << 20;
    let tail = Random::new(32).bytes(100);
    let image = |seed| {
        let mut noise = Random::new(seed);
        let image = TestImage::new(leaves * leaf + 100).with(leaves * leaf, &tail);
        (0..leaves).fold(image, |image, at| image.with(at * leaf, &noise.bytes(BLOCK_BYTES)))
    };
    let bench = TestRepository::new();
    let [one, two] = [33, 34].map(|seed| bench.snapshot("disk", &image(seed)));
    let mut last = None;
    icecore::snapshot::diff(&bench.repo, one, two, &mut |range| {
        last = Some(range.offset);
        Ok(())
    })
    .unwrap();
    assert_eq!(last, Some((leaves - 1) * leaf), "the last range that differs");
}

#[test]
fn two_images_are_captured_at_once() {
    let bench = TestRepository::new();
    let other = bench.another();
    let mut noise = Random::new(26);
    let images = [noise.disk(9 * MIB), noise.disk(7 * MIB + 5)];
    let once = std::sync::Once::new();
    let first = TestImage::full(&images[0]).on_read(|_| {
        once.call_once(|| {
            meanwhile(|| {
                icecore::snapshot::capture(&other, &images[1], &options("second"), &NoProgress).unwrap();
            });
        });
        Ok(())
    });
    let ids = std::thread::scope(|scope| {
        let third = scope.spawn(|| {
            icecore::snapshot::capture(&bench.another(), &images[1], &options("third"), &NoProgress)
                .unwrap()
                .snapshot
                .id
        });
        [bench.snapshot("first", &first), third.join().unwrap()]
    });
    let second = icecore::snapshot::find(&bench.repo, "second@latest").unwrap().id;
    for (id, image) in [(ids[0], &images[0]), (second, &images[1]), (ids[1], &images[1])] {
        assert_same(&image_of(&bench.repo, id), image, "one of several at once");
    }
}

#[test]
fn an_image_that_shrinks_or_cannot_be_read_leaves_no_snapshot() {
    let bench = TestRepository::new();
    let bytes = Random::new(27).bytes(9 * MIB);
    let fails = |image: &TestImage<'_>| {
        let error =
            icecore::snapshot::capture(&bench.repo, image, &options("disk"), &NoProgress).unwrap_err();
        assert_eq!(icecore::snapshot::list(&bench.repo).unwrap(), []);
        error
    };
    let size = AtomicU64::new(5 * MIB as u64);
    let shrinks = TestImage::full(&bytes);
    // It becomes shorter before it is looked at a second time, and only what is beyond its new end
    // fails.
    let shrinks = Shrinks { image: shrinks, size: &size };
    let error = icecore::snapshot::capture(&bench.repo, &shrinks, &options("disk"), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImageChanged, "{error}");
    let text = error.to_string();
    assert!(text.contains("9437184") && text.contains("5242880"), "{text}");
    assert!(text.contains("offset 5242880"), "{text}");

    let bad = 6 * MIB as u64 + SPAN_BYTES as u64 + 8192;
    let sector = TestImage::full(&bytes)
        .on_read(|range| if range.contains(&bad) { Err(io::Error::other("bad sector")) } else { Ok(()) });
    let error = fails(&sector);
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains(&format!("offset {bad}")), "{error}");

    let grown = AtomicBool::new(false);
    let grows = Grows { image: TestImage::full(&bytes), grown: &grown };
    let error = icecore::snapshot::capture(&bench.repo, &grows, &options("disk"), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImageChanged, "{error}");

    let report = bench.capture("disk", &TestImage::full(&bytes));
    assert!(report.snapshot.stats.new_bytes < 9 * MIB as u64, "what was stored is found again");
}

/// Reports its whole size once, and is shorter after that.
struct Shrinks<'a> {
    image: TestImage<'a>,
    size: &'a AtomicU64,
}

impl ReadAt for Shrinks<'_> {
    fn len(&self) -> u64 {
        self.image.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.image.size_now.store(self.size.load(Ordering::SeqCst), Ordering::SeqCst);
        self.image.read_at(offset, buffer)
    }

    fn state(&self) -> io::Result<icecore::image::ImageState> {
        self.image.state()
    }
}

/// Becomes longer when it is read.
struct Grows<'a> {
    image: TestImage<'a>,
    grown: &'a AtomicBool,
}

impl ReadAt for Grows<'_> {
    fn len(&self) -> u64 {
        self.image.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.grown.store(true, Ordering::SeqCst);
        self.image.read_at(offset, buffer)
    }

    fn state(&self) -> io::Result<icecore::image::ImageState> {
        let state = self.image.state()?;
        let more = if self.grown.load(Ordering::SeqCst) { 4096 } else { 0 };
        Ok(icecore::image::ImageState { size_bytes: state.size_bytes + more, ..state })
    }
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let bench = TestRepository::new();
    let mut noise = Random::new(28);
    let mut image = noise.disk(6 * MIB);
    bench.capture("disk", &image);
    let changed = 3 * MIB..3 * MIB + 10 * BLOCK_BYTES;
    noise.fill(&mut image[changed]);
    let files = bench.storage.files();
    let dry = CaptureOptions { dry_run: true, ..options("disk") };
    let report = icecore::snapshot::capture(&bench.repo, &image, &dry, &NoProgress).unwrap();
    assert!(bench.storage.files() == files, "the files are as they were");
    assert_eq!(report.snapshot.stats.new_bytes, 10 * BLOCK_BYTES as u64);
    let real = bench.capture("disk", &image);
    assert_eq!(real.snapshot.content, report.snapshot.content);
    assert_eq!(real.snapshot.stats.new_bytes, report.snapshot.stats.new_bytes);
    assert_eq!(real.snapshot.stats.stored_bytes, report.snapshot.stats.stored_bytes);
}

#[test]
fn what_a_cancelled_capture_stored_is_found_by_the_next() {
    let bench = TestRepository::new();
    let image = Random::new(29).bytes(100 * MIB);
    let error =
        icecore::snapshot::capture(&bench.repo, &image, &options("disk"), &Stopping::at(20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert_eq!(icecore::snapshot::list(&bench.repo).unwrap(), []);
    assert_eq!(bench.count("local/tmp/"), 0, "nothing half-written stays");
    let report = bench.capture("disk", &image);
    // More than a pack, and the one that was open then.
    assert_eq!(report.snapshot.stats.new_bytes, 24 * MIB as u64, "the first 19 leaves were there");
    assert!(image_of(&bench.repo, report.snapshot.id) == image);
}

#[test]
fn workers_of_a_pool_capture_while_all_of_them_wait() {
    let bench = TestRepository::new();
    let images: Vec<Vec<u8>> = (0..4).map(|seed| Random::new(40 + seed).bytes(5 * MIB)).collect();
    let capture = |image: &Vec<u8>| bench.capture("disk", image).snapshot.id;
    for workers in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build().unwrap();
        let ids: Vec<SnapshotId> = pool.install(|| images.par_iter().map(capture).collect());
        for (id, image) in ids.into_iter().zip(&images) {
            assert_same(&image_of(&bench.repo, id), image, "captured by a worker");
        }
    }
}

#[test]
fn a_trusted_file_identity_saves_reading() {
    let bench = TestRepository::new();
    let bytes = Random::new(30).bytes(MIB);
    let identity = FileIdentity { device: 1, inode: 2, size_bytes: MIB as u64, mtime_ns: 3, ctime_ns: 4 };
    let image = |identity: Option<FileIdentity>| {
        let mut image = TestImage::full(&bytes);
        image.identity = identity;
        image
    };
    let trusting = || CaptureOptions { trust_mtime: true, ..options("disk") };
    let capture = |image: &TestImage<'_>, how: CaptureOptions| {
        let report = icecore::snapshot::capture(&bench.repo, image, &how, &NoProgress).unwrap();
        assert_same(&image_of(&bench.repo, report.snapshot.id), &bytes, "trusted or not");
        (report.trusted_mtime, image.bytes_read())
    };
    let all = MIB as u64;
    assert_eq!(capture(&image(Some(identity)), trusting()), (false, all), "nothing to compare with");
    assert_eq!(capture(&image(Some(identity)), trusting()), (true, 0));
    assert_eq!(capture(&image(Some(identity)), options("disk")), (false, all), "not asked to trust");
    let touched = FileIdentity { ctime_ns: 5, ..identity };
    assert_eq!(capture(&image(Some(touched)), trusting()), (false, all));
    assert_eq!(capture(&image(None), trusting()), (false, all), "a device has no identity");
    assert_eq!(capture(&image(None), trusting()), (false, all), "none is not equal to none");
}

#[test]
fn a_file_that_was_changed_within_a_tick_of_the_clock_before_its_capture_is_not_trusted_later() {
    // It could be written to once more in the same tick, and its times would not show it.
    let bench = TestRepository::new();
    let (before, after) = (Random::new(32).bytes(MIB), Random::new(33).bytes(MIB));
    // How old the file was, in milliseconds, whether by its content or by its name and mode.
    for (age, by_content) in
        [(0, true), (1_999, true), (1_999, false), (2_000, true), (2_000, false), (-5_000, true)]
    {
        let trusting = CaptureOptions { trust_mtime: true, ..options("disk") };
        let (young, old) = ((trusting.created_unix_ms - age) * 1_000_000, 1_000_000);
        let (mtime_ns, ctime_ns) = if by_content { (young, old) } else { (old, young) };
        let identity = FileIdentity { device: 1, inode: 2, size_bytes: MIB as u64, mtime_ns, ctime_ns };
        let image = |bytes: &[u8]| {
            let mut image = TestImage::full(bytes);
            image.identity = Some(identity);
            image
        };
        let later = CaptureOptions { trust_mtime: true, ..options("disk") };
        icecore::snapshot::capture(&bench.repo, &image(&before), &trusting, &NoProgress).unwrap();
        let report = icecore::snapshot::capture(&bench.repo, &image(&after), &later, &NoProgress).unwrap();
        assert_eq!(report.trusted_mtime, age >= 2_000, "{age} ms old, {by_content}");
        let wanted = if age >= 2_000 { &before } else { &after };
        assert_same(&image_of(&bench.repo, report.snapshot.id), wanted, "what was written in the same tick");
    }
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_is_read() {
    let bench = TestRepository::new();
    let taken = bench.capture("disk", &vec![1; 5000]).snapshot.name;
    let image = TestImage::full(&[1; 5000]);
    let same = CaptureOptions { name: taken, ..options("disk") };
    let error = icecore::snapshot::capture(&bench.repo, &image, &same, &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(image.bytes_read(), 0);
    let elsewhere = CaptureOptions { resource: "other".to_owned(), ..same };
    icecore::snapshot::capture(&bench.repo, &image, &elsewhere, &NoProgress).unwrap();
}

#[test]
fn the_same_image_gives_the_same_bytes_in_a_session_and_packs_of_the_same_content_in_another() {
    let image = Random::new(31).disk(9 * MIB + 7);
    let how = options("disk");
    let files = |session: u128, workers: usize| {
        let storage = MemoryStorage::new();
        let session = Uuid::from_u128(session);
        let repo = Repository::init(Arc::new(storage.clone()), session, &init_options()).unwrap();
        let capture = || icecore::snapshot::capture(&repo, &image, &how, &NoProgress);
        rayon::ThreadPoolBuilder::new().num_threads(workers).build().unwrap().install(capture).unwrap();
        let files = storage.files().into_iter();
        files.filter(|(name, _)| name.starts_with("packs/") || name.starts_with("index/")).collect::<Vec<_>>()
    };
    let [one, same, other] = [(1, 1), (1, 3), (2, 3)].map(|(session, workers)| files(session, workers));
    assert!(one == same, "packs and index differ between two runs");
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert!(names(&one).iter().all(|name| !names(&other).contains(name)), "a pack has the name of another");
    let content = |files: Vec<(String, Vec<u8>)>| {
        let packs = files.into_iter().filter(|(name, _)| name.starts_with("packs/"));
        packs.map(|(_, bytes)| bytes[PACK_HEADER..].to_vec()).collect::<BTreeSet<_>>()
    };
    assert!(content(one) == content(other), "the packs hold something else");
}
