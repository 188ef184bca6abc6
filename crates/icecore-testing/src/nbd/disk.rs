//! A disk that detects forbidden accesses: outside its bounds, or writes to it while it is
//! read-only.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore_nbd::Disk;
use icecore_nbd::ExportName;
use icecore_nbd::Exports;
use icecore_nbd::OpenError;

/// The size in bytes: not a whole number of blocks.
pub(super) const BYTES: usize = (256 << 10) + 10;
/// Every other piece of this many bytes has no data at first.
const PIECE: usize = 40_000;

pub(super) struct Watched {
    bytes: Mutex<Vec<u8>>,
    read_only: bool,
    /// Whether the server did something forbidden.
    wronged: AtomicBool,
}

impl Watched {
    pub(super) fn new(read_only: bool) -> Arc<Self> {
        let byte = |at: usize| u8::from(!(at / PIECE).is_multiple_of(2));
        let bytes = Mutex::new((0..BYTES).map(byte).collect());
        Arc::new(Self { bytes, read_only, wronged: AtomicBool::new(false) })
    }

    pub(super) fn was_wronged(&self) -> bool {
        self.wronged.load(Ordering::SeqCst)
    }

    /// Converts a range to one of this disk, after checking it. Reads and writes of the first
    /// kilobyte fail.
    fn check(&self, range: &Range<u64>, writes: bool) -> io::Result<Range<usize>> {
        if range.start >= range.end || range.end > BYTES as u64 || writes && self.read_only {
            self.wronged.store(true, Ordering::SeqCst);
            return Err(io::Error::other("not within the disk"));
        }
        let at = |offset| usize::try_from(offset).map_err(io::Error::other);
        if range.start < 1024 {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(at(range.start)?..at(range.end)?)
        }
    }
}

impl ReadAt for Watched {
    fn len(&self) -> u64 {
        BYTES as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = self.check(&(offset..offset.saturating_add(buffer.len() as u64)), false)?;
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[range]);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let bytes = self.bytes.lock().unwrap();
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let Some(hole) = rest.iter().position(|byte| *byte != 0) else { return Ok(None) };
        let data = rest[hole..].iter().position(|byte| *byte == 0).unwrap_or(rest.len() - hole);
        let start = offset + hole as u64;
        Ok(Some(start..start + data as u64))
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.check(&range, false).is_ok()
    }
}

impl WriteAt for Watched {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = self.check(&(offset..offset.saturating_add(bytes.len() as u64)), true)?;
        self.bytes.lock().unwrap()[range].copy_from_slice(bytes);
        Ok(())
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        let range = self.check(&range, true)?;
        self.bytes.lock().unwrap()[range].fill(0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for Watched {
    fn writable(&self) -> Option<&dyn WriteAt> {
        (!self.read_only).then_some(self)
    }

    fn contexts(&self) -> &[&'static str] {
        &["test:odd"]
    }

    fn status(&self, _context: &str, range: Range<u64>) -> io::Result<Vec<(u64, u32)>> {
        self.check(&range, false)?;
        // The answer is longer than requested, and has empty parts.
        Ok(vec![(0, 1), (1, 2), (0, 3), (u64::MAX, 4)])
    }
}

/// The list of exports with this disk as the only one, `d`.
pub(super) struct Only(pub(super) Arc<Watched>);

impl Exports for Only {
    fn list(&self) -> Vec<ExportName> {
        vec![ExportName { name: "d".to_owned(), description: "a disk".to_owned() }]
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Disk>, OpenError> {
        match name {
            "d" => Ok(Arc::clone(&self.0) as Arc<dyn Disk>),
            "x" => Err(OpenError::Denied("\u{e9}".repeat(5000))),
            _ => Err(OpenError::Unknown),
        }
    }
}
