//! A repository whose objects are in no directory: what the engine takes for granted of a place is
//! what the roles promise, and nothing else.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use icecore::NoProgress;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::maintenance::repair_catalog;
use icecore::maintenance::repair_index;
use icecore::maintenance::repair_packs;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::storage::Directory;
use icecore::storage::Mapped;
use icecore::storage::MemoryStorage;
use icecore::storage::NewObject;
use icecore::storage::Objects;
use icecore::storage::Place;
use icecore::storage::Put;
use icecore::storage::StoredFile;
use icecore_testing::random::Random;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::init_options;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::session;
use icecore_testing::repository::with_small_packs;

use crate::volumes::support::open as open_volume;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

type Content = BTreeMap<String, Arc<Vec<u8>>>;

/// Objects as a bucket has them: there are no directories, no renames, and nothing to sync.
#[derive(Clone, Default)]
struct Bucket(Arc<Mutex<Content>>);

impl Bucket {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    /// Returns the place of a machine that has these local files.
    fn seen_from(&self, local: &MemoryStorage) -> Place {
        let local = Arc::new(local.clone());
        Place::new(Arc::new(self.clone()), Arc::clone(&local) as _, Arc::new(Directory::new(local)))
    }
}

struct Object(Arc<Vec<u8>>);

impl StoredFile for Object {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.as_slice().read_at(offset, buffer)
    }

    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        self.read_at(range.start, &mut bytes)?;
        Ok(Mapped::new(bytes))
    }
}

struct Upload {
    bucket: Bucket,
    bytes: Vec<u8>,
}

impl NewObject for Upload {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn open(&self) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(Object(Arc::new(self.bytes.clone()))))
    }

    fn publish(&mut self, name: &str) -> io::Result<Put> {
        let mut content = self.bucket.content();
        if content.contains_key(name) {
            return Ok(Put::Exists);
        }
        content.insert(name.to_owned(), Arc::new(self.bytes.clone()));
        Ok(Put::Made)
    }

    fn mend(&mut self, name: &str) -> io::Result<()> {
        self.bucket.put_hint(name, &self.bytes)
    }
}

impl Objects for Bucket {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let content = self.content();
        let inside = content.keys().filter_map(|name| name.strip_prefix(dir)?.strip_prefix('/'));
        Ok(inside.map(str::to_owned).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let bytes = self.content().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Object(bytes)))
    }

    fn begin(&self, _spool: &str) -> io::Result<Box<dyn NewObject>> {
        Ok(Box::new(Upload { bucket: self.clone(), bytes: Vec::new() }))
    }

    fn put_hint(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.content().insert(name.to_owned(), Arc::new(bytes.to_vec()));
        Ok(())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.content().remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.content();
        if content.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = content.remove(from).ok_or(io::ErrorKind::NotFound)?;
        content.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync(&self, _dir: &str) -> io::Result<()> {
        Ok(())
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
    let (bucket, local) = (Bucket::default(), MemoryStorage::new());
    let place = || bucket.seen_from(&local);
    let parity = Some("4+1".parse().unwrap());
    let made =
        Repository::init(place(), session(), &icecore::repository::InitOptions { parity, ..init_options() });
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
    let collected = collect(&repo).unwrap();
    assert!(collected.packs_removed > 0, "{collected:?}");
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
    assert!(
        files.contains_key("local/volumes/vol/record") && !files.keys().any(|name| name.contains("/tmp/"))
    );

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
