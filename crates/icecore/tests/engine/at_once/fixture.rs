//! A repository, operations that are done on it at once, and what must hold when all have ended.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::OnceLock;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::KeptBase;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::random::Random;
use icecore_testing::repository::collect;
use icecore_testing::repository::init;
use icecore_testing::repository::init_options;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open_with_small_packs as open;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;
use icecore_testing::repository::with_small_packs;
use uuid::Uuid;

use crate::at_once::broken::Break;
use crate::at_once::broken::broken;
use crate::at_once::hooked::hooked;
use crate::at_once::schedule::Plan;
use crate::at_once::schedule::Point;
use crate::at_once::schedule::Schedule;
use crate::volumes::support::volume_options;

const CHUNK: usize = 64 << 10;

/// An operation. Numbers are those of snapshots or images in the [`Fixture`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doing {
    Capture(usize),
    Delete(usize),
    Restore(usize),
    Gc,
    Repair,
    Verify,
    /// A copy of a snapshot that another repository has.
    CopyIn,
    /// A copy to another repository.
    CopyOut(usize),
    /// The first of the snapshots is deleted and copied again from another repository.
    Recopy,
}

const COPY: CopyOptions = CopyOptions { level: None, check: true, name_may_repeat: true };

/// A repository to begin with: some of what is in it is used by no snapshot any more.
pub(crate) struct Fixture {
    files: BTreeMap<String, Vec<u8>>,
    snapshots: Vec<(SnapshotId, Vec<u8>)>,
    /// Images that can be captured: what was in a snapshot that is gone, that with changes, and
    /// what is there.
    images: Vec<Vec<u8>>,
    /// Another repository, with another key. It has the first of the snapshots, and a later one.
    elsewhere: BTreeMap<String, Vec<u8>>,
    later: (SnapshotId, Vec<u8>),
}

/// Returns another repository, which is empty.
fn another(storage: &MemoryStorage) -> Repository {
    let options = InitOptions {
        id: RepositoryId(Uuid::from_u128(8)),
        secrets: Secrets::Plain([4; 32]),
        ..init_options()
    };
    Repository::init(Arc::new(storage.clone()), session(), &options).unwrap()
}

fn storage_of(files: &BTreeMap<String, Vec<u8>>) -> MemoryStorage {
    let storage = MemoryStorage::new();
    files.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
    storage
}

/// Returns an image with its blocks in the opposite order.
fn reversed(image: &[u8]) -> Vec<u8> {
    image.rchunks(BLOCK_BYTES).flatten().copied().collect()
}

/// Captures an image, and while that is written its blocks in the opposite order: so that each of
/// them is stored in two chunks, and which of them another capture finds is open. Returns both
/// snapshots.
fn take_twice(storage: &MemoryStorage, image: &Vec<u8>) -> (SnapshotId, SnapshotId) {
    let take = |repo: Repository, volume: &str, image: &Vec<u8>| {
        icecore::snapshot::capture(&repo, image, &options(volume), &NoProgress).unwrap().snapshot.id
    };
    let twin = Arc::new(OnceLock::new());
    let twins_session = session();
    let hook = {
        let reversed = reversed(image);
        let (storage, twin) = (storage.clone(), Arc::clone(&twin));
        move |call: &'static str, _: &str| {
            // The places of all blocks are chosen by then.
            if call == "create" {
                twin.get_or_init(|| {
                    let mut id = None;
                    meanwhile(|| {
                        let repo = Repository::open(Arc::new(storage.clone()), twins_session.clone());
                        id = Some(take(with_small_packs(repo).unwrap(), "twin", &reversed));
                    });
                    id.unwrap()
                });
            }
        }
    };
    let id = take(open(hooked(storage.clone(), Arc::new(hook))).unwrap(), "a", image);
    (id, *twin.get().unwrap())
}

/// What came of an operation.
type Done = Result<Effect, String>;

enum Effect {
    Nothing,
    Captured(SnapshotId, Vec<u8>),
    Deleted(SnapshotId),
}

impl Fixture {
    pub(crate) fn new() -> Self {
        // Which of the places of a block is found first depends on the names of packs.
        let mut built = std::iter::repeat_with(Self::built).take(30);
        built.find(Self::copies_differ).expect("one in which a copy names other places")
    }

    /// Tells whether a snapshot that is deleted and copied again has another manifest.
    fn copies_differ(&self) -> bool {
        let repo = open(storage_of(&self.files)).unwrap();
        let id = self.snapshots[0].0;
        let root = || KeptBase::load(&repo, id).unwrap().root();
        let before = root();
        icecore::snapshot::delete(&repo, id, DeleteOptions::default()).unwrap();
        let there = Arc::new(open(storage_of(&self.elsewhere)).unwrap());
        icecore::snapshot::copy(&there, id, &repo, &COPY, &NoProgress).unwrap();
        root() != before
    }

    fn built() -> Self {
        let storage = MemoryStorage::new();
        drop(init(storage.clone()));
        let mut noise = Random::new(91);
        let gone = noise.bytes(4 * CHUNK);
        let mut first = gone.clone();
        noise.fill(&mut first[CHUNK..2 * CHUNK]);
        noise.fill(&mut first[2 * CHUNK + 8192..3 * CHUNK]);
        let second = [noise.bytes(CHUNK), gone[3 * CHUNK..].to_vec()].concat();
        let repo = open(storage.clone()).unwrap();
        let take = |volume: &str, image: &Vec<u8>| {
            icecore::snapshot::capture(&repo, image, &options(volume), &NoProgress).unwrap().snapshot.id
        };
        let deleted = take("a", &gone);
        let (id, twin) = take_twice(&storage, &first);
        let snapshots = vec![(id, first.clone()), (take("b", &second), second)];
        for id in [deleted, twin] {
            icecore::snapshot::delete(&repo, id, DeleteOptions::default()).unwrap();
        }
        let mut changed = gone.clone();
        noise.fill(&mut changed[..CHUNK]);
        let elsewhere = MemoryStorage::new();
        let there = another(&elsewhere);
        icecore::snapshot::copy(&Arc::new(repo), snapshots[0].0, &there, &COPY, &NoProgress).unwrap();
        // Of what it has more than the first, some is here, used or not, and some is new.
        let mut later = first.clone();
        later[..CHUNK].copy_from_slice(&changed[..CHUNK]);
        later[CHUNK..2 * CHUNK].copy_from_slice(&gone[CHUNK..2 * CHUNK]);
        let id = icecore::snapshot::capture(&there, &later, &options("a"), &NoProgress).unwrap().snapshot.id;
        Self {
            files: storage.files(),
            snapshots,
            images: vec![gone, changed, first],
            elsewhere: elsewhere.files(),
            later: (id, later),
        }
    }

    /// Returns a repository with a volume that was made of the first snapshot, which was deleted
    /// since and copied again, and has another manifest now; with that snapshot and its image.
    pub(crate) fn recopied(&self, volume: &str) -> (Arc<Repository>, SnapshotId, &[u8]) {
        let repo = open(storage_of(&self.files)).unwrap();
        let (id, image) = &self.snapshots[0];
        let root = || KeptBase::load(&repo, *id).unwrap().root();
        let before = root();
        icecore::volume::create_volume(&repo, &volume_options(volume, Some(*id), None)).unwrap();
        icecore::snapshot::delete(&repo, *id, DeleteOptions { clones_keep_it: true }).unwrap();
        let there = Arc::new(open(storage_of(&self.elsewhere)).unwrap());
        icecore::snapshot::copy(&there, *id, &repo, &COPY, &NoProgress).unwrap();
        assert_ne!(root(), before, "the copy names its blocks in the same chunks");
        (Arc::new(repo), *id, image)
    }

    /// Does all of this at once. Returns the calls of each, or what is wrong afterwards.
    pub(crate) fn play(
        &self,
        doings: &[Doing],
        plan: &Plan,
        with: Option<Break>,
    ) -> Result<Vec<Vec<Point>>, String> {
        let storage = storage_of(&self.files);
        let schedule = Schedule::new(doings.len(), plan.clone());
        let done: Vec<Done> = std::thread::scope(|threads| {
            let run = |(number, doing): (usize, &Doing)| {
                let (schedule, storage, doing) = (Arc::clone(&schedule), storage.clone(), *doing);
                threads.spawn(move || {
                    let _end = End(&schedule, number);
                    let hooked = hooked(broken(storage, with), schedule.operation(number));
                    // Threads of its own: those of one operation may all be waiting for its turn.
                    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
                    threads.install(|| self.run(hooked, doing))
                })
            };
            let running: Vec<_> = doings.iter().enumerate().map(run).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Done>| thread.join();
            running
                .into_iter()
                .map(|thread| join(thread).unwrap_or_else(|_| Err("it panicked".to_owned())))
                .collect()
        });
        let checked = self.check(&storage, done);
        checked.map_err(|why| format!("{why}\n{doings:?}, {plan:?}:{}", schedule.trace()))?;
        Ok(schedule.calls())
    }

    fn run(&self, storage: impl Storage + 'static, doing: Doing) -> Done {
        let told = |error: icecore::Error| format!("{doing:?}: {error}");
        let repo = open(storage).map_err(told)?;
        let in_use = |error: icecore::Error| match error.kind() {
            ErrorKind::InUse => Ok(Effect::Nothing),
            _ => Err(told(error)),
        };
        match doing {
            Doing::Capture(image) => {
                let image = &self.images[image];
                let taken =
                    icecore::snapshot::capture(&repo, image, &options("a"), &NoProgress).map_err(told)?;
                Ok(Effect::Captured(taken.snapshot.id, image.clone()))
            }
            Doing::Delete(snapshot) => {
                let deleted =
                    icecore::snapshot::delete(&repo, self.snapshots[snapshot].0, DeleteOptions::default());
                match deleted {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(Effect::Nothing),
                    deleted => deleted.map(|snapshot| Effect::Deleted(snapshot.id)).or_else(in_use),
                }
            }
            Doing::Restore(snapshot) => {
                let (id, image) = &self.snapshots[snapshot];
                match icecore::snapshot::find(&repo, &id.to_string()) {
                    Err(_) => Ok(Effect::Nothing),
                    Ok(_) => match restores(&repo, *id, image) {
                        // It was deleted before it was pinned.
                        Err(why) if why.ends_with(&format!("there is no snapshot {id}")) => {
                            Ok(Effect::Nothing)
                        }
                        restored => restored.map(|()| Effect::Nothing),
                    },
                }
            }
            Doing::Gc => collect(&repo).map(|_| Effect::Nothing).or_else(in_use),
            Doing::Repair => icecore::maintenance::repair_index(&repo, &NoProgress)
                .map(|_| Effect::Nothing)
                .or_else(in_use),
            Doing::Verify => sound(&repo).map(|()| Effect::Nothing),
            Doing::CopyIn => {
                let (id, image) = &self.later;
                let there = Arc::new(open(storage_of(&self.elsewhere)).map_err(told)?);
                match icecore::snapshot::copy(&there, *id, &repo, &COPY, &NoProgress) {
                    Ok(copy) => Ok(Effect::Captured(copy.snapshot.id, image.clone())),
                    // Another one was faster.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Effect::Nothing),
                    Err(error) => Err(told(error)),
                }
            }
            Doing::Recopy => {
                let (id, image) = &self.snapshots[0];
                match icecore::snapshot::delete(&repo, *id, DeleteOptions::default()) {
                    Err(error) if error.kind() == ErrorKind::InUse => return Ok(Effect::Nothing),
                    deleted => drop(deleted.map_err(told)?),
                }
                let there = Arc::new(open(storage_of(&self.elsewhere)).map_err(told)?);
                icecore::snapshot::copy(&there, *id, &repo, &COPY, &NoProgress).map_err(told)?;
                Ok(Effect::Captured(*id, image.clone()))
            }
            Doing::CopyOut(snapshot) => {
                let (id, image) = &self.snapshots[snapshot];
                let there = another(&MemoryStorage::new());
                match icecore::snapshot::copy(&Arc::new(repo), *id, &there, &COPY, &NoProgress) {
                    Ok(_) => restores(&there, *id, image).map(|()| Effect::Nothing),
                    // It was deleted before it was pinned.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(Effect::Nothing),
                    Err(error) => Err(told(error)),
                }
            }
        }
    }

    /// Checks that what was said to be there is there, that it stays so with a gc, and that nothing
    /// else is left then.
    fn check(&self, storage: &MemoryStorage, done: Vec<Done>) -> Result<(), String> {
        let mut wanted: BTreeMap<SnapshotId, Vec<u8>> = self.snapshots.iter().cloned().collect();
        for effect in done {
            match effect? {
                Effect::Nothing => {}
                Effect::Captured(id, image) => drop(wanted.insert(id, image)),
                Effect::Deleted(id) => drop(wanted.remove(&id)),
            }
        }
        let told = |error: icecore::Error| error.to_string();
        let all = |when: &str| {
            let repo = open(storage.clone()).map_err(told)?;
            sound(&repo).map_err(|why| format!("{when}: {why}"))?;
            let there = icecore::snapshot::list(&repo).map_err(told)?;
            let ids: BTreeSet<SnapshotId> = there.iter().map(|snapshot| snapshot.id).collect();
            if !ids.iter().eq(wanted.keys()) {
                return Err(format!("{when}: {ids:?} are there"));
            }
            wanted.iter().try_for_each(|(id, image)| {
                restores(&repo, *id, image).map_err(|why| format!("{when}: {why}"))
            })
        };
        all("afterwards")?;
        let repo = open(storage.clone()).map_err(told)?;
        collect(&repo).map_err(told)?;
        all("after gc")?;
        let unused = icecore::maintenance::stats(&repo, &NoProgress).map_err(told)?.repository.unused_bytes;
        if unused > 0 {
            return Err(format!("{unused} bytes stay unused"));
        }
        let files = storage.files();
        let left = files.keys().find(|name| {
            ["local/tmp/", "local/locks/writer-", "local/locks/pin-"].iter().any(|dir| name.starts_with(dir))
        });
        left.map_or(Ok(()), |name| Err(format!("{name} is left")))
    }
}

/// Gives the turn away, however an operation ends.
struct End<'a>(&'a Schedule, usize);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

fn sound(repo: &Repository) -> Result<(), String> {
    let report = icecore::maintenance::verify(repo, None, Depth::ReadData, &NoProgress)
        .map_err(|error| format!("verify: {error}"))?;
    if report.findings.is_empty() { Ok(()) } else { Err(format!("verify: {:?}", report.findings)) }
}
