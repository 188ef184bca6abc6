//! An in-memory bucket, for tests: objects without directories, renames and syncs, for many machines.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use icecore::image::ReadAt;
use icecore::storage::Directory;
use icecore::storage::Mapped;
use icecore::storage::MemoryStorage;
use icecore::storage::NewObject;
use icecore::storage::Objects;
use icecore::storage::Place;
use icecore::storage::Put;
use icecore::storage::StoredFile;
use icecore::storage::Told;
use icecore::storage::retained;

/// The objects by name.
pub type Content = BTreeMap<String, Arc<Vec<u8>>>;

/// A bucket that many machines use, with a clock of its own. Clones share their content.
#[derive(Clone)]
pub struct Bucket {
    content: Arc<Mutex<Content>>,
    made: Arc<Mutex<BTreeMap<String, u64>>>,
    now_unix_ms: Arc<AtomicU64>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done and answered.
    Done,
    /// It never arrives.
    Lost,
    /// It is done, and the answer is lost.
    Unanswered,
    /// The machine has no right to it.
    Denied,
    /// The bucket keeps its objects for a time.
    Retained,
}

/// Decides what becomes of a request: what it does (`list`, `get`, `put`, `replace` or `delete`, or
/// `near` for a part that is brought near), and the name of the object or directory, for a part with
/// its range. It may do other work meanwhile.
pub type Decide = dyn Fn(&str, &str) -> Fate + Send + Sync;

/// A bucket as a machine reaches it.
#[derive(Clone)]
pub struct Reached {
    bucket: Bucket,
    decide: Arc<Decide>,
}

/// An empty bucket, a while after 1970.
impl Default for Bucket {
    fn default() -> Self {
        let now_unix_ms = Arc::new(AtomicU64::new(1 << 40));
        Self { content: Arc::default(), made: Arc::default(), now_unix_ms }
    }
}

impl Bucket {
    pub fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    /// Moves the clock forward.
    pub fn wait_ms(&self, ms: u64) {
        self.now_unix_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Returns the bucket as a machine reaches it that nothing happens to.
    pub fn reached(&self) -> Reached {
        Reached { bucket: self.clone(), decide: Arc::new(|_, _| Fate::Done) }
    }

    /// Returns the place of a machine that has these local files.
    pub fn seen_from(&self, local: &MemoryStorage) -> Place {
        self.reached_from(local, Arc::new(|_, _| Fate::Done))
    }

    /// Returns the place of a machine that has these local files, and whose requests end so.
    pub fn reached_from(&self, local: &MemoryStorage, decide: Arc<Decide>) -> Place {
        let local = Arc::new(local.clone());
        let reached = Reached { bucket: self.clone(), decide };
        Place::new(Arc::new(reached), Arc::clone(&local) as _, Arc::new(Directory::new(local)))
    }

    /// Puts an object. Whoever holds the content decides by what is there, and nothing comes between.
    fn put(&self, content: &mut Content, name: &str, bytes: &[u8]) {
        content.insert(name.to_owned(), Arc::new(bytes.to_vec()));
        self.made.lock().unwrap().insert(name.to_owned(), self.now_unix_ms.load(Ordering::Relaxed));
    }
}

impl Reached {
    fn ask<T>(&self, what: &str, name: &str, then: impl FnOnce(&Bucket) -> io::Result<T>) -> io::Result<T> {
        match (self.decide)(what, name) {
            Fate::Done => then(&self.bucket),
            Fate::Lost => Err(io::ErrorKind::TimedOut.into()),
            Fate::Unanswered => then(&self.bucket).and(Err(io::ErrorKind::TimedOut.into())),
            Fate::Denied => Err(io::ErrorKind::PermissionDenied.into()),
            Fate::Retained => Err(retained("kept until tomorrow")),
        }
    }
}

struct Object {
    bytes: Arc<Vec<u8>>,
    /// Its name, once it has one, and the machine that opened it.
    named: Option<(Reached, String)>,
}

impl StoredFile for Object {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn bring_near(&self, range: Range<u64>) -> io::Result<()> {
        let Some((reached, name)) = &self.named else { return Ok(()) };
        reached.ask("near", &format!("{name} {}..{}", range.start, range.end), |_| Ok(()))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.bytes.as_slice().read_at(offset, buffer)
    }

    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        self.read_at(range.start, &mut bytes)?;
        Ok(Mapped::new(bytes))
    }
}

struct Upload {
    reached: Reached,
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
        Ok(Box::new(Object { bytes: Arc::new(self.bytes.clone()), named: None }))
    }

    fn publish(&mut self, name: &str) -> io::Result<Put> {
        self.reached.ask("put", name, |bucket| {
            let mut content = bucket.content();
            if content.contains_key(name) {
                return Ok(Put::Exists);
            }
            bucket.put(&mut content, name, &self.bytes);
            Ok(Put::Made)
        })
    }

    fn mend(&mut self, name: &str) -> io::Result<()> {
        self.reached.put_hint(name, &self.bytes)
    }
}

impl Objects for Reached {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.ask("list", dir, |bucket| {
            let content = bucket.content();
            let inside = content.keys().filter_map(|name| name.strip_prefix(dir)?.strip_prefix('/'));
            Ok(inside.map(str::to_owned).collect())
        })
    }

    fn list_told(&self, dir: &str) -> io::Result<Vec<Told>> {
        let names = self.list(dir)?;
        let (content, made) = (self.bucket.content(), self.bucket.made.lock().unwrap());
        let told = |name: String| {
            let path = format!("{dir}/{name}");
            let bytes = content.get(&path)?.len() as u64;
            Some(Told { name, bytes, made_unix_ms: made.get(&path).copied() })
        };
        Ok(names.into_iter().filter_map(told).collect())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.ask("get", name, |bucket| {
            let bytes = bucket.content().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
            let named = Some((self.clone(), name.to_owned()));
            Ok(Box::new(Object { bytes, named }) as Box<dyn StoredFile>)
        })
    }

    fn begin(&self, _spool: &str) -> io::Result<Box<dyn NewObject>> {
        Ok(Box::new(Upload { reached: self.clone(), bytes: Vec::new() }))
    }

    fn put_hint(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.ask("replace", name, |bucket| {
            bucket.put(&mut bucket.content(), name, bytes);
            Ok(())
        })
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.ask("delete", name, |bucket| {
            bucket.content().remove(name);
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.ask("replace", to, |bucket| {
            let mut content = bucket.content();
            if content.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let bytes = content.remove(from).ok_or(io::ErrorKind::NotFound)?;
            bucket.put(&mut content, to, &bytes);
            Ok(())
        })
    }

    fn sync(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }
}
