//! A small repository, damaged in every way there is: each byte, each length, each file. Whatever
//! is done with it gives the right bytes or an error; verify names exactly what a restore cannot
//! give; gc and the repairs make nothing worse.
//!
//! The short form takes one bit of every third byte and some lengths. With `ICECORE_EXHAUSTIVE=1`
//! it is all of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::maintenance::LostRange;
use icecore::maintenance::gc;
use icecore::maintenance::repair_catalog;
use icecore::maintenance::repair_index;
use icecore::maintenance::repair_packs;
use icecore::maintenance::repair_snapshots;
use icecore::maintenance::stats;
use icecore::maintenance::verify;
use icecore::maintenance::verify_and_note;
use icecore::repository::Repository;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::RestoreReport;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::diff;
use icecore::snapshot::list;
use icecore::snapshot::rename;
use icecore::snapshot::restore;
use icecore::storage::MemoryStorage;
use icecore_testing::random::Random;
use icecore_testing::repository::session;
use proptest::prelude::*;

use crate::damage::BLOCK;
use crate::damage::Fixture;
use crate::damage::LEAF;
use crate::damage::open;
use crate::damage::read;

type Files = BTreeMap<String, Vec<u8>>;

/// Returns a block that compresses to almost nothing, as no other seed gives it.
fn text(seed: u64) -> Vec<u8> {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().repeat(BLOCK / 8)
}

fn raw(seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(BLOCK)
}

/// A repository, and what is in it.
struct Contents {
    files: Files,
    /// The same repository as it was earlier.
    before: Files,
    images: Vec<(SnapshotId, Vec<u8>)>,
}

impl Contents {
    fn new() -> Self {
        let first = [text(1), text(2), text(3), raw(4)].concat();
        let mut second = first.clone();
        second[BLOCK..2 * BLOCK].copy_from_slice(&text(5));
        let mut large = vec![0; LEAF + BLOCK + 100];
        large[..BLOCK].copy_from_slice(&text(6));
        large[LEAF..LEAF + BLOCK].copy_from_slice(&text(7));
        let mut fixture = Fixture::new(vec![("a", first.clone()), ("a", second), ("b", large)]);
        // Some blocks are stored twice, in another chunk; and the whole chunk is too, behind one of
        // sixteen blocks.
        fixture.add_unaware("c", [text(2), text(3), text(8)].concat());
        let chunk: Vec<u8> = (20..36).flat_map(text).collect();
        fixture.add_unaware("d", [chunk, first].concat());
        let mut before = fixture.storage.files();
        before.remove("local/reserve");
        rename(&fixture.open(), fixture.id(1), "renamed", RenameOptions::default()).unwrap();
        let repo = fixture.open();
        verify_and_note(&repo, None, Depth::ReadData, 1, &NoProgress).unwrap();
        let mut files = fixture.storage.files();
        // The reserve means nothing, and is most of the bytes.
        files.retain(|name, _| {
            !name.starts_with("local/locks/") && !name.starts_with("local/tmp/") && name != "local/reserve"
        });
        Self { files, before, images: fixture.images }
    }

    /// Returns the names of the files that are worth damaging.
    fn names(&self) -> Vec<&String> {
        self.files.keys().collect()
    }
}

fn is_thorough() -> bool {
    std::env::var_os("ICECORE_EXHAUSTIVE").is_some_and(|value| value == "1")
}

/// Calls `check` with each of the numbers below `count`, on all cores.
fn each(count: usize, check: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..workers {
            threads.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    check(number);
                }
            });
        }
    });
}

fn storage_of(files: &Files) -> MemoryStorage {
    let storage = MemoryStorage::new();
    files.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
    storage
}

/// Asserts that an error is one that damage may cause.
fn assert_kind(kind: ErrorKind, what: &str) {
    let fine = [ErrorKind::Corrupt, ErrorKind::NotFound, ErrorKind::Unsupported, ErrorKind::InvalidInput];
    assert!(fine.contains(&kind), "{what}: {kind:?}");
}

/// Ranges of one snapshot that cannot be restored.
type Bad = Vec<Range<usize>>;

/// Merges ranges that meet.
fn merged(mut ranges: Bad) -> Bad {
    ranges.sort_by_key(|range| range.start);
    let mut all: Bad = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => all.push(range),
        }
    }
    all
}

/// Restores a snapshot as far as possible. Every byte is the image's, or in a range that is said to
/// be bad and zero there. Returns what is bad: everything where the record cannot be read.
fn restorable(repo: &Repository, id: SnapshotId, image: &[u8], plainly: bool, what: &str) -> Bad {
    let mut bytes = Vec::new();
    match restore(repo, id, RestoreTo::Stream(&mut bytes), OnDamage::GoOn, &NoProgress) {
        Err(error) => {
            assert_kind(error.kind(), what);
            std::iter::once(0..image.len()).collect()
        }
        Ok(RestoreReport { bad: told, .. }) => {
            let at = |n: u64| usize::try_from(n).unwrap();
            let ranges = told.ranges.iter().map(|bad| at(bad.offset)..at(bad.offset + bad.bytes));
            let bad = merged(ranges.collect());
            let mut from = 0;
            for range in bad.iter().cloned().chain(std::iter::once(image.len()..image.len())) {
                let good = from..range.start;
                assert!(bytes[good.clone()] == image[good], "{what}: a wrong byte in {id}, {told:?}");
                assert!(bytes[range.clone()].iter().all(|byte| *byte == 0), "{what}: stale bytes in {id}");
                from = range.end;
            }
            assert_eq!(bytes.len(), image.len(), "{what}");
            assert!(
                told.ranges.iter().all(|bad| bad.problem.contains("pack")
                    || bad.problem.contains("page")
                    || bad.problem.contains("chunk")),
                "{what}: {told:?}"
            );
            match plainly.then(|| read(repo, id)) {
                None => {}
                Some(Ok(whole)) => assert!(bad.is_empty() && whole == image, "{what}"),
                Some(Err(error)) => {
                    assert!(!bad.is_empty(), "{what}: {error}");
                    assert_kind(error.kind(), what);
                }
            }
            bad
        }
    }
}

fn all_restorable(repo: &Repository, contents: &Contents, what: &str) -> Vec<Bad> {
    contents.images.iter().map(|(id, image)| restorable(repo, *id, image, false, what)).collect()
}

fn lost_of(lost: &[LostRange], id: SnapshotId) -> Bad {
    let at = |n: u64| usize::try_from(n).unwrap();
    let of_it = lost.iter().filter(|lost| lost.snapshot == id);
    merged(of_it.map(|lost| at(lost.offset)..at(lost.offset + lost.bytes)).collect())
}

/// Asserts that nothing is bad now that was not before.
fn assert_not_worse(before: &[Bad], after: &[Bad], what: &str) {
    for (before, after) in before.iter().zip(after) {
        for range in after {
            let within = before.iter().any(|was| was.start <= range.start && range.end <= was.end);
            assert!(within, "{what}: {range:?} could be restored before: {before:?}");
        }
    }
}

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// What only reads, and of the snapshots that are whole one, chosen by a number.
    Reading(usize),
    /// All there is.
    Everything,
}

impl Effort {
    /// Everything for each `nth` case.
    fn of(case: usize, nth: usize) -> Self {
        if is_thorough() || case.is_multiple_of(nth) { Self::Everything } else { Self::Reading(case) }
    }
}

/// Does what can be done with a damaged repository. Returns whether verify found anything.
fn try_out(contents: &Contents, files: &Files, effort: Effort, what: &str) -> bool {
    let storage = storage_of(files);
    let repo = match open(&storage) {
        Ok(repo) => repo,
        Err(error) => {
            assert_kind(error.kind(), what);
            assert_ne!(files.get("config"), contents.files.get("config"), "{what}: {error}");
            return true;
        }
    };
    let report = verify(&repo, None, Depth::ReadData, &NoProgress).unwrap();
    let listed = match list(&repo) {
        Ok(listed) => listed,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
            assert!(!report.findings.is_empty(), "{what}: {error}");
            repaired_catalog(contents, files, what);
            return true;
        }
    };
    let lost: Vec<LostRange> = report.findings.iter().flat_map(|finding| finding.lost.clone()).collect();
    let mut all_bad = Vec::new();
    for (number, (id, image)) in contents.images.iter().enumerate() {
        let is_listed = listed.iter().any(|snapshot| snapshot.id == *id);
        let chosen = match effort {
            Effort::Everything => true,
            // The largest image takes longer than all others together.
            Effort::Reading(case) if image.len() > LEAF => case.is_multiple_of(16 * contents.images.len()),
            Effort::Reading(case) => case % contents.images.len() == number,
        };
        if !chosen && is_listed && lost_of(&lost, *id).is_empty() {
            continue;
        }
        let bad = restorable(&repo, *id, image, chosen, what);
        if is_listed {
            assert_eq!(
                bad,
                lost_of(&lost, *id),
                "{what}: verify and restore do not agree about {id} of {}",
                image.len()
            );
        } else {
            assert_eq!(bad.len(), 1, "{what}: a snapshot that is not listed");
        }
        all_bad.push(bad);
    }
    for (from, to) in [(0, 1), (1, 3)] {
        let (from, to) = (contents.images[from].0, contents.images[to].0);
        if let Err(error) = diff(&repo, from, to, &mut |_| Ok(())) {
            assert_kind(error.kind(), what);
        }
    }
    if let Err(error) = stats(&repo, &NoProgress) {
        assert_kind(error.kind(), what);
    }
    if effort == Effort::Everything {
        gc_makes_nothing_worse(contents, files, &all_bad, what);
        repairs_make_it_better(contents, files, &all_bad, what);
    }
    !report.findings.is_empty()
}

/// Repairs a catalog that cannot be read. Snapshots can be lost with it only if several files are
/// damaged: an entry, and its copy or a checkpoint.
fn repaired_catalog(contents: &Contents, files: &Files, what: &str) {
    let damaged = contents.files.iter().filter(|(name, bytes)| files.get(*name) != Some(bytes)).count();
    let storage = storage_of(files);
    match repair_catalog(Arc::new(storage.clone()), session(), false) {
        Err(error) => {
            assert_kind(error.kind(), what);
            assert!(damaged > 1, "{what}: {error}");
        }
        Ok(_) => {
            let repo = open(&storage).unwrap();
            let listed = list(&repo).unwrap();
            assert!(damaged > 1 || listed.len() == contents.images.len(), "{what}: {listed:?}");
            all_restorable(&repo, contents, what);
        }
    }
}

fn gc_makes_nothing_worse(contents: &Contents, files: &Files, bad: &[Bad], what: &str) {
    let storage = storage_of(files);
    let repo = open(&storage).unwrap();
    let plan = gc::plan(&repo, &gc::GcOptions::new(0.0), &NoProgress);
    let done = plan.and_then(|plan| gc::apply(&repo, plan, &NoProgress));
    if let Err(error) = &done {
        assert_kind(error.kind(), what);
    }
    let what = format!("{what}, after a gc ({:?})", done.map(|done| done.packs_removed));
    assert_not_worse(bad, &all_restorable(&open(&storage).unwrap(), contents, &what), &what);
}

fn repairs_make_it_better(contents: &Contents, files: &Files, bad: &[Bad], what: &str) {
    let storage = storage_of(files);
    let repo = open(&storage).unwrap();
    let index = repair_index(&repo, &NoProgress).map_err(|error| assert_kind(error.kind(), what));
    let packs = repair_packs(&open(&storage).unwrap(), false, &NoProgress);
    let packs = packs.map_err(|error| assert_kind(error.kind(), what));
    let repo = open(&storage).unwrap();
    let what = format!("{what}, after the repairs");
    let after = all_restorable(&repo, contents, &what);
    assert_not_worse(bad, &after, &what);
    let told = repair_snapshots(&repo, &NoProgress).unwrap();
    let listed = list(&repo).unwrap();
    for ((id, _), bad) in contents.images.iter().zip(&after) {
        if listed.iter().any(|snapshot| snapshot.id == *id) {
            assert_eq!(*bad, lost_of(&told.lost, *id), "{what}: what is not reported lost restores");
            if let Ok(packs) = &packs {
                assert_eq!(*bad, lost_of(&packs.lost, *id), "{what}: repair packs reports it");
            }
        }
    }
    if index.is_ok() && packs.is_ok() {
        let found = verify(&repo, None, Depth::ReadData, &NoProgress).unwrap().findings;
        let others = found.iter().filter(|found| {
            found.lost.is_empty()
                && !found.object.starts_with("snapshot")
                && !found.object.starts_with("file")
        });
        assert_eq!(others.count(), 0, "{what}: only what is lost is found: {found:?}");
    }
}

/// Tells whether each change of a file must be found by verify.
fn is_checked(name: &str) -> bool {
    ["packs/", "index/", "journal/", "checkpoint/", "config"].iter().any(|prefix| name.starts_with(prefix))
}

#[test]
fn what_is_sound_passes() {
    let contents = Contents::new();
    assert!(!try_out(&contents, &contents.files, Effort::Everything, "sound"));
    let repo = open(&storage_of(&contents.files)).unwrap();
    assert!(all_restorable(&repo, &contents, "sound").iter().all(Vec::is_empty));
}

#[test]
fn every_byte_is_changed() {
    let contents = Contents::new();
    let cases: Vec<(&String, usize, u8)> = contents
        .names()
        .into_iter()
        .flat_map(|name| (0..contents.files[name].len()).map(move |at| (name, at)))
        .flat_map(|(name, at)| {
            let masks = if is_thorough() {
                vec![1, 2, 4, 8, 16, 32, 64, 128, 255]
            } else {
                vec![1 << ((at ^ at >> 2) % 8)]
            };
            masks.into_iter().map(move |mask| (name, at, mask))
        })
        .collect();
    each(cases.len(), |number| {
        let (name, at, mask) = cases[number];
        // Inside of a block that is stored as it is, and of the tables of an index run, one byte is
        // like another.
        let len = contents.files[name].len();
        let alike = match name.starts_with("index/") {
            true => at % 4 != 0 && at > 256 && at + 256 < len,
            false => at % 16 != 0 && len > BLOCK && (300..4000).contains(&at),
        };
        if !is_thorough() && (alike || !at.is_multiple_of(3)) {
            return;
        }
        let mut files = contents.files.clone();
        files.get_mut(name).unwrap()[at] ^= mask;
        let what = format!("{name}, byte {at}, mask {mask:02x}");
        let found = try_out(&contents, &files, Effort::of(number, 41), &what);
        assert!(found || !is_checked(name), "{what}: verify did not find it");
    });
}

#[test]
fn every_file_is_cut_everywhere_and_grows() {
    let contents = Contents::new();
    let mut cases: Vec<(&String, usize)> = Vec::new();
    for name in contents.names() {
        let len = contents.files[name].len();
        let step = if is_thorough() { 1 } else { 41 };
        let ends = [1, 2, len.saturating_sub(1), len.saturating_sub(64), 64, 65, 104, 105];
        let mut lengths: Vec<usize> = (0..len).step_by(step).chain(ends).filter(|cut| *cut < len).collect();
        lengths.extend([len + 1, len + 100, len + 5000]);
        lengths.sort_unstable();
        lengths.dedup();
        cases.extend(lengths.into_iter().map(|length| (name, length)));
    }
    each(cases.len(), |number| {
        let (name, length) = cases[number];
        let mut files = contents.files.clone();
        files.get_mut(name).unwrap().resize(length, 0x5a);
        let what = format!("{name}, {length} bytes of {}", contents.files[name].len());
        let found = try_out(&contents, &files, Effort::of(number, 7), &what);
        assert!(found || !is_checked(name), "{what}: verify did not find it");
    });
}

#[test]
pub(crate) fn every_file_is_removed_zeroed_swapped_and_replaced() {
    let contents = Contents::new();
    let other = {
        let mut fixture =
            Fixture::with_key([9; 32], vec![("a", [text(1), text(2)].concat()), ("b", text(9))]);
        fixture.add_unaware("c", text(1));
        fixture.storage.files()
    };
    let kind = |name: &str| name.split('/').next().unwrap().to_owned();
    let mut cases: Vec<(String, Files)> = Vec::new();
    let mut add = |what: String, change: &dyn Fn(&mut Files)| {
        let mut files = contents.files.clone();
        change(&mut files);
        cases.push((what, files));
    };
    for name in contents.names() {
        add(format!("{name} removed"), &|files| drop(files.remove(name)));
        let len = contents.files[name].len();
        add(format!("{name} zeroed"), &|files| drop(files.insert(name.clone(), vec![0; len])));
        for at in (0..len).step_by(BLOCK) {
            add(format!("{name} zeroed at {at}"), &|files| {
                files.get_mut(name).unwrap()[at..len.min(at + BLOCK)].fill(0);
            });
        }
        for with in contents.names().into_iter().filter(|with| *with > name && kind(with) == kind(name)) {
            add(format!("{name} and {with} swapped"), &|files| {
                files.insert(name.clone(), contents.files[with].clone());
                files.insert(with.clone(), contents.files[name].clone());
            });
        }
        for (foreign, bytes) in other.iter().filter(|(foreign, _)| kind(foreign) == kind(name)) {
            add(format!("{name} replaced by {foreign} of another repository"), &|files| {
                files.insert(name.clone(), bytes.clone());
            });
            add(format!("{foreign} of another repository beside {name}"), &|files| {
                files.entry(foreign.clone()).or_insert_with(|| bytes.clone());
            });
        }
    }
    for (name, bytes) in
        contents.before.iter().filter(|(name, bytes)| contents.files.get(*name) != Some(bytes))
    {
        add(format!("{name} as it was earlier"), &|files| drop(files.insert(name.clone(), bytes.clone())));
    }
    add("everything but the packs removed".to_owned(), &|files| {
        files
            .retain(|name, _| name.starts_with("packs/") || name == "config" || name.starts_with("journal/"));
    });
    each(cases.len(), |number| {
        let (what, files) = &cases[number];
        try_out(&contents, files, Effort::of(number, 3), what);
    });
}

/// What may be done to a file, at a place that is a part of it.
#[derive(Debug, Clone)]
enum Blow {
    Flip(u8),
    Zero(usize),
    Cut,
    Remove,
}

fn blow() -> impl Strategy<Value = (prop::sample::Index, prop::sample::Index, Blow)> {
    let kind = prop_oneof![
        6 => (1..=255_u8).prop_map(Blow::Flip),
        2 => (1..200_usize).prop_map(Blow::Zero),
        1 => Just(Blow::Cut),
        1 => Just(Blow::Remove),
    ];
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), kind)
}

/// Fewer cases than usual where no number is asked for: each is a lot of work.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        None => ProptestConfig { cases: 40, ..config },
        Some(_) => config,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn several_damages_at_once_are_no_worse_than_their_sum(blows in prop::collection::vec(blow(), 2..6)) {
        static WORLD: std::sync::OnceLock<Contents> = std::sync::OnceLock::new();
        let contents = WORLD.get_or_init(Contents::new);
        let names: Vec<&String> = contents.names().into_iter().filter(|name| *name != "config").collect();
        let mut files = contents.files.clone();
        let mut what = String::new();
        for (which, place, blow) in &blows {
            let name = *which.get(&names);
            let Some(bytes) = files.get_mut(name).filter(|bytes| !bytes.is_empty()) else { continue };
            let at = place.index(bytes.len());
            what += &format!("{name} at {at} {blow:?}; ");
            match blow {
                Blow::Flip(mask) => bytes[at] ^= mask,
                Blow::Zero(len) => {
                    let end = bytes.len().min(at + len);
                    bytes[at..end].fill(0);
                }
                Blow::Cut => bytes.truncate(at),
                Blow::Remove => drop(files.remove(name)),
            }
        }
        try_out(contents, &files, Effort::Everything, &what);
    }
}
