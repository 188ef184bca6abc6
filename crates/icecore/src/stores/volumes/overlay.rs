//! An overlay of a volume: a sparse file that holds the written blocks in place, and a map of these
//! blocks.
//!
//! The map on disk names a block only after the block's bytes were synced. So after a crash a block
//! holds either the bytes written to it or its bytes from before, whichever of the two files the
//! crash left behind.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::format::dirty_map::MAP_ENTRY_BYTES;
use crate::format::dirty_map::decode_map_entry;
use crate::format::dirty_map::encode_map_entry;
use crate::format::layout;
use crate::format::volume::VolumeRecord;
use crate::pure::keys::Salt;
use crate::stores::files::RepositoryFiles;
use crate::stores::volumes::blocks::Blocks;
use crate::stores::volumes::dirty_map::BlockState;
use crate::stores::volumes::dirty_map::DirtyMap;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::next_step::NextStep;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::leaf_count;
use crate::words::sizes::to_usize;
use crate::words::sync::Mutex;
use crate::words::sync::RwLock;
use crate::words::units::LeafNumber;
use crate::world::storage::RandomFile;
use crate::world::storage::Storage;

const ENTRY_U64: u64 = MAP_ENTRY_BYTES as u64;
/// Bytes of a volume that one file of an overlay covers; a multiple of a region.
const PART_BYTES: u64 = 8 << 40;
/// Map entries read or written at once.
const ENTRIES_AT_ONCE: u64 = 512;

/// An open overlay.
pub(crate) struct Overlay {
    storage: Arc<dyn Storage>,
    /// The name of the volume, for errors.
    volume: String,
    /// The name of the volume's directory.
    dir: String,
    blocks: Blocks,
    pub(crate) number: u64,
    /// The blocks it has, as readers and writers see them.
    pub(crate) map: DirtyMap,
    map_file: Box<dyn RandomFile>,
    parts: RwLock<BTreeMap<u64, Arc<dyn RandomFile>>>,
    /// Regions whose entries in the map's file differ from the map.
    unsaved: Mutex<BTreeSet<LeafNumber>>,
    /// Whether data was written since its last sync began.
    data_written: AtomicBool,
    syncs: Syncs,
    /// Why it takes no more writes: after a failed sync nobody knows what is on the medium.
    failed: OnceLock<String>,
}

/// The state that lets callers who ask for a sync during another one share the next.
#[derive(Default)]
struct Syncs {
    begun: AtomicU64,
    /// The number of the last sync that succeeded, and whether entries were written to the map's
    /// file since.
    ended: Mutex<(u64, bool)>,
}

impl Overlay {
    /// Creates the files of a new overlay and makes them durable, except for their names.
    pub(crate) fn create(files: &RepositoryFiles, volume: &VolumeRecord, number: u64) -> Result<Self> {
        let overlay = Self::empty(files, volume, number)?;
        overlay.part(0)?;
        Ok(overlay)
    }

    fn empty(files: &RepositoryFiles, volume: &VolumeRecord, number: u64) -> Result<Self> {
        let storage = &files.place.local;
        let dir = files.volume_key(&volume.name);
        let name = layout::dirty_map(&dir, number);
        let opening = |error| Error::stored_io(format!("opening {name}"), error);
        Ok(Self {
            map_file: storage.open_random(&name).map_err(opening)?,
            storage: Arc::clone(storage),
            volume: volume.name.clone(),
            dir,
            blocks: Blocks(files.seals.of_overlay(volume.epoch, &salt(volume, number))),
            number,
            map: DirtyMap::default(),
            parts: RwLock::default(),
            unsaved: Mutex::default(),
            data_written: AtomicBool::new(false),
            syncs: Syncs::default(),
            failed: OnceLock::new(),
        })
    }

    /// Opens an overlay for writing and reads its map.
    ///
    /// # Errors
    /// As [`look`](Self::look). `InUse` if one of its files has another name: then the repository
    /// was copied with hard links. Everything else in a repository is replaced and never changed,
    /// but a write to this file would also change the copy.
    pub(crate) fn open(files: &RepositoryFiles, volume: &VolumeRecord, number: u64) -> Result<Self> {
        let storage = &files.place.local;
        let overlay = Self::look(files, volume, number)?;
        let alone = |name: &str, file: &dyn RandomFile| match file.names() {
            Ok(names) if names > 1 => Err(shared(&overlay.volume, name)),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::stored_io(format!("looking at {name}"), error)),
        };
        alone(&layout::dirty_map(&overlay.dir, number), overlay.map_file.as_ref())?;
        let first = layout::overlay(&overlay.dir, number, 0);
        match storage.open(&first) {
            Ok(_) => alone(&first, overlay.part(0)?.as_ref())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::stored_io(format!("opening {first}"), error)),
        }
        Ok(overlay)
    }

    /// Opens an overlay for reading and reads its map.
    ///
    /// # Errors
    /// `Corrupt` if a file of it is missing or shorter than the map says, or if the map is damaged
    /// or belongs to a larger volume.
    pub(crate) fn look(files: &RepositoryFiles, volume: &VolumeRecord, number: u64) -> Result<Self> {
        let storage = &files.place.local;
        let dir = files.volume_key(&volume.name);
        let bytes_of = |name: &str| match storage.open(name) {
            Ok(file) => Ok(file.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::corrupt(format!("{name} is missing"))
                    .with_hint(NextStep::ResetVolume(volume.name.clone())))
            }
            Err(error) => Err(Error::stored_io(format!("opening {name}"), error)),
        };
        bytes_of(&layout::dirty_map(&dir, number))?;
        let overlay = Self::empty(files, volume, number)?;
        let mut needed = BTreeMap::new();
        overlay.load(leaf_count(volume.size_bytes), &mut |region, last| {
            let end = region.block(last).end;
            needed.insert(end.saturating_sub(1) / PART_BYTES, (end - 1) % PART_BYTES + 1);
        })?;
        for (part, bytes) in needed {
            let name = layout::overlay(&dir, number, part);
            let found = bytes_of(&name)?;
            if found < bytes {
                let message = format!("{name} has {found} bytes, but its map says that {bytes} were written");
                return Err(Error::corrupt(message).with_hint(NextStep::ResetVolume(volume.name.clone())));
            }
        }
        Ok(overlay)
    }

    /// Reads the map of a volume that has `regions` regions. Calls `last` for each region, in
    /// order, with the region's last block that has data.
    fn load(&self, regions: u64, last: &mut dyn FnMut(LeafNumber, usize)) -> Result<()> {
        let name = layout::dirty_map(&self.dir, self.number);
        let reading = |error| Error::stored_io(format!("reading {name}"), error);
        let mut at = 0;
        while let Some(data) = self.map_file.next_data(at).map_err(reading)? {
            let begin = data.start.max(at) / ENTRY_U64;
            let end = data.end.div_ceil(ENTRY_U64).min(begin + ENTRIES_AT_ONCE);
            let mut bytes = vec![0; to_usize(end - begin) * MAP_ENTRY_BYTES];
            self.map_file.read_at(begin * ENTRY_U64, &mut bytes).map_err(reading)?;
            let (entries, _) = bytes.as_chunks::<MAP_ENTRY_BYTES>();
            for (entry, region) in entries.iter().zip(begin..) {
                let damaged = |why: &dyn std::fmt::Display| {
                    let message = format!("{name} is damaged at region {region} of the volume: {why}");
                    Error::corrupt(message).with_hint(NextStep::ResetVolume(self.volume.clone()))
                };
                let states = decode_map_entry(entry, region).map_err(|error| damaged(&error))?;
                let Some(states) = states else { continue };
                if region >= regions {
                    return Err(damaged(&"the volume ends before it"));
                }
                let region = LeafNumber(region);
                self.map.insert(region, &states);
                let region_states = self.map.get_or_insert(region);
                let has_data = |block: &usize| region_states.get(*block) == BlockState::Data;
                if let Some(block) = (0..LEAF_BLOCKS).rev().find(has_data) {
                    last(region, block);
                }
            }
            at = end * ENTRY_U64;
        }
        Ok(())
    }

    /// Removes the files of those overlays of a volume whose numbers `is_ours` picks.
    pub(crate) fn remove_files(
        files: &RepositoryFiles,
        volume: &str,
        is_ours: impl Fn(u64) -> bool,
    ) -> io::Result<()> {
        let storage = &files.place.local;
        let dir = layout::volume_dir(&files.volume_key(volume));
        let names = storage.list(&dir)?;
        let mut ours = names.iter().filter(|file| layout::overlay_of(file).is_some_and(&is_ours)).peekable();
        if ours.peek().is_none() {
            return Ok(());
        }
        for file in ours {
            match storage.remove(&format!("{dir}/{file}")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        storage.sync_dir(&dir)
    }

    /// Returns the file for a part of the data, creating it if it is missing.
    fn part(&self, number: u64) -> Result<Arc<dyn RandomFile>> {
        if let Some(part) = self.parts.read().unwrap_or_else(PoisonError::into_inner).get(&number) {
            return Ok(Arc::clone(part));
        }
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.get(&number) {
            return Ok(Arc::clone(part));
        }
        let name = layout::overlay(&self.dir, self.number, number);
        let opening = |error| Error::stored_io(format!("opening {name}"), error);
        let part: Arc<dyn RandomFile> = Arc::from(self.storage.open_random(&name).map_err(opening)?);
        if number > 0 {
            self.storage.sync_dir(&layout::volume_dir(&self.dir)).map_err(opening)?;
        }
        parts.insert(number, Arc::clone(&part));
        Ok(part)
    }

    /// Fills `buffer` with data of blocks that the overlay has. The range lies within one region.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let part = self.part(offset / PART_BYTES)?;
        self.blocks.read(&*part, offset % PART_BYTES, offset, buffer)
    }

    /// Writes data within one region. The overlay owns the blocks once [`mark`](Self::mark) says
    /// so.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_working()?;
        let part = self.part(offset / PART_BYTES)?;
        let written = self.blocks.write(&*part, offset % PART_BYTES, offset, bytes);
        self.data_written.store(true, Ordering::SeqCst);
        written
    }

    /// Frees the space of data no longer needed: blocks of one region that are marked zero or
    /// absent.
    pub(crate) fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let part = self.part(range.start / PART_BYTES)?;
        let start = range.start % PART_BYTES;
        let punched = part.punch(start..start + (range.end - range.start));
        self.data_written.store(true, Ordering::SeqCst);
        punched
    }

    /// Sets what the overlay has of some blocks of a region. The caller keeps others from doing so
    /// for that region.
    pub(crate) fn mark(&self, region: LeafNumber, blocks: Range<usize>, state: BlockState) {
        self.map.get_or_insert(region).set(blocks, state);
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).insert(region);
    }

    /// Changes what the overlay has of some blocks of a region, depending on what it has now, and
    /// frees the space of data it drops. The caller keeps others from doing so for that region.
    pub(crate) fn change(
        &self,
        region: LeafNumber,
        blocks: Range<usize>,
        to: impl Fn(BlockState) -> BlockState,
    ) -> io::Result<()> {
        let known = self.map.get(region);
        let mut at = blocks.start;
        while at < blocks.end {
            let (state, end) = known.as_ref().map_or((BlockState::Absent, blocks.end), |known| known.run(at));
            let run = at..end.min(blocks.end);
            at = run.end;
            let new = to(state);
            if new == state {
                continue;
            }
            self.mark(region, run.clone(), new);
            if state == BlockState::Data {
                self.punch(region.blocks(run))?;
            }
        }
        Ok(())
    }

    /// Copies this overlay's blocks into the one below it, durably. Nobody writes to either
    /// meanwhile. Whatever a crash leaves, the two overlays together show the same bytes, because
    /// this one hides the blocks it has.
    pub(crate) fn pour_into(&self, lower: &Self) -> io::Result<()> {
        self.check_working()?;
        let mut buffer = vec![0; LEAF_BYTES];
        for (region, states) in self.map.all() {
            let mut block = 0;
            while block < LEAF_BLOCKS {
                let (state, end) = states.run(block);
                let at = region.block(block).start;
                match state {
                    BlockState::Absent => {}
                    BlockState::Zero => lower.change(region, block..end, |_| BlockState::Zero)?,
                    BlockState::Data => {
                        let bytes = &mut buffer[..(end - block) * BLOCK_BYTES];
                        self.read_at(at, bytes)?;
                        lower.write_at(at, bytes)?;
                        lower.mark(region, block..end, BlockState::Data);
                    }
                }
                block = end;
            }
        }
        lower.sync()
    }

    /// Returns how many data blocks it has.
    pub(crate) fn data_blocks(&self) -> u64 {
        self.map.all().iter().map(|(_, region)| region.count(BlockState::Data)).sum()
    }

    /// Tells whether nothing was ever written to it, so that its map on disk is empty too.
    pub(crate) fn is_unused(&self) -> bool {
        self.map.next(LeafNumber(0)).is_none()
    }

    /// Fails if an earlier sync has failed.
    pub(crate) fn check_working(&self) -> io::Result<()> {
        self.failed.get().map_or(Ok(()), |why| Err(io::Error::other(why.clone())))
    }

    /// Returns once everything written and marked before the call would survive a crash.
    ///
    /// # Errors
    /// If data or the map could not be synced, the overlay takes no more writes: nobody can tell
    /// which of them are on the medium. If the map could not be written for lack of space, a later
    /// call tries again.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let seen = self.syncs.begun.load(Ordering::SeqCst);
        let mut ended = self.syncs.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.0 > seen {
            // A sync that began after this call has ended.
            return Ok(());
        }
        self.check_working()?;
        let number = self.syncs.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let regions = std::mem::take(&mut *self.unsaved.lock().unwrap_or_else(PoisonError::into_inner));
        let entries: Vec<(LeafNumber, [u8; MAP_ENTRY_BYTES])> = regions
            .iter()
            .map(|region| (*region, encode_map_entry(region.0, &self.map.get_or_insert(*region).states())))
            .collect();
        let saved = self.sync_data().and_then(|()| {
            ended.1 |= !entries.is_empty();
            self.write_entries(&entries)
        });
        if let Err(error) = saved {
            self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).extend(regions);
            return Err(error);
        }
        if ended.1 {
            self.map_file.sync().map_err(|error| self.fail("the map of an overlay", error))?;
        }
        *ended = (number, false);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if !self.data_written.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let parts: Vec<_> =
            self.parts.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        parts.iter().try_for_each(|part| part.sync()).map_err(|error| self.fail("an overlay", error))
    }

    fn write_entries(&self, entries: &[(LeafNumber, [u8; MAP_ENTRY_BYTES])]) -> io::Result<()> {
        for run in entries.chunk_by(|(a, _), (b, _)| a.next() == *b) {
            for some in run.chunks(to_usize(ENTRIES_AT_ONCE)) {
                let bytes: Vec<u8> = some.iter().flat_map(|(_, entry)| entry).copied().collect();
                self.map_file.write_at(some[0].0.0 * ENTRY_U64, &bytes)?;
            }
        }
        Ok(())
    }

    fn fail(&self, what: &str, error: io::Error) -> io::Error {
        let why = format!(
            "{what} of volume {} could not be synced, so it takes no more writes: {error}",
            self.volume
        );
        let _ = self.failed.set(why);
        error
    }
}

/// Returns the salt of an overlay's key. No other overlay has the same: the id of the volume is
/// random, and its overlays are numbered.
fn salt(volume: &VolumeRecord, number: u64) -> Salt {
    let mut salt = [0; 24];
    salt[..16].copy_from_slice(volume.id.0.as_bytes());
    salt[16..].copy_from_slice(&number.to_le_bytes());
    salt
}

/// Returns the error for an overlay's file that has another name.
fn shared(volume: &str, name: &str) -> Error {
    let message = format!(
        "{name} is a hard link: writes to volume {volume} would also change another copy of this repository"
    );
    Error::new(ErrorKind::InUse, message).with_hint(NextStep::UnshareVolume(volume.to_owned()))
}
