//! Images that misbehave on purpose, and targets of restores.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use icecore::BLOCK_BYTES;
use icecore::image::ImageState;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::snapshot::FileIdentity;

/// A hook that is called before each read with its range. The reader gets its result.
pub type OnRead<'a> = Box<dyn Fn(Range<u64>) -> io::Result<()> + Send + Sync + 'a>;

/// An image of any size with data in some places only.
pub struct TestImage<'a> {
    len: u64,
    /// The data by offset. Everything else is a hole.
    pieces: BTreeMap<u64, Vec<u8>>,
    pub reads: Mutex<Vec<Range<u64>>>,
    /// The ranges that the engine announced it would read soon, and those it was done with.
    pub will_need: Mutex<Vec<Range<u64>>>,
    pub done_with: Mutex<Vec<Range<u64>>>,
    pub on_read: OnRead<'a>,
    /// The size that [`ReadAt::state`] reports.
    pub size_now: AtomicU64,
    pub identity: Option<FileIdentity>,
}

impl<'a> TestImage<'a> {
    pub fn new(len: u64) -> Self {
        Self {
            len,
            pieces: BTreeMap::new(),
            reads: Mutex::default(),
            will_need: Mutex::default(),
            done_with: Mutex::default(),
            on_read: Box::new(|_| Ok(())),
            size_now: AtomicU64::new(len),
            identity: None,
        }
    }

    /// Returns an image that has no holes.
    pub fn full(bytes: &[u8]) -> Self {
        Self::new(bytes.len() as u64).with(0, bytes)
    }

    pub fn with(mut self, offset: u64, bytes: &[u8]) -> Self {
        assert!(offset + bytes.len() as u64 <= self.len);
        self.pieces.insert(offset, bytes.to_vec());
        self
    }

    pub fn on_read(mut self, on_read: impl Fn(Range<u64>) -> io::Result<()> + Send + Sync + 'a) -> Self {
        self.on_read = Box::new(on_read);
        self
    }

    /// Returns the number of bytes that were read.
    pub fn bytes_read(&self) -> u64 {
        self.reads.lock().unwrap().iter().map(|range| range.end - range.start).sum()
    }
}

impl ReadAt for TestImage<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        (self.on_read)(offset..end)?;
        if end > self.len.min(self.size_now.load(Ordering::SeqCst)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reads.lock().unwrap().push(offset..end);
        buffer.fill(0);
        for (at, bytes) in self.pieces.range(..end) {
            let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
            if from < to {
                let [into, source] = [offset, *at].map(|start| {
                    usize::try_from(from - start).unwrap()..usize::try_from(to - start).unwrap()
                });
                buffer[into].copy_from_slice(&bytes[source]);
            }
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let ends = self.pieces.iter().map(|(at, bytes)| (*at, at + bytes.len() as u64));
        let next = ends.filter(|(_, end)| *end > offset).min();
        Ok(next.map(|(at, end)| at.max(offset)..end))
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.will_need.lock().unwrap().push(range);
        true
    }

    fn done_with(&self, range: Range<u64>) {
        self.done_with.lock().unwrap().push(range);
    }

    fn state(&self) -> io::Result<ImageState> {
        let size_bytes = self.size_now.load(Ordering::SeqCst);
        Ok(ImageState { size_bytes, identity: self.identity, sectors_written: None, standing: None })
    }
}

/// A restore target in memory.
pub struct Target<'a> {
    bytes: Mutex<Vec<u8>>,
    pub on_write: Box<dyn Fn() + Send + Sync + 'a>,
}

impl<'a> Target<'a> {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Mutex::new(bytes), on_write: Box::new(|| ()) }
    }

    pub fn on_write(mut self, on_write: impl Fn() + Send + Sync + 'a) -> Self {
        self.on_write = Box::new(on_write);
        self
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner().unwrap()
    }
}

impl ReadAt for Target<'_> {
    fn len(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.bytes.lock().unwrap().read_at(offset, buffer)
    }
}

impl WriteAt for Target<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (self.on_write)();
        let start = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
        self.bytes.lock().unwrap()[start..end].fill(0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the blocks of an image, the last one padded with zeros, and none for each block of
/// zeros.
pub fn blocks(image: &[u8]) -> Vec<Option<Vec<u8>>> {
    let block = |part: &[u8]| {
        let mut block = part.to_vec();
        block.resize(BLOCK_BYTES, 0);
        block.iter().any(|byte| *byte != 0).then_some(block)
    };
    image.chunks(BLOCK_BYTES).map(block).collect()
}
