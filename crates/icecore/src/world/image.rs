//! Disk images as the source of a capture. icecore never writes to them.
#![expect(clippy::disallowed_methods, reason = "one of the modules that open files outside the repository")]

use std::fs::File;
use std::fs::Metadata;
use std::fs::OpenOptions;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::format::foreign::ForeignFormat;
use crate::format::foreign::LOOK_BYTES;
use crate::format::foreign::SIGN_BYTES;
use crate::format::foreign::is_known_disk;
use crate::format::record::FileIdentity;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::next_step::NextStep;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::io::ImageState;
use crate::world::io::ReadAt;
use crate::world::raw::Kind;
use crate::world::raw::Raw;
use crate::world::raw::read_through_raw;

/// A file or block device to capture. icecore never writes to it.
#[derive(Debug)]
pub struct ImageFile {
    raw: Raw,
}

impl ImageFile {
    /// Opens a file or a block device for reading.
    ///
    /// # Errors
    /// `InvalidInput` for directories, character devices, pipes and sockets.
    pub fn open(path: &Path) -> Result<Self> {
        let doing = |error| Error::io(format!("opening the image {}", path.display()), error);
        // Checked before opening, too: opening a device starts it, and opening a pipe waits for a
        // writer.
        let kind = Kind::of(path, &std::fs::metadata(path).map_err(doing)?)?;
        let file = open_to_read(path, kind).map_err(doing)?;
        let kind = Kind::of(path, &file.metadata().map_err(doing)?)?;
        let raw = Raw::new(path, file, kind)?;
        raw.will_read_in_order();
        Ok(Self { raw })
    }

    /// Probes the beginning and the end of the image.
    ///
    /// # Errors
    /// `Io` if they cannot be read.
    pub fn content(&self, path: &Path) -> Result<ImageContent> {
        let len = self.raw.len();
        let part = |at: u64, bytes: usize| {
            let mut buffer = vec![0; to_usize(len - at).min(bytes)];
            let reading = |error| Error::io(format!("reading the image {}", path.display()), error);
            self.raw.read_at(at, &mut buffer).map(|()| buffer).map_err(reading)
        };
        let head = part(0, SIGN_BYTES)?;
        let tail = part(len.saturating_sub(to_u64(LOOK_BYTES)), LOOK_BYTES)?;
        Ok(ImageContent { foreign: ForeignFormat::of(&head, &tail), is_known_disk: is_known_disk(&head) })
    }
}

/// The result of a probe of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageContent {
    /// The format of another program, if it has one.
    pub foreign: Option<ForeignFormat>,
    /// Whether it has a known partition table or file system.
    pub is_known_disk: bool,
}

impl ImageContent {
    /// Refuses a file that is not a raw disk.
    ///
    /// # Errors
    /// `InvalidInput`, with the command that converts it to a raw disk.
    pub fn check_raw(&self, path: &Path) -> Result<()> {
        let Some(format) = self.foreign else { return Ok(()) };
        let message = format!("{} is not a raw disk: it is a {} file", path.display(), format.name);
        Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint(NextStep::ConvertImage(format.command(path))))
    }
}

fn open_to_read(path: &Path, kind: Kind) -> io::Result<File> {
    let flags = match kind {
        // The path could be a pipe by now.
        Kind::File => OFlags::NONBLOCK,
        // With this flag, a drive without a medium would open.
        Kind::Device => OFlags::empty(),
    };
    OpenOptions::new().read(true).custom_flags((flags | OFlags::NOCTTY).bits().cast_signed()).open(path)
}

impl ReadAt for ImageFile {
    read_through_raw!();

    fn state(&self) -> io::Result<ImageState> {
        let metadata = self.raw.file().metadata()?;
        Ok(match self.raw.kind() {
            Kind::File => ImageState {
                size_bytes: metadata.len(),
                identity: Some(identity(&metadata)),
                sectors_written: None,
                standing: Some(standing(self.raw.file(), &metadata)),
            },
            Kind::Device => ImageState {
                size_bytes: self.raw.size_now()?,
                identity: None,
                sectors_written: sectors_written(metadata.rdev()),
                standing: None,
            },
        })
    }
}

fn identity(metadata: &Metadata) -> FileIdentity {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        size_bytes: metadata.len(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Returns a number that changes with the metadata of a file, not with its content.
fn standing(file: &File, metadata: &Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    (metadata.mode(), metadata.uid(), metadata.gid(), metadata.nlink()).hash(&mut hasher);
    // If it is unknown, a new name explains nothing.
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok().hash(&mut hasher);
    hasher.finish()
}

/// Reads the number of sectors written to a disk or a partition since it appeared: the seventh
/// number of its `stat`.
fn sectors_written(device: u64) -> Option<u64> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_ascii_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use rustix::fs::FileType;
    use rustix::fs::Mode;

    use super::*;
    use crate::world::in_place::OpenTarget;
    use crate::world::io::WriteAt;
    use crate::world::scratch::Outcome;
    use crate::world::scratch::Root;
    use crate::world::scratch::pattern;

    const UNIT: u64 = 64 << 10;

    /// Makes a file of units: `D` is data and `.` a hole; `tail` more bytes of the last kind
    /// follow.
    fn shaped(path: &Path, shape: &str, tail: u64) -> io::Result<()> {
        let file = File::create(path)?;
        let units = (0..).step_by(1 << 16).zip(shape.chars());
        for (offset, _) in units.filter(|(_, unit)| *unit == 'D') {
            file.write_all_at(&[0xD1; 1 << 16], offset)?;
        }
        let end = UNIT * shape.len() as u64;
        file.set_len(end + tail)?;
        if shape.ends_with('D') { file.write_all_at(&vec![0xD2; to_usize(tail)], end) } else { Ok(()) }
    }

    /// Returns where data starts and ends.
    fn data_ranges(image: &dyn ReadAt) -> io::Result<Vec<(u64, u64)>> {
        let mut ranges = Vec::new();
        let mut from = 0;
        while let Some(range) = image.next_data(from)? {
            from = range.end;
            ranges.push((range.start, range.end));
        }
        Ok(ranges)
    }

    fn units(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
        ranges.iter().map(|(start, end)| (start * UNIT, end * UNIT)).collect()
    }

    #[test]
    fn holes_are_found_at_the_start_in_the_middle_and_at_the_end() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        let shapes: [(&str, &[(u64, u64)]); 9] = [
            ("", &[]),
            ("D", &[(0, 1)]),
            ("....", &[]),
            ("..D", &[(2, 3)]),
            ("D..", &[(0, 1)]),
            ("D..D", &[(0, 1), (3, 4)]),
            (".DD.", &[(1, 3)]),
            (".D.D.", &[(1, 2), (3, 4)]),
            ("D.D.D", &[(0, 1), (2, 3), (4, 5)]),
        ];
        for (shape, expected) in shapes {
            shaped(&path, shape, 0)?;
            let image = ImageFile::open(&path)?;
            assert_eq!(image.len(), UNIT * shape.len() as u64);
            assert_eq!(data_ranges(&image)?, units(expected), "{shape}");
        }
        Ok(())
    }

    #[test]
    fn the_end_of_an_image_need_not_be_the_end_of_a_block() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        shaped(&path, ".D", 100)?;
        let image = ImageFile::open(&path)?;
        assert_eq!(data_ranges(&image)?, [(UNIT, 2 * UNIT + 100)]);
        assert_eq!(image.next_data(2 * UNIT + 99)?, Some(2 * UNIT + 99..2 * UNIT + 100));
        assert_eq!(image.next_data(2 * UNIT + 100)?, None);
        assert_eq!(image.next_data(u64::MAX)?, None);
        shaped(&path, "D.", 100)?;
        assert_eq!(data_ranges(&ImageFile::open(&path)?)?, [(0, UNIT)]);
        Ok(())
    }

    #[test]
    fn a_search_that_starts_in_the_middle_of_data_finds_the_rest_of_it() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        shaped(&path, ".D.", 0)?;
        let image = ImageFile::open(&path)?;
        assert_eq!(image.next_data(1)?, Some(UNIT..2 * UNIT));
        assert_eq!(image.next_data(UNIT + 7)?, Some(UNIT + 7..2 * UNIT));
        assert_eq!(image.next_data(2 * UNIT)?, None);
        Ok(())
    }

    #[test]
    fn reading_past_the_end_is_an_error_and_not_zeros() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        std::fs::write(&path, b"0123456789")?;
        let image = ImageFile::open(&path)?;
        let mut buffer = [0; 4];
        image.read_at(6, &mut buffer)?;
        assert_eq!(&buffer, b"6789");
        for offset in [7, 10, 11, u64::MAX - 1] {
            let kind = image.read_at(offset, &mut buffer).err().map(|error| error.kind());
            assert_eq!(kind, Some(io::ErrorKind::UnexpectedEof), "at {offset}");
        }
        image.read_at(10, &mut [])?;
        Ok(())
    }

    #[test]
    fn a_file_that_was_cut_short_has_no_holes_at_its_end_but_errors() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        shaped(&path, "DDDD", 0)?;
        let image = ImageFile::open(&path)?;
        OpenOptions::new().write(true).open(&path)?.set_len(UNIT)?;
        assert_eq!(image.len(), 4 * UNIT);
        assert_eq!(image.state()?.size_bytes, UNIT);
        let found = image.next_data(2 * UNIT).err().map(|error| error.kind());
        assert_eq!(found, Some(io::ErrorKind::UnexpectedEof));
        let read = image.read_at(UNIT - 1, &mut [0; 2]).err().map(|error| error.kind());
        assert_eq!(read, Some(io::ErrorKind::UnexpectedEof));
        Ok(())
    }

    #[test]
    fn what_a_file_grew_by_is_not_part_of_the_image() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        shaped(&path, "D.", 0)?;
        let image = ImageFile::open(&path)?;
        shaped(&path, "D.DD", 0)?;
        assert_eq!(data_ranges(&image)?, [(0, UNIT)]);
        assert_eq!(image.state()?.size_bytes, 4 * UNIT);
        assert!(image.read_at(2 * UNIT, &mut [0]).is_err());
        Ok(())
    }

    #[test]
    fn the_state_of_a_file_names_the_file_and_its_times() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        shaped(&path, "D", 0)?;
        let state = ImageFile::open(&path)?.state()?;
        let metadata = std::fs::metadata(&path)?;
        let identity = state.identity.ok_or("no identity")?;
        assert_eq!((identity.device, identity.inode), (metadata.dev(), metadata.ino()));
        assert_eq!((state.size_bytes, identity.size_bytes, state.sectors_written), (UNIT, UNIT, None));
        assert_eq!(identity.mtime_ns, metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec());
        assert_eq!(identity.ctime_ns, metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec());
        Ok(())
    }

    #[test]
    fn names_modes_and_links_are_no_writes_and_a_time_that_is_set_back_is_one() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        let at = |name: &str| dir.path().join(name);
        shaped(&path, "D", 0)?;
        // So that the next change has another time.
        let long_ago = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        let image = ImageFile::open(&path)?;
        let clock = || -> io::Result<i64> {
            std::fs::write(at("clock"), b"x")?;
            Ok(identity(&std::fs::metadata(at("clock"))?).ctime_ns)
        };
        let changes = |what: &dyn Fn() -> io::Result<()>| -> io::Result<bool> {
            OpenOptions::new().write(true).open(&path)?.set_times(long_ago)?;
            let before = image.state()?;
            // The file system's clock has ticks: until the next tick, a change cannot be seen.
            while before.identity.is_some_and(|it| it.ctime_ns >= clock().unwrap_or(i64::MAX)) {}
            what()?;
            let after = image.state()?;
            assert_ne!(before.identity, after.identity, "nothing has changed at all");
            Ok(before.was_written(&after))
        };
        let mode = |mode| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode));
        assert!(!changes(&|| mode(0o640))?, "another mode");
        assert!(!changes(&|| std::fs::hard_link(&path, at("other")))?, "another link");
        assert!(!changes(&|| std::fs::remove_file(at("other")))?, "a link less");
        let write = || OpenOptions::new().write(true).open(&path)?.write_all_at(b"x", 0);
        assert!(changes(&write)?, "a write");
        let reset = || {
            write()?;
            OpenOptions::new().write(true).open(&path)?.set_times(long_ago)
        };
        assert!(changes(&reset)?, "a write whose time was set back");
        assert!(changes(&|| OpenOptions::new().write(true).open(&path)?.set_len(UNIT + 1))?, "longer");
        assert!(!changes(&|| std::fs::rename(&path, at("renamed")))?, "another name");
        Ok(())
    }

    #[test]
    fn what_is_no_disk_is_refused_with_the_reason_and_a_hint() -> Outcome {
        let dir = tempfile::tempdir()?;
        let (pipe, socket) = (dir.path().join("pipe"), dir.path().join("socket"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let _listener = UnixListener::bind(&socket)?;
        let cases = [
            (dir.path().to_path_buf(), "is a directory"),
            (pipe, "is a pipe"),
            (socket, "is a socket"),
            (PathBuf::from("/dev/null"), "is a character device"),
        ];
        for (path, reason) in cases {
            let error = ImageFile::open(&path).err().ok_or(reason)?;
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{error}");
            assert!(error.next_step().is_some());
        }
        let missing = ImageFile::open(&dir.path().join("missing")).err().ok_or("missing")?;
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("missing"), "{missing}");
        Ok(())
    }

    #[test]
    fn many_threads_find_holes_and_read_at_once() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        shaped(&path, ".D.DD...D.D", 0)?;
        let image = ImageFile::open(&path)?;
        let expected = data_ranges(&image)?;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert_eq!(data_ranges(&image).ok().as_ref(), Some(&expected));
                        let mut byte = [0];
                        assert!(image.read_at(UNIT, &mut byte).is_ok());
                        assert_eq!(byte, [0xD1]);
                        image.will_need(UNIT..2 * UNIT);
                    }
                });
            }
        });
        Ok(())
    }

    #[test]
    fn a_block_device_is_an_image_like_a_file() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        let content = pattern((1 << 20) + 512);
        std::fs::write(&path, &content)?;
        let device = root.loop_device(&path)?;
        let image = ImageFile::open(&device.path)?;
        assert_eq!(image.len(), content.len() as u64);
        assert_eq!(image.next_data(5)?, Some(5..image.len()));
        assert_eq!(image.next_data(image.len())?, None);
        let mut read = vec![0; content.len()];
        image.read_at(0, &mut read)?;
        assert!(read == content);
        assert!(image.read_at(image.len() - 1, &mut [0; 2]).is_err());

        let before = image.state()?;
        assert_eq!((before.size_bytes, before.identity), (image.len(), None));
        let target = OpenTarget::open(&device.path, 8192)?;
        target.write_at(4096, &[7; 4096])?;
        target.sync()?;
        let (before, after) = (before.sectors_written, image.state()?.sectors_written);
        assert_eq!(after.ok_or("no count")? - before.ok_or("no count")?, 8);
        Ok(())
    }
}
