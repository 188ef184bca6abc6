//! A copy-on-write volume as a disk that is read and written at any offset, while snapshots of it are taken.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::format::layout;
use crate::format::record::Record;
use crate::format::volume::SEALED_MAX;
use crate::format::volume::VolumeRecord;
use crate::repository::Repository;
use crate::stores::dirty_map::BlockState;
use crate::stores::fence;
use crate::stores::fence::Held;
use crate::stores::overlay::Overlay;
use crate::stores::volumes;
use crate::views::cache::BlockCache;
use crate::views::snapshot::SnapshotDisk;
use crate::views::stack::Stack;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::names::ResourceKind;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::LEAF_U64;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::sync::Mutex;
use crate::words::sync::MutexGuard;
use crate::words::sync::RwLock;
use crate::words::sync::RwLockReadGuard;
use crate::world::io::ReadAt;
use crate::world::io::WriteAt;

/// Regions of 4 MiB whose numbers differ by less than this can be written to at the same time.
const STRIPES: usize = 64;

/// An open volume. Nobody else has it open. Any number of threads may use it.
///
/// What was written when [`sync`](WriteAt::sync) is called is there after a crash once that returns; of what was written since,
/// each block of 4 KiB is there as it was written or as it was before.
pub struct Volume {
    repo: Arc<Repository>,
    cache: Arc<BlockCache>,
    name: String,
    kind: ResourceKind,
    record: Mutex<VolumeRecord>,
    /// What is read and written now. Held shared by whoever reads or writes, alone for the moment in which it changes.
    stack: RwLock<Stack>,
    /// Held by whoever changes which blocks of a region the overlay has.
    stripes: [Mutex<()>; STRIPES],
    /// Held shared by syncs, and alone from the moment when an overlay is sealed until that is on the medium.
    sealing: RwLock<()>,
    /// Whether an overlay was sealed and the record that says so is not on the medium.
    unpublished: AtomicBool,
    /// Held while a snapshot is taken.
    snapshots: Mutex<()>,
    _lock: Mutex<Held>,
}

/// The volume as it was at a moment, for a snapshot.
pub(crate) struct Frozen {
    pub(crate) image: Stack,
    pub(crate) base: Option<Record>,
    /// The overlays that the snapshot takes in; none where nothing was written.
    pub(crate) sealed: Vec<u64>,
}

impl Volume {
    /// Opens a volume to read and write it.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name; `InUse` if another process has it open; `Corrupt` if its record or its map is
    /// damaged.
    pub fn open(repo: Arc<Repository>, name: &str, cache: Arc<BlockCache>) -> Result<Self> {
        repo.check_writable()?;
        // Before the lock, whose file would be made.
        volumes::load(repo.base(), name)?;
        let lock = volumes::lock(repo.base(), name)?;
        repo.check_writable()?;
        let record = volumes::load(repo.base(), name)?;
        let storage = &repo.base().storage;
        let numbers = record.sealed.iter().chain([&record.active]).rev();
        let opened =
            numbers.map(|number| Overlay::open(storage, name, *number, record.size_bytes).map(Arc::new));
        let overlays = opened
            .collect::<Result<Vec<_>>>()
            .map_err(|error| error.in_context(format!("volume {name} cannot be opened")))?;
        // What a crash left of overlays that are not used, or not used any more. They may stay.
        let used = |number| record.sealed.contains(&number) || record.active == number;
        let _ = Overlay::remove_files(&**storage, name, |number| !used(number));
        let base = disk_of(&repo, record.base.as_ref(), &cache)?;
        let stack = Stack { overlays, base, size_bytes: record.size_bytes };
        Ok(Self {
            name: name.to_owned(),
            kind: record.kind,
            record: Mutex::new(record),
            stack: RwLock::new(stack),
            stripes: std::array::from_fn(|_| Mutex::default()),
            sealing: RwLock::default(),
            unpublished: AtomicBool::new(false),
            snapshots: Mutex::default(),
            _lock: Mutex::new(lock),
            repo,
            cache,
        })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what snapshots of it are snapshots of.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Returns the first range at or after `offset` that was written to, or zeroed, since the snapshot below.
    pub fn next_dirty(&self, offset: u64) -> Option<Range<u64>> {
        self.stack().next_dirty(offset)
    }

    pub(crate) fn repo(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// Keeps others from taking a snapshot meanwhile.
    pub(crate) fn one_snapshot(&self) -> MutexGuard<'_, ()> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stack(&self) -> RwLockReadGuard<'_, Stack> {
        self.stack.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals what was written so far: it does not change any more, and a new overlay takes what is written from now on. Who reads
    /// or writes meanwhile waits for a moment in memory only; a sync waits until the seal is on the medium.
    pub(crate) fn freeze(&self) -> Result<Frozen> {
        let active = Arc::clone(&self.stack().overlays[0]);
        if active.map.next(0).is_some() {
            self.seal(&active)?;
        } else if self.unpublished.load(Ordering::SeqCst) {
            // What a seal that failed has left is made durable first: a snapshot must not hold what a sync has failed for.
            let _syncs_wait = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
            self.publish()?;
        }
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Frozen { image: self.stack().below(), base: record.base, sealed: record.sealed })
    }

    fn seal(&self, active: &Arc<Overlay>) -> Result<()> {
        let base = self.repo.base();
        let doing = |error| Error::io(format!("sealing what was written to volume {}", self.name), error);
        // Most of it is made durable while nobody has to wait for it.
        active.sync().map_err(doing)?;
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if record.sealed.len() >= SEALED_MAX {
            let message = format!("volume {} has too many overlays of snapshots that failed", self.name);
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("see why its snapshots fail; `icecore volume reset` drops what was written"));
        }
        let number = record.active + 1;
        // One of this number may be left of a seal that a crash has undone, with a map that says something.
        Overlay::remove_files(&*base.storage, &self.name, |left| left == number).map_err(doing)?;
        let next = Arc::new(Overlay::create(&base.storage, &self.name, number)?);
        base.sync_dir(&layout::volume_dir(&self.name))?;
        let _syncs_wait = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
        {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            let mut stack = self.stack.write().unwrap_or_else(PoisonError::into_inner);
            stack.overlays.insert(0, next);
            let sealed = std::mem::replace(&mut record.active, number);
            record.sealed.push(sealed);
            self.unpublished.store(true, Ordering::SeqCst);
        }
        self.publish()
    }

    /// Makes durable that an overlay was sealed, and what is in it. The caller keeps syncs from going on meanwhile.
    fn publish(&self) -> Result<()> {
        let stack = self.stack().clone();
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        self.publish_as(&mut record, &stack)
    }

    /// The same for a record that is about to be that of the volume.
    fn publish_as(&self, record: &mut VolumeRecord, stack: &Stack) -> Result<()> {
        for sealed in &stack.overlays[1..] {
            sealed.sync().map_err(|error| Error::io(format!("syncing volume {}", self.name), error))?;
        }
        volumes::save(self.repo.base(), record)?;
        self.unpublished.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Makes it larger while it is used. What is added is zero, and survives a power cut as a size when this returns. Who has
    /// asked for the size before knows the old one; a client of an NBD server sees the new one when it connects anew.
    ///
    /// # Errors
    /// `InvalidInput` for a size that is smaller than it has.
    pub fn grow(&self, size_bytes: u64) -> Result<()> {
        self.repo.check_writable()?;
        let _syncs_wait = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
        let stack = self.stack().clone();
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let mut grown = volumes::grown(&record, size_bytes)?;
        if grown.size_bytes == record.size_bytes {
            return Ok(());
        }
        // Nothing lies beyond the old end before the record says that there is room for it.
        self.publish_as(&mut grown, &stack)?;
        *record = grown;
        self.stack.write().unwrap_or_else(PoisonError::into_inner).size_bytes = size_bytes;
        Ok(())
    }

    /// Puts a snapshot of the volume in the place of the overlays that it has taken in, and of what lay below them.
    pub(crate) fn fold(&self, frozen: &Frozen, snapshot: &Record) -> Result<()> {
        let base = self.repo.base();
        let disk = disk_of(&self.repo, Some(snapshot), &self.cache)?;
        {
            let _commit = fence::lock_commit(base)?;
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            let mut folded = record.clone();
            folded.base = Some(snapshot.clone());
            folded.sealed.retain(|number| !frozen.sealed.contains(number));
            volumes::save(base, &mut folded)?;
            *record = folded;
            let mut stack = self.stack.write().unwrap_or_else(PoisonError::into_inner);
            stack.overlays.retain(|overlay| !frozen.sealed.contains(&overlay.number));
            stack.base = disk;
        }
        // What stays is removed when the volume is opened the next time.
        let _ = Overlay::remove_files(&*base.storage, &self.name, |number| frozen.sealed.contains(&number));
        Ok(())
    }

    fn check(&self, range: &Range<u64>, size_bytes: u64) -> io::Result<()> {
        if range.start <= range.end && range.end <= size_bytes {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("beyond the end of volume {}", self.name)))
    }

    fn stripe(&self, region: u64) -> MutexGuard<'_, ()> {
        self.stripes[to_usize(region) % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the snapshot below a volume as a disk. The volume's record keeps it, so it needs no pin.
fn disk_of(
    repo: &Arc<Repository>,
    record: Option<&Record>,
    cache: &Arc<BlockCache>,
) -> Result<Option<Arc<dyn ReadAt>>> {
    let disk = record.map(|record| SnapshotDisk::of_record(Arc::clone(repo), record, Arc::clone(cache)));
    Ok(disk.transpose()?.map(|disk| Arc::new(disk) as Arc<dyn ReadAt>))
}

/// Returns the parts of a range that lie in one region of 4 MiB each.
fn by_region(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let regions = range.start / LEAF_U64..range.end.div_ceil(LEAF_U64);
    regions.map(move |region| (region * LEAF_U64).max(range.start)..((region + 1) * LEAF_U64).min(range.end))
}

/// Returns the numbers, within their region, of the blocks that a range in one region touches.
fn blocks_of(range: &Range<u64>) -> Range<usize> {
    let begin = range.start / LEAF_U64 * LEAF_U64;
    to_usize((range.start - begin) / BLOCK_U64)..to_usize((range.end - begin).div_ceil(BLOCK_U64))
}

impl Stack {
    fn newest_has(&self, region: u64, block: usize) -> bool {
        self.newest().map.get(region).is_some_and(|region| region.get(block) == BlockState::Data)
    }

    fn newest(&self) -> &Overlay {
        &self.overlays[0]
    }

    /// Writes in one region. A block that is written in part and that the newest overlay does not have is filled from below.
    fn write_region(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = offset..offset + to_u64(bytes.len());
        let region = offset / LEAF_U64;
        let blocks = blocks_of(&range);
        let mut direct = range.clone();
        for block in [blocks.start, blocks.end - 1] {
            let start = region * LEAF_U64 + to_u64(block) * BLOCK_U64;
            let inside = start.max(direct.start)..(start + BLOCK_U64).min(direct.end);
            let is_whole = inside.end.saturating_sub(inside.start) == BLOCK_U64;
            if is_whole || inside.is_empty() || self.newest_has(region, block) {
                continue;
            }
            let mut filled = [0; BLOCK_BYTES];
            let present = to_usize((self.size_bytes - start).min(BLOCK_U64));
            self.read_at(start, &mut filled[..present])?;
            let part = &bytes[to_usize(inside.start - offset)..to_usize(inside.end - offset)];
            filled[to_usize(inside.start - start)..to_usize(inside.end - start)].copy_from_slice(part);
            self.newest().write_at(start, &filled)?;
            if inside.start == direct.start {
                direct.start = inside.end;
            } else {
                direct.end = inside.start;
            }
        }
        if !direct.is_empty() {
            let part = &bytes[to_usize(direct.start - offset)..to_usize(direct.end - offset)];
            self.newest().write_at(direct.start, part)?;
        }
        let known = self.newest().map.get(region).map(|known| known.run(blocks.start));
        if known.is_none_or(|(state, end)| state != BlockState::Data || end < blocks.end) {
            self.newest().mark(region, blocks, BlockState::Data);
        }
        Ok(())
    }

    /// Makes bytes zero in one region.
    fn zero_region(&self, range: Range<u64>, below: &Self) -> io::Result<()> {
        let region = range.start / LEAF_U64;
        // The last block counts as a whole where the volume ends in it.
        let end =
            if range.end == self.size_bytes { range.end.next_multiple_of(BLOCK_U64) } else { range.end };
        let whole = range.start.next_multiple_of(BLOCK_U64)..end / BLOCK_U64 * BLOCK_U64;
        if whole.start >= whole.end {
            return self.write_region(range.start, &vec![0; to_usize(range.end - range.start)]);
        }
        for edge in [range.start..whole.start, whole.end..range.end] {
            if !edge.is_empty() {
                self.write_region(edge.start, &vec![0; to_usize(edge.end - edge.start)])?;
            }
        }
        self.newest().check_working()?;
        let mut at = whole.start;
        while at < whole.end {
            let data = below.next_data(at)?.filter(|data| data.start < whole.end);
            let hole_end = data.as_ref().map_or(whole.end, |data| data.start.max(at) / BLOCK_U64 * BLOCK_U64);
            let data_end = data.map_or(whole.end, |data| data.end.next_multiple_of(BLOCK_U64).min(whole.end));
            // Nothing shows through where nothing lies below.
            self.forget(region, at..hole_end, BlockState::Absent)?;
            self.forget(region, hole_end..data_end, BlockState::Zero)?;
            at = data_end;
        }
        Ok(())
    }

    /// Drops what the newest overlay has of whole blocks.
    fn forget(&self, region: u64, range: Range<u64>, state: BlockState) -> io::Result<()> {
        let known = self.newest().map.get(region);
        if range.is_empty() || known.is_none() && state == BlockState::Absent {
            return Ok(());
        }
        let blocks = blocks_of(&range);
        let states: Vec<BlockState> = blocks
            .clone()
            .map(|block| known.as_ref().map_or(BlockState::Absent, |known| known.get(block)))
            .collect();
        if states.iter().any(|old| *old != state) {
            self.newest().mark(region, blocks, state);
        }
        let mut at = range.start;
        for run in states.chunk_by(|a, b| a == b) {
            let end = at + to_u64(run.len()) * BLOCK_U64;
            if run[0] == BlockState::Data {
                self.newest().punch(at..end)?;
            }
            at = end;
        }
        Ok(())
    }
}

impl ReadAt for Volume {
    fn len(&self) -> u64 {
        self.stack().size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.stack().read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.stack().next_data(offset)
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.stack().will_need(range)
    }
}

impl WriteAt for Volume {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let stack = self.stack();
        let range = offset..offset.saturating_add(to_u64(bytes.len()));
        self.check(&range, stack.size_bytes)?;
        if range.is_empty() {
            return Ok(());
        }
        by_region(range).try_for_each(|part| {
            let _stripe = self.stripe(part.start / LEAF_U64);
            stack.write_region(part.start, &bytes[to_usize(part.start - offset)..to_usize(part.end - offset)])
        })
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        let stack = self.stack();
        self.check(&range, stack.size_bytes)?;
        let below = stack.below();
        let mut at = range.start;
        while at < range.end {
            let end = ((at / LEAF_U64 + 1) * LEAF_U64).min(range.end);
            {
                let _stripe = self.stripe(at / LEAF_U64);
                stack.zero_region(at..end, &below)?;
            }
            // What has nothing is passed over: a whole disk may be discarded at once.
            let written = stack.newest().map.next(end / LEAF_U64).map(|region| (region * LEAF_U64).max(end));
            let data = below.next_data(end)?.map(|data| data.start.max(end));
            let next = written.into_iter().chain(data).min().unwrap_or(range.end);
            at = (next / LEAF_U64 * LEAF_U64).clamp(end, range.end);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        loop {
            let gate = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
            if !self.unpublished.load(Ordering::SeqCst) {
                let active = Arc::clone(&self.stack().overlays[0]);
                let synced = active.sync();
                drop(gate);
                return synced;
            }
            drop(gate);
            let _alone = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
            self.publish()?;
            // Another seal may have failed by the time that syncs go on.
        }
    }
}
