//! A newer program adds a feature to a repository that this one has open: nothing is changed from
//! then on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::fuzzing::forge::Newer;
use icecore::fuzzing::forge::newer_config;
use icecore::fuzzing::forge::newer_volume;
use icecore::image::WriteAt;
use icecore::maintenance::Depth;
use icecore::repository::InitOptions;
use icecore::repository::ParityScheme;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::random::Random;
use icecore_testing::repository::collect;
use icecore_testing::repository::init_options;
use icecore_testing::repository::open_with_small_packs;
use icecore_testing::repository::options;
use icecore_testing::repository::session;
use icecore_testing::repository::with_small_packs;
use uuid::Uuid;

use crate::at_once::hooked::Watch;
use crate::at_once::hooked::hooked;
use crate::volumes::support::content;
use crate::volumes::support::open as open_volume;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

const NEWER: [Newer; 3] = [Newer::Minor, Newer::ReadOnlyCompatible, Newer::Incompatible];

/// Everything that a repository has in it.
type Files = BTreeMap<String, Vec<u8>>;

/// A repository in which every verb finds something to do.
struct Fixture {
    files: Files,
    kept: SnapshotId,
    image: Vec<u8>,
}

/// A repository that a newer program gets at while a verb works on it.
struct Opened {
    storage: MemoryStorage,
    watch: Arc<Upgrade>,
    repo: Arc<Repository>,
    kept: SnapshotId,
    image: Vec<u8>,
}

/// Changes something.
type Verb = fn(&Opened) -> Result<(), Error>;

const VERBS: [(&str, Verb); 22] = [
    ("create", |opened| create(opened, "new")),
    ("create of what is there", |opened| {
        icecore::snapshot::capture(&opened.repo, &opened.image, &options("same"), &NoProgress).map(drop)
    }),
    ("copy", |opened| {
        let source = MemoryStorage::new();
        let mut from = init_options();
        from.id = RepositoryId(Uuid::from_u128(8));
        let source = Arc::new(Repository::init(Arc::new(source), session(), &from)?);
        let id =
            icecore::snapshot::capture(&source, &Random::new(5).bytes(70_000), &options("x"), &NoProgress)?;
        let options = CopyOptions { name_may_repeat: true, ..CopyOptions::default() };
        icecore::snapshot::copy(&source, id.snapshot.id, &opened.repo, &options, &NoProgress).map(drop)
    }),
    ("rename", |opened| {
        icecore::snapshot::rename(&opened.repo, opened.kept, "other", RenameOptions::default()).map(drop)
    }),
    ("tag", |opened| icecore::snapshot::retag(&opened.repo, opened.kept, &["tag".to_owned()], &[]).map(drop)),
    ("protect", |opened| icecore::snapshot::set_protected(&opened.repo, opened.kept, true).map(drop)),
    ("label", |opened| icecore::snapshot::relabel(&opened.repo, opened.kept, &label(), &[]).map(drop)),
    ("delete", |opened| {
        icecore::snapshot::delete(&opened.repo, opened.kept, DeleteOptions::default()).map(drop)
    }),
    ("gc", |opened| collect(&opened.repo).map(drop)),
    ("parity", |opened| {
        icecore::maintenance::set_parity(&opened.repo, ParityScheme::new(3, 1).ok(), &NoProgress).map(drop)
    }),
    ("no parity", |opened| icecore::maintenance::set_parity(&opened.repo, None, &NoProgress).map(drop)),
    ("repair index", |opened| icecore::maintenance::repair_index(&opened.repo, &NoProgress).map(drop)),
    ("repair packs", |opened| icecore::maintenance::repair_packs(&opened.repo, false, &NoProgress).map(drop)),
    ("volume create", |opened| {
        icecore::volume::create_volume(&opened.repo, &volume_options("new", Some(opened.kept), None))
            .map(drop)
    }),
    ("volume label", |opened| icecore::volume::relabel_volume(&opened.repo, "disk", &label(), &[]).map(drop)),
    ("volume resize", |opened| icecore::volume::resize_volume(&opened.repo, "disk", 1 << 20).map(drop)),
    ("volume reset", |opened| icecore::volume::reset_volume(&opened.repo, "disk").map(drop)),
    ("volume restore", |opened| icecore::volume::restore_volume(&opened.repo, "disk", opened.kept).map(drop)),
    ("volume delete", |opened| icecore::volume::delete_volume(&opened.repo, "disk").map(drop)),
    ("volume open", |opened| open_volume(&opened.repo, "disk").map(drop)),
    ("volume snapshot", |opened| snapshot(&open_volume(&opened.repo, "disk")?).map(drop)),
    ("volume grow", |opened| open_volume(&opened.repo, "disk")?.grow(1 << 20)),
];

/// Verbs that note or mend something beside what they are asked for, which they leave then.
const READERS: [(&str, Verb); 2] = [
    ("verify", |opened| {
        icecore::maintenance::verify_and_note(
            &opened.repo,
            None,
            Depth::ReadData,
            1_900_000_000_000,
            &NoProgress,
        )
        .map(drop)
    }),
    ("restore", |opened| {
        let mut found = Vec::new();
        icecore::snapshot::restore(
            &opened.repo,
            opened.kept,
            RestoreTo::Stream(&mut found),
            OnDamage::Stop,
            &NoProgress,
        )?;
        assert!(found == opened.image);
        Ok(())
    }),
];

fn create(opened: &Opened, volume: &str) -> Result<(), Error> {
    let image = Random::new(77).bytes(200_000);
    icecore::snapshot::capture(&opened.repo, &image, &options(volume), &NoProgress).map(drop)
}

fn label() -> BTreeMap<String, String> {
    [("key".to_owned(), "value".to_owned())].into()
}

impl Fixture {
    fn new() -> Self {
        let storage = MemoryStorage::new();
        let init = InitOptions { parity: ParityScheme::new(2, 1).ok(), ..init_options() };
        let made = Repository::init(Arc::new(storage.clone()), session(), &init);
        let repo = Arc::new(with_small_packs(made).unwrap());
        let take = |volume: &str, image: &Vec<u8>| {
            icecore::snapshot::capture(&repo, image, &options(volume), &NoProgress).unwrap().snapshot.id
        };
        let image = Random::new(1).bytes(300_000);
        let kept = take("kept", &image);
        let pack = |(name, bytes): (String, Vec<u8>)| {
            (name.starts_with("packs/") && bytes.len() > 50_000).then_some(name)
        };
        let pack = storage.files().into_iter().find_map(pack).unwrap();
        let gone = take("gone", &[&image[..100_000], &Random::new(2).bytes(200_000)].concat());
        let base = take("base", &Random::new(3).bytes(100_000));
        icecore::volume::create_volume(&repo, &volume_options("disk", Some(base), None)).unwrap();
        let volume = open_volume(&repo, "disk").unwrap();
        volume.write_at(5000, &[7; 9000]).unwrap();
        volume.sync().unwrap();
        drop(volume);
        icecore::snapshot::delete(&repo, gone, DeleteOptions::default()).unwrap();
        let mut files = storage.files();
        // One pack is damaged, for repairs, notes and restores to see; parity gives it whole.
        files.get_mut(&pack).unwrap()[200] ^= 1;
        Self { files, kept, image }
    }

    /// Opens the repository. A newer program gets at it before call `at` of those that lock, rename
    /// or remove something, as soon as it can have the journal's lock.
    fn opened(&self, newer: Newer, at: usize) -> Opened {
        let storage = MemoryStorage::new();
        self.files.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
        let watch = Arc::new(Upgrade {
            storage: storage.clone(),
            newer,
            left: AtomicUsize::new(usize::MAX),
            state: Mutex::default(),
        });
        let repo = open_with_small_packs(hooked(storage.clone(), watch.clone())).unwrap();
        watch.left.store(at, Ordering::SeqCst);
        let (kept, image) = (self.kept, self.image.clone());
        Opened { storage, watch, repo: Arc::new(repo), kept, image }
    }
}

/// A newer program that comes at a given call, and what this one did after it that it must not.
struct Upgrade {
    storage: MemoryStorage,
    newer: Newer,
    /// Calls until then that lock, rename or remove something.
    left: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether this program holds the journal's lock: the newer one waits for it.
    held: bool,
    upgraded: bool,
    wrong: Vec<String>,
}

impl Upgrade {
    fn upgrade(&self) {
        let config = self.storage.files().remove("config").unwrap();
        self.storage.put("config", newer_config(&config, self.newer).unwrap());
    }
}

impl Watch for Upgrade {
    fn before(&self, call: &'static str, name: &str) {
        let mut state = self.state.lock().unwrap();
        let left = self.left.load(Ordering::SeqCst);
        let counts = ["lock", "rename", "rename_new", "remove"].contains(&call);
        if counts && left > 0 {
            self.left.store(left - 1, Ordering::SeqCst);
        }
        if counts && left == 0 && !state.held && !state.upgraded {
            state.upgraded = true;
            self.upgrade();
        }
        if call == "lock" && name == "local/locks/journal" {
            state.held = true;
        }
        // What is only added may be added; what belongs to this process alone may go.
        let own = ["local/tmp/", "local/locks/", "local/reserve", "local/damage", "local/checked"]
            .iter()
            .any(|own| name.starts_with(own));
        let added = ["packs/", "index/", "parity/"].iter().any(|added| name.starts_with(added));
        let overlay = name.starts_with("local/volumes/");
        // Packs go, with the runs and the parity of them, once an entry has condemned them.
        let condemned =
            ["packs/", "index/", "parity/", "journal-copies/"].iter().any(|dir| name.starts_with(dir));
        let wrong = match call {
            "remove" => !own && !overlay && !condemned,
            // A seal replaces the record without the lock, but never one that a newer program
            // wrote.
            "rename" | "rename_new" => !own && !added && !name.ends_with("/record"),
            _ => false,
        };
        if state.upgraded && wrong {
            state.wrong.push(format!("{call} of {name}"));
        }
    }

    fn released(&self, name: &str) {
        if name == "local/locks/journal" {
            self.state.lock().unwrap().held = false;
        }
    }
}

/// Returns what the repository has in it but for locks.
fn files(storage: &MemoryStorage) -> Files {
    storage.files().into_iter().filter(|(name, _)| !name.starts_with("local/locks/")).collect()
}

/// Returns the names of files that are not the same.
fn differing(before: &Files, after: &Files) -> Vec<String> {
    let names = before.keys().chain(after.keys());
    let mut names: Vec<String> =
        names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
    names.dedup();
    names
}

#[test]
fn an_open_handle_changes_nothing_after_a_newer_program_was_there() {
    let fixture = Fixture::new();
    for newer in NEWER {
        for (name, verb) in VERBS {
            let opened = fixture.opened(newer, usize::MAX);
            opened.watch.upgrade();
            let before = files(&opened.storage);
            let error = verb(&opened).map_err(|error| error.kind());
            assert_eq!(error, Err(ErrorKind::Unsupported), "{name}, {newer:?}");
            assert_eq!(
                differing(&before, &files(&opened.storage)),
                Vec::<String>::new(),
                "{name}, {newer:?}"
            );
        }
        for (name, verb) in READERS {
            let opened = fixture.opened(newer, usize::MAX);
            opened.watch.upgrade();
            let before = files(&opened.storage);
            verb(&opened).unwrap();
            assert_eq!(
                differing(&before, &files(&opened.storage)),
                Vec::<String>::new(),
                "{name}, {newer:?}"
            );
        }
    }
}

#[test]
fn nothing_is_replaced_or_removed_from_the_moment_when_a_newer_program_was_there() {
    let fixture = Fixture::new();
    for (name, verb) in VERBS.into_iter().chain(READERS) {
        let mut refused = 0;
        for at in 0.. {
            let opened = fixture.opened(Newer::ReadOnlyCompatible, at);
            let result = verb(&opened);
            let state = opened.watch.state.lock().unwrap();
            assert_eq!(state.wrong, Vec::<String>::new(), "{name}: a newer program came before call {at}");
            match result {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}, call {at}: {error}"),
                Ok(()) if !state.upgraded => break,
                // It came after the last change.
                Ok(()) => {}
            }
            refused += u32::from(state.upgraded);
        }
        assert!(refused > 0, "{name}");
    }
}

#[test]
fn whoever_has_the_work_done_without_a_newer_program_finds_it_done() {
    let fixture = Fixture::new();
    for (name, verb) in VERBS.into_iter().chain(READERS) {
        let opened = fixture.opened(Newer::Minor, usize::MAX);
        let before = files(&opened.storage);
        verb(&opened).unwrap();
        let changed = differing(&before, &files(&opened.storage));
        assert!(!changed.is_empty() || name == "volume open", "{name} has something to do");
    }
}

#[test]
fn an_open_volume_is_written_and_synced_after_a_newer_program_was_there() {
    let fixture = Fixture::new();
    for newer in NEWER {
        let opened = fixture.opened(newer, usize::MAX);
        let volume = open_volume(&opened.repo, "disk").unwrap();
        let before = files(&opened.storage);
        opened.watch.upgrade();
        volume.write_at(20_000, &[9; 30_000]).unwrap();
        volume.sync().unwrap();
        let wanted = content(&volume).unwrap();
        assert!(wanted[20_000..50_000] == [9; 30_000]);
        for refused in [snapshot(&volume).map(drop), volume.grow(1 << 20)] {
            assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Unsupported), "{newer:?}");
        }
        volume.write_at(0, &[3; 4096]).unwrap();
        volume.sync().unwrap();
        let changed = differing(&before, &files(&opened.storage));
        let of_the_overlay = |name: &String| {
            name == "config" || name.starts_with("local/volumes/disk/") && !name.ends_with("/record")
        };
        assert!(changed.iter().all(of_the_overlay), "{newer:?}: {changed:?}");
        drop(volume);
        // The old config again stands for a newer program that knows what it added.
        opened.storage.put("config", fixture.files["config"].clone());
        let after = content(&open_volume(&opened.repo, "disk").unwrap()).unwrap();
        assert!(after[..4096] == [3; 4096] && after[4096..] == wanted[4096..], "{newer:?}");
    }
}

#[test]
fn the_record_of_a_volume_that_a_newer_program_wrote_is_not_replaced() {
    let fixture = Fixture::new();
    let opened = fixture.opened(Newer::Minor, usize::MAX);
    let other = [("other".to_owned(), "value".to_owned())].into();
    icecore::volume::relabel_volume(&opened.repo, "disk", &other, &[]).unwrap();
    let volume = open_volume(&opened.repo, "disk").unwrap();
    let name = format!("{}/record", icecore::volume::volume_dir(&opened.repo, "disk"));
    let record = opened.storage.files().remove(&name).unwrap();
    let record = newer_volume(&opened.repo, record).unwrap();
    opened.storage.put(&name, record.clone());
    let kind = |result: Result<(), Error>| result.map_err(|error| error.kind());
    assert_eq!(kind(volume.grow(1 << 20)), Err(ErrorKind::Unsupported));
    assert_eq!(kind(snapshot(&volume).map(drop)), Err(ErrorKind::Unsupported));
    assert_eq!(
        kind(icecore::volume::relabel_volume(&opened.repo, "disk", &label(), &[]).map(drop)),
        Err(ErrorKind::Unsupported)
    );
    assert!(opened.storage.files()[&name] == record);
}

#[test]
fn a_config_that_cannot_be_read_any_more_stops_every_change() {
    let fixture = Fixture::new();
    type Damage = fn(&MemoryStorage);
    let damage: [(&str, Damage, ErrorKind); 3] = [
        ("damaged", |storage| storage.put("config", b"rubbish".to_vec()), ErrorKind::Corrupt),
        ("gone", |storage| storage.remove("config").unwrap(), ErrorKind::Corrupt),
        (
            "of another repository",
            |storage| {
                let other = MemoryStorage::new();
                let init = InitOptions { id: RepositoryId(Uuid::from_u128(9)), ..init_options() };
                Repository::init(Arc::new(other.clone()), session(), &init).unwrap();
                storage.put("config", other.files().remove("config").unwrap());
            },
            ErrorKind::NotFound,
        ),
    ];
    for (what, damage, kind) in damage {
        for (name, verb) in VERBS {
            let opened = fixture.opened(Newer::Minor, usize::MAX);
            damage(&opened.storage);
            let before = files(&opened.storage);
            assert_eq!(verb(&opened).map_err(|error| error.kind()), Err(kind), "{name}, {what}");
            assert_eq!(differing(&before, &files(&opened.storage)), Vec::<String>::new(), "{name}, {what}");
        }
        let opened = fixture.opened(Newer::Minor, usize::MAX);
        damage(&opened.storage);
        let mut found = Vec::new();
        icecore::snapshot::restore(
            &opened.repo,
            opened.kept,
            RestoreTo::Stream(&mut found),
            OnDamage::Stop,
            &NoProgress,
        )
        .unwrap();
        assert!(found == opened.image, "readers go on: {what}");
    }
}
