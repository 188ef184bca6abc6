//! A storage with so much room: what is written anew needs some, what is written over, punched or
//! removed does not.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;

use icecore::storage::Call;
use icecore::storage::MemoryStorage;
use icecore::storage::Op;
use icecore::storage::Watch;
use icecore::storage::Watched;

const BLOCK: u64 = 4096;

/// The blocks that each file has, and how many there may be.
#[derive(Default)]
pub(crate) struct Blocks {
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
pub(crate) type Room = Watched<MemoryStorage, Limit>;

#[derive(Default)]
pub(crate) struct Limit(Mutex<Blocks>, Condvar);

/// Begins with these files, and as much room as anybody wants.
pub(crate) fn room(files: MemoryStorage) -> Room {
    let limit = Limit::default();
    for (name, bytes) in files.files() {
        let data = bytes.chunks(4096).zip(0..).filter(|(block, _)| block.iter().any(|b| *b != 0));
        limit.blocks().of.insert(name, data.map(|(_, number)| number).collect());
    }
    Room::new(files, limit)
}

impl Limit {
    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap()
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
            blocks = self.1.wait(blocks).unwrap();
        }
    }

    pub(crate) fn refused(&self) -> usize {
        self.blocks().refused
    }

    /// Makes whoever waits look again.
    pub(crate) fn wake(&self) {
        drop(self.blocks());
        self.1.notify_all();
    }

    fn take(&self, name: &str, range: Range<u64>) -> io::Result<()> {
        let taken = self.blocks().take(name, range);
        self.1.notify_all();
        taken
    }
}

impl Watch for Limit {
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        match call.op {
            Op::Append | Op::Write => self.take(call.name, call.range.clone()),
            _ => Ok(()),
        }
    }

    fn after(&self, call: &Call<'_>, error: Option<&io::Error>) {
        let mut blocks = self.blocks();
        match call.op {
            _ if error.is_some() => {}
            Op::Create => {
                blocks.of.insert(call.name.to_owned(), BTreeSet::new());
            }
            Op::Rename | Op::RenameNew => {
                let moved = blocks.of.remove(call.from).unwrap_or_default();
                blocks.of.insert(call.name.to_owned(), moved);
            }
            Op::Remove => {
                blocks.of.remove(call.name);
            }
            Op::Punch => {
                let gone = call.range.start.div_ceil(BLOCK)..call.range.end / BLOCK;
                if let Some(has) = blocks.of.get_mut(call.name) {
                    has.retain(|block| !gone.contains(block));
                }
            }
            _ => {}
        }
    }
}
