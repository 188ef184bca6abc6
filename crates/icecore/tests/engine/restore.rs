//! Restores over all kinds of targets.

use std::io;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::Meter;
use icecore::NoProgress;
use icecore::Progress;
use icecore::SPAN_BYTES;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore_testing::bytes::assert_same;
use icecore_testing::fault_storage::failing_from;
use icecore_testing::images::Target;
use icecore_testing::random::Random;
use icecore_testing::repository::FRESH;
use icecore_testing::repository::IN_PLACE;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::image_of;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::session;

use crate::capture::SIZES;

/// What a target holds before a restore in place.
fn targets(image: &[u8], len: usize, noise: &mut Random) -> Vec<(&'static str, Vec<u8>)> {
    let mut equal = image.to_vec();
    equal.resize(len, 0);
    let mut similar = equal.clone();
    if len > 0 {
        (0..3).for_each(|_| noise.scribble(&mut similar));
    }
    vec![
        ("zeros", vec![0; len]),
        ("what it must become", equal),
        ("something similar", similar),
        ("noise", noise.bytes(len)),
    ]
}

#[test]
fn a_snapshot_is_read_where_nothing_can_be_written_or_locked() {
    let bench = TestRepository::new();
    let image = Random::new(7).bytes(300_000);
    let id = bench.snapshot("disk", &image);
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::Unsupported, io::ErrorKind::StorageFull] {
        let storage = failing_from(bench.storage.clone(), 0, kind);
        let repo = Repository::open(Arc::new(storage), session()).unwrap();
        assert_same(&image_of(&repo, id), &image, &format!("{kind:?}"));
        let error = icecore::snapshot::capture(&repo, &image, &options("disk"), &NoProgress).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
fn no_stale_byte_shines_through_a_restore() {
    let bench = TestRepository::new();
    let mut noise = Random::new(41);
    for size in SIZES {
        let image = noise.disk(size);
        let id = bench.snapshot(&format!("disk-{size}"), &image);
        for len in [size, size + 1, size + 3 * BLOCK_BYTES + 77] {
            let mut wanted = image.clone();
            wanted.resize(len, 0);
            let fresh = Target::new(vec![0; len]);
            let report = icecore::snapshot::restore(
                &bench.repo,
                id,
                RestoreTo::Fresh(&fresh),
                OnDamage::Stop,
                &NoProgress,
            )
            .unwrap();
            assert_same(&fresh.into_bytes(), &wanted, &format!("fresh, {size} in {len}"));
            assert_eq!(report.image_bytes, size as u64);
            for (what, before) in targets(&image, len, &mut noise) {
                let equal = before == wanted;
                let target = Target::new(before);
                let report = icecore::snapshot::restore(
                    &bench.repo,
                    id,
                    RestoreTo::InPlace(&target),
                    OnDamage::Stop,
                    &NoProgress,
                )
                .unwrap();
                assert_same(&target.into_bytes(), &wanted, &format!("over {what}, {size} in {len}"));
                if equal {
                    assert_eq!((report.written_bytes, report.zeroed_bytes), (0, 0), "over {what}, {size}");
                }
            }
        }
        assert_same(&image_of(&bench.repo, id), &image, &format!("as a stream, {size}"));
    }
}

#[test]
fn only_what_differs_is_written_in_place() {
    let bench = TestRepository::new();
    let mut noise = Random::new(42);
    let image = noise.bytes(9 << 20);
    let id = bench.snapshot("disk", &image);
    let mut before = image.clone();
    for at in [5, 700, 701, 2000] {
        before[at * BLOCK_BYTES + 9] ^= 1;
    }
    let target = Target::new(before);
    let report =
        icecore::snapshot::restore(&bench.repo, id, RestoreTo::InPlace(&target), OnDamage::Stop, &NoProgress)
            .unwrap();
    assert_eq!(report.written_bytes, 4 * BLOCK_BYTES as u64);
    assert_eq!(report.kept_bytes, image.len() as u64 - 4 * BLOCK_BYTES as u64);
    assert_same(&target.into_bytes(), &image, "in place");
}

/// A disk far larger than what is in it, which makes zeros by itself, and says how much of it was
/// read.
struct Thin {
    data: Mutex<Vec<u8>>,
    len: u64,
    /// The part of each range that it makes zero is this much shorter, at both ends.
    odd: u64,
    read_bytes: AtomicU64,
}

impl ReadAt for Thin {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        let data = self.data.lock().unwrap();
        for (at, byte) in (offset..).zip(buffer) {
            *byte = usize::try_from(at).ok().and_then(|at| data.get(at)).copied().unwrap_or(0);
        }
        Ok(())
    }
}

impl WriteAt for Thin {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut data = self.data.lock().unwrap();
        for (at, byte) in (usize::try_from(offset).unwrap()..).zip(bytes) {
            data[at] = *byte;
        }
        Ok(())
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        let mut data = self.data.lock().unwrap();
        let len = data.len() as u64;
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at.min(len)).unwrap());
        data[start..end].fill(0);
        Ok(())
    }

    fn zero_unread(&self, range: Range<u64>) -> io::Result<Range<u64>> {
        let done = range.start + self.odd..range.end - self.odd;
        self.zero_at(done.clone())?;
        Ok(done)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_makes_zeros_by_itself_is_read_only_where_the_image_has_data() {
    let bench = TestRepository::new();
    let mut image = vec![0; 96 << 20];
    image[40 << 20..][..5000].fill(7);
    let id = bench.snapshot("disk", &image);
    for odd in [0, 4096, 5000] {
        let data = Mutex::new(Random::new(46).bytes(128 << 20));
        let target = Thin { data, len: 1 << 50, odd, read_bytes: AtomicU64::new(0) };
        let report = icecore::snapshot::restore(
            &bench.repo,
            id,
            RestoreTo::InPlace(&target),
            OnDamage::Stop,
            &NoProgress,
        )
        .unwrap();
        let read = target.read_bytes.load(Ordering::Relaxed);
        assert!(read < 16 << 20, "{read} bytes were read");
        assert!(report.zeroed_bytes > 1 << 49, "{report:?}");
        let mut wanted = image.clone();
        wanted.resize(128 << 20, 0);
        assert_same(&target.data.into_inner().unwrap(), &wanted, &format!("{odd} bytes short"));
    }
}

#[test]
fn a_short_last_block_is_known_again_in_place() {
    let bench = TestRepository::new();
    let image = Random::new(45).bytes(3 * SPAN_BYTES + 100);
    let id = bench.snapshot("disk", &image);
    let target = Target::new(image.clone());
    let report =
        icecore::snapshot::restore(&bench.repo, id, RestoreTo::InPlace(&target), OnDamage::Stop, &NoProgress)
            .unwrap();
    assert_eq!((report.written_bytes, report.zeroed_bytes), (0, 0));
}

#[test]
fn a_target_that_is_too_small_is_refused_untouched() {
    let bench = TestRepository::new();
    let id = bench.snapshot("disk", &vec![1; 10_000]);
    for to in [FRESH, IN_PLACE] {
        let target = Target::new(vec![9; 9999]);
        let error = icecore::snapshot::restore(&bench.repo, id, to(&target), OnDamage::Stop, &NoProgress)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(target.into_bytes() == vec![9; 9999]);
    }
}

#[test]
fn a_damaged_pack_is_an_error_that_names_snapshot_and_range_and_pack() {
    let bench = TestRepository::new();
    let image = Random::new(43).bytes(5 << 20);
    let report = bench.capture("disk", &image);
    let files = bench.storage.files();
    let largest =
        files.iter().filter(|(name, _)| name.starts_with("packs/")).max_by_key(|(_, bytes)| bytes.len());
    let (name, bytes) = largest.unwrap();
    let pack = name.rsplit('/').next().unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    bench.storage.put(name, damaged);

    let repo = open(bench.storage.clone());
    let target = Target::new(vec![0; image.len()]);
    let errors = [
        icecore::snapshot::restore(
            &repo,
            report.snapshot.id,
            RestoreTo::Fresh(&target),
            OnDamage::Stop,
            &NoProgress,
        )
        .unwrap_err(),
        icecore::snapshot::restore(
            &repo,
            report.snapshot.id,
            RestoreTo::Stream(&mut io::sink()),
            OnDamage::Stop,
            &NoProgress,
        )
        .unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
        for part in [pack, &report.snapshot.id.to_string(), &report.snapshot.name, "bytes "] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
    // What was written before is right; the rest was not touched.
    for (found, wanted) in target.into_bytes().chunks(BLOCK_BYTES).zip(image.chunks(BLOCK_BYTES)) {
        assert!(found == wanted || found.iter().all(|byte| *byte == 0), "wrong bytes were written");
    }
}

struct Stop;

impl Progress for Stop {
    fn total(&self, _meter: Meter, _total: u64) {}
    fn advance(&self, _meter: Meter, _amount: u64) {}
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_restore_stops_when_asked_to_and_when_its_stream_breaks() {
    struct Full(Mutex<usize>);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut left = self.0.lock().unwrap();
            let taken = bytes.len().min(*left);
            *left -= taken;
            if taken == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bench = TestRepository::new();
    let id = bench.snapshot("disk", &Random::new(44).bytes(1 << 20));
    let target = Target::new(vec![0; 1 << 20]);
    for to in [FRESH, IN_PLACE] {
        let error =
            icecore::snapshot::restore(&bench.repo, id, to(&target), OnDamage::Stop, &Stop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    }
    let error = icecore::snapshot::restore(
        &bench.repo,
        id,
        RestoreTo::Stream(&mut Full(Mutex::new(70_000))),
        OnDamage::Stop,
        &NoProgress,
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Io);
}
