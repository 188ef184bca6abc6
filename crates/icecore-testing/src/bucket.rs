//! An in-memory bucket, for tests: objects without directories, renames and syncs.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use icecore::image::ReadAt;
use icecore::storage::Directory;
use icecore::storage::Mapped;
use icecore::storage::MemoryStorage;
use icecore::storage::NewObject;
use icecore::storage::Objects;
use icecore::storage::Place;
use icecore::storage::Put;
use icecore::storage::StoredFile;

/// The objects by name.
pub type Content = BTreeMap<String, Arc<Vec<u8>>>;

/// A bucket. Clones share their content.
#[derive(Clone, Default)]
pub struct Bucket(Arc<Mutex<Content>>);

impl Bucket {
    pub fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    /// Returns the place of a machine that has these local files.
    pub fn seen_from(&self, local: &MemoryStorage) -> Place {
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
