//! A failure at the first call, at the second, at the third... of the storage, the image and the
//! target, until nothing is left to fail: calls that change something and calls that read, once and
//! for good.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::io;
use std::io::Write;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::Result;
use icecore::maintenance::Depth;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::bytes::assert_same;
use icecore_testing::bytes::is_zero;
use icecore_testing::fault::Calls;
use icecore_testing::fault::FailedCall;
use icecore_testing::fault::Fault;
use icecore_testing::fault_image::FaultImage;
use icecore_testing::fault_image::FaultTarget;
use icecore_testing::fault_storage::FaultStorage;
use icecore_testing::images::Target;
use icecore_testing::random::Random;
use icecore_testing::repository::FRESH;
use icecore_testing::repository::IN_PLACE;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::image_of;
use icecore_testing::repository::init_options;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;

/// More than any operation here calls.
const CALLS_MAX: u64 = 1000;

/// Bytes that a page of a manifest maps.
const LEAF_BYTES: usize = 4 << 20;

/// A way to fail.
struct Way {
    name: &'static str,
    calls: Calls,
    for_good: bool,
    error: fn() -> io::Error,
    kind: ErrorKind,
}

const fn way(
    name: &'static str,
    calls: Calls,
    for_good: bool,
    error: fn() -> io::Error,
    kind: ErrorKind,
) -> Way {
    Way { name, calls, for_good, error, kind }
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn short() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

const WAYS: [Way; 7] = [
    way("ENOSPC for good", Calls::Changes, true, full, ErrorKind::NoSpace),
    way("ENOSPC once", Calls::Changes, false, full, ErrorKind::NoSpace),
    way("EIO for good", Calls::All, true, broken, ErrorKind::Io),
    way("EIO once", Calls::All, false, broken, ErrorKind::Io),
    way("a short read", Calls::Reads, false, short, ErrorKind::Io),
    way("mappings that cannot be looked at", Calls::Looks, true, broken, ErrorKind::Io),
    way("a mapping that breaks", Calls::Looks, false, broken, ErrorKind::Io),
];

/// Returns the distance between the calls that fail in the slowest tests here. With
/// `ICECORE_FAULTS` in the environment, each one does.
fn stride() -> usize {
    if std::env::var_os("ICECORE_FAULTS").is_some_and(|value| value == "1") { 1 } else { 4 }
}

/// A repository with some snapshots, to begin from again and again.
struct Start {
    files: MemoryStorage,
    images: Vec<(SnapshotId, Vec<u8>)>,
}

impl Start {
    fn new() -> Self {
        let bench = TestRepository::new();
        let mut noise = Random::new(61);
        // Three leaves, of which one changes each time: the pages of each snapshot are spread over
        // several packs.
        let mut image = vec![0; 2 * LEAF_BYTES + 50_000];
        let mut images = Vec::new();
        for change in 0..4 {
            if change == 0 {
                [0, 1, 2].iter().for_each(|leaf| noise.fill(&mut image[leaf * LEAF_BYTES..][..40_000]));
            }
            noise.fill(&mut image[change % 3 * LEAF_BYTES + 9000..][..9000]);
            images.push((bench.snapshot("disk", &image), image.clone()));
        }
        Self { files: bench.storage, images }
    }

    fn copy(&self) -> MemoryStorage {
        let copy = MemoryStorage::new();
        self.files.files().into_iter().for_each(|(name, bytes)| copy.put(&name, bytes));
        copy
    }

    fn id(&self) -> SnapshotId {
        self.images[1].0
    }
}

/// One run of an operation, of which call `n` fails.
struct Attempt {
    inner: MemoryStorage,
    fault: Fault,
}

impl Attempt {
    fn storage(&self) -> Arc<FaultStorage<MemoryStorage>> {
        Arc::new(FaultStorage::new(self.inner.clone(), self.fault.clone()))
    }

    fn open(&self) -> Result<Repository> {
        Repository::open(self.storage(), session())
    }
}

/// Returns all files but locks, which say nothing while nobody holds them.
fn state_of(storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    storage.files().into_iter().filter(|(name, _)| !name.starts_with("local/locks/")).collect()
}

/// Fails unless the error tells what the failed call was about.
fn assert_names(error: &icecore::Error, call: &FailedCall, at: &str) {
    let text = error.to_string();
    let last = call.name.rsplit('/').next().unwrap();
    let named = match call.name.trim_start_matches("local/").split('/').next().unwrap() {
        // What a temporary file would have become.
        "tmp" if call.method != "make_dir" => [
            "local/tmp/",
            "packs/",
            "index/",
            "index run",
            "parity/",
            "journal/",
            "checkpoint/",
            "local/reserve",
            "config",
            "keys",
        ]
        .iter()
        .any(|name| text.contains(name)),
        "locks" => text.contains(last) || text.contains("writer's lock"),
        _ => text.contains(last),
    };
    assert!(named, "{at}: {call:?} is not named: {text}");
}

/// Fails if an operation whose removals worked has left something of itself.
fn assert_clean(inner: &MemoryStorage, call: Option<&FailedCall>, at: &str) {
    if call.is_some_and(|call| ["remove", "dismiss"].contains(&call.method)) {
        return;
    }
    assert_eq!(inner.list("local/tmp").unwrap(), Vec::<String>::new(), "{at}: {call:?}");
    let mut locks = inner.list("local/locks").unwrap();
    locks.retain(|name| name.starts_with("writer-") || name.starts_with("pin-"));
    assert_eq!(locks, Vec::<String>::new(), "{at}: {call:?}");
}

/// Does something with a storage of which call `n` fails, for each `n`. `outcome` looks at what
/// came of each run; `state` at each different state of the repository that a run has left.
fn at_every_call<T>(
    start: &MemoryStorage,
    what: impl Fn(&Attempt) -> Result<T>,
    outcome: impl Fn(&MemoryStorage, Option<&T>, &str),
    state: impl Fn(&MemoryStorage, &str),
) {
    at_calls(1, start, what, outcome, state);
}

/// The same for each `stride`-th call. Each way to fail begins with another one.
fn at_calls<T>(
    stride: usize,
    start: &MemoryStorage,
    what: impl Fn(&Attempt) -> Result<T>,
    outcome: impl Fn(&MemoryStorage, Option<&T>, &str),
    state: impl Fn(&MemoryStorage, &str),
) {
    let before = state_of(start);
    let mut seen = HashSet::new();
    for (way, Way { name, calls, for_good, error, kind }) in (0..).zip(WAYS) {
        for n in (way % (stride as u64)..).step_by(stride) {
            assert!(n < CALLS_MAX, "it never ended");
            let inner = MemoryStorage::new();
            before.iter().for_each(|(name, bytes)| inner.put(name, bytes.clone()));
            let failing = n..if for_good { u64::MAX } else { n + 1 };
            let attempt = Attempt { inner: inner.clone(), fault: Fault::new(calls, failing, error) };
            let done = what(&attempt);
            let first = attempt.fault.first();
            let at = format!("{name}, call {n}, {first:?}");
            match &done {
                Ok(_) => {}
                Err(error) => {
                    assert!(first.is_some(), "{at}: it failed by itself: {error}");
                    assert_eq!(error.kind(), kind, "{at}: {error}");
                    if let (false, Some(call)) = (for_good, &first) {
                        assert_names(error, call, &at);
                    }
                }
            }
            if !for_good {
                assert_clean(&inner, first.as_ref(), &at);
            }
            outcome(&inner, done.as_ref().ok(), &at);
            if seen.insert(state_of(&inner)) {
                state(&inner, &at);
            }
            if attempt.fault.calls() <= n {
                assert!(
                    n > 1 || matches!(calls, Calls::Changes | Calls::Looks),
                    "only {n} calls could fail: the test reaches nothing"
                );
                break;
            }
        }
    }
}

/// The same for what changes nothing.
fn reads_at_every_call<T>(
    start: &Start,
    what: impl Fn(&Attempt) -> Result<T>,
    outcome: impl Fn(Option<&T>, &str),
) {
    reads_at_calls(1, start, what, outcome);
}

fn reads_at_calls<T>(
    stride: usize,
    start: &Start,
    what: impl Fn(&Attempt) -> Result<T>,
    outcome: impl Fn(Option<&T>, &str),
) {
    let before = state_of(&start.files);
    let unchanged = |inner: &MemoryStorage, at: &str| {
        assert!(state_of(inner) == before, "{at}: it changed something");
    };
    at_calls(stride, &start.files, what, |_, done, at| outcome(done, at), unchanged);
}

/// Fails unless all of these are there, can be restored, and new ones can be made.
fn assert_works(repo: &Repository, images: &[(SnapshotId, Vec<u8>)], at: &str) {
    let listing = icecore::snapshot::list(repo).unwrap();
    for (id, image) in images {
        assert!(listing.iter().any(|snapshot| snapshot.id == *id), "{at}: {id} is gone");
        assert_eq!(restores(repo, *id, image), Ok(()), "{at}");
    }
    let image = Random::new(62).bytes(300_000);
    let report = icecore::snapshot::capture(repo, &image, &options("afterwards"), &NoProgress).unwrap();
    assert_same(&image_of(repo, report.snapshot.id), &image, at);
    assert_sound(repo, at);
}

fn gc(repo: &Repository) -> Result<icecore::maintenance::gc::GcTotals> {
    let plan =
        icecore::maintenance::gc::plan(repo, &icecore::maintenance::gc::GcOptions::new(0.0), &NoProgress)?;
    icecore::maintenance::gc::apply(repo, plan, &NoProgress)
}

/// As [`assert_works`], and gc gets everything back that nothing uses.
fn assert_works_and_collects(inner: &MemoryStorage, images: &[(SnapshotId, Vec<u8>)], at: &str) {
    assert_works(&open(inner.clone()), images, at);
    gc(&open(inner.clone())).unwrap();
    let repo = open(inner.clone());
    assert_works(&repo, images, &format!("{at}, then a gc"));
    gc(&repo).unwrap();
    let stats = icecore::maintenance::stats(&repo, &NoProgress).unwrap().repository;
    assert_eq!(stats.unused_bytes, 0, "{at}");
    assert_eq!(inner.list("local/tmp").unwrap(), Vec::<String>::new(), "{at}");
}

/// Tells whether a repository has a snapshot.
fn has(inner: &MemoryStorage, id: SnapshotId) -> bool {
    let all = icecore::snapshot::list(&open(inner.clone())).unwrap();
    all.iter().any(|snapshot| snapshot.id == id)
}

fn snapshot_of(inner: &MemoryStorage, id: SnapshotId) -> icecore::snapshot::Snapshot {
    let all = icecore::snapshot::list(&open(inner.clone())).unwrap();
    all.into_iter().find(|snapshot| snapshot.id == id).unwrap()
}

#[test]
fn an_init_that_fails_anywhere_can_be_done_again() {
    at_every_call(
        &MemoryStorage::new(),
        |attempt| Repository::init(attempt.storage(), session(), &init_options()),
        |inner, done, at| {
            let there = inner.open("config").is_ok();
            assert!(done.is_none() || there, "{at}: it was said to be there");
        },
        |inner, at| {
            let again = Repository::init(Arc::new(inner.clone()), session(), &init_options());
            match again {
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{at}: {error}"),
                Ok(_) => assert!(inner.open("config").is_ok()),
            }
            assert_works_and_collects(inner, &[], at);
        },
    );
}

#[test]
fn a_capture_that_fails_anywhere_loses_nothing() {
    let start = Start::new();
    let image = Random::new(63).disk((4 << 20) + 200_000);
    let options = options("new");
    at_calls(
        stride(),
        &start.files,
        |attempt| {
            let image = FaultImage::new(&image, attempt.fault.clone());
            icecore::snapshot::capture(&attempt.open()?, &image, &options, &NoProgress)
        },
        |inner, done, at| {
            assert!(done.is_none() || has(inner, options.id), "{at}: it was said to be there");
        },
        |inner, at| {
            let repo = open(inner.clone());
            if has(inner, options.id) {
                assert_same(&image_of(&repo, options.id), &image, at);
            }
            assert_works_and_collects(inner, &start.images, at);
        },
    );
}

/// A capture whose image is much like a snapshot reads more of the repository: pages of the parent,
/// packs, runs.
#[test]
fn a_capture_that_cannot_read_its_parent_is_right_or_fails() {
    let start = Start::new();
    let mut image = start.images[3].1.clone();
    Random::new(64).fill(&mut image[LEAF_BYTES + 20_000..][..9000]);
    let options = options("disk");
    at_calls(
        stride(),
        &start.files,
        |attempt| icecore::snapshot::capture(&attempt.open()?, &image, &options, &NoProgress),
        |inner, done, at| {
            if done.is_some() {
                assert_same(&image_of(&open(inner.clone()), options.id), &image, at);
            }
        },
        |inner, at| assert_works(&open(inner.clone()), &start.images, at),
    );
}

#[test]
fn a_capture_without_writing_fails_where_it_cannot_read() {
    let start = Start::new();
    let image = start.images[2].1.clone();
    let options = CaptureOptions { dry_run: true, ..options("disk") };
    reads_at_every_call(
        &start,
        |attempt| {
            let image = FaultImage::new(&image, attempt.fault.clone());
            icecore::snapshot::capture(&attempt.open()?, &image, &options, &NoProgress)
        },
        |_, _| {},
    );
}

#[test]
fn a_deletion_that_fails_anywhere_is_done_or_not() {
    let start = Start::new();
    let others: Vec<_> = start.images.iter().filter(|(id, _)| *id != start.id()).cloned().collect();
    let is_there = |inner: &MemoryStorage| has(inner, start.id());
    at_every_call(
        &start.files,
        |attempt| icecore::snapshot::delete(&attempt.open()?, start.id(), DeleteOptions::default()),
        |inner, done, at| assert!(!(is_there(inner) && done.is_some()), "{at}: it was said to be gone"),
        |inner, at| {
            assert_works_and_collects(inner, if is_there(inner) { &start.images } else { &others }, at);
        },
    );
}

#[test]
fn a_change_of_a_record_that_fails_anywhere_is_done_or_not() {
    type Change = fn(&Repository, SnapshotId) -> Result<icecore::snapshot::Snapshot>;
    let start = Start::new();
    let before = snapshot_of(&start.files, start.id());
    let changes: [Change; 3] = [
        |repo, id| icecore::snapshot::rename(repo, id, "another", RenameOptions::default()),
        |repo, id| icecore::snapshot::retag(repo, id, &["env:prod".to_owned()], &[]),
        |repo, id| icecore::snapshot::set_protected(repo, id, true),
    ];
    for change in changes {
        let after = change(&open(start.copy()), start.id()).unwrap();
        at_every_call(
            &start.files,
            |attempt| change(&attempt.open()?, start.id()),
            |inner, done, at| {
                let found = snapshot_of(inner, start.id());
                assert!(found == after || (done.is_none() && found == before), "{at}: {found:?}");
            },
            |inner, at| assert_works(&open(inner.clone()), &start.images, at),
        );
    }
}

/// A start whose first and third snapshots are deleted, so that there is something to collect.
fn start_with_garbage() -> Start {
    let mut start = Start::new();
    for at in [2, 0] {
        icecore::snapshot::delete(
            &open(start.files.clone()),
            start.images.remove(at).0,
            DeleteOptions::default(),
        )
        .unwrap();
    }
    let unused =
        icecore::maintenance::stats(&open(start.files.clone()), &NoProgress).unwrap().repository.unused_bytes;
    assert!(unused > 0, "there is nothing to collect");
    start
}

#[test]
pub(crate) fn a_gc_that_fails_anywhere_loses_nothing() {
    let start = start_with_garbage();
    at_every_call(
        &start.files,
        |attempt| gc(&attempt.open()?),
        |_, _, _| {},
        |inner, at| assert_works_and_collects(inner, &start.images, at),
    );
}

/// A run that is emptied is left out of the index: what it alone led to looks as if it were
/// nowhere.
#[test]
fn a_gc_whose_index_is_lost_meanwhile_removes_nothing_that_is_needed() {
    let bench = TestRepository::new();
    let mut image = Random::new(65).bytes(300_000);
    let old = bench.snapshot("disk", &image);
    icecore::snapshot::delete(&open(bench.storage.clone()), old, DeleteOptions::default()).unwrap();
    let repo = open(bench.storage.clone());
    let plan =
        icecore::maintenance::gc::plan(&repo, &icecore::maintenance::gc::GcOptions::new(0.0), &NoProgress)
            .unwrap();
    assert!(plan.totals.freed_bytes > 0, "{:?}", plan.totals);
    // The page of the new snapshot is in a run of its own, and most of its chunks are in that from
    // before.
    let runs = bench.storage.list("index").unwrap();
    Random::new(66).fill(&mut image[40_960..][..4096]);
    let new = bench.snapshot("disk", &image);
    let kept = bench.storage.list("index").unwrap();
    assert!(kept.len() > runs.len() && runs.iter().all(|run| kept.contains(run)), "{kept:?}");
    runs.iter().for_each(|run| bench.storage.put(&format!("index/{run}"), Vec::new()));
    let error = icecore::maintenance::gc::apply(&repo, plan, &NoProgress).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    icecore::maintenance::repair_index(&open(bench.storage.clone()), &NoProgress).unwrap();
    assert_works_and_collects(&bench.storage, &[(new, image)], "after it");
}

#[test]
fn a_plan_of_a_gc_changes_nothing_and_is_not_made_of_what_could_not_be_read() {
    let start = start_with_garbage();
    let plan = |repo: &Repository| {
        let options = icecore::maintenance::gc::GcOptions::new(0.0);
        icecore::maintenance::gc::plan(repo, &options, &NoProgress).map(|plan| plan.totals)
    };
    let right = plan(&open(start.copy())).unwrap();
    reads_at_every_call(
        &start,
        |attempt| plan(&attempt.open()?),
        |done, at| assert!(done.is_none_or(|done| *done == right), "{at}: {done:?}"),
    );
}

#[test]
fn a_listing_is_whole_or_an_error() {
    let start = Start::new();
    let all = icecore::snapshot::list(&open(start.copy())).unwrap();
    reads_at_every_call(
        &start,
        |attempt| icecore::snapshot::list(&attempt.open()?),
        |done, at| {
            let Some(listing) = done else { return };
            assert_eq!(*listing, all, "{at}");
        },
    );
    reads_at_every_call(
        &start,
        |attempt| icecore::snapshot::find(&attempt.open()?, "disk@latest"),
        |done, at| assert!(done.is_none_or(|found| found.id == all[3].id), "{at}: {done:?}"),
    );
}

#[test]
fn a_restore_that_fails_anywhere_is_an_error_and_can_be_done_again() {
    let start = Start::new();
    let (id, image) = &start.images[1];
    let (empty, other) = (vec![0; image.len() + 5000], [start.images[3].1.clone(), vec![7; 5000]].concat());
    for (what, to, old) in [("fresh", FRESH, empty), ("in place", IN_PLACE, other)] {
        let run = |repo: &Repository, target: &Target<'_>, fault: Option<&Fault>| match fault {
            Some(fault) => {
                let target = FaultTarget::new(target, fault.clone());
                icecore::snapshot::restore(repo, *id, to(&target), OnDamage::Stop, &NoProgress)
            }
            None => {
                icecore::snapshot::restore(repo, *id, RestoreTo::InPlace(target), OnDamage::Stop, &NoProgress)
            }
        };
        reads_at_calls(
            stride(),
            &start,
            |attempt| {
                let target = Target::new(old.clone());
                let done = attempt.open().and_then(|repo| run(&repo, &target, Some(&attempt.fault)));
                if done.is_err() {
                    // The same once more, as after the failure of a medium that is sound again.
                    run(&open(start.copy()), &target, None).unwrap();
                }
                let bytes = target.into_bytes();
                assert_same(&bytes[..image.len()], image, &format!("{what}: {:?}", attempt.fault));
                assert!(is_zero(&bytes[image.len()..]), "{what}");
                done
            },
            |_, _| {},
        );
    }
}

/// A stream that takes a part and then fails.
struct Pipe<'a> {
    bytes: Vec<u8>,
    fault: &'a Fault,
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let target = Target::new(vec![0]);
        icecore::image::WriteAt::sync(&FaultTarget::new(&target, self.fault.clone()))?;
        let part = bytes.len().min(100_000);
        self.bytes.extend(&bytes[..part]);
        Ok(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stream_that_fails_anywhere_has_nothing_wrong_in_it() {
    let start = Start::new();
    let (id, image) = &start.images[1];
    reads_at_every_call(
        &start,
        |attempt| {
            let repo = attempt.open()?;
            let mut pipe = Pipe { bytes: Vec::new(), fault: &attempt.fault };
            let done = icecore::snapshot::restore(
                &repo,
                *id,
                RestoreTo::Stream(&mut pipe),
                OnDamage::Stop,
                &NoProgress,
            )
            .map(|_| ());
            assert_same(&pipe.bytes, &image[..pipe.bytes.len()], "what was written");
            assert!(done.is_err() || pipe.bytes.len() == image.len());
            done.map_err(|error| match error.to_string().contains("to the output") {
                // The output is no target, and is named as what it is.
                true => error.in_context("target"),
                false => error,
            })
        },
        |_, _| {},
    );
}

#[test]
pub(crate) fn a_verification_calls_nothing_damaged_that_it_could_not_read() {
    let start = Start::new();
    for depth in [Depth::Structure, Depth::ReadData] {
        reads_at_every_call(
            &start,
            |attempt| icecore::maintenance::verify(&attempt.open()?, None, depth, &NoProgress),
            |done, at| {
                for finding in done.into_iter().flat_map(|report| &report.findings) {
                    let problem = &finding.problem;
                    let next = format!("{:?}", finding.next);
                    assert!(next.contains("check the medium"), "{at}: {finding:?}");
                    assert!(!problem.contains("damaged") && !problem.contains("repair"), "{at}: {finding:?}");
                }
            },
        );
    }
}

#[test]
fn sums_and_differences_are_right_or_are_not_told() {
    let start = Start::new();
    let (old, new) = (start.images[0].0, start.images[3].0);
    let stats = |repo: &Repository| icecore::maintenance::stats(repo, &NoProgress);
    let right = stats(&open(start.copy())).unwrap();
    reads_at_every_call(
        &start,
        |attempt| stats(&attempt.open()?),
        // A lock more or less, or none where it could not be taken.
        |done, at| {
            let Some(done) = done else { return };
            assert_eq!(done.snapshots, right.snapshots, "{at}");
            assert_eq!(done.repository.stored_bytes, right.repository.stored_bytes, "{at}");
        },
    );
    let diff = |repo: &Repository| {
        let mut changes = Vec::new();
        icecore::snapshot::diff(repo, old, new, &mut |change| {
            changes.push(change);
            Ok(())
        })?;
        Ok(changes)
    };
    let right = diff(&open(start.copy())).unwrap();
    assert!(!right.is_empty());
    reads_at_every_call(
        &start,
        |attempt| diff(&attempt.open()?),
        |done, at| assert!(done.is_none_or(|done| *done == right), "{at}: {done:?}"),
    );
}

#[test]
fn a_repair_of_the_index_moves_nothing_out_that_it_could_not_read() {
    let start = Start::new();
    let packs = |inner: &MemoryStorage| {
        state_of(inner).into_iter().filter(|(name, _)| name.starts_with("packs/")).collect::<Vec<_>>()
    };
    let before = packs(&start.files);
    at_every_call(
        &start.files,
        |attempt| icecore::maintenance::repair_index(&attempt.open()?, &NoProgress),
        |inner, done, at| {
            assert!(packs(inner) == before, "{at}: a pack is not where it was");
            assert!(done.is_none_or(|report| report.damaged_packs.is_empty()), "{at}: {done:?}");
        },
        |inner, at| assert_works_and_collects(inner, &start.images, at),
    );
}

#[test]
fn a_repair_of_a_damaged_pack_that_fails_anywhere_saves_as_much_the_next_time() {
    let start = Start::new();
    let packs = start.files.files().into_iter().filter(|(name, _)| name.starts_with("packs/"));
    // The largest: it has the first image.
    let (name, mut bytes) = packs.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    start.files.put(&name, bytes);
    at_every_call(
        &start.files,
        |attempt| icecore::maintenance::repair_index(&attempt.open()?, &NoProgress),
        |_, _, _| {},
        |inner, at| {
            icecore::maintenance::repair_index(&open(inner.clone()), &NoProgress).unwrap();
            assert_works_and_collects(inner, &start.images, at);
        },
    );
}

#[test]
fn what_is_lost_is_told_or_an_error() {
    let start = Start::new();
    reads_at_every_call(
        &start,
        |attempt| icecore::maintenance::repair_snapshots(&attempt.open()?, &NoProgress),
        |_, _| {},
    );
}
