//! Brings near what a snapshot needs, ahead of its readers: into the cache of a bucket, or into the
//! memory of the kernel.

use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::planner::Near;
use crate::stores::planner::Plan;
use crate::stores::reads;
use crate::views::cache::BlockCache;
use crate::views::snapshot::SnapshotDisk;
use crate::views::volume::Volume;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::pool::start;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::SPAN_U64;
use crate::words::sync::Mutex;
use crate::words::sync::thread;
use crate::world::io::ReadAt;

/// How much of the image is planned at once.
const WINDOW_BYTES: u64 = 16 << 20;
/// How many parts are on their way at once: enough for a fast link, and few enough to leave most of
/// the requests that can be in flight to readers.
const THREADS: usize = 8;

/// How much of a snapshot is brought near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefetchExtent {
    /// What was recorded: see [`Volume::record_reads`].
    Recorded,
    /// That first, and then everything else, in the order of the image.
    All,
}

/// How a prefetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefetchEnd {
    /// Everything that was asked for is near.
    Complete,
    /// More would not have fitted.
    Full,
    /// The caller wanted it to stop.
    Stopped,
}

/// What a prefetch has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefetchReport {
    /// How it ended.
    pub end: PrefetchEnd,
    /// Whether there is a record of what is read first.
    pub has_record: bool,
    /// The stored bytes that are near now of what was recorded.
    pub recorded_bytes: u64,
    /// The stored bytes that are near now, in whole pieces as they are kept.
    pub bytes: u64,
}

/// A snapshot to bring near.
pub struct Prefetch {
    repo: Arc<Repository>,
    record: Record,
    disk: SnapshotDisk,
}

impl Prefetch {
    /// Returns what lies below a volume; none if that is nothing. It does not keep the volume open.
    ///
    /// # Errors
    /// Those of reading the index.
    pub fn of_volume(volume: &Volume) -> Result<Option<Self>> {
        let Some(record) = volume.base() else { return Ok(None) };
        let (repo, cache) = (volume.repo(), BlockCache::beside(&volume.cache));
        let disk = SnapshotDisk::of_record(Arc::clone(repo), &record, cache)?;
        Ok(Some(Self { repo: Arc::clone(repo), record, disk }))
    }

    /// Returns a snapshot. Nobody can delete it meanwhile.
    ///
    /// # Errors
    /// `NotFound` if the snapshot does not exist; `Corrupt` if its record is damaged.
    pub fn of_snapshot(repo: Arc<Repository>, id: SnapshotId, cache: &Arc<BlockCache>) -> Result<Self> {
        let disk = SnapshotDisk::open(Arc::clone(&repo), id, BlockCache::beside(cache))?;
        let record = repo.catalog()?.get(id)?;
        Ok(Self { repo, record, disk })
    }

    /// Returns the snapshot's id.
    pub fn snapshot(&self) -> SnapshotId {
        self.record.id
    }

    /// Brings near what was recorded of this snapshot, or else of another one of the same resource,
    /// and then the rest if that is asked for: at most `bytes_max` stored bytes. What is damaged is
    /// left to its readers. Nothing is decoded.
    ///
    /// # Errors
    /// What keeps parts from being fetched.
    pub fn run(
        &self,
        extent: PrefetchExtent,
        bytes_max: u64,
        progress: &dyn Progress,
    ) -> Result<PrefetchReport> {
        let reads = reads::find(self.repo.files(), &*self.repo.catalog()?, &self.record)?;
        let has_record = reads.is_some();
        let mut fetch = Fetch {
            of: self,
            bytes_max,
            progress,
            near: Near::default(),
            bytes: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        };
        let mut end = PrefetchEnd::Complete;
        let ranges = reads.iter().flat_map(|reads| &reads.ranges).map(|range| {
            let end = range.first.saturating_add(range.spans.into()).saturating_mul(SPAN_U64);
            range.first.saturating_mul(SPAN_U64)..end.min(self.record.size_bytes)
        });
        for window in windows(ranges) {
            let mut chunks = Vec::new();
            for range in window {
                chunks.extend(self.chunks(&range)?);
            }
            end = fetch.window(&chunks)?;
            if end != PrefetchEnd::Complete {
                break;
            }
        }
        let recorded_bytes = fetch.bytes.load(Ordering::Relaxed);
        if extent == PrefetchExtent::All && end == PrefetchEnd::Complete {
            end = self.rest(&mut fetch)?;
        }
        let bytes = fetch.bytes.into_inner();
        Ok(PrefetchReport { end, has_record, recorded_bytes, bytes })
    }

    /// Brings near everything that is not yet.
    fn rest(&self, fetch: &mut Fetch<'_>) -> Result<PrefetchEnd> {
        let mut at = 0;
        loop {
            let next = match self.disk.next_data(at).map_err(|error| Error::io("reading a manifest", error)) {
                // Where it can no longer be followed, readers find out what is wrong.
                Err(error) if is_of_readers(&error) => return Ok(PrefetchEnd::Complete),
                next => next?,
            };
            let Some(next) = next else { return Ok(PrefetchEnd::Complete) };
            at = next.start.saturating_add(WINDOW_BYTES).min(self.record.size_bytes);
            match fetch.window(&self.chunks(&(next.start..at))?)? {
                PrefetchEnd::Complete if at < self.record.size_bytes => {}
                end => return Ok(end),
            }
        }
    }

    /// Returns the chunks of a range; none if that cannot be told.
    fn chunks(&self, range: &Range<u64>) -> Result<Vec<ChunkId>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        match self.disk.chunks(range) {
            Err(error) if is_of_readers(&error) => Ok(Vec::new()),
            chunks => chunks,
        }
    }
}

/// Tells whether readers are told of an error: something is damaged, or gone.
fn is_of_readers(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
}

/// Returns ranges in groups of about the length of a window.
fn windows(ranges: impl Iterator<Item = Range<u64>>) -> impl Iterator<Item = Vec<Range<u64>>> {
    let mut ranges = ranges.peekable();
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut window = Vec::new();
        while bytes < WINDOW_BYTES
            && let Some(range) = ranges.next()
        {
            bytes += range.end.saturating_sub(range.start);
            window.push(range);
        }
        (!window.is_empty()).then_some(window)
    })
}

/// A prefetch under way.
struct Fetch<'a> {
    of: &'a Prefetch,
    bytes_max: u64,
    progress: &'a dyn Progress,
    near: Near,
    /// The bytes that are near, and on their way.
    bytes: AtomicU64,
    /// Whether there is no room for more.
    stop: AtomicBool,
}

impl Fetch<'_> {
    /// Brings chunks near, by several threads.
    fn window(&mut self, chunks: &[ChunkId]) -> Result<PrefetchEnd> {
        if self.progress.cancelled() {
            return Ok(PrefetchEnd::Stopped);
        }
        let store = self.of.disk.store();
        let mut plan = Plan::default();
        for chunk in chunks {
            match store.need_chunk(chunk) {
                Ok(located) => plan.add(located.pack.id, &located.entry),
                Err(error) if is_of_readers(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let parts = plan.bring(store, &mut self.near);
        let this = &*self;
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some((pack, part)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                if this.stop.load(Ordering::Relaxed) || this.progress.cancelled() {
                    return;
                }
                if let Err(error) = this.part(*pack, part) {
                    next.store(parts.len(), Ordering::Relaxed);
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        };
        thread::scope(|threads| {
            for _ in 1..THREADS.min(parts.len()) {
                // Without threads, this one does it all.
                let _ = start(threads, work);
            }
            work();
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None if this.stop.load(Ordering::Relaxed) => Ok(PrefetchEnd::Full),
            None if this.progress.cancelled() => Ok(PrefetchEnd::Stopped),
            None => Ok(PrefetchEnd::Complete),
        }
    }

    fn part(&self, pack: PackId, part: &Range<u64>) -> Result<()> {
        let pack = match self.of.disk.store().pack(pack) {
            Err(error) if is_of_readers(&error) => return Ok(()),
            pack => pack?,
        };
        let part = part.start..part.end.min(pack.bytes);
        let bytes = part.end.saturating_sub(part.start);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.bytes_max {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.stop.store(true, Ordering::Relaxed);
            return Ok(());
        }
        match pack.bring_near(part) {
            Err(error) if !is_of_readers(&error) => return Err(error),
            // Gc has moved what was in it.
            _ => self.progress.advance(Meter::Fetched, bytes),
        }
        Ok(())
    }
}
