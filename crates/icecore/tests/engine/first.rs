//! The first use of a place by several programs at once: one makes the repository, and the others
//! open that one.

use std::io;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::storage::FsStorage;
use icecore::storage::LockMode;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore::storage::Wait;
use icecore_testing::fault_storage::failing_from;
use icecore_testing::repository::init_options;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;
use uuid::Uuid;

use crate::at_once::hooked::Watch;
use crate::at_once::hooked::hooked;
use crate::at_once::times;

const RACES: usize = 250;

/// Returns what the program of this number would make a repository of: an id and a key that no
/// other has.
fn options_of(number: u8) -> InitOptions {
    InitOptions {
        id: RepositoryId(Uuid::from_u128(number.into())),
        secrets: Secrets::Plain([number; 32]),
        ..init_options()
    }
}

fn open_or_init(storage: Arc<dyn Storage>, number: u8) -> (Repository, bool) {
    Repository::open_or_init(storage, session(), &options_of(number)).unwrap()
}

/// Lets two programs use a place for the first time at once, each over a handle of its own, and
/// returns what they had to do with.
fn race(storage: impl Fn() -> Arc<dyn Storage> + Sync) {
    let start = Barrier::new(2);
    let (start, storage) = (&start, &storage);
    let first_use = move |number: u8| {
        move || {
            start.wait();
            let (repo, made) = open_or_init(storage(), number);
            let image = vec![number; 5000];
            let taken = icecore::snapshot::capture(&repo, &image, &options("disk"), &NoProgress).unwrap();
            (repo.id(), made, taken.snapshot.id, image)
        }
    };
    let done = std::thread::scope(|scope| {
        [1, 2].map(|number| scope.spawn(first_use(number))).map(|thread| thread.join().unwrap())
    });
    let [(one, one_made, ..), (other, other_made, ..)] = &done;
    assert_eq!(one, other);
    assert_ne!(one_made, other_made, "one of them made it");
    let repo = Repository::open(storage(), session()).unwrap();
    assert_eq!(repo.id(), *one);
    for (_, _, id, image) in &done {
        restores(&repo, *id, image).unwrap();
    }
    assert_eq!(storage().list("local/tmp").unwrap(), Vec::<String>::new());
}

#[test]
fn of_two_first_uses_at_once_both_work_on_one_repository() {
    for _ in 0..RACES * times() {
        let memory = MemoryStorage::new();
        race(|| Arc::new(memory.clone()));
    }
}

#[test]
fn of_two_first_uses_of_a_directory_at_once_both_work_on_one_repository() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..RACES / 10 * times() {
        let place = dir.path().join(number.to_string());
        race(|| Arc::new(FsStorage::new(&place)));
        std::fs::remove_dir_all(place).unwrap();
    }
}

/// Another program that does all it does at one moment of this one.
struct Other {
    storage: MemoryStorage,
    /// Calls until then.
    left: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether this program holds the journal's lock, for which the other would wait.
    held: bool,
    done: bool,
}

impl Watch for Other {
    fn before(&self, call: &'static str, name: &str) {
        let mut state = self.state.lock().unwrap();
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 0 && !state.held && !state.done {
            state.done = true;
            let (repo, _) = open_or_init(Arc::new(self.storage.clone()), 2);
            icecore::snapshot::capture(&repo, &vec![2; 5000], &options("other"), &NoProgress).unwrap();
        }
        if call == "lock" && name == "local/locks/journal" {
            state.held = true;
        }
    }

    fn released(&self, name: &str) {
        if name == "local/locks/journal" {
            self.state.lock().unwrap().held = false;
        }
    }
}

#[test]
fn another_first_use_at_any_moment_of_this_one_loses_nothing() {
    let mut both = 0;
    for at in 0.. {
        let storage = MemoryStorage::new();
        let state = Mutex::default();
        let other = Arc::new(Other { storage: storage.clone(), left: AtomicUsize::new(at), state });
        let hooked = Arc::new(hooked(storage.clone(), other.clone()));
        let (repo, made) = open_or_init(hooked, 1);
        if !other.state.lock().unwrap().done {
            break;
        }
        both += usize::from(!made);
        icecore::snapshot::capture(&repo, &vec![1; 5000], &options("disk"), &NoProgress).unwrap();
        let winner = if made { 1 } else { 2 };
        assert_eq!(repo.id(), options_of(winner).id, "call {at}");
        let found = Repository::open(Arc::new(storage.clone()), session()).unwrap();
        let report = icecore::maintenance::verify(&found, None, Depth::ReadData, &NoProgress).unwrap();
        assert_eq!((report.snapshots, report.findings.len()), (2, 0), "call {at}");
        assert_eq!(storage.list("local/tmp").unwrap(), Vec::<String>::new(), "call {at}");
    }
    assert!(both > 5);
}

/// Where locks do not work, a config can appear at the last moment.
#[test]
fn a_config_that_is_there_is_never_replaced() {
    let winner = MemoryStorage::new();
    Repository::init(Arc::new(winner.clone()), session(), &options_of(2)).unwrap();
    let storage = MemoryStorage::new();
    let (of_winner, shared) = (winner.files()["config"].clone(), storage.clone());
    let watch = move |call: &'static str, name: &str| {
        if call.starts_with("rename") && name == "config" {
            shared.put("config", of_winner.clone());
        }
    };
    let hooked: Arc<dyn Storage> = Arc::new(hooked(storage.clone(), Arc::new(watch)));
    let error = Repository::init(Arc::clone(&hooked), session(), &options_of(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(storage.files()["config"], winner.files()["config"]);
    assert_eq!(storage.list("local/tmp").unwrap(), Vec::<String>::new());
    let error = Repository::init(hooked, session(), &options_of(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

/// Otherwise a snapshot could be reported of which a power cut leaves no repository.
#[test]
fn whoever_finds_the_config_changes_nothing_before_that_is_durable() {
    let storage = MemoryStorage::new();
    let looked = Arc::new(AtomicUsize::new(0));
    let (shared, counted) = (storage.clone(), Arc::clone(&looked));
    let watch = move |call: &'static str, name: &str| {
        if (call, name) == ("sync_dir", "") && shared.files().contains_key("config") {
            let free = shared.lock("local/locks/journal", LockMode::Exclusive, Wait::No).unwrap();
            assert!(free.is_none(), "the journal's lock is free");
            counted.fetch_add(1, Ordering::SeqCst);
        }
    };
    let hooked = hooked(storage.clone(), Arc::new(watch));
    Repository::init(Arc::new(hooked), session(), &options_of(1)).unwrap();
    assert_eq!(looked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_name_that_is_taken_is_given_to_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let storages: [Box<dyn Storage>; 4] = [
        Box::new(MemoryStorage::new()),
        Box::new(FsStorage::new(dir.path())),
        Box::new(icecore_testing::crash::CrashStorage::new()),
        Box::new(failing_from(MemoryStorage::new(), u64::MAX, io::ErrorKind::Other)),
    ];
    for (number, storage) in storages.iter().enumerate() {
        for (name, bytes) in [("a", b"first"), ("b", b"other")] {
            storage.create(name).unwrap().append(bytes).unwrap();
        }
        let content = |name: &str| -> io::Result<Vec<u8>> {
            let file = storage.open(name)?;
            let mut bytes = vec![0; 5];
            file.read_at(0, &mut bytes).map(|()| bytes)
        };
        storage.rename_new("a", "new").unwrap();
        let error = storage.rename_new("b", "new").err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "storage {number}");
        assert_eq!((content("new").unwrap(), content("b").unwrap()), (b"first".to_vec(), b"other".to_vec()));
        assert_eq!(content("a").unwrap_err().kind(), io::ErrorKind::NotFound, "storage {number}");
    }
}
