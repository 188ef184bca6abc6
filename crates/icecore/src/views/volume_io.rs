//! Reads and writes a volume. Long requests run in steps; between two of them a snapshot, or any
//! other change of the stack, can take place.

use std::io;
use std::ops::ControlFlow;
use std::ops::Range;

use crate::views::stack::Stack;
use crate::views::volume::Volume;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::units::LeafNumber;
use crate::world::io::ReadAt;
use crate::world::io::WriteAt;

/// The bytes of a request for which the stack is held at once, and so the longest that a seal
/// waits.
const STEP_BYTES: u64 = LEAF_BYTES as u64;
/// The number of regions searched for data while the stack is held.
const SEARCHED_REGIONS: usize = 64;

/// Returns the end of a range's first step. A short range is one step, so a snapshot has it
/// completely or not at all.
fn step_end(at: u64, end: u64) -> u64 {
    if end - at <= STEP_BYTES { end } else { (at / STEP_BYTES + 1) * STEP_BYTES }
}

/// Splits a range at the borders of 4 MiB regions.
fn by_region(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    LeafNumber::all_of(&range).map(move |region| region.part_of(&range))
}

impl Volume {
    fn check(&self, range: &Range<u64>) -> io::Result<()> {
        if range.start <= range.end && range.end <= self.len() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("beyond the end of volume {}", self.name)))
    }

    /// Walks a range step by step. `step` handles the part it gets, and returns where the next one
    /// begins.
    fn in_steps(
        &self,
        range: Range<u64>,
        step: &mut dyn FnMut(Range<u64>) -> io::Result<u64>,
    ) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            if at > range.start {
                // A thread that waits to change the stack goes first.
                drop(self.locks.turn());
            }
            at = step(at..step_end(at, range.end))?;
        }
        Ok(())
    }

    fn write_step(&self, stack: &Stack, offset: u64, bytes: &[u8]) -> io::Result<()> {
        by_region(offset..offset + to_u64(bytes.len())).try_for_each(|part| {
            let _stripe = self.locks.stripe(LeafNumber::of(part.start));
            stack.write_region(part.start, &bytes[to_usize(part.start - offset)..to_usize(part.end - offset)])
        })
    }

    /// Zeroes a step of a range, and returns where anything but zeros may follow, because a client
    /// may discard a whole disk at once.
    fn zero_step(&self, stack: &Stack, step: Range<u64>) -> io::Result<Option<u64>> {
        let below = stack.below();
        by_region(step.clone()).try_for_each(|part| {
            let _stripe = self.locks.stripe(LeafNumber::of(part.start));
            stack.zero_region(part, &below)
        })?;
        stack.next_used(step.end)
    }
}

impl ReadAt for Volume {
    fn len(&self) -> u64 {
        self.locks.stack().size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = offset..offset.saturating_add(to_u64(buffer.len()));
        self.in_steps(range, &mut |step| {
            let place = &mut buffer[to_usize(step.start - offset)..to_usize(step.end - offset)];
            self.locks.stack().read_at(step.start, place).map(|()| step.end)
        })
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let mut at = offset;
        loop {
            let found = self.locks.stack().search_data(at, SEARCHED_REGIONS)?;
            match found {
                ControlFlow::Break(found) => return Ok(found),
                ControlFlow::Continue(next) => at = next,
            }
            drop(self.locks.turn());
        }
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.locks.stack().will_need(range)
    }
}

impl WriteAt for Volume {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = offset..offset.saturating_add(to_u64(bytes.len()));
        self.check(&range)?;
        self.in_steps(range, &mut |step| {
            let bytes = &bytes[to_usize(step.start - offset)..to_usize(step.end - offset)];
            self.before_snapshots(|| {
                let stack = self.locks.stack();
                (stack.frozen, self.write_step(&stack, step.start, bytes))
            })?;
            Ok(step.end)
        })
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        self.check(&range)?;
        self.in_steps(range.clone(), &mut |step| {
            let next = self.before_snapshots(|| {
                let stack = self.locks.stack();
                (stack.frozen, self.zero_step(&stack, step.clone()))
            })?;
            // Zero whole regions where the range covers them.
            let next = next.map_or(range.end, |next| LeafNumber::of(next).offset());
            Ok(next.clamp(step.end, range.end.max(step.end)))
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.before_snapshots(|| self.sync_once())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::OnceLock;
    use std::thread;

    use uuid::Uuid;

    use super::*;
    use crate::format::layout;
    use crate::format::volume::VolumeRecord;
    use crate::repository::InitOptions;
    use crate::repository::Repository;
    use crate::repository::Secrets;
    use crate::stores::volumes;
    use crate::stores::volumes::overlay::Overlay;
    use crate::views::cache::BlockCache;
    use crate::views::sealing::Frozen;
    use crate::words::ids::RepositoryId;
    use crate::words::ids::VolumeId;
    use crate::words::names::Labels;
    use crate::words::names::ResourceKind;
    use crate::world::memory::MemoryStorage;
    use crate::world::storage::Storage;

    const REGIONS: u64 = 256;
    const SIZE: u64 = REGIONS * STEP_BYTES;
    /// The region at which a test asks for a seal.
    const ASKED: u64 = 10;
    const OLD: u8 = 7;

    type Seal = thread::JoinHandle<Frozen>;

    /// A base with data everywhere. When asked for the region `ASKED`, it starts a seal and returns
    /// once the seal waits for the stack; then it notes the next region it is asked for.
    #[derive(Default)]
    struct Below {
        volume: OnceLock<Arc<Volume>>,
        sealing: OnceLock<std::sync::Mutex<Option<Seal>>>,
        /// The region asked for after that, and whether the seal was done by then.
        after: OnceLock<(u64, bool)>,
    }

    impl Below {
        fn asked(&self, offset: u64) {
            // Without the volume, nobody uses the base yet, or any more.
            let Some(volume) = self.volume.get() else { return };
            let region = LeafNumber::of(offset).0;
            if region == ASKED && self.sealing.get().is_none() {
                let sealed = Arc::clone(volume);
                let seal = thread::spawn(move || sealed.freeze().unwrap());
                // The seal keeps its turn until it gets the stack, which happens after this step.
                while !volume.locks.is_awaited() {
                    thread::yield_now();
                }
                let _ = self.sealing.set(std::sync::Mutex::new(Some(seal)));
            } else if self.sealing.get().is_some() {
                // The stack is held shared here, so it does not change. If a seal still waits,
                // nobody else gets it.
                let is_done = volume.locks.try_stack(|stack| stack.frozen.is_some());
                let _ = self.after.set((region, is_done));
            }
        }
    }

    impl ReadAt for Below {
        fn len(&self) -> u64 {
            SIZE
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.asked(offset);
            buffer.fill(OLD);
            Ok(())
        }

        fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
            self.asked(offset);
            Ok((offset < SIZE).then_some(offset..SIZE))
        }
    }

    fn volume() -> (Arc<Volume>, Arc<Below>) {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let id = RepositoryId(Uuid::from_u128(1));
        let options =
            InitOptions { id, secrets: Secrets::Plain([1; 32]), created_unix_ms: 0, level: 1, parity: None };
        let repo = Repository::init(Arc::clone(&storage), Uuid::from_u128(2), &options).unwrap();
        let mut record = VolumeRecord {
            id: VolumeId(Uuid::from_u128(3)),
            name: "disk".to_owned(),
            created_unix_ms: 0,
            kind: ResourceKind::Volume,
            size_bytes: SIZE,
            origin: None,
            base: None,
            sealed: Vec::new(),
            active: 0,
            labels: Labels::new(),
            stands_at: 0,
            epoch: 0,
        };
        storage.make_dir(layout::VOLUMES).unwrap();
        storage.make_dir(&layout::volume_dir("disk")).unwrap();
        Overlay::create(repo.files(), &record, 0).unwrap();
        volumes::save(repo.files(), &mut record).unwrap();
        let volume = Arc::new(Volume::open(Arc::new(repo), "disk", BlockCache::new(1 << 20)).unwrap());
        let below = Arc::new(Below::default());
        volume.locks.stack_mut().base = Some(Arc::clone(&below) as Arc<dyn ReadAt>);
        // An empty overlay is not sealed.
        volume.write_at(0, &[OLD]).unwrap();
        (volume, below)
    }

    /// Runs a request that passes the region `ASKED`, where a seal begins. Checks that the seal is
    /// done when the request reaches `next`. Returns what is sealed.
    fn with_a_seal(next: u64, request: impl FnOnce(&Volume)) -> (Arc<Volume>, Frozen) {
        let (volume, below) = volume();
        assert!(below.volume.set(Arc::clone(&volume)).is_ok());
        request(&volume);
        assert_eq!(below.after.get(), Some(&(next, true)), "the next region, and whether the seal is done");
        let seal = below.sealing.get().unwrap().lock().unwrap().take().unwrap();
        (volume, seal.join().unwrap())
    }

    /// Returns the first byte of each region, after checking that all its bytes are equal.
    fn regions(disk: &dyn ReadAt, of: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; LEAF_BYTES];
        of.map(|region| {
            disk.read_at(LeafNumber(region).offset(), &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "region {region}");
            bytes[0]
        })
        .collect()
    }

    #[test]
    fn a_seal_is_let_in_between_two_regions_of_a_trim() {
        let (volume, frozen) = with_a_seal(ASKED, |volume| volume.zero_at(0..SIZE).unwrap());
        // The search for the next data happens in the step before it.
        let wanted: Vec<u8> = (0..20).map(|region| if region < ASKED { 0 } else { OLD }).collect();
        assert_eq!(regions(&frozen.image, 0..20), wanted);
        assert!(regions(&*volume, 0..20).iter().all(|byte| *byte == 0));
        assert_eq!(volume.next_data(0).unwrap(), None);
        volume.thaw();
        assert_eq!(volume.next_data(0).unwrap(), None);
        volume.write_at(SIZE - 1, &[9]).unwrap();
        assert_eq!(volume.next_data(0).unwrap(), Some(SIZE - 4096..SIZE));
    }

    #[test]
    fn a_seal_is_let_in_between_two_regions_of_a_write_and_of_a_read() {
        // Only the first and last blocks are read from the base.
        let (start, bytes) = (LeafNumber(ASKED).offset() + 100, vec![3; 2 * LEAF_BYTES]);
        let (volume, frozen) = with_a_seal(ASKED + 2, |volume| volume.write_at(start, &bytes).unwrap());
        let mut read = bytes.clone();
        volume.read_at(start, &mut read).unwrap();
        assert!(read == bytes);
        frozen.image.read_at(start, &mut read).unwrap();
        let first = to_usize(LeafNumber(ASKED + 1).offset() - start);
        assert!(read[..first].iter().all(|byte| *byte == 3) && read[first..].iter().all(|byte| *byte == OLD));
        let (_, _) = with_a_seal(ASKED + 1, |volume| {
            volume.read_at(0, &mut vec![0; 16 * LEAF_BYTES]).unwrap();
        });
    }

    #[test]
    fn what_is_short_is_sealed_as_a_whole_or_not_at_all() {
        assert_eq!(step_end(100, 100 + STEP_BYTES), 100 + STEP_BYTES);
        assert_eq!(step_end(100, 101 + STEP_BYTES), STEP_BYTES);
        assert_eq!(step_end(STEP_BYTES, 3 * STEP_BYTES), 2 * STEP_BYTES);
    }
}
