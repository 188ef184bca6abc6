//! Repositories for tests to start from, and helpers to inspect them.

use std::cell::Cell;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

use icecore::Meter;
use icecore::NoProgress;
use icecore::Progress;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::maintenance::Depth;
use icecore::maintenance::gc;
use icecore::repository::InitOptions;
use icecore::repository::KeySlot;
use icecore::repository::MASTER_KEY_BYTES;
use icecore::repository::MasterKey;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::repository::Session;
use icecore::repository::SlotId;
use icecore::repository::Unlock;
use icecore::scale::close_packs_at;
use icecore::scale::keep_pages_apart;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CaptureReport;
use icecore::snapshot::OnDamage;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use uuid::Uuid;

/// Returns a number that no other call returns: for snapshot ids and times.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An in-memory repository.
pub struct TestRepository {
    pub storage: MemoryStorage,
    pub repo: Repository,
}

impl TestRepository {
    pub fn new() -> Self {
        let storage = MemoryStorage::new();
        let repo = init(storage.clone());
        Self { storage, repo }
    }

    /// A repository in which chunks and pages are in packs of their own, however few.
    pub fn apart() -> Self {
        let storage = MemoryStorage::new();
        let repo = init_apart(storage.clone());
        Self { storage, repo }
    }

    /// Opens the repository once more, as another process would.
    pub fn another(&self) -> Repository {
        open(self.storage.clone())
    }

    /// Captures an image of a volume.
    pub fn capture(&self, volume: &str, image: &dyn ReadAt) -> CaptureReport {
        icecore::snapshot::capture(&self.repo, image, &options(volume), &NoProgress).unwrap()
    }

    pub fn snapshot(&self, volume: &str, image: &dyn ReadAt) -> SnapshotId {
        self.capture(volume, image).snapshot.id
    }

    /// Counts files below a directory.
    pub fn count(&self, dir: &str) -> usize {
        self.storage.files().keys().filter(|name| name.starts_with(dir)).count()
    }
}

pub fn init(storage: impl Storage + 'static) -> Repository {
    Repository::init(Arc::new(storage), session(), &init_options()).unwrap()
}

/// The master key of sealed repositories.
const MASTER: [u8; MASTER_KEY_BYTES] = [9; MASTER_KEY_BYTES];

thread_local! {
    static ARE_SEALED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test on sealed repositories: those that this thread makes with [`init_options`].
pub fn on_sealed_repositories(test: impl FnOnce()) {
    ARE_SEALED.set(true);
    test();
    ARE_SEALED.set(false);
}

/// Tells whether repositories are sealed in this test, or in this run of the tests.
fn are_sealed() -> bool {
    ARE_SEALED.get() || std::env::var_os("ICECORE_TEST_SEALED").is_some()
}

/// Returns the secrets of a sealed repository.
pub fn sealed() -> Secrets {
    let slot = KeySlot { id: SlotId(Uuid::from_u128(70)), bytes: b"what opens to the master key".to_vec() };
    Secrets::Sealed(Arc::new(MasterKey::new(&MASTER)), slot)
}

/// Returns what opens the repositories that have the secrets of [`sealed`].
pub fn unlock() -> Unlock {
    Unlock::new(|_, _| Ok(MasterKey::new(&MASTER)))
}

pub fn init_options() -> InitOptions {
    InitOptions {
        id: RepositoryId(Uuid::from_u128(7)),
        secrets: if are_sealed() { sealed() } else { Secrets::Plain([3; 32]) },
        created_unix_ms: 1_800_000_000_000,
        level: 1,
        parity: None,
    }
}

pub fn open(storage: impl Storage + 'static) -> Repository {
    Repository::open(Arc::new(storage), session()).unwrap()
}

/// Makes a repository whose captures through this handle put chunks and pages into packs of their
/// own, however few.
pub fn init_apart(storage: impl Storage + 'static) -> Repository {
    apart(init(storage))
}

/// Opens a repository so that captures through this handle put chunks and pages into packs of their
/// own, however few.
pub fn open_apart(storage: impl Storage + 'static) -> Repository {
    apart(open(storage))
}

fn apart(mut repo: Repository) -> Repository {
    keep_pages_apart(&mut repo);
    repo
}

/// The length at which packs are closed: after each chunk that does not compress.
const PACK_BYTES: u64 = 60_000;

/// Makes a handle close packs early.
pub fn with_small_packs(repo: icecore::Result<Repository>) -> icecore::Result<Repository> {
    repo.map(|mut repo| {
        close_packs_at(&mut repo, PACK_BYTES);
        repo
    })
}

/// Opens a repository with small packs, so that little data fills several.
pub fn open_with_small_packs(storage: impl Storage + 'static) -> icecore::Result<Repository> {
    with_small_packs(Repository::open(Arc::new(storage), session()))
}

/// Runs a garbage collection that leaves nothing unused.
pub fn collect(repo: &Repository) -> icecore::Result<gc::GcTotals> {
    let plan = gc::plan(repo, &gc::GcOptions::new(0.0), &NoProgress)?;
    gc::apply(repo, plan, &NoProgress)
}

/// Checks that a snapshot restores to an image, byte for byte.
pub fn restores(repo: &Repository, id: SnapshotId, image: &[u8]) -> Result<(), String> {
    let mut comparing = Comparing { rest: image };
    icecore::snapshot::restore(repo, id, RestoreTo::Stream(&mut comparing), OnDamage::Stop, &NoProgress)
        .map_err(|error| format!("restore of {id}: {error}"))?;
    if comparing.rest.is_empty() { Ok(()) } else { Err(format!("the end of {id} is missing")) }
}

/// A target that accepts only the expected bytes.
struct Comparing<'a> {
    rest: &'a [u8],
}

impl io::Write for Comparing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.rest.split_at_checked(bytes.len()) {
            Some((same, rest)) if same == bytes => {
                self.rest = rest;
                Ok(bytes.len())
            }
            _ => Err(io::Error::other("other bytes than were captured")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns an id for a handle. The names of packs depend on it, and on these the order in which
/// packs are met: so a test gets the same ids in each run, whatever runs beside it.
pub fn session() -> Session {
    Session { unlock: unlock(), ..Session::from(session_id()) }
}

fn session_id() -> Uuid {
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(1) };
    }
    let thread = thread::current();
    // A thread of a test has the name of the test. Other threads come and go without one.
    let Some(name) = thread.name() else { return Uuid::from_u128(fresh().into()) };
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    Uuid::from_u64_pair(hasher.finish(), NEXT.replace(NEXT.get() + 1))
}

/// Returns options for a capture of a volume, with a fresh id, time and name.
pub fn options(volume: &str) -> CaptureOptions {
    let number = fresh();
    CaptureOptions::new(
        SnapshotId(Uuid::from_u128((u128::from(number) << 96) | 0x1234)),
        1_800_000_000_000 + i64::try_from(number).unwrap(),
        ResourceKind::Volume,
        volume,
        format!("snapshot-{number}"),
    )
}

/// The kind of restore target: new, or with existing content.
pub type To = for<'a> fn(&'a dyn WriteAt) -> RestoreTo<'a>;
pub const FRESH: To = |target| RestoreTo::Fresh(target);
pub const IN_PLACE: To = |target| RestoreTo::InPlace(target);

/// Returns the whole image of a snapshot.
pub fn image_of(repo: &Repository, id: SnapshotId) -> Vec<u8> {
    let mut bytes = Vec::new();
    icecore::snapshot::restore(repo, id, RestoreTo::Stream(&mut bytes), OnDamage::Stop, &NoProgress).unwrap();
    bytes
}

/// Fails unless a repository verifies without findings, down to the last block.
pub fn assert_sound(repo: &Repository, what: &str) {
    let report = icecore::maintenance::verify(repo, None, Depth::ReadData, &NoProgress).unwrap();
    assert_eq!(report.findings, [], "{what}");
}

/// Calls the engine from inside one of its calls. This takes another thread, because the calling
/// ones are waiting.
pub fn meanwhile(what: impl FnOnce() + Send) {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    thread::scope(|scope| scope.spawn(|| threads.install(what)).join().unwrap());
}

/// A progress report that cancels a capture, which checks once for each leaf.
pub struct Stopping(AtomicU32);

impl Stopping {
    /// Lets the capture run until the leaf with this number, counted from 1.
    pub fn at(leaf: u32) -> Self {
        Self(AtomicU32::new(leaf))
    }
}

impl Progress for Stopping {
    fn total(&self, _meter: Meter, _total: u64) {}

    fn advance(&self, _meter: Meter, _amount: u64) {}

    fn cancelled(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) <= 1
    }
}
