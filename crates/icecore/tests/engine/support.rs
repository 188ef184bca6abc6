//! What the tests stand on: repositories in memory, images that misbehave on purpose, targets, disks.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use icecore::BLOCK_BYTES;
use icecore::Meter;
use icecore::NoProgress;
use icecore::Progress;
use icecore::image::ImageState;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::maintenance::Depth;
use icecore::maintenance::gc;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::scale::close_packs_at;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CaptureReport;
use icecore::snapshot::FileIdentity;
use icecore::snapshot::OnDamage;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use uuid::Uuid;

/// Numbers that no two calls share: sessions, snapshot ids, times.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A repository in memory.
pub(crate) struct Bench {
    pub(crate) storage: MemoryStorage,
    pub(crate) repo: Repository,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let storage = MemoryStorage::new();
        let repo = init(storage.clone());
        Self { storage, repo }
    }

    /// Opens the repository once more, as another process would.
    pub(crate) fn another(&self) -> Repository {
        open(self.storage.clone())
    }

    /// Captures an image of a volume.
    pub(crate) fn capture(&self, volume: &str, image: &dyn ReadAt) -> CaptureReport {
        icecore::snapshot::capture(&self.repo, image, &options(volume), &NoProgress).unwrap()
    }

    pub(crate) fn snapshot(&self, volume: &str, image: &dyn ReadAt) -> SnapshotId {
        self.capture(volume, image).snapshot.id
    }

    /// Counts files below a directory.
    pub(crate) fn count(&self, dir: &str) -> usize {
        self.storage.files().keys().filter(|name| name.starts_with(dir)).count()
    }
}

pub(crate) fn init(storage: impl Storage + 'static) -> Repository {
    Repository::init(Arc::new(storage), session(), &init_options()).unwrap()
}

pub(crate) fn init_options() -> InitOptions {
    InitOptions {
        id: RepositoryId(Uuid::from_u128(7)),
        key: [3; 32],
        created_unix_ms: 1_800_000_000_000,
        level: 1,
        parity: None,
    }
}

pub(crate) fn open(storage: impl Storage + 'static) -> Repository {
    Repository::open(Arc::new(storage), session()).unwrap()
}

/// Packs are closed when they are this long: after each chunk that does not compress.
const PACK_BYTES: u64 = 60_000;

/// Makes a handle close packs early.
pub(crate) fn with_small_packs(repo: icecore::Result<Repository>) -> icecore::Result<Repository> {
    repo.map(|mut repo| {
        close_packs_at(&mut repo, PACK_BYTES);
        repo
    })
}

/// Opens a repository; little data then fills several packs.
pub(crate) fn open_with_small_packs(storage: impl Storage + 'static) -> icecore::Result<Repository> {
    with_small_packs(Repository::open(Arc::new(storage), session()))
}

/// Runs a gc that leaves nothing unused.
pub(crate) fn collect(repo: &Repository) -> icecore::Result<gc::GcTotals> {
    let plan = gc::plan(repo, &gc::GcOptions { max_unused: 0.0 }, &NoProgress)?;
    gc::apply(repo, plan, &NoProgress)
}

/// Checks that a snapshot is an image, byte for byte.
pub(crate) fn restores(repo: &Repository, id: SnapshotId, image: &[u8]) -> Result<(), String> {
    let mut comparing = Comparing { rest: image };
    icecore::snapshot::restore(repo, id, RestoreTo::Stream(&mut comparing), OnDamage::Stop, &NoProgress)
        .map_err(|error| format!("restore of {id}: {error}"))?;
    if comparing.rest.is_empty() { Ok(()) } else { Err(format!("the end of {id} is missing")) }
}

/// Takes bytes that must be these.
struct Comparing<'a> {
    rest: &'a [u8],
}

impl io::Write for Comparing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.rest.split_at_checked(bytes.len()) {
            Some((same, rest)) if same == bytes => {
                self.rest = rest;
                Ok(bytes.len())
            }
            _ => Err(io::Error::other("other bytes than were captured")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns an id for a handle.
pub(crate) fn session() -> Uuid {
    Uuid::from_u128(u128::from(fresh()))
}

/// Returns options for a capture of a volume, with an id, a time and a name of its own.
pub(crate) fn options(volume: &str) -> CaptureOptions {
    let number = fresh();
    CaptureOptions::new(
        SnapshotId(Uuid::from_u128((u128::from(number) << 96) | 0x1234)),
        1_800_000_000_000 + i64::try_from(number).unwrap(),
        ResourceKind::Volume,
        volume,
        format!("snapshot-{number}"),
    )
}

/// Where a restore goes: to a new target, or to one that has something.
pub(crate) type To = for<'a> fn(&'a dyn WriteAt) -> RestoreTo<'a>;
pub(crate) const FRESH: To = |target| RestoreTo::Fresh(target);
pub(crate) const IN_PLACE: To = |target| RestoreTo::InPlace(target);

/// Returns the whole image of a snapshot.
pub(crate) fn image_of(repo: &Repository, id: SnapshotId) -> Vec<u8> {
    let mut bytes = Vec::new();
    icecore::snapshot::restore(repo, id, RestoreTo::Stream(&mut bytes), OnDamage::Stop, &NoProgress).unwrap();
    bytes
}

/// Fails if two images are not equal, and says where, not with millions of numbers.
pub(crate) fn assert_same(found: &[u8], wanted: &[u8], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: the length");
    let differs = found.iter().zip(wanted).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{what}: the first byte that differs");
}

/// Fails unless a repository is in order, down to the last block.
pub(crate) fn assert_sound(repo: &Repository, what: &str) {
    let report = icecore::maintenance::verify(repo, None, Depth::ReadData, &NoProgress).unwrap();
    assert_eq!(report.findings, [], "{what}");
}

/// Is called before each read with its range; what it returns goes to the reader.
pub(crate) type OnRead<'a> = Box<dyn Fn(Range<u64>) -> io::Result<()> + Send + Sync + 'a>;

/// An image of any size that has data in some places only.
pub(crate) struct TestImage<'a> {
    len: u64,
    /// By offset. What is not here is a hole.
    pieces: BTreeMap<u64, Vec<u8>>,
    pub(crate) reads: Mutex<Vec<Range<u64>>>,
    /// What the engine said that it will read soon, and that it is done with.
    pub(crate) will_need: Mutex<Vec<Range<u64>>>,
    pub(crate) done_with: Mutex<Vec<Range<u64>>>,
    pub(crate) on_read: OnRead<'a>,
    /// What [`ReadAt::state`] says the size is.
    pub(crate) size_now: AtomicU64,
    pub(crate) identity: Option<FileIdentity>,
}

impl<'a> TestImage<'a> {
    pub(crate) fn new(len: u64) -> Self {
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
    pub(crate) fn full(bytes: &[u8]) -> Self {
        Self::new(bytes.len() as u64).with(0, bytes)
    }

    pub(crate) fn with(mut self, offset: u64, bytes: &[u8]) -> Self {
        assert!(offset + bytes.len() as u64 <= self.len);
        self.pieces.insert(offset, bytes.to_vec());
        self
    }

    pub(crate) fn on_read(
        mut self,
        on_read: impl Fn(Range<u64>) -> io::Result<()> + Send + Sync + 'a,
    ) -> Self {
        self.on_read = Box::new(on_read);
        self
    }

    /// Returns the bytes that were asked for.
    pub(crate) fn bytes_read(&self) -> u64 {
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

/// A target of a restore, in memory.
pub(crate) struct Target<'a> {
    bytes: Mutex<Vec<u8>>,
    pub(crate) on_write: Box<dyn Fn() + Send + Sync + 'a>,
}

impl<'a> Target<'a> {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Mutex::new(bytes), on_write: Box::new(|| ()) }
    }

    pub(crate) fn on_write(mut self, on_write: impl Fn() + Send + Sync + 'a) -> Self {
        self.on_write = Box::new(on_write);
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
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

/// Returns the blocks of an image that are not zero, the last one filled up with zeros: none where a block is zero.
pub(crate) fn blocks(image: &[u8]) -> Vec<Option<Vec<u8>>> {
    let block = |part: &[u8]| {
        let mut block = part.to_vec();
        block.resize(BLOCK_BYTES, 0);
        block.iter().any(|byte| *byte != 0).then_some(block)
    };
    image.chunks(BLOCK_BYTES).map(block).collect()
}

/// Does something with the engine from inside of a call of it: on threads of its own, because those that called are
/// waiting.
pub(crate) fn meanwhile(what: impl FnOnce() + Send) {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    std::thread::scope(|scope| scope.spawn(|| threads.install(what)).join().unwrap());
}

/// Asks a capture to stop, which looks once for each leaf.
pub(crate) struct Stopping(AtomicU32);

impl Stopping {
    /// Lets it go on until the leaf with a number, counted from 1.
    pub(crate) fn at(leaf: u32) -> Self {
        Self(AtomicU32::new(leaf))
    }
}

impl Progress for Stopping {
    fn total(&self, _meter: Meter, _total: u64) {}

    fn advance(&self, _meter: Meter, _amount: u64) {}

    fn cancelled(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) <= 1
    }
}
