//! A failure at the first call of the storage, at the second... of everything that is done with
//! volumes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::volume::Volume;
use icecore_testing::bytes::assert_same;
use icecore_testing::fault::Calls;
use icecore_testing::fault::Fault;
use icecore_testing::fault_storage::FaultStorage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;

use crate::volumes::support::content;
use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

const NAME: &str = "disk";
const BLOCK: usize = 4096;
const IMAGE_BYTES: usize = 12 * BLOCK + 100;
/// More than any operation here calls.
const CALLS_MAX: u64 = 500;

struct Way {
    calls: Calls,
    for_good: bool,
    error: fn() -> io::Error,
    kind: ErrorKind,
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

const WAYS: [Way; 4] = [
    Way { calls: Calls::Changes, for_good: true, error: full, kind: ErrorKind::NoSpace },
    Way { calls: Calls::Changes, for_good: false, error: full, kind: ErrorKind::NoSpace },
    Way { calls: Calls::All, for_good: true, error: broken, kind: ErrorKind::Io },
    Way { calls: Calls::All, for_good: false, error: broken, kind: ErrorKind::Io },
];

impl Way {
    fn fault(&self, n: u64) -> Fault {
        let end = if self.for_good { u64::MAX } else { n + 1 };
        Fault::new(self.calls, n..end, self.error)
    }
}

/// A volume with something written to it, to begin from again and again.
struct Start {
    files: MemoryStorage,
    origin: Vec<u8>,
    image: Vec<u8>,
    base: SnapshotId,
}

impl Start {
    fn new() -> Self {
        let bench = TestRepository::new();
        let mut noise = Random::new(31);
        let origin = noise.bytes(IMAGE_BYTES);
        let base = bench.snapshot("origin", &origin);
        let repo = Arc::new(bench.another());
        icecore::volume::create_volume(&repo, &volume_options(NAME, Some(base), None)).unwrap();
        let mut image = origin.clone();
        noise.fill(&mut image[BLOCK..3 * BLOCK]);
        let volume = open(&repo, NAME).unwrap();
        volume.write_at(0, &image).unwrap();
        volume.sync().unwrap();
        Self { files: bench.storage, origin, image, base }
    }

    fn copy(&self) -> MemoryStorage {
        copy_of(&self.files)
    }

    /// Calls `what` with a repository whose `n`-th call fails, for each `n` and each way to fail,
    /// and with one that never does.
    fn each(&self, what: impl Fn(&MemoryStorage, &Arc<Repository>, &Way, &Fault)) {
        for way in &WAYS {
            let mut n = 0;
            loop {
                assert!(n < CALLS_MAX, "it never ends");
                let files = self.copy();
                let fault = way.fault(n);
                let storage = FaultStorage::new(files.clone(), fault.clone());
                match Repository::open(Arc::new(storage), session()) {
                    Ok(repo) => what(&files, &Arc::new(repo), way, &fault),
                    Err(error) => assert_eq!(error.kind(), way.kind, "{error}"),
                }
                if fault.first().is_none() {
                    break;
                }
                n += 1;
            }
        }
    }
}

fn copy_of(files: &MemoryStorage) -> MemoryStorage {
    let copy = MemoryStorage::new();
    let files = files.files().into_iter().filter(|(name, _)| !name.starts_with("local/locks/"));
    files.for_each(|(name, bytes)| copy.put(&name, bytes));
    copy
}

fn clean(files: &MemoryStorage) -> Arc<Repository> {
    Arc::new(icecore_testing::repository::open(files.clone()))
}

fn image(repo: &Arc<Repository>) -> Option<Vec<u8>> {
    match icecore::volume::find_volume(repo, NAME) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        found => {
            found.unwrap();
            Some(content(&open(repo, NAME).unwrap()).unwrap())
        }
    }
}

/// Fails each call of something that is done whole or not at all.
fn whole(start: &Start, after: Option<&Vec<u8>>, what: impl Fn(&Repository) -> icecore::Result<()>) {
    start.each(|files, repo, way, fault| {
        let result = what(repo);
        let repo = clean(files);
        let found = image(&repo);
        let told = format!("{fault:?}: {result:?}");
        let is_after = found.as_ref() == after;
        assert!(is_after || found.as_ref() == Some(&start.image), "{told}: the volume is something between");
        match &result {
            Ok(()) => assert!(is_after, "{told}: it was not done"),
            Err(error) => assert_eq!(error.kind(), way.kind, "{told}"),
        }
        assert_sound(&repo, &told);
        if !is_after {
            what(&repo).unwrap_or_else(|error| panic!("{told}, once more: {error}"));
            assert_eq!(image(&repo).as_ref(), after, "{told}");
        }
        collect(&repo).unwrap();
        assert_sound(&repo, &told);
        assert_eq!(image(&repo).as_ref(), after, "{told}");
    });
}

#[test]
fn reset_restore_resize_and_delete_are_whole_or_not_at_all() {
    let start = Start::new();
    let mut larger = start.image.clone();
    larger.resize(20 * BLOCK + 1, 0);
    whole(&start, Some(&start.origin), |repo| icecore::volume::reset_volume(repo, NAME).map(drop));
    whole(&start, Some(&start.origin), |repo| {
        icecore::volume::restore_volume(repo, NAME, start.base).map(drop)
    });
    whole(&start, Some(&larger), |repo| {
        icecore::volume::resize_volume(repo, NAME, larger.len() as u64).map(drop)
    });
    whole(&start, None, |repo| icecore::volume::delete_volume(repo, NAME).map(drop));
}

#[test]
fn a_volume_grows_or_not_while_it_is_open() {
    let start = Start::new();
    let mut larger = start.image.clone();
    larger.resize(20 * BLOCK + 1, 0);
    let len = larger.len() as u64;
    start.each(|files, repo, way, fault| {
        let Ok(volume) = open(repo, NAME) else { return };
        let result = volume.grow(len);
        let told = format!("{fault:?}: {result:?}");
        match &result {
            Ok(()) => assert_eq!(volume.len(), len, "{told}"),
            Err(error) => {
                assert_eq!(error.kind(), way.kind, "{told}");
                assert_eq!(volume.len(), IMAGE_BYTES as u64, "{told}");
                assert!(volume.write_at(IMAGE_BYTES as u64, &[1]).is_err(), "{told}: it has grown");
            }
        }
        let mut after = larger.clone();
        let goes_on = !way.for_good && fault.first().is_some();
        if goes_on {
            volume.grow(len).unwrap_or_else(|error| panic!("{told}, once more: {error}"));
            after[20 * BLOCK - 5..].fill(3);
            volume.write_at(20 * BLOCK as u64 - 5, &[3; 6]).unwrap();
            volume.sync().unwrap();
        }
        drop(volume);
        let repo = clean(files);
        let found = image(&repo).unwrap();
        let has_grown = goes_on || result.is_ok();
        assert!(found == after || !has_grown && found == start.image, "{told}: it is something else");
        assert_sound(&repo, &told);
    });
}

#[test]
fn labels_are_set_or_not_while_the_volume_is_open() {
    let start = Start::new();
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    start.each(|files, repo, way, fault| {
        let result = icecore::volume::relabel_volume(repo, NAME, &labels, &[]);
        let repo = clean(files);
        let told = format!("{fault:?}: {result:?}");
        let found = icecore::volume::find_volume(&repo, NAME).unwrap().labels;
        assert!(found == labels || found.is_empty() && result.is_err(), "{told}: {found:?}");
        if let Err(error) = &result {
            assert_eq!(error.kind(), way.kind, "{told}");
        }
        icecore::volume::relabel_volume(&repo, NAME, &labels, &[]).unwrap();
        assert_eq!(icecore::volume::find_volume(&repo, NAME).unwrap().labels, labels);
        assert_same(&image(&repo).unwrap(), &start.image, &told);
    });
}

#[test]
fn a_volume_is_made_or_not() {
    let start = Start::new();
    let options = volume_options("other", Some(start.base), Some(1 << 20));
    start.each(|files, repo, way, fault| {
        let result = icecore::volume::create_volume(repo, &options);
        let repo = clean(files);
        let told = format!("{fault:?}: {result:?}");
        let there = icecore::volume::find_volume(&repo, "other").is_ok();
        match &result {
            Ok(_) => assert!(there, "{told}"),
            Err(error) => assert_eq!(error.kind(), way.kind, "{told}"),
        }
        if !there {
            icecore::volume::create_volume(&repo, &options).unwrap_or_else(|error| panic!("{told}: {error}"));
        }
        let found = content(&open(&repo, "other").unwrap()).unwrap();
        assert_same(&found[..IMAGE_BYTES], &start.origin, &told);
        assert_sound(&repo, &told);
    });
}

/// What one block may hold, for each block of a volume.
struct Allowed(Vec<Vec<Vec<u8>>>);

impl Allowed {
    fn new(image: &[u8]) -> Self {
        Self(image.chunks(BLOCK).map(|block| vec![block.to_vec()]).collect())
    }

    fn add(&mut self, image: &[u8]) {
        self.0.iter_mut().zip(image.chunks(BLOCK)).for_each(|(allowed, block)| allowed.push(block.to_vec()));
    }

    fn check(&self, found: &[u8], may_be_torn: bool, told: &str) {
        for (number, (allowed, block)) in self.0.iter().zip(found.chunks(BLOCK)).enumerate() {
            let is_torn = || (0..block.len()).all(|at| allowed.iter().any(|one| one[at] == block[at]));
            let is_known = allowed.iter().any(|one| one == block) || may_be_torn && is_torn();
            assert!(is_known, "{told}: block {number} is something else");
        }
    }
}

struct Use<'a> {
    volume: &'a Volume,
    files: &'a MemoryStorage,
    image: Vec<u8>,
    taken: Option<(SnapshotId, Vec<u8>)>,
}

impl Use<'_> {
    /// Writes, zeroes, syncs and takes snapshots, until something fails.
    fn go_on(&mut self, seed: u64, allowed: &mut Allowed) -> icecore::Result<()> {
        let told = |error| Error::io("using a volume", error);
        let mut noise = Random::new(seed);
        for (at, bytes) in [(2 * BLOCK + 7, BLOCK), (9 * BLOCK, 3 * BLOCK + 100)] {
            let bytes = noise.bytes(bytes);
            self.image[at..at + bytes.len()].copy_from_slice(&bytes);
            allowed.add(&self.image);
            self.volume.write_at(at as u64, &bytes).map_err(told)?;
            self.volume.sync().map_err(told)?;
            // A process that dies now leaves that to the next one.
            let left = image(&clean(&copy_of(self.files))).unwrap();
            assert_same(&left, &self.image, "what a killed process leaves");
        }
        self.image[BLOCK..4 * BLOCK].fill(0);
        allowed.add(&self.image);
        self.volume.zero_at(BLOCK as u64..4 * BLOCK as u64).map_err(told)?;
        let id = snapshot(self.volume)?;
        self.taken = Some((id, self.image.clone()));
        let bytes = noise.bytes(BLOCK);
        self.image[..BLOCK].copy_from_slice(&bytes);
        allowed.add(&self.image);
        self.volume.write_at(0, &bytes).map_err(told)?;
        self.volume.sync().map_err(told)
    }
}

/// Whether a call is one after whose failure an overlay takes no writes any more.
fn stops_writes(fault: &Fault) -> bool {
    fault.first().is_some_and(|call| {
        let file = call.name.rsplit('/').next().unwrap_or_default();
        call.method == "sync" && (file.starts_with("overlay-") || file.starts_with("map-"))
    })
}

#[test]
fn what_is_written_is_there_or_the_error_says_that_it_may_not_be() {
    let start = Start::new();
    let refused = std::cell::Cell::new(0);
    start.each(|files, repo, way, fault| {
        let volume = match open(repo, NAME) {
            Ok(volume) => volume,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::NoSpace), "{error}");
                assert_same(&image(&clean(files)).unwrap(), &start.image, "a volume that was not opened");
                return;
            }
        };
        let mut allowed = Allowed::new(&start.image);
        let mut used = Use { volume: &volume, files, image: start.image.clone(), taken: None };
        let result = used.go_on(1, &mut allowed);
        let told = format!("{fault:?}: {result:?}");
        // A write that fails may have written a part of a block.
        let may_be_torn = fault.first().is_some_and(|call| way.for_good || call.method == "write_at");
        match &result {
            Ok(()) => allowed = Allowed::new(&used.image),
            Err(error) => assert_eq!(error.kind(), way.kind, "{told}"),
        }
        if result.is_err() && !way.for_good {
            // Reads go on, whatever happened.
            let mut found = vec![0; IMAGE_BYTES];
            volume.read_at(0, &mut found).unwrap_or_else(|error| panic!("{told}: reading: {error}"));
            allowed.check(&found, may_be_torn, &told);
            used.image.copy_from_slice(&found);
            if stops_writes(fault) {
                // What a sync has failed for may be anything on the medium: it does not get into a
                // snapshot.
                snapshot(&volume).expect_err(&told);
            }
            let again = used.go_on(2, &mut allowed);
            if stops_writes(fault) {
                let error = again.expect_err(&told).to_string();
                refused.set(refused.get() + 1);
                assert!(error.contains("using a volume") || error.contains("volume disk"), "{told}: {error}");
            } else {
                again.unwrap_or_else(|error| panic!("{told}, going on: {error}"));
                // Now all is certain.
                allowed = Allowed::new(&used.image);
            }
        }
        let taken = used.taken.take();
        drop(volume);
        let repo = clean(files);
        let found = image(&repo).unwrap();
        allowed.check(&found, may_be_torn, &told);
        if let Some((id, image)) = taken {
            restores(&repo, id, &image).unwrap();
        }
        let id = snapshot(&open(&repo, NAME).unwrap()).unwrap();
        collect(&repo).unwrap();
        restores(&repo, id, &found).unwrap();
        assert_sound(&repo, &told);
        assert_same(&image(&repo).unwrap(), &found, &told);
    });
    assert!(refused.get() > 0, "no sync of an overlay failed");
}

#[test]
fn what_a_crash_has_left_of_a_seal_does_not_show() {
    let start = Start::new();
    let files = start.copy();
    let repo = clean(&files);
    let volume = open(&repo, NAME).unwrap();
    // Files of the overlay that comes next, as a seal leaves them that a crash has undone, and that
    // could not be removed.
    for kind in ["map", "overlay"] {
        let bytes = files.files()[&format!("local/volumes/{NAME}/{kind}-0")].clone();
        files.put(&format!("local/volumes/{NAME}/{kind}-1"), bytes);
    }
    let mut image = start.image.clone();
    image[5 * BLOCK..6 * BLOCK].fill(9);
    volume.write_at(5 * BLOCK as u64, &image[5 * BLOCK..6 * BLOCK]).unwrap();
    let id = snapshot(&volume).unwrap();
    drop(volume);
    assert_same(&content(&open(&repo, NAME).unwrap()).unwrap(), &image, "after a snapshot");
    restores(&repo, id, &image).unwrap();
}

/// Returns what a seal leaves of which the overlay could not be synced: an overlay with nothing in
/// it over another one.
fn half_sealed(files: &MemoryStorage) -> MemoryStorage {
    for n in 0..CALLS_MAX {
        let files = copy_of(files);
        let fault = Fault::new(Calls::Changes, n..n + 1, broken);
        let storage = FaultStorage::new(files.clone(), fault.clone());
        let Ok(volume) =
            Repository::open(Arc::new(storage), session()).and_then(|repo| open(&Arc::new(repo), NAME))
        else {
            continue;
        };
        let written = volume.write_at(0, &[5; BLOCK]);
        let taken = snapshot(&volume);
        if written.is_ok() && taken.is_err() && stops_writes(&fault) {
            return files;
        }
    }
    panic!("it never ends");
}

#[test]
fn a_seal_of_which_nothing_was_synced_takes_nothing_with_it() {
    let start = Start::new();
    let repo = clean(&start.files);
    snapshot(&open(&repo, NAME).unwrap()).unwrap();
    let half = half_sealed(&start.files);
    assert_same(&image(&clean(&copy_of(&half))).unwrap(), &start.image, "what was not synced");
    for n in 0..CALLS_MAX {
        let files = copy_of(&half);
        let fault = Fault::new(Calls::All, n..n + 1, broken);
        let storage = FaultStorage::new(files.clone(), fault.clone());
        let repo = Repository::open(Arc::new(storage), session());
        let Ok(volume) = repo.and_then(|repo| open(&Arc::new(repo), NAME)) else { continue };
        let mut image = start.image.clone();
        // One that may fail, and one that differs in its size only.
        let first = snapshot(&volume);
        if fault.first().is_none() {
            return;
        }
        image.resize(20 * BLOCK, 0);
        volume.grow(image.len() as u64).unwrap();
        snapshot(&volume).unwrap();
        image[..BLOCK].fill(6);
        volume.write_at(0, &image[..BLOCK]).unwrap();
        volume.sync().unwrap();
        drop(volume);
        let told = format!("{fault:?}: {first:?}");
        assert_same(&content(&open(&clean(&files), NAME).unwrap()).unwrap(), &image, &told);
    }
    panic!("it never ends");
}

#[test]
fn a_write_of_nothing_changes_nothing() {
    let start = Start::new();
    let repo = clean(&start.files);
    icecore::volume::reset_volume(&repo, NAME).unwrap();
    let volume = open(&repo, NAME).unwrap();
    for at in [0, 5, 4096, 5 * 4096 + 17, IMAGE_BYTES as u64] {
        volume.write_at(at, &[]).unwrap();
        volume.zero_at(at..at).unwrap();
    }
    assert_same(&content(&volume).unwrap(), &start.origin, "after writes of nothing");
    assert!(volume.write_at(IMAGE_BYTES as u64, &[1]).is_err());
    assert!(volume.write_at(u64::MAX, &[1]).is_err());
    assert!(volume.zero_at(0..IMAGE_BYTES as u64 + 1).is_err());
}
