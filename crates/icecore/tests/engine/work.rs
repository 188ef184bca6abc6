//! How much work is done, counted in calls and bytes: what makes the engine fast must not be lost
//! without a test that says so. No test here looks at a clock.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::NoProgress;
use icecore::SPAN_BYTES;
use icecore::image::ReadAt;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::KeptBase;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotDisk;
use icecore::storage;
use icecore::storage::MemoryStorage;
use icecore::storage::Op;
use icecore::storage::Watch;
use icecore::storage::Watched;
use icecore_testing::bytes::assert_same;
use icecore_testing::images::Target;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::init;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::session;

const MIB: usize = 1 << 20;

/// One call that costs something.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Open(String),
    /// Read or mapped.
    Read(String, Range<u64>),
    Create(String),
    Append(usize),
    /// Of a file or of a directory.
    Sync,
    Rename(String),
}

/// A storage in memory that notes what is asked of it.
type Recorder = Watched<MemoryStorage, Notes>;

#[derive(Default)]
struct Notes {
    calls: Mutex<Vec<Call>>,
}

impl Notes {
    /// Returns what was noted since the last time.
    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

impl Watch for Notes {
    fn before(&self, call: &storage::Call<'_>) -> io::Result<()> {
        let name = || call.name.to_owned();
        let noted = match call.op {
            Op::Open => Call::Open(name()),
            Op::Read | Op::Map | Op::Load => Call::Read(name(), call.range.clone()),
            Op::Create => Call::Create(name()),
            Op::Append => Call::Append(usize::try_from(call.range.end - call.range.start).unwrap()),
            Op::Sync | Op::SyncDir => Call::Sync,
            Op::Rename | Op::RenameNew => Call::Rename(name()),
            _ => return Ok(()),
        };
        self.calls.lock().unwrap().push(noted);
        Ok(())
    }
}

fn capture(repo: &Repository, image: &dyn ReadAt) -> icecore::snapshot::CaptureReport {
    icecore::snapshot::capture(repo, image, &options("disk"), &NoProgress).unwrap()
}

fn syncs(calls: &[Call]) -> usize {
    calls.iter().filter(|call| **call == Call::Sync).count()
}

fn published(calls: &[Call]) -> Vec<&str> {
    let names = calls.iter().filter_map(|call| match call {
        Call::Rename(to) => Some(to.as_str()),
        _ => None,
    });
    names.collect()
}

/// Returns the bytes of files below `dir` that were read, each file's once and more if they were
/// read again.
fn bytes_read(calls: &[Call], dir: &str) -> u64 {
    let bytes = calls.iter().map(|call| match call {
        Call::Read(name, range) if name.starts_with(dir) => range.end - range.start,
        _ => 0,
    });
    bytes.sum()
}

/// Returns an image with data, zeros that were written, and holes, and what of it is data as the
/// file system sees it.
fn image_of_all_kinds() -> (TestImage<'static>, u64) {
    let data = Random::new(81).bytes(9 * MIB);
    let (first, second) = data.split_at(4 * MIB);
    let image = TestImage::new(1 << 40)
        .with(0, first)
        .with(8 << 20, &vec![0; 3 * MIB])
        .with((1 << 39) + SPAN_BYTES as u64, second);
    (image, 12 * MIB as u64)
}

#[test]
fn an_unchanged_image_is_read_once_and_its_record_alone_is_written() {
    let recorder = Recorder::default();
    let repo = init(recorder.clone());
    let (image, data_bytes) = image_of_all_kinds();
    capture(&repo, &image);
    image.reads.lock().unwrap().clear();
    recorder.take();

    assert!(capture(&repo, &image).unchanged);
    let mut reads = std::mem::take(&mut *image.reads.lock().unwrap());
    reads.sort_by_key(|range| range.start);
    assert!(reads.windows(2).all(|two| two[0].end <= two[1].start), "read twice: {reads:?}");
    assert_eq!(reads.iter().map(|range| range.end - range.start).sum::<u64>(), data_bytes);

    let calls = recorder.take();
    let names = published(&calls);
    assert!(matches!(names[..], [entry] if entry.starts_with("journal/")), "{names:?}");
    let created = calls.iter().filter(|call| matches!(call, Call::Create(_)));
    assert_eq!(created.count(), 2, "the entry and its copy");
    let written: usize =
        calls.iter().map(|call| if let Call::Append(bytes) = call { *bytes } else { 0 }).sum();
    assert!(written < 1000, "{written} bytes for an entry");
    assert_eq!(syncs(&calls), 2, "of the entry, and of its directory");
    // Of the packs only what finds and holds the parent's pages, and none of the data.
    let of_packs = bytes_read(&calls, "packs/");
    assert!(of_packs < data_bytes / 100, "{of_packs} bytes of packs read");
}

#[test]
fn zeros_are_read_once_and_holes_never_and_neither_stores_anything() {
    let recorder = Recorder::default();
    let repo = init(recorder.clone());
    recorder.take();
    let image = TestImage::new(1 << 44).with((1 << 43) + SPAN_BYTES as u64, &vec![0; 32 * MIB]);
    let report = capture(&repo, &image);
    assert_eq!((report.read_bytes, image.bytes_read()), (32 * MIB as u64, 32 * MIB as u64));
    assert_eq!(report.snapshot.stats.data_bytes, 0);
    let calls = recorder.take();
    let names = published(&calls);
    assert!(matches!(names[..], [entry] if entry.starts_with("journal/")), "{names:?}");
}

#[test]
fn data_is_announced_once_and_let_go_of_and_holes_are_not() {
    let islands = [(0, 3 * MIB), (1 << 30, SPAN_BYTES), (1 << 40, 40 * MIB), ((1 << 42) - 4096, 4096)];
    let image = TestImage::new(1 << 42);
    let image =
        islands.iter().fold(image, |image, (offset, len)| image.with(*offset, &Random::new(84).bytes(*len)));
    capture(&init(MemoryStorage::default()), &image);
    let will_need = image.will_need.into_inner().unwrap();
    assert_eq!(image.done_with.into_inner().unwrap(), will_need, "all of it was let go of, in order");
    let mut announced: Vec<Range<u64>> = Vec::new();
    for range in will_need {
        match announced.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => announced.push(range),
        }
    }
    let data: Vec<Range<u64>> = islands.iter().map(|(offset, len)| *offset..offset + *len as u64).collect();
    assert_eq!(announced, data);
}

#[test]
fn syncs_of_a_capture_do_not_grow_with_its_data() {
    let of = |len| {
        let recorder = Recorder::default();
        let repo = init(recorder.clone());
        recorder.take();
        capture(&repo, &Random::new(82).bytes(len));
        let calls = recorder.take();
        (syncs(&calls), published(&calls).iter().map(|name| name[..3].to_owned()).collect::<Vec<_>>())
    };
    let (count, files) = of(32 * MIB);
    assert_eq!(of(2 * MIB), (count, files.clone()), "for a sixteenth of the data");
    // The data and its index run, the pages and theirs, the record.
    assert_eq!(files, ["pac", "ind", "pac", "ind", "jou"]);
    // Each of these and its directory.
    assert_eq!(count, 5 * 2);
}

#[test]
fn a_small_capture_writes_one_pack_and_one_run_in_six_syncs() {
    let recorder = Recorder::default();
    let mut image = Random::new(90).disk(64 * MIB);
    image[2 * MIB..].fill(0);
    capture(&init(recorder.clone()), &image);
    // Each time in another process: nothing is known of what is durable.
    let of = |image: &Vec<u8>| {
        let repo = open(recorder.clone());
        recorder.take();
        capture(&repo, image);
        let calls = recorder.take();
        // Index runs that are merged with the new one are set aside.
        let files = published(&calls).into_iter().filter(|name| !name.starts_with("local/tmp/"));
        let files = files.map(|name| name[..3].to_owned()).collect::<Vec<_>>();
        let bytes = calls.iter().map(|call| if let Call::Append(bytes) = call { *bytes } else { 0 });
        (files, syncs(&calls), bytes.sum::<usize>())
    };
    let small = vec!["pac".to_owned(), "ind".to_owned(), "jou".to_owned()];
    for changed in 0..7 {
        image[changed * MIB..][..4096].copy_from_slice(&Random::new(91).bytes(16 << 10)[changed..][..4096]);
        let (files, syncs, bytes) = of(&image);
        assert_eq!((files, syncs), (small.clone(), 6), "with one block changed");
        assert!(bytes < 128 << 10, "{bytes} bytes");
        // The entry, its directory, and that of the runs that others have published.
        assert_eq!(of(&image).1, 3, "unchanged");
    }
    let (files, syncs, _) = {
        let recorder = Recorder::default();
        let repo = init(recorder.clone());
        recorder.take();
        capture(&repo, &Random::new(92).bytes(100_000));
        let calls = recorder.take();
        (published(&calls).iter().map(|name| name[..3].to_owned()).collect::<Vec<_>>(), syncs(&calls), 0)
    };
    assert_eq!((files, syncs), (small, 6), "the first one, with little data");
}

#[test]
fn a_change_of_a_huge_image_costs_the_pages_above_it() {
    let recorder = Recorder::default();
    let repo = init(recorder.clone());
    let noise = Random::new(85).bytes(500 * 4096);
    let islands = (0..500).map(|at| at << 35).zip(noise.chunks(4096));
    let image = islands.fold(TestImage::new(1 << 44), |image, (offset, bytes)| image.with(offset, bytes));
    let first = capture(&repo, &image).snapshot;
    let changed = image.with(7 << 35, &Random::new(86).bytes(4096));
    let second = capture(&repo, &changed).snapshot;
    // The largest of its five pages names the 128 pages below it.
    assert!(second.stats.manifest_bytes < 16_000, "{:?}", second.stats);
    assert!(first.stats.manifest_bytes > 10 * second.stats.manifest_bytes, "{:?}", first.stats);

    recorder.take();
    assert_eq!(icecore::snapshot::list(&repo).unwrap(), [first.clone(), second.clone()]);
    icecore::snapshot::find(&repo, "disk@latest").unwrap();
    assert_eq!(bytes_read(&recorder.take(), "packs/"), 0, "a listing needs the journal alone");

    let mut ranges = Vec::new();
    let totals = icecore::snapshot::diff(&repo, first.id, second.id, &mut |range| {
        ranges.push(range.offset);
        Ok(())
    });
    assert_eq!((ranges, totals.unwrap().pages_read), (vec![7 << 35], 2 * 5));
}

/// An image of zeros, where nobody needs to read.
struct Empty {
    len: u64,
    /// How often it was asked for data.
    looked: AtomicUsize,
}

impl ReadAt for Empty {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn next_data(&self, _offset: u64) -> io::Result<Option<Range<u64>>> {
        self.looked.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }
}

#[test]
fn what_is_known_to_have_changed_of_a_huge_image_costs_its_spans_and_the_pages_above() {
    let recorder = Recorder::default();
    let repo = init(recorder.clone());
    let noise = Random::new(87).bytes(500 * 4096);
    let islands = (0..500).map(|at| at << 35).zip(noise.chunks(4096));
    let image = islands.fold(TestImage::new(1 << 44), |image, (offset, bytes)| image.with(offset, bytes));
    let base = KeptBase::load(&repo, capture(&repo, &image).snapshot.id).unwrap();
    let of_changes = |image: &TestImage<'_>, ranges: &[Range<u64>]| {
        // As another process: nothing is known of any pack.
        let repo = open(recorder.clone());
        image.reads.lock().unwrap().clear();
        recorder.take();
        let report = icecore::snapshot::capture_ranges(
            &repo,
            image,
            Some(&base),
            ranges,
            &options("disk"),
            &NoProgress,
        )
        .unwrap();
        (report, recorder.take())
    };

    let (report, calls) = of_changes(&image, &[]);
    assert!(report.unchanged && image.bytes_read() == 0);
    assert!(!calls.iter().any(|call| matches!(call, Call::Open(name) if name.starts_with("packs/"))));
    assert!(matches!(published(&calls)[..], [entry] if entry.starts_with("journal/")));

    let places: Vec<u64> = (0..10).map(|at| (at * 50) << 35).collect();
    let fresh = Random::new(88).bytes(10 * 4096);
    let image =
        places.iter().zip(fresh.chunks(4096)).fold(image, |image, (at, bytes)| image.with(*at, bytes));
    let ranges: Vec<Range<u64>> = places.iter().map(|at| *at..at + 4096).collect();
    let (report, calls) = of_changes(&image, &ranges);
    assert_eq!(image.bytes_read(), 10 * SPAN_BYTES as u64);
    assert_eq!((report.snapshot.stats.new_bytes, report.snapshot.stats.data_bytes), (10 * 4096, 500 * 4096));
    // Finding a pack's directory takes a few calls. The two pages with many children are read once
    // more, to store what differs from them.
    let reads = calls.iter().filter(|call| matches!(call, Call::Read(name, _) if name.starts_with("packs/")));
    let (of_pages, to_open, of_deltas) = (10 * 5, 6, 2);
    assert!(reads.clone().count() <= of_pages + to_open + of_deltas, "{} reads", reads.count());
    let full = capture(&repo, &image);
    assert_eq!(full.snapshot.content, report.snapshot.content);
    assert_eq!(full.snapshot.stats.manifest_bytes, 0);

    // All of it is thrown away, as making a file system does: nothing is done for each of the four
    // million regions.
    let empty = Empty { len: 1 << 44, looked: AtomicUsize::new(0) };
    let all = vec![0..1 << 43, 1 << 43..1 << 44];
    recorder.take();
    let report =
        icecore::snapshot::capture_ranges(&repo, &empty, Some(&base), &all, &options("disk"), &NoProgress)
            .unwrap();
    assert_eq!((report.snapshot.stats.data_bytes, report.read_bytes), (0, 0));
    assert!(matches!(published(&recorder.take())[..], [entry] if entry.starts_with("journal/")));
    let looked = empty.looked.into_inner();
    assert!(looked < 3000, "looked for data {looked} times, with 500 regions that had some");
}

#[test]
fn a_restore_reads_each_chunk_once() {
    let recorder = Recorder::default();
    let repo = init(recorder.clone());
    let mut image = Random::new(83).bytes(8 * MIB);
    image.resize(24 * MIB, 0);
    // The beginning again at the end, and single blocks of it here and there.
    image.copy_within(..8 * MIB, 16 * MIB);
    for at in (9 * MIB..12 * MIB).step_by(SPAN_BYTES) {
        image.copy_within(at - 8 * MIB..at - 8 * MIB + 4096, at);
    }
    let taken = capture(&repo, &image).snapshot;
    recorder.take();

    let target = Target::new(vec![0; image.len()]);
    let report =
        icecore::snapshot::restore(&repo, taken.id, RestoreTo::Fresh(&target), OnDamage::Stop, &NoProgress)
            .unwrap();
    assert_same(&target.into_bytes(), &image, "the image");
    let calls = recorder.take();
    // What the capture stored counts the heads of chunks too, which a restore passes over.
    let (least, most) = (taken.stats.stored_bytes * 98 / 100, taken.stats.stored_bytes);
    assert!((least..=most).contains(&report.stored_bytes_read), "{least} to {most}: {report:?}");
    let read = bytes_read(&calls, "packs/");
    let most = most * 102 / 100 + taken.stats.manifest_bytes;
    assert!((least..=most).contains(&read), "{least} to {most}, with directories and pages, not {read}");
}

#[test]
fn opening_a_repository_opens_no_pack() {
    let recorder = Recorder::default();
    let repo = init(recorder.clone());
    let mut noise = Random::new(84);
    for _ in 0..28 {
        capture(&repo, &noise.bytes(SPAN_BYTES));
    }
    let files = recorder.inner().files();
    let packs = files.keys().filter(|name| name.starts_with("packs/")).count();
    assert!(packs > 8, "one for each of the last captures");
    recorder.take();

    open(recorder.clone());
    let calls = recorder.take();
    let opened = calls.iter().filter_map(|call| if let Call::Open(name) = call { Some(name) } else { None });
    let (runs, others): (Vec<&String>, Vec<&String>) = opened.partition(|name| name.starts_with("index/"));
    assert_eq!(others, ["config"]);
    assert!(runs.len() <= 16, "{} index runs were not merged", runs.len());
}

/// Returns the ranges of packs that were read and are as long as chunks that do not compress.
fn whole_chunks_read(calls: &[Call]) -> Vec<(&str, Range<u64>)> {
    let chunks = calls.iter().filter_map(|call| match call {
        Call::Read(name, range) if range.end - range.start == SPAN_BYTES as u64 => {
            Some((name.as_str(), range.clone()))
        }
        _ => None,
    });
    chunks.collect()
}

#[test]
fn reads_here_and_there_load_each_page_and_each_chunk_once() {
    let recorder = Recorder::default();
    let repo = Arc::new(init(recorder.clone()));
    let image = TestImage::new(16 << 40).with(1 << 43, &Random::new(87).bytes(8 * MIB));
    let id = capture(&repo, &image).snapshot.id;
    recorder.take();
    let disk = SnapshotDisk::open(repo, id, BlockCache::usual()).unwrap();
    // From the end to the beginning, and not one after another: nothing is read ahead.
    let places = [3 * MIB, 2 * MIB, MIB, MIB / 2, 40_960].map(|at| (1 << 43) + at as u64);
    let read = |at: u64| disk.read_at(at, &mut [0; 4096]).unwrap();
    places.iter().for_each(|at| read(*at));
    let calls = recorder.take();
    assert_eq!(whole_chunks_read(&calls).len(), places.len());
    let first = bytes_read(&calls, "packs/");

    // A block beside each of them is in the same chunk, and what is in another one is below the
    // same page. Two reads in a row are not taken for the beginning of many.
    places.iter().for_each(|at| read(*at + 4096));
    read(places[0]);
    assert_eq!(recorder.take(), [], "all of it was there");
    read(places[0] - 2 * SPAN_BYTES as u64);
    let calls = recorder.take();
    assert_eq!((whole_chunks_read(&calls).len(), calls.len()), (1, 1), "one chunk, and no page: {calls:?}");
    // Five pages lead there, and the pack of each kind is opened once.
    assert!(first < 5 * SPAN_BYTES as u64 + 60_000, "{first} bytes for five chunks and what leads to them");
}

#[test]
fn holes_are_neither_read_nor_looked_for() {
    let recorder = Recorder::default();
    let repo = Arc::new(init(recorder.clone()));
    let image = TestImage::new(16 << 40).with(0, &[1; 4096]).with((16 << 40) - 4096, &[2; 4096]);
    let id = capture(&repo, &image).snapshot.id;
    let disk = SnapshotDisk::open(repo, id, BlockCache::usual()).unwrap();
    recorder.take();
    assert_eq!(disk.next_data(0).unwrap(), Some(0..4096));
    assert_eq!(disk.next_data(4096).unwrap(), Some((16 << 40) - 4096..16 << 40));
    let found = recorder.take().len();
    assert!(found <= 24, "{found} calls to pass over 16 TiB");
    let mut hole = vec![1; 32 * MIB];
    disk.read_at(1 << 43, &mut hole).unwrap();
    assert!(hole.iter().all(|byte| *byte == 0));
    assert_eq!(recorder.take(), []);
}

#[test]
fn a_disk_that_is_read_from_one_end_to_the_other_reads_each_chunk_once() {
    let recorder = Recorder::default();
    let repo = Arc::new(init(recorder.clone()));
    let image = Random::new(88).bytes(12 * MIB);
    let id = capture(&repo, &image).snapshot.id;
    for at_once in [4096, 100_000, 5 * MIB] {
        let disk = SnapshotDisk::open(Arc::clone(&repo), id, BlockCache::usual()).unwrap();
        recorder.take();
        let mut found = vec![0; image.len()];
        for (at, part) in (0..).step_by(at_once).zip(found.chunks_mut(at_once)) {
            disk.read_at(at, part).unwrap();
        }
        assert_same(&found, &image, "the image");
        let calls = recorder.take();
        let mut chunks = whole_chunks_read(&calls);
        assert_eq!(chunks.len(), image.len() / SPAN_BYTES, "{at_once} bytes at once");
        chunks.sort_by_key(|(name, range)| (*name, range.start));
        chunks.dedup();
        assert_eq!(chunks.len(), image.len() / SPAN_BYTES, "each of them");
    }
}

#[test]
fn a_disk_is_read_ahead_where_it_is_read_from_one_end_to_the_other_and_nowhere_else() {
    let recorder = Recorder::default();
    let repo = Arc::new(init(recorder.clone()));
    let image = Random::new(89).bytes(16 * MIB);
    let id = capture(&repo, &image).snapshot.id;
    let disk = SnapshotDisk::open(Arc::clone(&repo), id, BlockCache::usual()).unwrap();
    recorder.take();
    let read = |at: usize| disk.read_at(at as u64, &mut [0; 4096]).unwrap();
    [9, 2, 5, 1, 7].iter().for_each(|at| read(at * MIB));
    // What was spawned before has begun when this has ended.
    let settle = || rayon::broadcast(|_| ());
    settle();
    assert_eq!(whole_chunks_read(&recorder.take()).len(), 5);
    (0..3).for_each(|block| read(3 * MIB + block * 4096));
    disk.will_need(13 * MIB as u64..14 * MIB as u64);
    // A chunk that was asked for, four or more behind it, and 16 that were told of; how long
    // threads take is not known.
    let wanted = 21;
    let read = || whole_chunks_read(&recorder.calls.lock().unwrap()).len();
    for _ in 0..100_000 {
        if read() >= wanted {
            break;
        }
        settle();
    }
    assert!(read() >= wanted, "{} chunks", read());
}

#[test]
fn a_look_at_nothing_new_costs_the_same_whatever_there_is_and_so_does_another_handle() {
    let cost = |snapshots: usize| {
        let recorder = Recorder::default();
        let repo = init(recorder.clone());
        for _ in 0..snapshots {
            capture(&repo, &vec![1; 4096]);
        }
        icecore::snapshot::now(&repo).unwrap();
        recorder.take();
        icecore::snapshot::now(&repo).unwrap();
        let look = recorder.take().len();
        let beside = repo.open_beside(session());
        assert_eq!(icecore::snapshot::list(&beside).unwrap().len(), snapshots);
        let opened = recorder.take();
        let of_journal = |name: &str| name.starts_with("journal/0") || name.starts_with("checkpoint/");
        assert!(
            !opened.iter().any(|call| matches!(call, Call::Read(name, _) if of_journal(name))),
            "{opened:?}"
        );
        // What one handle does, the other knows.
        capture(&beside, &vec![1; 4096]);
        recorder.take();
        assert_eq!(icecore::snapshot::list(&repo).unwrap().len(), snapshots + 1);
        assert!(!recorder.take().iter().any(|call| matches!(call, Call::Read(..))));
        look
    };
    // The next entry, and its copy.
    assert_eq!((cost(3), cost(150)), (2, 2));
}
