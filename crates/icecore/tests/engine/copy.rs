//! Copies of snapshots to another repository, which has another key and another level.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::Meter;
use icecore::NoProgress;
use icecore::Progress;
use icecore::fuzzing::forge::Forge;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::CopyReport;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore_testing::bytes::assert_same;
use icecore_testing::fault::Calls;
use icecore_testing::fault::Fault;
use icecore_testing::fault_storage::FaultStorage;
use icecore_testing::random::Random;
use icecore_testing::repository::Stopping;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::image_of;
use icecore_testing::repository::init_options;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;
use proptest::prelude::*;
use uuid::Uuid;

const LEAF: usize = 4 << 20;
const SPAN: usize = 64 << 10;
const HOW: CopyOptions = CopyOptions { level: None, check: true, name_may_repeat: false };

/// Two repositories in memory.
struct Two {
    source: TestRepository,
    target: TestRepository,
}

impl Two {
    fn new() -> Self {
        let storage = MemoryStorage::new();
        let id = RepositoryId(Uuid::from_u128(8));
        let options = InitOptions { id, secrets: Secrets::Plain([4; 32]), level: 3, ..init_options() };
        let repo = Repository::init(Arc::new(storage.clone()), session(), &options).unwrap();
        Self { source: TestRepository::new(), target: TestRepository { storage, repo } }
    }

    fn copy(&self, id: SnapshotId) -> icecore::Result<CopyReport> {
        self.copy_with(id, &NoProgress)
    }

    /// Copies as a process of its own would.
    fn copy_with(&self, id: SnapshotId, progress: &dyn Progress) -> icecore::Result<CopyReport> {
        icecore::snapshot::copy(&Arc::new(self.source.another()), id, &self.target.another(), &HOW, progress)
    }
}

/// Fails unless a snapshot is in another repository what it was.
fn assert_is_copy(copy: &Snapshot, of: &Snapshot) {
    let Snapshot { id, created_unix_ms, name, kind, resource, tags, size_bytes, labels, .. } = of.clone();
    assert_eq!(
        (copy.id, copy.created_unix_ms, copy.kind, copy.size_bytes),
        (id, created_unix_ms, kind, size_bytes)
    );
    assert_eq!((&copy.name, &copy.resource, &copy.tags, &copy.labels), (&name, &resource, &tags, &labels));
    assert_eq!(copy.stats.data_bytes, of.stats.data_bytes);
    assert!(!copy.protected, "who protects it there says so there");
}

#[test]
fn a_copy_is_what_its_snapshot_is_and_reads_and_writes_only_what_is_missing_there() {
    let two = Two::new();
    let mut image = Random::new(1).bytes(2 * LEAF + 70_001);
    image[SPAN..LEAF].fill(0);
    let labels = BTreeMap::from([("id".to_owned(), "7".to_owned())]);
    let how = CaptureOptions { labels, tags: vec!["b".to_owned(), "a".to_owned()], ..options("web") };
    let first = icecore::snapshot::capture(&two.source.repo, &image, &how, &NoProgress).unwrap().snapshot;
    icecore::snapshot::set_protected(&two.source.repo, first.id, true).unwrap();
    let report = two.copy(first.id).unwrap();
    assert_is_copy(&report.snapshot, &first);
    assert_eq!((report.parent, report.snapshot.parent), (None, None));
    assert_ne!(report.snapshot.content, first.content, "the keys are others");
    assert_eq!(image_of(&two.target.repo, first.id), image);

    // Only what differs from the one that both have is read, a span at a time, and nothing that is
    // there is written.
    Random::new(2).fill(&mut image[LEAF + 5000..LEAF + 6000]);
    image.copy_within(0..SPAN, 2 * LEAF - SPAN);
    image.resize(image.len() + 3 * LEAF, 0);
    let second = two.source.capture("web", &image).snapshot;
    let report = two.copy(second.id).unwrap();
    assert_is_copy(&report.snapshot, &second);
    assert_eq!((report.parent, report.snapshot.parent), (Some(first.id), Some(first.id)));
    // The third is the one that the first ended in.
    assert_eq!(report.read_bytes, 3 * SPAN as u64);
    assert_eq!(report.snapshot.stats.new_bytes, 4096);
    assert_same(&image_of(&two.target.repo, second.id), &image, "the second");

    // A snapshot that is unchanged, and one that is smaller, for which there is no base that fits.
    let third = two.source.capture("web", &image).snapshot;
    let report = two.copy(third.id).unwrap();
    assert_eq!((report.read_bytes, report.snapshot.stats.stored_bytes), (0, 0));
    image.truncate(LEAF + 5);
    let small = two.source.capture("web", &image).snapshot;
    let report = two.copy(small.id).unwrap();
    assert_eq!((report.parent, report.snapshot.stats.new_bytes), (None, 4096), "its end is another block");
    assert_same(&image_of(&two.target.repo, small.id), &image, "a smaller one");
    let zeros = two.source.capture("zeros", &vec![0; 5 * LEAF]).snapshot;
    assert_is_copy(&two.copy(zeros.id).unwrap().snapshot, &zeros);

    assert_sound(&two.target.another(), "after all");
    let before = two.target.storage.files();
    for id in [first.id, second.id, third.id, small.id, zeros.id] {
        let error = two.copy(id).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }
    assert_eq!(two.copy(options("").id).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(before == two.target.storage.files(), "a copy that is not made writes nothing");
}

#[test]
fn a_name_that_is_taken_there_is_taken_again_only_if_that_is_asked_for() {
    let two = Two::new();
    let there = two.target.capture("web", &vec![1; 100]).snapshot;
    let here = two.source.capture("web", &vec![2; 100]).snapshot;
    icecore::snapshot::rename(&two.source.repo, here.id, &there.name, RenameOptions::default()).unwrap();
    assert_eq!(two.copy(here.id).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let how = CopyOptions { name_may_repeat: true, ..HOW };
    let source = Arc::new(two.source.another());
    let report = icecore::snapshot::copy(&source, here.id, &two.target.repo, &how, &NoProgress).unwrap();
    assert_eq!(report.snapshot.name, there.name);
    assert_eq!(image_of(&two.target.repo, here.id), [2; 100]);
}

/// Does something once, when the first data was read.
struct Meanwhile<F>(F, AtomicU32);

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn total(&self, _meter: Meter, _total: u64) {}

    fn advance(&self, meter: Meter, _amount: u64) {
        if meter == Meter::Scanned && self.1.fetch_add(1, Ordering::SeqCst) == 0 {
            (self.0)();
        }
    }
}

fn meanwhile(what: impl Fn() + Sync) -> impl Progress {
    Meanwhile(what, AtomicU32::new(0))
}

#[test]
fn others_delete_and_collect_in_both_repositories_while_a_snapshot_is_copied() {
    let two = Two::new();
    let mut image = Random::new(3).bytes(LEAF + 9 * SPAN);
    let mut waste = image.clone();
    waste.chunks_mut(4096).step_by(2).for_each(|block| Random::new(4).fill(block));
    let wasted = two.source.snapshot("web", &waste);
    let base = two.source.snapshot("web", &image);
    two.copy(wasted).unwrap();
    two.copy(base).unwrap();
    Random::new(5).fill(&mut image[LEAF..]);
    let id = two.source.snapshot("web", &image);
    let refused = std::sync::Mutex::new(Vec::new());
    let report = two
        .copy_with(
            id,
            &meanwhile(|| {
                let (here, there) = (two.source.another(), two.target.another());
                for (repo, id) in [(&here, id), (&there, base)] {
                    refused.lock().unwrap().push(
                        icecore::snapshot::delete(repo, id, DeleteOptions::default()).unwrap_err().kind(),
                    );
                }
                for repo in [&here, &there] {
                    icecore::snapshot::delete(repo, wasted, DeleteOptions::default()).unwrap();
                    collect(repo).unwrap();
                }
                icecore::snapshot::delete(&here, base, DeleteOptions::default()).unwrap();
                collect(&here).unwrap();
            }),
        )
        .unwrap();
    assert_eq!(refused.into_inner().unwrap(), [ErrorKind::InUse; 2], "both are needed");
    assert_eq!(report.parent, Some(base));
    icecore::snapshot::delete(&two.target.repo, base, DeleteOptions::default()).unwrap();
    collect(&two.target.another()).unwrap();
    assert_same(&image_of(&two.target.another(), id), &image, "the copy");
    assert_sound(&two.target.another(), "after all");
}

#[test]
fn of_two_copies_at_once_one_is_made() {
    let two = Two::new();
    let image = Random::new(6).bytes(LEAF);
    let id = two.source.snapshot("web", &image);
    let error = two.copy_with(id, &meanwhile(|| drop(two.copy(id).unwrap()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(icecore::snapshot::list(&two.target.repo).unwrap().len(), 1);
    assert_same(&image_of(&two.target.another(), id), &image, "the copy");
}

#[test]
fn a_copy_that_was_stopped_goes_on_with_what_it_has_stored() {
    let two = Two::new();
    let image = Random::new(7).bytes(6 * LEAF);
    let id = two.source.snapshot("web", &image);
    assert_eq!(two.copy_with(id, &Stopping::at(4)).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(icecore::snapshot::list(&two.target.repo).unwrap(), []);
    let report = two.copy(id).unwrap();
    assert_eq!(report.snapshot.stats.new_bytes, 3 * LEAF as u64, "the first three leaves were there");
    assert_same(&image_of(&two.target.another(), id), &image, "the copy");
}

#[test]
fn what_is_damaged_here_is_an_error_and_what_is_damaged_there_is_made_anew() {
    let two = Two::new();
    let mut image = Random::new(8).bytes(2 * LEAF);
    let base = two.source.snapshot("web", &image);
    two.copy(base).unwrap();
    let largest = |bench: &TestRepository, kind: u8| {
        let files = bench.storage.files().into_iter().filter(|(name, _)| name.starts_with("packs/"));
        files.filter(|(_, bytes)| bytes[10] == kind).max_by_key(|(_, bytes)| bytes.len()).unwrap()
    };
    // Manifest pages of the base there.
    let (name, mut bytes) = largest(&two.target, 2);
    let whole = bytes.clone();
    bytes[64..].fill(0xee);
    two.target.storage.put(&name, bytes);
    Random::new(9).fill(&mut image[..5000]);
    let id = two.source.snapshot("web", &image);
    let report = two.copy(id).unwrap();
    assert_eq!(report.read_bytes, image.len() as u64, "all was read");
    assert_same(&image_of(&two.target.another(), id), &image, "the copy");
    two.target.storage.put(&name, whole);
    icecore::snapshot::delete(&two.target.repo, id, DeleteOptions::default()).unwrap();

    let (name, mut bytes) = largest(&two.source, 1);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    two.source.storage.put(&name, bytes);
    icecore::snapshot::delete(&two.target.repo, base, DeleteOptions::default()).unwrap();
    let error = two.copy(base).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(&format!("snapshot {base}")), "{error}");
    assert!(error.to_string().contains("bytes "), "{error}");
    assert_eq!(icecore::snapshot::list(&two.target.repo).unwrap(), []);
    // What differs is sound.
    collect(&two.target.another()).unwrap();
}

#[test]
fn blocks_that_are_not_what_the_span_digests_say_are_not_copied() {
    for honest in [true, false] {
        let two = Two::new();
        let mut forge = Forge::new(&two.source.repo).unwrap();
        forge.chunk(&[1, 2, 3]).unwrap();
        forge.leaf(&[(3, Some((0, 0))), (1021, None)], honest).unwrap();
        forge.publish().unwrap();
        let id = forge.record(1, 5 * 4096 + 7, Some(0), true).unwrap();
        match two.copy(id) {
            Ok(_) => assert!(honest, "each block has its id, and the manifest says that they are others"),
            Err(error) => {
                assert_eq!((error.kind(), honest), (ErrorKind::Corrupt, false), "{error}");
                assert!(error.to_string().contains("bytes 0 to"), "{error}");
            }
        }
        assert_eq!(icecore::snapshot::list(&two.target.repo).unwrap().len(), usize::from(honest));
    }
}

#[test]
fn a_copy_that_fails_anywhere_is_made_or_not_and_the_next_one_completes() {
    let two = Two::new();
    let mut image = vec![0; LEAF + 5000];
    Random::new(10).fill(&mut image[..200_000]);
    Random::new(12).fill(&mut image[LEAF..]);
    let base = two.source.snapshot("web", &image);
    two.copy(base).unwrap();
    Random::new(11).fill(&mut image[30_000..150_000]);
    let id = two.source.snapshot("web", &image);
    let start = [two.source.storage.files(), two.target.storage.files()];
    let broken = || io::Error::from_raw_os_error(5);
    let full = || io::Error::from_raw_os_error(28);
    type Way = (usize, Calls, bool, fn() -> io::Error, ErrorKind);
    let ways: [Way; 6] = [
        (0, Calls::All, false, broken, ErrorKind::Io),
        (0, Calls::All, true, broken, ErrorKind::Io),
        (1, Calls::All, false, broken, ErrorKind::Io),
        (1, Calls::All, true, broken, ErrorKind::Io),
        (1, Calls::Changes, false, full, ErrorKind::NoSpace),
        (1, Calls::Changes, true, full, ErrorKind::NoSpace),
    ];
    for (side, calls, for_good, error, kind) in ways {
        let (mut failed, mut n) = (0, 0);
        loop {
            let storages = start.each_ref().map(|files| {
                let storage = MemoryStorage::new();
                files.iter().filter(|(name, _)| !name.starts_with("local/locks/")).for_each(
                    |(name, bytes)| {
                        storage.put(name, bytes.clone());
                    },
                );
                storage
            });
            let fault = Fault::new(calls, n..if for_good { u64::MAX } else { n + 1 }, error);
            let open_one = |number: usize| match number == side {
                true => {
                    let storage = FaultStorage::new(storages[number].clone(), fault.clone());
                    Repository::open(Arc::new(storage), session())
                }
                false => Ok(open(storages[number].clone())),
            };
            let done = open_one(0).and_then(|here| {
                icecore::snapshot::copy(&Arc::new(here), id, &open_one(1)?, &HOW, &NoProgress).map(drop)
            });
            let told = format!("side {side}, {fault:?}: {done:?}");
            if let Err(error) = &done {
                assert_eq!(error.kind(), kind, "{told}");
                failed += 1;
            }
            let [here, there] = storages.map(|storage| Arc::new(open(storage)));
            match icecore::snapshot::find(&there, &id.to_string()) {
                Ok(_) => {}
                Err(_) => {
                    assert!(done.is_err(), "{told}: it is not there");
                    icecore::snapshot::copy(&here, id, &there, &HOW, &NoProgress).unwrap_or_else(|error| {
                        panic!("{told}: once more: {error}");
                    });
                }
            }
            restores(&there, id, &image).unwrap_or_else(|error| panic!("{told}: {error}"));
            collect(&there).unwrap();
            assert_sound(&there, &told);
            if fault.first().is_none() {
                break;
            }
            n += 1;
        }
        assert!(failed > 5, "side {side}, {calls:?}: only {failed} calls could fail");
    }
}

const RESOURCES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
enum Step {
    Scribble {
        volume: usize,
        seed: u64,
    },
    Resize {
        volume: usize,
        bytes: usize,
    },
    Capture {
        volume: usize,
    },
    Copy {
        snapshot: usize,
    },
    /// From the source, or from the other one.
    Delete {
        snapshot: usize,
        there: bool,
    },
    Gc {
        there: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let volume = 0..RESOURCES.len();
    let bytes = prop_oneof![0..3 * LEAF, (0..3_usize).prop_map(|leaves| leaves * LEAF)];
    prop_oneof![
        6 => (volume.clone(), any::<u64>()).prop_map(|(volume, seed)| Step::Scribble { volume, seed }),
        1 => (volume.clone(), bytes).prop_map(|(volume, bytes)| Step::Resize { volume, bytes }),
        5 => volume.prop_map(|volume| Step::Capture { volume }),
        5 => any::<usize>().prop_map(|snapshot| Step::Copy { snapshot }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(snapshot, there)| Step::Delete { snapshot, there }),
        1 => any::<bool>().prop_map(|there| Step::Gc { there }),
    ]
}

/// What must be in each repository.
struct CopyHistory {
    two: Two,
    volumes: [Vec<u8>; RESOURCES.len()],
    here: Vec<(Snapshot, Vec<u8>)>,
    there: Vec<(Snapshot, Vec<u8>)>,
}

impl CopyHistory {
    fn new() -> Self {
        let volumes = [Random::new(20).disk(LEAF + 300_001), Random::new(21).disk(200_000)];
        Self { two: Two::new(), volumes, here: Vec::new(), there: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Scribble { volume, seed } => {
                let image = &mut self.volumes[volume];
                if !image.is_empty() {
                    Random::new(seed).scribble(image);
                }
            }
            Step::Resize { volume, bytes } => self.volumes[volume].resize(bytes, 0),
            Step::Capture { volume } => {
                let image = self.volumes[volume].clone();
                self.here.push((self.two.source.capture(RESOURCES[volume], &image).snapshot, image));
            }
            Step::Copy { snapshot } => {
                let Some(at) = snapshot.checked_rem(self.here.len()) else { return };
                let (snapshot, image) = self.here[at].clone();
                let copied = self.two.copy(snapshot.id);
                if self.there.iter().any(|(there, _)| there.id == snapshot.id) {
                    assert_eq!(copied.unwrap_err().kind(), ErrorKind::AlreadyExists);
                    return;
                }
                let copied = copied.unwrap().snapshot;
                assert_is_copy(&copied, &snapshot);
                assert_same(&image_of(&self.two.target.another(), copied.id), &image, "a copy");
                self.there.push((copied, image));
            }
            Step::Delete { snapshot, there } => {
                let (bench, all) = match there {
                    true => (&self.two.target, &mut self.there),
                    false => (&self.two.source, &mut self.here),
                };
                let Some(at) = snapshot.checked_rem(all.len()) else { return };
                icecore::snapshot::delete(&bench.another(), all.remove(at).0.id, DeleteOptions::default())
                    .unwrap();
            }
            Step::Gc { there } => {
                let bench = if there { &self.two.target } else { &self.two.source };
                collect(&bench.another()).unwrap();
            }
        }
    }

    fn check_all(&self) {
        for (bench, all) in [(&self.two.source, &self.here), (&self.two.target, &self.there)] {
            let repo = bench.another();
            for (snapshot, image) in all {
                assert_same(&image_of(&repo, snapshot.id), image, &snapshot.name);
            }
            for ((a, a_image), (b, b_image)) in all.iter().zip(all.iter().skip(1)) {
                assert_eq!(a.content == b.content, a_image == b_image, "{} and {}", a.name, b.name);
            }
            assert_sound(&repo, "at the end");
            icecore::maintenance::stats(&repo, &NoProgress).unwrap();
        }
    }
}

#[test]
fn random_histories_of_two_repositories_leave_the_same_images_in_both() {
    let mut config =
        ProptestConfig { source_file: Some(file!()), max_shrink_iters: 2000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 24;
    }
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..40))| {
        let mut copies = CopyHistory::new();
        steps.iter().for_each(|step| copies.take(step));
        copies.check_all();
    });
}
