//! Disks for tests: bytes in memory that check what is asked of them, and fail, wait or panic where
//! they are told to.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore_nbd::Disk;
use icecore_nbd::ExportName;
use icecore_nbd::Exports;
use icecore_nbd::OpenError;

pub(crate) const BLOCK: usize = 4096;

/// A gate that is open, or at which those who come wait.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    waiting: AtomicUsize,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let closed = self.closed.lock().unwrap();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_all();
        drop(self.changed.wait_while(closed, |closed| *closed).unwrap());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits until someone stands at the closed gate.
    pub(crate) fn wait_for_one(&self) {
        let closed = self.closed.lock().unwrap();
        drop(self.changed.wait_while(closed, |_| self.waiting.load(Ordering::SeqCst) == 0).unwrap());
    }
}

#[derive(Default)]
pub(crate) struct Ram {
    pub(crate) bytes: Mutex<Vec<u8>>,
    pub(crate) read_only: bool,
    /// Syncs so far.
    pub(crate) syncs: AtomicUsize,
    /// Whether anything was written since the last.
    pub(crate) unsynced: AtomicBool,
    /// Calls to `will_need`.
    pub(crate) needed: Mutex<Vec<Range<u64>>>,
    /// Calls to `zero_at`.
    pub(crate) zeroed: Mutex<Vec<Range<u64>>>,
    /// Reads, writes and zeroing of blocks in here fail with these errors; block `u64::MAX` is a
    /// sync.
    pub(crate) errors: Mutex<BTreeMap<u64, i32>>,
    /// Reads of this block panic.
    pub(crate) panics_at: Option<u64>,
    /// Where syncs wait.
    pub(crate) gate: Gate,
}

impl Ram {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Mutex::new(bytes), ..Self::default() }
    }

    /// Fails if the range is not in the disk: the server must have seen that.
    fn check(&self, range: &Range<u64>) -> io::Result<Range<usize>> {
        let length = self.bytes.lock().unwrap().len() as u64;
        assert!(range.start < range.end && range.end <= length, "{range:?} is not within {length}");
        let blocks = range.start / BLOCK as u64..range.end.div_ceil(BLOCK as u64);
        assert!(self.panics_at.is_none_or(|block| !blocks.contains(&block)), "told to");
        if let Some((_, error)) = self.errors.lock().unwrap().range(blocks).next() {
            return Err(io::Error::from_raw_os_error(*error));
        }
        Ok(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
    }
}

impl ReadAt for Ram {
    fn len(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = self.check(&(offset..offset + buffer.len() as u64))?;
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[range]);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let bytes = self.bytes.lock().unwrap();
        let is_data = |block: &[u8]| block.iter().any(|byte| *byte != 0);
        let mut blocks = (0..).zip(bytes.chunks(BLOCK)).skip(usize::try_from(offset).unwrap() / BLOCK);
        let Some((start, _)) = blocks.find(|(_, block)| is_data(block)) else { return Ok(None) };
        let end = blocks.find(|(_, block)| !is_data(block)).map(|(end, _)| end * BLOCK as u64);
        let start = offset.max(start * BLOCK as u64);
        Ok(Some(start..end.unwrap_or(bytes.len() as u64)))
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.check(&range).unwrap();
        self.needed.lock().unwrap().push(range);
        true
    }
}

impl WriteAt for Ram {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(!self.read_only);
        let range = self.check(&(offset..offset + bytes.len() as u64))?;
        self.unsynced.store(true, Ordering::SeqCst);
        self.bytes.lock().unwrap()[range].copy_from_slice(bytes);
        Ok(())
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        assert!(!self.read_only);
        self.zeroed.lock().unwrap().push(range.clone());
        let range = self.check(&range)?;
        self.unsynced.store(true, Ordering::SeqCst);
        self.bytes.lock().unwrap()[range].fill(0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        if let Some(error) = self.errors.lock().unwrap().get(&u64::MAX) {
            return Err(io::Error::from_raw_os_error(*error));
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.unsynced.store(false, Ordering::SeqCst);
        Ok(())
    }
}

impl Disk for Ram {
    fn writable(&self) -> Option<&dyn WriteAt> {
        (!self.read_only).then_some(self)
    }

    fn contexts(&self) -> &[&'static str] {
        &["test:odd", "test:none"]
    }

    /// In `test:odd`, every other block has the flag 7; of `test:none` nothing is known.
    fn status(&self, context: &str, range: Range<u64>) -> io::Result<Vec<(u64, u32)>> {
        if context == "test:none" {
            return Ok(Vec::new());
        }
        let block = BLOCK as u64;
        let mut at = range.start;
        let mut extents = Vec::new();
        while at < range.end {
            let end = (at / block + 1) * block;
            extents.push((end - at, if at / block % 2 == 1 { 7 } else { 0 }));
            at = end;
        }
        Ok(extents)
    }
}

/// Exports by their names; beside them, `secret` is denied and `broken` cannot be opened.
pub(crate) struct Shelf(pub(crate) Vec<(&'static str, Arc<Ram>)>);

impl Exports for Shelf {
    fn list(&self) -> Vec<ExportName> {
        let name = |(name, _): &(&str, Arc<Ram>)| {
            let description = format!("the {name} of a test");
            ExportName { name: (*name).to_owned(), description }
        };
        self.0.iter().map(name).collect()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Disk>, OpenError> {
        match name {
            "secret" => return Err(OpenError::Denied("not for you".to_owned())),
            "broken" => return Err(OpenError::Failed("no way".to_owned())),
            _ => {}
        }
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, disk)| Arc::clone(disk) as Arc<dyn Disk>).ok_or(OpenError::Unknown)
    }
}
