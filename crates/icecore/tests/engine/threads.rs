//! Many threads on one repository at once, with one handle for all or with one for each: what was
//! reported is true.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::Once;
use std::sync::PoisonError;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::gc;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::Call;
use icecore::storage::MemoryStorage;
use icecore::storage::Op;
use icecore::storage::Watch;
use icecore::storage::Watched;
use icecore_testing::bytes::assert_same;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::image_of;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open;
use icecore_testing::repository::options;

const WORKERS: u64 = 4;
/// Steps of each thread, unless `ICECORE_STRESS_COMMANDS` says otherwise.
const STEPS: u64 = 20;
/// From so many snapshots on, they are deleted and none is made.
const SNAPSHOTS_MAX: usize = 5;
const VOLUMES: [&str; 2] = ["a", "b"];
/// States of each volume: more than there are snapshots, so that what they need comes and goes.
const VERSIONS: usize = 12;

/// Returns the image of a volume in one of its states: each has some of the one before.
fn image(volume: usize, version: usize) -> Vec<u8> {
    let mut image = vec![0; (4 << 20) + 100_000 + volume];
    Random::new(90).fill(&mut image[..200_000]);
    for change in version..version + 3 {
        let seed = 91 + u64::try_from(volume * 100 + change).unwrap();
        Random::new(seed).fill(&mut image[190_000 + change * 60_000..][..50_000]);
    }
    image
}

struct Known {
    image: Vec<u8>,
    /// Somebody is deleting it: from then on it may be gone.
    leaving: bool,
}

type Model = Mutex<BTreeMap<SnapshotId, Known>>;

fn lock(model: &Model) -> MutexGuard<'_, BTreeMap<SnapshotId, Known>> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker<'a> {
    repo: &'a Repository,
    model: &'a Model,
    noise: Random,
}

impl Worker<'_> {
    fn pick(&mut self, leaving: bool) -> Option<SnapshotId> {
        let mut model = lock(self.model);
        let staying: Vec<SnapshotId> =
            model.iter().filter(|(_, known)| !known.leaving).map(|(id, _)| *id).collect();
        let id = *staying.get(self.noise.below(staying.len()))?;
        model.get_mut(&id)?.leaving = leaving;
        Some(id)
    }

    fn is_leaving(&self, id: SnapshotId) -> bool {
        lock(self.model).get(&id).is_none_or(|known| known.leaving)
    }

    fn step(&mut self) {
        let crowded = lock(self.model).len() > SNAPSHOTS_MAX;
        match self.noise.below(16) {
            0..=5 if crowded => self.delete(),
            0..=5 => self.create(),
            6..=8 => self.restore(),
            9 => self.delete(),
            10..=12 => self.collect(),
            13 => self.diff(),
            14 => assert_or(icecore::maintenance::repair_index(self.repo, &NoProgress), |error| {
                error.kind() == ErrorKind::InUse
            }),
            _ => assert_sound(self.repo, "beside others"),
        }
    }

    fn create(&mut self) {
        let (volume, version) = (self.noise.below(VOLUMES.len()), self.noise.below(VERSIONS));
        let image = image(volume, version);
        let taken =
            icecore::snapshot::capture(self.repo, &image, &options(VOLUMES[volume]), &NoProgress).unwrap();
        lock(self.model).insert(taken.snapshot.id, Known { image, leaving: false });
    }

    fn restore(&mut self) {
        let Some(id) = self.pick(false) else { return };
        let mut found = Vec::new();
        match icecore::snapshot::restore(
            self.repo,
            id,
            RestoreTo::Stream(&mut found),
            OnDamage::Stop,
            &NoProgress,
        ) {
            Ok(_) => {
                let image = lock(self.model).get(&id).map(|known| known.image.clone());
                image.iter().for_each(|image| assert_same(&found, image, "beside others"));
            }
            Err(error) => assert!(error.kind() == ErrorKind::NotFound && self.is_leaving(id), "{error}"),
        }
    }

    fn delete(&mut self) {
        let Some(id) = self.pick(true) else { return };
        match icecore::snapshot::delete(self.repo, id, DeleteOptions::default()) {
            Ok(_) => {
                lock(self.model).remove(&id);
                let found = icecore::snapshot::find(self.repo, &id.to_string()).map_err(|error| error.kind());
                assert_eq!(found.err(), Some(ErrorKind::NotFound), "it was reported as deleted");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
                lock(self.model).get_mut(&id).unwrap().leaving = false;
            }
        }
    }

    fn collect(&mut self) {
        let max_unused = [0.0, 0.05, 0.5][self.noise.below(3)];
        assert_or(collect(self.repo, max_unused), |error| error.kind() == ErrorKind::InUse);
    }

    fn diff(&mut self) {
        let (Some(from), Some(to)) = (self.pick(false), self.pick(false)) else { return };
        let told = icecore::snapshot::diff(self.repo, from, to, &mut |_| Ok(()));
        assert_or(told, |error| {
            error.kind() == ErrorKind::NotFound && (self.is_leaving(from) || self.is_leaving(to))
        });
    }
}

fn collect(repo: &Repository, max_unused: f64) -> icecore::Result<()> {
    let plan = gc::plan(repo, &gc::GcOptions::new(max_unused), &NoProgress)?;
    gc::apply(repo, plan, &NoProgress).map(drop)
}

/// Fails unless something went well or ended with an error that may be.
fn assert_or<T>(done: icecore::Result<T>, may_be: impl Fn(&Error) -> bool) {
    if let Err(error) = done {
        assert!(may_be(&error), "{:?}: {error}", error.kind());
    }
}

fn pack_bytes(storage: &MemoryStorage) -> usize {
    storage.files().iter().filter(|(name, _)| name.starts_with("packs/")).map(|(_, bytes)| bytes.len()).sum()
}

/// Looks at all that must hold when nobody works on the repository any more.
fn settle(storage: &MemoryStorage, model: &BTreeMap<SnapshotId, Known>) {
    for round in ["before gc", "after gc"] {
        let repo = open(storage.clone());
        let listed: Vec<SnapshotId> =
            icecore::snapshot::list(&repo).unwrap().iter().map(|snapshot| snapshot.id).collect();
        assert_eq!(listed.len(), model.len(), "{round}");
        model.iter().for_each(|(id, known)| assert_same(&image_of(&repo, *id), &known.image, round));
        assert_sound(&repo, round);
        collect(&repo, 0.0).unwrap();
        let files = storage.files();
        let left: Vec<&String> = files.keys().filter(|name| name.starts_with("local/tmp/")).collect();
        assert_eq!(left, Vec::<&String>::new(), "{round}");
        let locks: Vec<&str> = files.keys().filter_map(|name| name.strip_prefix("local/locks/")).collect();
        assert_eq!(locks, ["gc", "index", "join", "journal", "merge", "notes", "parity"], "{round}");
        assert_eq!(
            icecore::maintenance::stats(&repo, &NoProgress).unwrap().repository.unused_bytes,
            0,
            "{round}"
        );
    }
}

fn work_at_once(handle_for_each: bool) {
    let steps = std::env::var("ICECORE_STRESS_COMMANDS").ok().and_then(|number| number.parse().ok());
    let steps = steps.unwrap_or(STEPS);
    let bench = TestRepository::new();
    let model = Model::default();
    std::thread::scope(|scope| {
        for number in 0..WORKERS {
            let (bench, model) = (&bench, &model);
            scope.spawn(move || {
                let own = handle_for_each.then(|| bench.another());
                let repo = own.as_ref().unwrap_or(&bench.repo);
                let mut worker = Worker { repo, model, noise: Random::new(7000 + number) };
                (0..steps).for_each(|_| worker.step());
            });
        }
    });
    let model = model.into_inner().unwrap();
    settle(&bench.storage, &model);
    let fresh = TestRepository::new();
    for known in model.values() {
        fresh.snapshot("fresh", &known.image);
    }
    let (found, alone) = (pack_bytes(&bench.storage), pack_bytes(&fresh.storage));
    assert!(found <= alone + alone / 4 + 100_000, "{found} bytes of packs, and {alone} alone");
    for id in model.keys() {
        icecore::snapshot::delete(&bench.repo, *id, DeleteOptions::default()).unwrap();
    }
    settle(&bench.storage, &BTreeMap::new());
    assert_eq!(pack_bytes(&bench.storage), 0);
}

#[test]
fn threads_with_one_handle_lose_nothing() {
    work_at_once(false);
}

#[test]
fn threads_with_a_handle_each_lose_nothing() {
    work_at_once(true);
}

/// Captures two images at once: the second one while the first is read. Returns the snapshots.
fn at_once(bench: &TestRepository, first: &[u8], second: &[u8]) -> [SnapshotId; 2] {
    let other = bench.another();
    let (taken, begun) = (Mutex::new(None), Once::new());
    let image = TestImage::full(first).on_read(|_| {
        begun.call_once(|| {
            meanwhile(|| {
                let report =
                    icecore::snapshot::capture(&other, &second.to_vec(), &options("b"), &NoProgress).unwrap();
                *taken.lock().unwrap() = Some(report.snapshot.id);
            });
        });
        Ok(())
    });
    let first = bench.snapshot("a", &image);
    let second = taken.lock().unwrap().unwrap();
    [first, second]
}

fn stored_alone(image: &[u8]) -> usize {
    let bench = TestRepository::new();
    bench.snapshot("a", &image.to_vec());
    pack_bytes(&bench.storage)
}

#[test]
fn of_two_captures_at_once_of_the_same_image_gc_keeps_one_copy() {
    let bench = TestRepository::new();
    let image = Random::new(95).bytes(700_000);
    let both = at_once(&bench, &image, &image);
    let alone = stored_alone(&image);
    for copies in [2, 1] {
        // Two records have copies that differ, and gc keeps both.
        let bytes = pack_bytes(&bench.storage);
        assert!((copies * alone - 100..copies * alone + 1000).contains(&bytes), "{bytes}, alone {alone}");
        let repo = bench.another();
        both.iter().for_each(|id| assert_same(&image_of(&repo, *id), &image, "one of two"));
        assert_sound(&repo, "two captures at once");
        collect(&repo, 0.0).unwrap();
    }
}

/// Neither of two captures sees what the other has not published. Where the same blocks are in
/// other chunks, both stay until one of the snapshots is deleted, as `docs/concurrency.md` says.
#[test]
fn two_captures_at_once_that_cut_the_same_blocks_otherwise_store_them_twice() {
    let bench = TestRepository::new();
    let first = Random::new(95).bytes(700_000);
    let second = [Random::new(96).bytes(5 * 4096), first.clone()].concat();
    let both = at_once(&bench, &first, &second);
    for _ in 0..2 {
        let bytes = pack_bytes(&bench.storage);
        assert!(bytes > 2 * 700_000, "{bytes} bytes: then the page that says otherwise is wrong");
        let repo = bench.another();
        assert_same(&image_of(&repo, both[0]), &first, "the first");
        assert_same(&image_of(&repo, both[1]), &second, "the second");
        assert_sound(&repo, "two captures at once");
        collect(&repo, 0.0).unwrap();
    }
    icecore::snapshot::delete(&bench.another(), both[1], DeleteOptions::default()).unwrap();
    collect(&bench.another(), 0.0).unwrap();
    assert_eq!(pack_bytes(&bench.storage), stored_alone(&first));
    assert_same(&image_of(&bench.another(), both[0]), &first, "the one that stays");
}

/// As soon as an index run had its name, another thread or process could merge it with others and
/// remove it. The capture that had published it opened it only after that, and failed.
#[test]
fn an_index_run_that_is_merged_at_once_does_not_stop_its_capture() {
    let bench = TestRepository::new();
    let other = bench.another();
    let merging = Once::new();
    let files = bench.storage.clone();
    let storage = Watched::new(
        bench.storage.clone(),
        AfterNaming(move |name: &str| {
            let runs = || files.files().into_keys().filter(|name| name.starts_with("index/")).count();
            if name.starts_with("index/") && runs() >= 3 {
                merging.call_once(|| {
                    meanwhile(|| {
                        let image = Random::new(98).bytes(50_000);
                        icecore::snapshot::capture(&other, &image, &options("other"), &NoProgress).unwrap();
                    });
                    assert!(!files.files().contains_key(name), "it was not merged");
                });
            }
        }),
    );
    let repo = open(storage.clone());
    let mut taken = Vec::new();
    for seed in 0..6 {
        let image = Random::new(100 + seed).bytes(50_000);
        let report = icecore::snapshot::capture(&repo, &image, &options("a"), &NoProgress).unwrap();
        taken.push((report.snapshot.id, image));
    }
    assert!(
        icecore::snapshot::list(&repo).unwrap().len() > taken.len(),
        "nothing was merged beside a capture"
    );
    for (id, image) in &taken {
        assert_same(&image_of(&repo, *id), image, "beside a merge");
        assert_same(&image_of(&bench.another(), *id), image, "after a merge");
    }
}

/// Calls a hook after each object got its name.
struct AfterNaming<F>(F);

impl<F: Fn(&str) + Send + Sync> Watch for AfterNaming<F> {
    fn after(&self, call: &Call<'_>, error: Option<&io::Error>) {
        if call.op == Op::RenameNew && error.is_none() {
            (self.0)(call.name);
        }
    }
}
