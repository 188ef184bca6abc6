//! A repository whose objects are in no directory: what the engine takes for granted of a place is
//! what the roles promise, and nothing else.

use std::io;
use std::sync::Arc;

use icecore::NoProgress;
use icecore::image::WriteAt;
use icecore::maintenance::gc::GRACE_MS;
use icecore::maintenance::repair_catalog;
use icecore::maintenance::repair_index;
use icecore::maintenance::repair_packs;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::Secrets;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::storage::Directory;
use icecore::storage::FsStorage;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::bucket::Bucket;
use icecore_testing::crash::CrashStorage;
use icecore_testing::fault_storage::failing_from;
use icecore_testing::random::Random;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::init_options;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::sealed;
use icecore_testing::repository::session;
use icecore_testing::repository::with_small_packs;
use icecore_testing::roles::assert_objects;
use icecore_testing::roles::assert_sessions;

use crate::volumes::support::open as open_volume;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

#[test]
fn each_place_keeps_what_its_roles_promise() {
    assert_objects(&Bucket::default().reached(), "a bucket");
    let dir = tempfile::tempdir().unwrap();
    let storages: [(&str, Arc<dyn Storage>); 4] = [
        ("memory", Arc::new(MemoryStorage::new())),
        ("a directory", Arc::new(FsStorage::new(dir.path()))),
        ("the model of crashes", Arc::new(CrashStorage::new())),
        ("a watched storage", Arc::new(failing_from(MemoryStorage::new(), u64::MAX, io::ErrorKind::Other))),
    ];
    for (what, storage) in storages {
        assert_objects(&Directory::new(Arc::clone(&storage)), what);
        assert_eq!(storage.list("local/tmp").unwrap(), Vec::<String>::new(), "{what}");
        assert_sessions(&Directory::new(storage), what);
    }
}

fn capture(repo: &Repository, image: &[u8]) -> SnapshotId {
    let options = options("disk");
    icecore::snapshot::capture(repo, &image.to_vec(), &options, &NoProgress).unwrap().snapshot.id
}

fn flip(bucket: &Bucket, dir: &str) {
    let mut content = bucket.content();
    let (_, bytes) = content.iter_mut().find(|(name, _)| name.starts_with(dir)).unwrap();
    let middle = bytes.len() / 2;
    Arc::make_mut(bytes)[middle] ^= 1;
}

/// Returns the names of files that only this machine needs, and of all others.
fn split<'a>(names: impl Iterator<Item = &'a String>) -> (Vec<&'a String>, Vec<&'a String>) {
    names.partition(|name| name.starts_with("local/"))
}

#[test]
fn objects_need_no_directory_and_a_repository_is_whole_without_its_local_files() {
    for secrets in [Secrets::Plain([3; 32]), sealed()] {
        assert_lives_in_a_bucket(secrets);
    }
}

fn assert_lives_in_a_bucket(secrets: Secrets) {
    let (bucket, local) = (Bucket::default(), MemoryStorage::new());
    let place = || bucket.seen_from(&local);
    let parity = Some("4+1".parse().unwrap());
    let made = Repository::init(place(), session(), &InitOptions { secrets, parity, ..init_options() });
    let repo = Arc::new(with_small_packs(made).unwrap());

    // Work of every kind.
    let mut random = Random::new(171);
    let mut image = random.bytes(500_000);
    let first = capture(&repo, &image);
    let before = image.clone();
    random.scribble(&mut image);
    let second = capture(&repo, &image);
    let gone = capture(&repo, &random.bytes(300_000));
    icecore::snapshot::delete(&repo, gone, DeleteOptions::default()).unwrap();
    bucket.wait_ms(GRACE_MS);
    let collected = collect(&repo).unwrap();
    assert!(collected.packs_condemned > 0, "{collected:?}");
    icecore::volume::create_volume(&repo, &volume_options("vol", Some(second), None)).unwrap();
    let volume = open_volume(&repo, "vol").unwrap();
    volume.write_at(5000, &[7; 9000]).unwrap();
    let third = snapshot(&volume).unwrap();
    drop(volume);
    let mut written = image.clone();
    written[5000..14_000].fill(7);

    // Repairs of every kind.
    flip(&bucket, "packs/");
    repair_packs(&repo, false, &NoProgress).unwrap();
    flip(&bucket, "index/");
    repair_index(&repo, &NoProgress).unwrap();
    flip(&bucket, "checkpoint/");
    assert!(!repair_catalog(place(), session(), false).unwrap().mended.is_empty());

    let ours = [(first, &before), (second, &image), (third, &written)];
    let is_whole = |repo: &Repository, what: &str| {
        ours.iter().for_each(|(id, image)| restores(repo, *id, image).unwrap());
        assert_sound(repo, what);
    };
    is_whole(&repo, "where it was made");

    // Each name is where it belongs, and nothing unfinished is left.
    let (objects, files) = (bucket.content().clone(), local.files());
    assert_eq!(split(objects.keys()).0, Vec::<&String>::new());
    assert_eq!(split(files.keys()).1, Vec::<&String>::new());
    let is_of_a_volume = |name: &String| name.starts_with("local/volumes/") && name.ends_with("/record");
    assert!(files.keys().any(is_of_a_volume) && !files.keys().any(|name| name.contains("/tmp/")));

    // Another machine has no local files at first. A copy in a directory is a repository as well.
    let elsewhere = Repository::open(bucket.seen_from(&MemoryStorage::new()), session()).unwrap();
    is_whole(&elsewhere, "on another machine");
    capture(&elsewhere, &random.bytes(50_000));
    collect(&elsewhere).unwrap();
    is_whole(&elsewhere, "on another machine that worked on it");
    let copy = MemoryStorage::new();
    bucket.content().iter().for_each(|(name, bytes)| copy.put_shared(name, Arc::clone(bytes)));
    is_whole(&open(copy), "a copy in a directory");
}
