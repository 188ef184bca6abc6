//! Operations on a storage that notes every change, and what must hold wherever a power cut comes.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::Parent;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore_testing::crash::CrashLog;
use icecore_testing::crash::CrashStorage;
use icecore_testing::crash_states::Bounds;
use icecore_testing::crash_states::CrashState;
use icecore_testing::repository::collect;
use icecore_testing::repository::init_options;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open_with_small_packs as open;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;
use icecore_testing::repository::with_small_packs;

use crate::at_once::hooked::hooked;
use crate::crash::mutate::Mutation;

const RESERVE_BYTES: usize = 256 << 10;

/// What must hold beyond what holds for all scenes: gets the number of operations that had
/// returned, and the files.
pub(crate) type Demand = Box<dyn Fn(usize, &BTreeMap<String, Arc<Vec<u8>>>) -> Result<(), String>>;

/// Looks at more of a repository than all scenes do: gets the number of operations that had
/// returned, and whether a capture and a gc came since the cut.
pub(crate) type Look = Box<dyn Fn(usize, &CrashStorage, bool) -> Result<(), String>>;

/// What is done before a state is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    /// There need not be a repository yet: then one is made.
    Init,
    /// Something is damaged, and a repair that had not returned is done again.
    Repair,
}

/// Operations that were done once, with everything that is known of them.
pub(crate) struct Fixture {
    storage: CrashStorage,
    /// The snapshots before the first operation, after it, after the second...
    snapshots: Vec<Vec<Snapshot>>,
    /// The image of each snapshot that was ever there.
    images: BTreeMap<SnapshotId, Vec<u8>>,
    /// Snapshots that the damage does not touch.
    pub(crate) untouched: Vec<SnapshotId>,
    /// An image that is captured after the cut.
    pub(crate) next: Vec<u8>,
    pub(crate) before: Before,
    pub(crate) demand: Demand,
    pub(crate) look_closer: Look,
    /// What was found, by state and number of operations that had returned.
    verdicts: HashMap<([u8; 32], usize), Result<(), String>>,
}

pub(crate) fn init(storage: &CrashStorage) -> icecore::Result<Repository> {
    with_small_packs(Repository::init(Arc::new(storage.clone()), session(), &init_options()))
}

impl Fixture {
    /// Begins with an empty repository.
    pub(crate) fn new() -> Self {
        let mut fixture = Self::nothing();
        init(&fixture.storage).unwrap();
        fixture.before = Before::Nothing;
        fixture.settle();
        fixture
    }

    /// Begins with an empty directory.
    pub(crate) fn nothing() -> Self {
        Self {
            storage: CrashStorage::new(),
            snapshots: vec![Vec::new()],
            images: BTreeMap::new(),
            untouched: Vec::new(),
            next: vec![1; 5000],
            before: Before::Init,
            demand: Box::new(|_, _| Ok(())),
            look_closer: Box::new(|_, _, _| Ok(())),
            verdicts: HashMap::new(),
        }
    }

    pub(crate) fn storage(&self) -> &CrashStorage {
        &self.storage
    }

    pub(crate) fn open(&self) -> Repository {
        open(self.storage.clone()).unwrap()
    }

    /// Makes durable what was done so far: only what comes now can be lost.
    pub(crate) fn settle(&mut self) {
        self.storage.settle();
        self.snapshots.drain(..self.snapshots.len() - 1);
    }

    /// Does something that is not done before it returns, and is done then.
    pub(crate) fn step(&mut self, what: impl FnOnce(&CrashStorage)) {
        what(&self.storage);
        self.storage.mark();
        self.snapshots.push(icecore::snapshot::list(&self.open()).unwrap());
    }

    /// Captures an image as a step.
    pub(crate) fn capture(&mut self, volume: &str, image: &[u8]) -> SnapshotId {
        let how = options(volume);
        let id = how.id;
        self.images.insert(id, image.to_vec());
        self.step(|storage| {
            icecore::snapshot::capture(&open(storage.clone()).unwrap(), &image.to_vec(), &how, &NoProgress)
                .unwrap();
        });
        id
    }

    /// Captures an image twice at once: the second capture begins when the first has given so many
    /// runs their names and has not made the last one durable, and returns before that goes on.
    pub(crate) fn captures_at_once(&mut self, image: &[u8], runs: usize) {
        let (first, second) = (options("first"), options("second"));
        [&first, &second].iter().for_each(|how| self.know(how.id, image));
        let second_id = second.id;
        let take = |repo: Repository, how: &CaptureOptions, image: &[u8]| {
            icecore::snapshot::capture(&repo, &image.to_vec(), how, &NoProgress).unwrap();
        };
        let hook = {
            let (storage, image, syncs) = (self.storage.clone(), image.to_vec(), AtomicUsize::new(0));
            move |call: &'static str, name: &str| {
                if (call, name) == ("sync_dir", "index") && syncs.fetch_add(1, Ordering::SeqCst) + 1 == runs {
                    meanwhile(|| take(open(storage.clone()).unwrap(), &second, &image));
                    storage.mark();
                }
            }
        };
        take(open(hooked(self.storage.clone(), Arc::new(hook))).unwrap(), &first, image);
        self.storage.mark();
        let both = icecore::snapshot::list(&self.open()).unwrap();
        self.snapshots.push(both.iter().filter(|snapshot| snapshot.id == second_id).cloned().collect());
        self.snapshots.push(both);
    }

    /// Says what a snapshot holds that a step has taken, or may have.
    pub(crate) fn know(&mut self, id: SnapshotId, image: &[u8]) {
        self.images.insert(id, image.to_vec());
    }

    /// Fails if any state that a cut may leave is bad. Returns how many there are.
    pub(crate) fn check(&mut self, bounds: &Bounds) -> usize {
        let log = self.storage.log();
        let states = log.states(bounds);
        for state in &states {
            if let Err(why) = self.look(state) {
                panic!("{}", tell(&log, state, &why));
            }
        }
        states.len()
    }

    /// Does the same for cuts in the capture and the gc that come after a cut: of some of the
    /// states, evenly spread.
    pub(crate) fn check_second_cuts(&self, bounds: &Bounds, some: usize) -> usize {
        let states = self.storage.log().states(bounds);
        let mut second = 0;
        for state in states.iter().step_by(states.len().div_ceil(some)) {
            let storage = state.storage();
            let Ok(repo) = open(storage.clone()) else { continue };
            let mut fixture = Self { storage, images: self.images.clone(), ..Self::nothing() };
            fixture.snapshots = vec![icecore::snapshot::list(&repo).unwrap()];
            fixture.before = Before::Nothing;
            fixture.next.clone_from(&self.next);
            fixture.capture("afterwards", &self.next);
            fixture.step(|storage| {
                collect(&open(storage.clone()).unwrap()).unwrap();
            });
            second += fixture.check(bounds);
        }
        second
    }

    /// Fails unless each change that a mutation makes in the order or the syncs is found out, or is
    /// harmless as it says.
    pub(crate) fn check_mutations(&mut self, bounds: &Bounds, mutations: &[Mutation]) {
        let mut wrong = Vec::new();
        for mutation in mutations {
            let mut log = self.storage.log();
            let before = log.changes.clone();
            (mutation.edit)(&mut log.changes);
            assert!(log.changes != before, "{}: nothing was changed", mutation.what);
            match (self.hunt(&log, bounds), mutation.harmless) {
                (Some(_), None) | (None, Some(_)) => {}
                (None, None) => wrong.push(format!("{}: not found", mutation.what)),
                (Some(bad), Some(_)) => wrong.push(format!("{} is not harmless: {bad}", mutation.what)),
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    /// Returns a state of a log that is bad, if there is one.
    fn hunt(&mut self, log: &CrashLog, bounds: &Bounds) -> Option<String> {
        let states = log.states(bounds);
        // Most of what goes wrong has gone wrong at the end.
        states.iter().rev().find_map(|state| self.look(state).err().map(|why| tell(log, state, &why)))
    }

    fn look(&mut self, state: &CrashState) -> Result<(), String> {
        let key = (state.key, state.marks);
        if let Some(verdict) = self.verdicts.get(&key) {
            return verdict.clone();
        }
        let verdict = self.look_at(state);
        self.verdicts.insert(key, verdict.clone());
        verdict
    }

    fn look_at(&self, state: &CrashState) -> Result<(), String> {
        let storage = state.storage();
        (self.demand)(state.marks, &storage.files())?;
        let told = |what: &'static str| move |error: icecore::Error| format!("{what}: {error}");
        match open(storage.clone()) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.before == Before::Init => {
                if state.marks > 0 {
                    return Err("there is no repository".to_owned());
                }
                init(&storage).map_err(told("init"))?;
            }
            Err(error) => return Err(told("open")(error)),
            Ok(repo) if self.before == Before::Repair && state.marks == 0 => {
                self.untouched.iter().try_for_each(|id| restores(&repo, *id, &self.images[id]))?;
                icecore::maintenance::repair_index(&repo, &NoProgress).map_err(told("repair"))?;
            }
            Ok(_) => {}
        }
        let repo = open(storage.clone()).map_err(told("open"))?;
        let snapshots = self.check_all(&repo, "after the cut")?;
        let expected = self.snapshots.iter().skip(state.marks).take(2);
        if !expected.clone().any(|expected| *expected == snapshots) {
            return Err(format!(
                "the snapshots are {snapshots:?} and not one of {:?}",
                expected.collect::<Vec<_>>()
            ));
        }
        (self.look_closer)(state.marks, &storage, false)?;
        let how = CaptureOptions { parent: Parent::None, ..options("afterwards") };
        icecore::snapshot::capture(&repo, &self.next, &how, &NoProgress).map_err(told("capture"))?;
        let after = "after a capture";
        restores(&repo, how.id, &self.next).map_err(|why| format!("{after}: {why}"))?;
        collect(&open(storage.clone()).map_err(told(after))?).map_err(told("gc"))?;
        let repo = open(storage.clone()).map_err(told("after gc"))?;
        self.check_all(&repo, "after gc")?;
        restores(&repo, how.id, &self.next).map_err(|why| format!("after gc: {why}"))?;
        tidy(&repo, &storage)?;
        (self.look_closer)(state.marks, &storage, true)
    }

    /// Checks that everything in a repository is as it was captured.
    fn check_all(&self, repo: &Repository, when: &str) -> Result<Vec<Snapshot>, String> {
        let told = |error: icecore::Error| format!("{when}: {error}");
        let listing = icecore::snapshot::list(repo).map_err(told)?;
        let report = icecore::maintenance::verify(repo, None, Depth::ReadData, &NoProgress).map_err(told)?;
        if !report.findings.is_empty() {
            return Err(format!("{when}, verify: {:?}", report.findings));
        }
        for snapshot in &listing {
            if let Some(image) = self.images.get(&snapshot.id) {
                restores(repo, snapshot.id, image).map_err(|why| format!("{when}: {why}"))?;
            }
        }
        Ok(listing)
    }
}

/// Checks that nothing is left over after a gc, and that there is something in reserve.
fn tidy(repo: &Repository, storage: &CrashStorage) -> Result<(), String> {
    let stats = icecore::maintenance::stats(repo, &NoProgress).map_err(|error| error.to_string())?;
    if stats.repository.unused_bytes != 0 {
        return Err(format!("{} bytes stay unused after gc", stats.repository.unused_bytes));
    }
    let files = storage.files();
    if files.get("local/reserve").map(|bytes| bytes.len()) != Some(RESERVE_BYTES) {
        return Err("there is no whole reserve after gc".to_owned());
    }
    let volume_of = |name: &str| {
        name.strip_prefix("local/volumes/")?.split_once('/').map(|(volume, _)| volume.to_owned())
    };
    let is_nobodys = |name: &&String| {
        volume_of(name).is_some_and(|volume| !files.contains_key(&format!("local/volumes/{volume}/record")))
    };
    if let Some(name) = files.keys().find(is_nobodys) {
        return Err(format!("{name} is left after gc, of no volume"));
    }
    let left = files.keys().find(|name| {
        ["local/tmp/", "local/locks/writer-", "local/locks/pin-"].iter().any(|dir| name.starts_with(dir))
    });
    left.map_or(Ok(()), |name| Err(format!("{name} is left after gc")))
}

/// Says where a cut comes and what it takes, with the changes before it.
fn tell(log: &CrashLog, state: &CrashState, why: &str) -> String {
    let from = state.changes.saturating_sub(12);
    let changes = log.changes[from..state.changes].iter().map(|change| match change {
        icecore_testing::crash::Logged::Append(file, bytes) => {
            format!("Append({file}, {} bytes)", bytes.len())
        }
        icecore_testing::crash::Logged::Write(file, at, bytes) => {
            format!("Write({file}, at {at}, {} bytes)", bytes.len())
        }
        change => format!("{change:?}"),
    });
    let changes = changes.collect::<Vec<_>>().join("\n  ");
    let lost = state.lost.join("\n  ");
    format!(
        "{why}\nafter {} changes, {} operations; the last changes:\n  {changes}\nlost:\n  {lost}",
        state.changes, state.marks
    )
}
