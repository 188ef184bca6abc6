//! All verbs on a repository that may contain anything. None may panic or run forever, and they
//! must agree with each other.

use std::io;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::Meter;
use icecore::Progress;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::maintenance::Depth;
use icecore::maintenance::VerifyReport;
use icecore::maintenance::gc;
use icecore::repository::Repository;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;

/// The longest image that is read to its end.
pub const IMAGE_BYTES_MAX: u64 = 16 << 20;
/// The number of times that an operation may check whether to stop.
const PATIENCE: u64 = 20_000;

/// A limit that stops an operation after too many steps.
struct Patience(AtomicU64);

impl Progress for Patience {
    fn total(&self, _meter: Meter, _total: u64) {}

    fn advance(&self, _meter: Meter, _amount: u64) {}

    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) > PATIENCE
    }
}

fn patience() -> Patience {
    Patience(AtomicU64::new(0))
}

/// A target that keeps what is written, up to a limit.
struct Sink(Vec<u8>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > IMAGE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the image of a snapshot, if it is complete and not too long.
pub fn image(repo: &Repository, id: SnapshotId) -> icecore::Result<Vec<u8>> {
    let mut sink = Sink(Vec::new());
    icecore::snapshot::restore(repo, id, RestoreTo::Stream(&mut sink), OnDamage::Stop, &patience())?;
    Ok(sink.0)
}

/// A target of any length that takes a limited number of bytes, and keeps none.
struct Void {
    bytes: u64,
    room: AtomicU64,
}

impl ReadAt for Void {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }

    /// The target is one hole: searching it for data would take as long as it is.
    fn next_data(&self, _offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(None)
    }
}

impl WriteAt for Void {
    fn write_at(&self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        let taken = self.room.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if taken > IMAGE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        assert!(range.end <= self.bytes, "zeros beyond the end");
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn lost_in(report: &VerifyReport, id: SnapshotId) -> bool {
    report.findings.iter().flat_map(|finding| &finding.lost).any(|range| range.snapshot == id)
}

/// Reads everything in every way, and returns each snapshot with its image, if that can be read.
///
/// `honest` means that all content digests in records and pages are true. Then verify must find
/// everything that a restore would fail on, and nothing else. Only a restore finds a false digest
/// of a span, because it reads the data in the order of the image. Only verify finds a false digest
/// of a page's content, because a restore does not need it.
pub fn read_all(repo: &Repository, honest: bool) -> Vec<(Snapshot, Option<Vec<u8>>)> {
    let Ok(snapshots) = icecore::snapshot::list(repo) else { return Vec::new() };
    let verified = icecore::maintenance::verify(repo, None, Depth::ReadData, &patience());
    let mut all = Vec::new();
    for snapshot in snapshots {
        let image = image(repo, snapshot.id);
        if let Ok(image) = &image {
            assert_eq!(image.len() as u64, snapshot.size_bytes);
        }
        if let Ok(report) = &verified {
            if honest && image.is_ok() {
                assert!(!lost_in(report, snapshot.id), "said to be lost, and it is there: {report:?}");
            } else if honest && snapshot.size_bytes <= IMAGE_BYTES_MAX {
                assert_ne!(
                    report.findings,
                    [],
                    "{}: {:?}, and nothing was found",
                    snapshot.name,
                    image.err()
                );
            }
        }
        let void = Void { bytes: snapshot.size_bytes, room: AtomicU64::new(0) };
        let restored = icecore::snapshot::restore(
            repo,
            snapshot.id,
            RestoreTo::InPlace(&void),
            OnDamage::Stop,
            &patience(),
        );
        if let (Err(error), Ok(_)) = (restored, &image) {
            assert_eq!(error.kind(), ErrorKind::Interrupted, "{}: {error}", snapshot.name);
        }
        all.push((snapshot, image.ok()));
    }
    let _ = icecore::maintenance::verify(repo, None, Depth::Structure, &patience());
    let _ = icecore::maintenance::stats(repo, &patience());
    compare(repo, &all);
    all
}

/// Compares each snapshot with the next. If both can be read, the reported difference must match
/// that of the images.
fn compare(repo: &Repository, all: &[(Snapshot, Option<Vec<u8>>)]) {
    for ((from, before), (to, after)) in all.iter().zip(all.iter().skip(1)) {
        if from.size_bytes.max(to.size_bytes) > 128 * IMAGE_BYTES_MAX {
            continue;
        }
        let (mut ranges, mut last) = (Vec::new(), 0);
        let told = icecore::snapshot::diff(repo, from.id, to.id, &mut |range| {
            assert!(range.offset >= last && range.bytes > 0, "ranges are not in order");
            last = range.offset + range.bytes;
            ranges.push(range.offset..last);
            Ok(())
        });
        let (Ok(_), Some(before), Some(after)) = (told, before, after) else { continue };
        let told = |at: usize| ranges.iter().any(|range| range.contains(&(at as u64)));
        let differ = before.iter().zip(after).enumerate().filter(|(_, (a, b))| a != b);
        let missed = differ.map(|(at, _)| at).find(|at| !told(*at));
        assert_eq!(missed, None, "a byte differs, and diff does not tell");
    }
}

/// Changes the repository in every way, one after another. Everything readable before must stay
/// readable.
pub fn change_all(repo: &Repository, all: &[(Snapshot, Option<Vec<u8>>)]) {
    let keeps = |what: &str| {
        for (snapshot, before) in all {
            let Some(before) = before else { continue };
            let after = image(repo, snapshot.id);
            assert!(
                after.as_ref().ok() == Some(before),
                "{}, after {what}: {:?}",
                snapshot.name,
                after.err()
            );
        }
    };
    for max_unused in [0.05, 0.0] {
        let plan = gc::plan(repo, &gc::GcOptions::new(max_unused), &patience());
        let _ = plan.and_then(|plan| gc::apply(repo, plan, &patience()));
        keeps("gc");
    }
    let repaired = icecore::maintenance::repair_index(repo, &patience());
    keeps(&format!("a repair of the index, {repaired:?}"));
    let _ = icecore::maintenance::repair_snapshots(repo, &patience());
    let plan = gc::plan(repo, &gc::GcOptions::new(0.0), &patience());
    let _ = plan.and_then(|plan| gc::apply(repo, plan, &patience()));
    keeps("a repair and gc");
}
