//! The cache against objects in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use super::*;

/// Objects in memory, and the requests for them.
#[derive(Default)]
struct Objects {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    requests: Mutex<Vec<String>>,
}

impl Objects {
    fn with(objects: &[(&str, &[u8])]) -> Arc<Self> {
        let objects = objects.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        Arc::new(Self { objects: Mutex::new(objects), requests: Mutex::default() })
    }

    fn ask<T>(&self, what: &str, name: &str, then: impl FnOnce(&Vec<u8>) -> Option<T>) -> io::Result<T> {
        self.requests.lock().unwrap().push(format!("{what} {name}"));
        let objects = self.objects.lock().unwrap();
        then(objects.get(name).ok_or(io::ErrorKind::NotFound)?).ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.requests.lock().unwrap()).len()
    }
}

impl Fetch for Objects {
    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let part = |bytes: &Vec<u8>| bytes.get(at(range.start)..at(range.end)).map(Bytes::copy_from_slice);
        self.ask("get", name, part)
    }

    fn tail(&self, name: &str, bytes_max: u64) -> io::Result<Tail> {
        self.ask("tail", name, |bytes| {
            let start = bytes.len().saturating_sub(at(bytes_max));
            Some(Tail { object_bytes: bytes.len() as u64, bytes: Bytes::copy_from_slice(&bytes[start..]) })
        })
    }

    fn head(&self, name: &str) -> io::Result<u64> {
        self.ask("head", name, |bytes| Some(bytes.len() as u64))
    }
}

fn at(place: u64) -> usize {
    usize::try_from(place).unwrap()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[5]
    };
    (0..len).map(|_| next()).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

const LENGTHS: [usize; 5] = [0, 1, 256 << 10, 700_000, 3_000_000];

#[test]
fn what_was_read_is_read_without_a_request_and_is_what_the_bucket_has() {
    for keep in [Keep::All, Keep::Some] {
        let dir = tempfile::tempdir().unwrap();
        for (number, length) in LENGTHS.into_iter().enumerate() {
            let (name, bytes) = (format!("packs/{number}"), noise(length, 7));
            let objects = Objects::with(&[(&name, &bytes)]);
            let cache = Cache::new(dir.path(), 1 << 30);
            let cached = cache.before("repository", keep, Arc::clone(&objects) as _);
            let mut places = noise(64, number as u64).into_iter().map(usize::from);
            let mut reads = Vec::new();
            for _ in 0..16 {
                let at = places.next().unwrap() * length / 256;
                let end = (at + places.next().unwrap() * 2500).min(length);
                reads.push(at..end);
            }
            for round in 0..2 {
                let tail = cached.tail(&name, 100_000).unwrap();
                assert_eq!(tail.object_bytes, length as u64);
                assert!(tail.bytes == bytes[length.saturating_sub(100_000)..]);
                for read in &reads {
                    let found = cached.get(&name, read.start as u64..read.end as u64).unwrap();
                    assert!(found == bytes[read.clone()], "{read:?} of {length}");
                }
                assert_eq!(cached.head(&name).unwrap(), length as u64);
                let asked = objects.asked();
                assert!(round == 0 && asked > 0 || asked == 0, "{asked} in round {round} of {length}");
            }
            // Another process has the same cache, and another repository its own.
            let again = Cache::new(dir.path(), 1 << 30).before("repository", keep, Arc::clone(&objects) as _);
            again.tail(&name, 100_000).unwrap();
            assert_eq!(objects.asked(), 0);
            let other = Objects::with(&[(&name, &noise(length, 8))]);
            let elsewhere = cache.before("other", keep, Arc::clone(&other) as _);
            assert!(elsewhere.get(&name, 0..length as u64).unwrap() == noise(length, 8));
            assert_eq!(
                cached.get(&name, 0..length as u64 + 1).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof
            );
        }
    }
}

#[test]
fn long_parts_of_packs_are_kept_only_where_everything_is_and_the_config_never() {
    let bytes = noise(3_000_000, 1);
    let objects = Objects::with(&[("packs/1", &bytes), ("index/1", &bytes), ("config", &bytes)]);
    for (keep, name, is_kept) in [
        (Keep::Some, "packs/1", false),
        (Keep::Some, "index/1", true),
        (Keep::All, "packs/1", true),
        (Keep::All, "config", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let cached = Cache::new(dir.path(), 1 << 30).before("repository", keep, Arc::clone(&objects) as _);
        cached.get(name, 0..2_000_000).unwrap();
        objects.asked();
        assert!(cached.get(name, 0..2_000_000).unwrap() == bytes[..2_000_000]);
        assert_eq!(objects.asked() == 0, is_kept, "{keep:?} {name}");
    }
}

#[test]
fn damage_is_a_miss_and_what_is_checked_comes_from_the_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(600_000, 1);
    let objects = Objects::with(&[("packs/1", &bytes)]);
    let cache = Cache::new(dir.path(), 1 << 30);
    let cached = cache.before("repository", Keep::All, Arc::clone(&objects) as _);
    cached.get("packs/1", 0..600_000).unwrap();
    for damage in [0, 40, 100_000, usize::MAX] {
        for file in files(dir.path()) {
            let mut stored = fs::read(&file).unwrap();
            match stored.get_mut(damage) {
                Some(byte) => *byte ^= 1,
                None => stored.truncate(stored.len() / 2),
            }
            fs::write(&file, stored).unwrap();
        }
        assert!(cached.get("packs/1", 0..600_000).unwrap() == bytes, "{damage}");
        assert!(objects.asked() > 0);
        cached.get("packs/1", 0..600_000).unwrap();
        assert_eq!(objects.asked(), 0, "it is kept again");
    }
    // A repair has put another object in its place.
    let mended = noise(600_000, 2);
    objects.objects.lock().unwrap().insert("packs/1".to_owned(), mended.clone());
    let fresh = cache.before("repository", Keep::Fresh, Arc::clone(&objects) as _);
    assert!(fresh.get("packs/1", 0..600_000).unwrap() == mended);
    assert!(cached.get("packs/1", 0..600_000).unwrap() == mended);
}

#[test]
fn a_cache_that_cannot_be_written_costs_requests_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("file");
    fs::write(&in_the_way, b"no directory").unwrap();
    let bytes = noise(600_000, 1);
    let objects = Objects::with(&[("packs/1", &bytes)]);
    for cache in [Cache::new(&in_the_way, 1 << 30), Cache::new(&dir.path().join("none"), 0)] {
        let cached = cache.before("repository", Keep::All, Arc::clone(&objects) as _);
        for _ in 0..2 {
            assert!(cached.get("packs/1", 5..600_000).unwrap() == bytes[5..]);
            assert!(objects.asked() > 0);
        }
    }
    assert!(!dir.path().join("none").exists());
}

#[test]
fn it_takes_no_more_than_its_limit_and_what_was_used_last_stays() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(8 << 20, 1);
    let names: Vec<String> = (0..8).map(|number| format!("packs/{number}")).collect();
    let all: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &*bytes)).collect();
    let objects = Objects::with(&all);
    let cache = Cache::new(dir.path(), 16 << 20);
    let cached = cache.before("repository", Keep::All, Arc::clone(&objects) as _);
    for name in &names {
        cached.get(name, 0..8 << 20).unwrap();
    }
    let usage = cache.usage().unwrap();
    assert!(usage.bytes <= (16 << 20) * 17 / 16 && usage.pieces > 40 && usage.repositories == 1, "{usage:?}");
    objects.asked();
    cached.get(&names[7], (8 << 20) - 10..8 << 20).unwrap();
    assert_eq!(objects.asked(), 0);
    assert_eq!(cache.clear().unwrap(), usage);
    assert_eq!((cache.usage().unwrap(), files(dir.path()).len()), (Usage::default(), 0));
    assert!(cached.get(&names[7], 0..100).unwrap() == bytes[..100]);
}

#[test]
fn many_that_want_one_piece_fetch_it_once_and_processes_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(2_000_000, 3);
    let objects = Objects::with(&[("packs/1", &bytes)]);
    let cached = Cache::new(dir.path(), 1 << 30).before("repository", Keep::All, Arc::clone(&objects) as _);
    cached.head("packs/1").unwrap();
    objects.asked();
    thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| assert!(cached.get("packs/1", 10..5000).unwrap() == bytes[10..5000]));
        }
    });
    assert_eq!(objects.asked(), 1);
    let processes: Vec<_> = (0..4)
        .map(|_| Cache::new(dir.path(), 1 << 20).before("repository", Keep::All, Arc::clone(&objects) as _))
        .collect();
    thread::scope(|threads| {
        for cached in &processes {
            threads.spawn(|| {
                for at in (0..1_900_000).step_by(90_000) {
                    let found = cached.get("packs/1", at..at + 100_000).unwrap();
                    assert!(found == bytes[self::at(at)..self::at(at) + 100_000]);
                }
            });
        }
    });
}
