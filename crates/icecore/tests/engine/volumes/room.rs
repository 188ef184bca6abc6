//! A storage with so much room: what is written anew needs some, what is written over, punched or
//! removed does not.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;

use icecore::storage::MemoryStorage;
use icecore::storage::NewFile;
use icecore::storage::RandomFile;
use icecore::storage::Storage;

const BLOCK: u64 = 4096;

/// The blocks that each file has, and how many there may be.
#[derive(Default)]
struct Blocks {
    of: BTreeMap<String, BTreeSet<u64>>,
    most: Option<usize>,
    /// How often a volume's data was refused.
    refused: usize,
}

impl Blocks {
    fn used(&self) -> usize {
        self.of.values().map(BTreeSet::len).sum()
    }

    /// Gives a file room for a range.
    fn take(&mut self, name: &str, range: Range<u64>) -> io::Result<()> {
        let has = self.of.get(name);
        let new: Vec<u64> = (range.start / BLOCK..range.end.div_ceil(BLOCK))
            .filter(|block| has.is_none_or(|has| !has.contains(block)))
            .collect();
        if self.most.is_some_and(|most| self.used() + new.len() > most) && !new.is_empty() {
            self.refused += usize::from(name.contains("/overlay-") || name.contains("/map-"));
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.of.entry(name.to_owned()).or_default().extend(new);
        Ok(())
    }
}

/// A file system in memory that can be full.
#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) files: MemoryStorage,
    blocks: Arc<(Mutex<Blocks>, Condvar)>,
}

impl Room {
    /// Begins with these files, and as much room as anybody wants.
    pub(crate) fn new(files: MemoryStorage) -> Self {
        let room = Self { files, blocks: Arc::default() };
        for (name, bytes) in room.files.files() {
            let data = bytes.chunks(4096).zip(0..).filter(|(block, _)| block.iter().any(|b| *b != 0));
            room.blocks().of.insert(name, data.map(|(_, number)| number).collect());
        }
        room
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.0.lock().unwrap()
    }

    /// Leaves room for so many blocks, or for any number.
    pub(crate) fn leave(&self, blocks: Option<usize>) {
        let mut now = self.blocks();
        now.most = blocks.map(|blocks| now.used() + blocks);
    }

    pub(crate) fn used(&self) -> usize {
        self.blocks().used()
    }

    /// Waits until what is written to a volume was refused more often than this, or `is_enough`.
    pub(crate) fn wait_refused(&self, more_than: usize, is_enough: impl Fn() -> bool) {
        let mut blocks = self.blocks();
        while blocks.refused <= more_than && !is_enough() {
            blocks = self.blocks.1.wait(blocks).unwrap();
        }
    }

    pub(crate) fn refused(&self) -> usize {
        self.blocks().refused
    }

    /// Makes whoever waits look again.
    pub(crate) fn wake(&self) {
        drop(self.blocks());
        self.blocks.1.notify_all();
    }

    fn take(&self, name: &str, range: Range<u64>) -> io::Result<()> {
        let taken = self.blocks().take(name, range);
        self.blocks.1.notify_all();
        taken
    }
}

impl Storage for Room {
    icecore_testing::forward_storage!(files: list, list_dirs, open, make_dir, sync_dir, remove_dir, lock);

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let inner = self.files.create(name)?;
        self.blocks().of.insert(name.to_owned(), BTreeSet::new());
        Ok(Box::new(File { room: self.clone(), name: name.to_owned(), inner, len: 0 }))
    }

    fn open_random(&self, name: &str) -> io::Result<Box<dyn RandomFile>> {
        let inner = self.files.open_random(name)?;
        Ok(Box::new(File { room: self.clone(), name: name.to_owned(), inner, len: 0 }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)?;
        let mut blocks = self.blocks();
        let moved = blocks.of.remove(from).unwrap_or_default();
        blocks.of.insert(to.to_owned(), moved);
        Ok(())
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename_new(from, to)?;
        let mut blocks = self.blocks();
        let moved = blocks.of.remove(from).unwrap_or_default();
        blocks.of.insert(to.to_owned(), moved);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)?;
        self.blocks().of.remove(name);
        Ok(())
    }
}

struct File<F: ?Sized> {
    room: Room,
    name: String,
    len: u64,
    inner: Box<F>,
}

impl NewFile for File<dyn NewFile> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.len + bytes.len() as u64;
        self.room.take(&self.name, self.len..end)?;
        self.len = end;
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }
}

impl RandomFile for File<dyn RandomFile> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.room.take(&self.name, offset..offset + bytes.len() as u64)?;
        self.inner.write_at(offset, bytes)
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        self.inner.punch(range.clone())?;
        let gone = range.start.div_ceil(BLOCK)..range.end / BLOCK;
        if let Some(has) = self.room.blocks().of.get_mut(&self.name) {
            has.retain(|block| !gone.contains(block));
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.inner.next_data(offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}
