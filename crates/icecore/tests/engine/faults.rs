//! A failure at the first change of the storage, at the second, at the third... until nothing is left to fail.

use std::io;
use std::io::ErrorKind::Other;
use std::io::ErrorKind::StorageFull;

use icecore::ErrorKind;
use icecore::FaultStorage;
use icecore::MemoryStorage;
use icecore::NoProgress;
use icecore::Repository;
use icecore::SnapshotId;
use icecore::Storage;

use crate::noise::Noise;
use crate::support::Bench;
use crate::support::assert_same;
use crate::support::assert_sound;
use crate::support::image_of;
use crate::support::open;
use crate::support::options;

/// More than any operation here changes things.
const CALLS_MAX: u64 = 500;

/// Bytes that a page of a manifest maps.
const LEAF_BYTES: usize = 4 << 20;

/// A repository with some snapshots, to begin from again and again.
struct Start {
    files: MemoryStorage,
    images: Vec<(SnapshotId, Vec<u8>)>,
}

impl Start {
    fn new() -> Self {
        let bench = Bench::new();
        let mut noise = Noise(61);
        // Three leaves, of which one changes each time: the pages of each snapshot are spread over several packs.
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
}

type Failing = fn(MemoryStorage, u64, io::ErrorKind) -> FaultStorage<MemoryStorage>;

/// Does something with a storage that fails at call `n`, for each `n`, and then `check`s what is left of it.
fn at_every_call<T>(
    start: &Start,
    what: impl Fn(&Repository) -> icecore::Result<T>,
    check: impl Fn(&Repository, &MemoryStorage, Option<T>, &str),
) {
    let failing: [(io::ErrorKind, &str, Failing); 3] = [
        (StorageFull, "for good", FaultStorage::failing_from),
        (StorageFull, "once", FaultStorage::failing_once),
        (Other, "for good", FaultStorage::failing_from),
    ];
    for (kind, how, failing) in failing {
        let mut n = 0;
        loop {
            assert!(n < CALLS_MAX, "it never ended");
            let inner = start.copy();
            let faulty = failing(inner.clone(), n, kind);
            let at = format!("{kind:?}, {how}, call {n}");
            let done = what(&open(faulty.clone()));
            let reached = faulty.calls() > n;
            if let Err(error) = &done {
                let expected = if kind == StorageFull { ErrorKind::NoSpace } else { ErrorKind::Io };
                assert_eq!(error.kind(), expected, "{at}: {error}");
            }
            check(&open(inner.clone()), &inner, done.ok(), &at);
            if !reached {
                break;
            }
            n += 1;
        }
        assert!(n > 3, "only {n} calls could fail: the test reaches nothing");
    }
}

/// Fails unless all of these are there, can be restored, and new ones can be made.
fn assert_works(repo: &Repository, images: &[(SnapshotId, Vec<u8>)], at: &str) {
    let listing = icecore::list(repo).unwrap();
    assert_eq!(listing.unreadable, [], "{at}");
    for (id, image) in images {
        assert!(listing.snapshots.iter().any(|snapshot| snapshot.id == *id), "{at}: {id} is gone");
        let mut bytes = Vec::new();
        let restored = icecore::restore_stream(repo, *id, &mut bytes, &NoProgress);
        assert!(restored.is_ok(), "{at}: {restored:?}");
        assert_same(&bytes, image, at);
    }
    let image = Noise(62).bytes(300_000);
    let report = icecore::capture(repo, &image, &options("afterwards"), &NoProgress).unwrap();
    assert_same(&image_of(repo, report.snapshot.id), &image, at);
    assert_sound(repo, at);
}

#[test]
fn a_capture_that_fails_anywhere_loses_nothing() {
    let start = Start::new();
    let image = Noise(63).disk((4 << 20) + 200_000);
    at_every_call(
        &start,
        |repo| icecore::capture(repo, &image, &options("new"), &NoProgress),
        |repo, _, done, at| {
            assert_works(repo, &start.images, at);
            let all = icecore::list(repo).unwrap().snapshots;
            let made = all.iter().find(|snapshot| snapshot.resource == "new");
            assert!(done.is_none() || made.is_some(), "{at}: it was said to be there");
            if let Some(made) = made {
                assert_same(&image_of(repo, made.id), &image, at);
            }
        },
    );
}

#[test]
fn a_deletion_that_fails_anywhere_is_done_or_not() {
    let start = Start::new();
    let gone = start.images[1].0;
    let others: Vec<_> = start.images.iter().filter(|(id, _)| *id != gone).cloned().collect();
    at_every_call(
        &start,
        |repo| icecore::delete(repo, gone),
        |repo, _, done, at| {
            let there = icecore::list(repo).unwrap().snapshots.iter().any(|snapshot| snapshot.id == gone);
            assert!(!(there && done.is_some()), "{at}: it was said to be gone");
            assert_works(repo, if there { &start.images } else { &others }, at);
        },
    );
}

#[test]
fn a_renaming_that_fails_anywhere_is_done_or_not() {
    let start = Start::new();
    let id = start.images[1].0;
    at_every_call(
        &start,
        |repo| icecore::rename(repo, id, "another"),
        |repo, _, done, at| {
            assert_works(repo, &start.images, at);
            let all = icecore::list(repo).unwrap().snapshots;
            let name = &all.iter().find(|snapshot| snapshot.id == id).unwrap().name;
            assert!(name == "another" || (done.is_none() && name.starts_with("snapshot-")), "{at}: {name}");
        },
    );
}

#[test]
fn a_gc_that_fails_anywhere_loses_nothing() {
    let mut start = Start::new();
    for at in [2, 0] {
        icecore::delete(&open(start.files.clone()), start.images.remove(at).0).unwrap();
    }
    let unused = icecore::stats(&open(start.files.clone()), &NoProgress).unwrap().repository.unused_bytes;
    assert!(unused > 0, "there is nothing to collect");
    let gc = |repo: &Repository| {
        let plan = icecore::gc::plan(repo, &icecore::gc::GcOptions { max_unused: 0.0 }, &NoProgress)?;
        icecore::gc::apply(repo, plan, &NoProgress)
    };
    let check = |repo: &Repository, inner: &MemoryStorage, at: &str| {
        assert_works(repo, &start.images, at);
        // The next one gets it all.
        gc(repo).unwrap();
        let repo = open(inner.clone());
        assert_works(&repo, &start.images, &format!("{at}, then another gc"));
        let stats = icecore::stats(&repo, &NoProgress).unwrap().repository;
        assert_eq!(stats.unused_bytes, 0, "{at}");
        assert_eq!(inner.list("tmp").unwrap(), Vec::<String>::new(), "{at}");
    };
    at_every_call(&start, gc, |repo, inner, _, at| check(repo, inner, at));
}
