//! What was found damaged is remembered: captures store it anew when it comes by again, and gc
//! keeps the copy that is good.

use icecore::Meter;
use icecore::NoProgress;
use icecore::Progress;
use icecore::maintenance::Depth;
use icecore::maintenance::LostRange;
use icecore::maintenance::VerifyReport;
use icecore::maintenance::gc;
use icecore::maintenance::verify_and_note;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::Parent;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::capture;
use icecore::snapshot::delete;
use icecore::storage::Storage;
use icecore_testing::fault_storage::failing_from;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::options;
use uuid::Uuid;

use crate::damage::BLOCK;
use crate::damage::CHUNK;
use crate::damage::Fixture;
use crate::damage::RECORD_HEADER;
use crate::damage::read;
use crate::damage::take;

fn raw(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

fn note(fixture: &Fixture, now: i64) -> VerifyReport {
    verify_and_note(&fixture.open(), None, Depth::ReadData, now, &NoProgress).unwrap()
}

fn lost(report: &VerifyReport) -> Vec<&LostRange> {
    report.findings.iter().flat_map(|finding| &finding.lost).collect()
}

fn run_gc(fixture: &Fixture) {
    let repo = fixture.open();
    let plan = gc::plan(&repo, &gc::GcOptions::new(0.0), &NoProgress).unwrap();
    gc::apply(&repo, plan, &NoProgress).unwrap();
}

/// Asserts that every snapshot restores, and that a verification that reads everything finds
/// nothing lost.
fn assert_whole(fixture: &Fixture, why: &str) {
    for (id, image) in &fixture.images {
        assert!(read(&fixture.open(), *id).unwrap() == *image, "{why}");
    }
    let report = note(fixture, 0);
    assert_eq!(lost(&report), Vec::<&LostRange>::new(), "{why}");
}

/// What can have become of a pack without anybody having looked.
const LOSSES: [(&str, DamageOne); 3] = [
    ("gone", |fixture| fixture.storage.remove(&fixture.packs[0].0).unwrap()),
    ("cut short", |fixture| {
        let pack = &fixture.packs[0].0;
        let bytes = fixture.bytes(pack);
        fixture.storage.put(pack, bytes[..bytes.len() / 2].to_vec());
    }),
    ("empty", |fixture| fixture.storage.put(&fixture.packs[0].0, Vec::new())),
];

#[test]
fn a_capture_stores_anew_what_was_in_a_pack_that_is_lost() {
    // The index still leads to the pack, and that was taken for enough.
    let image = raw(4, 6 * CHUNK);
    for (what, lose) in LOSSES {
        let mut fixture = Fixture::new(vec![("a", image.clone())]);
        lose(&fixture);
        let mut changed = image.clone();
        changed[5 * CHUNK..].copy_from_slice(&raw(5, CHUNK));
        for (at, image) in [(9, &image), (10, &changed), (11, &changed)] {
            let id = take(&fixture.open(), at, "a", image).snapshot.id;
            assert!(read(&fixture.open(), id).unwrap() == *image, "{what}, capture {at}");
            fixture.images.push((id, image.clone()));
        }
        assert_whole(&fixture, what);
    }
}

#[test]
fn a_file_that_did_not_change_is_read_where_a_pack_is_lost() {
    let bytes = raw(6, 4 * CHUNK);
    let mut image = TestImage::full(&bytes);
    image.identity = Some(icecore::snapshot::FileIdentity {
        device: 1,
        inode: 2,
        size_bytes: 3,
        mtime_ns: 4,
        ctime_ns: 5,
    });
    let trusting = |at| CaptureOptions { trust_mtime: true, created_unix_ms: at, ..options("a") };
    for (what, lose) in LOSSES {
        let fixture = Fixture::new(vec![("a", bytes.clone())]);
        let first = capture(&fixture.open(), &image, &trusting(10_000), &NoProgress).unwrap();
        let again = capture(&fixture.open(), &image, &trusting(10_001), &NoProgress).unwrap();
        assert!(!first.trusted_mtime && again.trusted_mtime, "{what}");
        lose(&fixture);
        let third = capture(&fixture.open(), &image, &trusting(10_002), &NoProgress).unwrap();
        assert!(!third.trusted_mtime, "{what}");
        assert!(read(&fixture.open(), third.snapshot.id).unwrap() == bytes, "{what}");
    }
}

#[test]
fn a_verification_of_the_structure_notes_packs_that_are_lost() {
    let image = raw(7, 3 * CHUNK);
    for (what, lose) in LOSSES {
        let fixture = Fixture::new(vec![("a", image.clone())]);
        let plain = || verify_and_note(&fixture.open(), None, Depth::Structure, 1, &NoProgress).unwrap();
        assert_eq!(plain().findings, []);
        assert!(fixture.storage.open("local/damage").is_err(), "there is nothing to note");
        lose(&fixture);
        assert!(!lost(&plain()).is_empty(), "{what}");
        assert!(fixture.storage.open("local/damage").is_ok(), "{what}");
        // What is known to be damaged makes a capture read everything that it would take for known.
        let again = take(&fixture.open(), 9, "a", &image).snapshot;
        assert!(again.stats.new_bytes > 0 && read(&fixture.open(), again.id).unwrap() == image, "{what}");
    }
}

/// Damages part of a repository of one snapshot.
type DamageOne = fn(&Fixture);

/// One chunk, one block of a chunk, all of a pack's directory, the pack itself, a leaf, an inner
/// page.
const DAMAGES: [(&str, DamageOne); 6] = [
    ("a block", |fixture| {
        let pack = &fixture.packs[0].0;
        fixture.flip(pack, fixture.records(pack)[1] + RECORD_HEADER + 3 * BLOCK);
    }),
    ("a chunk", |fixture| {
        let pack = &fixture.packs[0].0;
        let record = fixture.records(pack)[2] + RECORD_HEADER;
        (0..16).for_each(|slot| fixture.flip(pack, record + slot * BLOCK));
    }),
    ("a directory", |fixture| {
        let pack = &fixture.packs[0].0;
        fixture.flip(pack, fixture.bytes(pack).len() - 100);
    }),
    ("a pack", |fixture| fixture.storage.remove(&fixture.packs[0].0).unwrap()),
    ("a leaf", |fixture| {
        let pack = &fixture.packs[0].1;
        fixture.flip(pack, fixture.records(pack)[0] + RECORD_HEADER + 3);
    }),
    ("the root", |fixture| {
        let pack = &fixture.packs[0].1;
        fixture.flip(pack, fixture.records(pack).last().unwrap() + RECORD_HEADER + 3);
    }),
];

#[test]
fn what_is_damaged_heals_when_its_content_comes_by_again() {
    // Two leaves, and not much in them.
    let end = (4 << 20) + 2 * CHUNK + 100;
    let mut image = vec![0; end];
    image[..6 * CHUNK].copy_from_slice(&raw(1, 6 * CHUNK));
    image[end - CHUNK..].copy_from_slice(&raw(2, CHUNK));
    for (what, damage) in DAMAGES {
        for (resource, kind) in [("a", "its parent"), ("b", "no parent")] {
            let mut fixture = Fixture::new(vec![("a", image.clone())]);
            damage(&fixture);
            assert!(!lost(&note(&fixture, 1)).is_empty(), "{what}: nothing is lost");
            let again = take(&fixture.open(), 9, resource, &image).snapshot.id;
            fixture.images.push((again, image.clone()));
            assert_whole(&fixture, &format!("{what}, {kind}"));
            run_gc(&fixture);
            assert_whole(&fixture, &format!("{what}, {kind}, and a gc"));
            // The old one goes on without the new one.
            delete(&fixture.open(), again, DeleteOptions::default()).unwrap();
            fixture.images.pop();
            run_gc(&fixture);
            assert_whole(&fixture, &format!("{what}, {kind}, and a gc without the new snapshot"));
        }
    }
}

#[test]
fn an_image_that_need_not_be_read_is_read_where_something_is_damaged() {
    let bytes = raw(2, 3 * CHUNK);
    let identity = Some(icecore::snapshot::FileIdentity {
        device: 1,
        inode: 2,
        size_bytes: bytes.len() as u64,
        mtime_ns: 3,
        ctime_ns: 4,
    });
    let image = || {
        let mut image = TestImage::full(&bytes);
        image.identity = identity;
        image
    };
    let mut fixture = Fixture::new(vec![]);
    let trusting = |number: u32| CaptureOptions {
        id: SnapshotId(Uuid::from_u128(number.into())),
        trust_mtime: true,
        parent: Parent::Newest,
        ..options("a")
    };
    let capture = |fixture: &Fixture, number| {
        capture(&fixture.open(), &image(), &trusting(number), &NoProgress).unwrap()
    };
    let first = capture(&fixture, 1).snapshot.id;
    fixture.images.push((first, bytes.clone()));
    assert!(capture(&fixture, 2).trusted_mtime);
    let pack = fixture.files("packs/").into_iter().find(|path| fixture.bytes(path)[10] == 1).unwrap();
    fixture.flip(&pack, fixture.records(&pack)[1] + RECORD_HEADER + 5);
    note(&fixture, 1);
    assert!(!capture(&fixture, 3).trusted_mtime);
    assert_whole(&fixture, "read again");
}

#[test]
fn a_capture_stores_anew_what_is_damaged_and_nothing_else() {
    let image = raw(3, 20 * CHUNK);
    let fixture = Fixture::new(vec![("a", image.clone())]);
    let pack = &fixture.packs[0].0;
    fixture.flip(pack, fixture.records(pack)[7] + RECORD_HEADER + 3 * BLOCK);
    assert_eq!(take(&fixture.open(), 8, "a", &image).snapshot.stats.new_bytes, 0, "nobody knows yet");
    note(&fixture, 1);
    assert_eq!(take(&fixture.open(), 9, "a", &image).snapshot.stats.new_bytes, BLOCK as u64);
    assert_eq!(take(&fixture.open(), 10, "a", &image).snapshot.stats.new_bytes, 0, "once");
}

#[test]
fn a_damaged_leaf_that_nobody_noted_is_written_again_by_the_capture_that_meets_it() {
    // The page was taken for known because a pack has an entry of its id, and the new snapshot was
    // lost with the old one.
    let image = raw(4, 3 * CHUNK);
    let mut fixture = Fixture::new(vec![("a", image.clone())]);
    let pages = &fixture.packs[0].1;
    fixture.flip(pages, fixture.records(pages)[0] + RECORD_HEADER + 3);
    let again = take(&fixture.open(), 9, "a", &image).snapshot.id;
    fixture.images.push((again, image));
    assert_whole(&fixture, "the leaf is equal, and there is a sound copy of it now");
}

#[test]
fn gc_keeps_the_good_one_of_two_copies_whether_or_not_the_damage_was_noted() {
    let image = raw(5, 6 * CHUNK);
    for noted in [false, true] {
        for damaged in 0..2 {
            let mut fixture = Fixture::new(vec![("a", image.clone())]);
            fixture.add_unaware("b", [image.clone(), raw(6, CHUNK)].concat());
            let (data, pages) = fixture.packs[damaged].clone();
            for slot in [0, 3] {
                fixture.flip(&data, fixture.records(&data)[2] + RECORD_HEADER + slot * BLOCK + 9);
            }
            let pages_of = |fixture: &Fixture| fixture.records(&pages)[0] + RECORD_HEADER + 2;
            if damaged == 0 {
                // Of the leaf that only one of them has there is no other copy.
                fixture.flip(&data, fixture.records(&data)[4] + RECORD_HEADER + 9);
            } else {
                assert!(pages_of(&fixture) > 0);
            }
            if noted {
                note(&fixture, 1);
            }
            let why = format!("noted {noted}, damaged {damaged}");
            assert_whole_without_noting(&fixture, &why);
            run_gc(&fixture);
            run_gc(&fixture);
            assert_whole(&fixture, &why);
        }
    }
}

fn assert_whole_without_noting(fixture: &Fixture, why: &str) {
    for (id, image) in &fixture.images {
        assert!(read(&fixture.open(), *id).unwrap() == *image, "{why}");
    }
}

#[test]
fn notes_that_are_damaged_or_gone_are_as_good_as_none() {
    let image = raw(7, 5 * CHUNK);
    let fixture = Fixture::new(vec![("a", image.clone())]);
    let pack = &fixture.packs[0].0;
    fixture.flip(pack, fixture.records(pack)[1] + RECORD_HEADER + 3);
    note(&fixture, 1);
    let files = ["local/checked", "local/damage"];
    let good = files.map(|file| fixture.bytes(file));
    for at in [0, 9, 13, 40, good[1].len() - 1] {
        for file in files {
            let at = at.min(fixture.bytes(file).len() - 1);
            fixture.flip(file, at);
        }
        take(&fixture.open(), u32::try_from(100 + at).unwrap(), "c", &image);
        let report = note(&fixture, 5);
        assert!(!report.findings.is_empty(), "it is found again");
        assert_eq!(report.oldest_read_unix_ms, Some(5));
    }
}

/// Time that is up after so many questions.
struct Steps(std::sync::atomic::AtomicU64);

impl Progress for Steps {
    fn total(&self, _meter: Meter, _total: u64) {}
    fn advance(&self, _meter: Meter, _amount: u64) {}

    fn time_is_up(&self) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn a_verification_whose_time_is_up_goes_on_where_it_stopped() {
    let mut fixture = Fixture::three();
    let packs = fixture.files("packs/").len() as u64;
    assert_eq!(packs, 6);
    let part = |fixture: &Fixture, steps: u64, now: i64| {
        let steps = Steps(steps.into());
        verify_and_note(&fixture.open(), None, Depth::ReadData, now, &steps).unwrap()
    };
    let first = part(&fixture, 1, 10);
    assert_eq!((first.packs_read, first.packs_left, first.packs_never_read), (2, 4, 4));
    assert_eq!(first.oldest_read_unix_ms, Some(10));
    let second = part(&fixture, 2, 20);
    assert_eq!((second.packs_read, second.packs_left, second.packs_never_read), (3, 3, 1));
    let third = part(&fixture, 0, 30);
    assert_eq!((third.packs_read, third.packs_left, third.packs_never_read), (1, 5, 0), "at least one");
    assert_eq!(third.oldest_read_unix_ms, Some(10));
    let fourth = part(&fixture, 1, 40);
    assert_eq!(fourth.oldest_read_unix_ms, Some(20), "the oldest first");
    // Damage that was found in one run is told in the next one too, though its pack is not read
    // again.
    let pack = fixture.packs[0].0.clone();
    fixture.flip(&pack, fixture.records(&pack)[0] + RECORD_HEADER);
    let all = part(&fixture, 100, 50);
    assert_eq!((all.packs_read, all.packs_left, lost(&all).len()), (6, 0, 3));
    let least_id_is_read_first = fixture.files("packs/").pop_first().unwrap() == pack;
    let next = part(&fixture, 0, 60);
    assert_eq!(next.packs_read, 1);
    assert_eq!(lost(&next).len(), 3, "{least_id_is_read_first}");
    fixture.images.clear();
}

#[test]
fn a_repository_that_cannot_be_written_is_verified_without_a_note() {
    let fixture = Fixture::three();
    let storage = failing_from(fixture.storage.clone(), 0, std::io::ErrorKind::PermissionDenied);
    let report =
        verify_and_note(&crate::damage::open(&storage).unwrap(), None, Depth::ReadData, 7, &NoProgress)
            .unwrap();
    assert_eq!((report.findings.len(), report.packs_read, report.packs_never_read), (0, 6, 6));
    assert!(fixture.files("local/checked").is_empty());
}
