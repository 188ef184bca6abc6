//! Image files that others write to, cut, lengthen, remove and replace while they are captured: the
//! snapshot is what the file was, the report says that it may be of no one moment, or there is
//! none. The next capture is right in any case.

use std::fs::File;
use std::fs::FileTimes;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Once;
use std::sync::RwLock;
use std::time::Duration;
use std::time::SystemTime;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::image::ImageFile;
use icecore::image::ImageState;
use icecore::image::ReadAt;
use icecore::snapshot::CaptureOptions;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::image_of;
use icecore_testing::repository::options;

const MIB: usize = 1 << 20;
/// The length of the images: two leaves and a part of one.
const LEN: usize = 9 * MIB;
/// Where it happens: somebody reads there when much has been read and much has not.
const MIDDLE: u64 = 5 << 20;

/// An image file to which something is done once, just before its middle is read. Nobody sees the
/// file while it is being done.
struct Meddled<'a> {
    image: ImageFile,
    once: Once,
    meddle: &'a (dyn Fn() + Sync),
    /// Held shared by who looks at the file, alone while something is done to it.
    looked_at: RwLock<()>,
}

impl ReadAt for Meddled<'_> {
    fn len(&self) -> u64 {
        self.image.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset >= MIDDLE {
            self.once.call_once(|| {
                let _alone = self.looked_at.write().unwrap();
                (self.meddle)();
            });
        }
        let _shared = self.looked_at.read().unwrap();
        self.image.read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let _shared = self.looked_at.read().unwrap();
        self.image.next_data(offset)
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.image.will_need(range)
    }

    fn done_with(&self, range: Range<u64>) {
        self.image.done_with(range);
    }

    fn state(&self) -> io::Result<ImageState> {
        let _shared = self.looked_at.read().unwrap();
        self.image.state()
    }
}

/// What becomes of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// A snapshot of what the file was at the beginning.
    Right,
    /// A snapshot, and a report that the file was written to.
    Warned,
    /// An error, and no snapshot.
    Refused,
}

/// Makes a file of noise that was last written to an hour ago: no write in the same tick of the
/// clock can be overlooked.
fn make(path: &Path, seed: u64) -> Vec<u8> {
    let bytes = Random::new(seed).bytes(LEN);
    std::fs::write(path, &bytes).unwrap();
    let old = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(3600));
    File::options().write(true).open(path).unwrap().set_times(old).unwrap();
    bytes
}

#[test]
fn whatever_is_done_to_a_file_while_it_is_captured_no_snapshot_is_silently_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("disk.raw"), dir.path().join("other.raw"));
    let open = || File::options().write(true).open(&path).unwrap();
    let cases: [(&str, Comes, &(dyn Fn() + Sync)); 11] = [
        ("nothing", Comes::Right, &|| ()),
        ("removed", Comes::Right, &|| std::fs::remove_file(&path).unwrap()),
        ("renamed", Comes::Right, &|| std::fs::rename(&path, dir.path().join("elsewhere")).unwrap()),
        ("replaced", Comes::Right, &|| std::fs::rename(&other, &path).unwrap()),
        ("written where it was read", Comes::Warned, &|| open().write_all_at(&[7; 9000], 4096).unwrap()),
        ("written where it is read next", Comes::Warned, &|| {
            open().write_all_at(&[7; 9000], MIDDLE).unwrap()
        }),
        ("written anew", Comes::Warned, &|| assert!(std::fs::copy(&other, &path).is_ok())),
        ("cut and lengthened again", Comes::Warned, &|| {
            open().set_len(MIDDLE + 4096).unwrap();
            open().set_len(LEN as u64).unwrap();
        }),
        ("cut", Comes::Refused, &|| open().set_len(MIDDLE + 4096).unwrap()),
        ("emptied", Comes::Refused, &|| open().set_len(0).unwrap()),
        ("lengthened", Comes::Refused, &|| open().write_all_at(&[7; 9000], LEN as u64).unwrap()),
    ];
    let bench = TestRepository::new();
    for (number, (what, comes, meddle)) in (1..).zip(cases) {
        let before = make(&path, number);
        make(&other, 100 + number);
        let image = Meddled {
            image: ImageFile::open(&path).unwrap(),
            once: Once::new(),
            meddle,
            looked_at: RwLock::default(),
        };
        let there = icecore::snapshot::list(&bench.repo).unwrap().len();
        let done = icecore::snapshot::capture(&bench.repo, &image, &options(what), &NoProgress);
        assert!(image.once.is_completed(), "{what}");
        match done {
            Ok(report) => {
                let wanted = if report.changed_while_read { Comes::Warned } else { Comes::Right };
                assert_eq!(comes, wanted, "{what}");
                let snapshot = image_of(&bench.repo, report.snapshot.id);
                if comes == Comes::Right {
                    assert_same(&snapshot, &before, what);
                }
                assert_eq!(snapshot.len(), LEN, "{what}");
            }
            Err(error) => {
                assert_eq!(
                    (comes, error.kind()),
                    (Comes::Refused, ErrorKind::ImageChanged),
                    "{what}: {error}"
                );
                assert_eq!(icecore::snapshot::list(&bench.repo).unwrap().len(), there, "{what}");
            }
        }
        // The next one does not trust what this one has seen of the file.
        if let Ok(now) = std::fs::read(&path) {
            let trusting = CaptureOptions { trust_mtime: true, ..options(what) };
            let image = ImageFile::open(&path).unwrap();
            let report = icecore::snapshot::capture(&bench.repo, &image, &trusting, &NoProgress).unwrap();
            assert_same(&image_of(&bench.repo, report.snapshot.id), &now, what);
        }
    }
}
