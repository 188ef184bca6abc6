//! An existing restore target, written in place.
#![expect(clippy::disallowed_methods, reason = "one of the modules that open files outside the repository")]

use std::fs::File;
use std::fs::Metadata;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::next_step::NextStep;
use crate::world::in_use;
use crate::world::in_use::Claim;
use crate::world::inside::check_outside_repository;
use crate::world::io::ReadAt;
use crate::world::io::WriteAt;
use crate::world::raw::Kind;
use crate::world::raw::Raw;
use crate::world::raw::check_size;
use crate::world::raw::read_through_raw;
use crate::world::raw::write_through_raw;
use crate::world::target::target_error;

/// An existing file or block device that is restored in place. Its length is the size that it was
/// opened for, whatever it has beyond.
#[derive(Debug)]
pub struct OpenTarget {
    raw: Raw,
    end: TargetEnd,
    /// Declared last, so dropped last: closing the file ends the lock, and only then may another
    /// process open it.
    _claim: Claim,
}

/// What a target has beyond the size that it was opened for. Both fields are zero if that is
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetEnd {
    /// Bytes cut off the end of a file.
    pub cut_bytes: u64,
    /// Bytes of a device, which cannot be cut, that stay unchanged.
    pub left_bytes: u64,
}

impl OpenTarget {
    /// Opens the first `size_bytes` of it exclusively: refused if it is mounted or in use. A
    /// shorter file is extended. A longer file is cut by [`finish`](Self::finish). A larger device
    /// is not touched beyond the size.
    ///
    /// # Errors
    /// `InUse` if another process uses it; `InvalidInput` if it is not a file or block device, is a
    /// device that is too small, or is part of a repository.
    pub fn open(path: &Path, size_bytes: u64) -> Result<Self> {
        check_size(path, size_bytes)?;
        let metadata = std::fs::metadata(path).map_err(|error| opening(path, error))?;
        check_outside_repository(path, None)?;
        match Kind::of(path, &metadata)? {
            Kind::File => open_file(path, size_bytes, &metadata),
            Kind::Device => open_device(path, size_bytes, &metadata),
        }
    }

    /// Cuts a file to the size that it was opened for, and returns once everything is on the
    /// medium. Without this call, a longer file stays longer.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn finish(mut self) -> io::Result<TargetEnd> {
        if self.end.cut_bytes > 0 {
            // The new content is on the medium before any old content is gone.
            self.raw.sync()?;
            self.raw.set_len(self.raw.len())?;
        }
        self.raw.sync()?;
        Ok(self.end)
    }
}

fn opening(path: &Path, error: io::Error) -> Error {
    let error = target_error(format!("opening {} to restore into it", path.display()), path, error);
    match error.kind() {
        ErrorKind::NotFound => error.with_hint(NextStep::NewFile),
        _ => error,
    }
}

fn open_file(path: &Path, size_bytes: u64, metadata: &Metadata) -> Result<OpenTarget> {
    let doing = |error| opening(path, error);
    // This check comes before the file is opened: closing it again would end a lock that this
    // process has on it.
    let claim = Claim::take(path, (metadata.dev(), metadata.ino()))?;
    let file = open_to_write(path, OFlags::NONBLOCK).map_err(doing)?;
    let opened = file.metadata().map_err(doing)?;
    if !claim.is_for((opened.dev(), opened.ino())) {
        let message = format!("{} was replaced by another file during opening", path.display());
        return Err(Error::new(ErrorKind::InUse, message));
    }
    in_use::refuse_loop_backing(path, (opened.dev(), opened.ino()))?;
    claim.lock(path, &file)?;
    let mut raw = Raw::new(path, file, Kind::File)?;
    if raw.len() < size_bytes {
        let doing = format!("setting the length of {} to {size_bytes} bytes", path.display());
        raw.set_len(size_bytes).map_err(|error| target_error(doing, path, error))?;
    }
    let end = TargetEnd { cut_bytes: raw.leave_out_beyond(size_bytes), left_bytes: 0 };
    raw.write_directly();
    Ok(OpenTarget { raw, end, _claim: claim })
}

fn open_device(path: &Path, size_bytes: u64, metadata: &Metadata) -> Result<OpenTarget> {
    let key = (metadata.dev(), metadata.ino());
    // This check comes before opening, as for a file.
    let claim = Claim::take(path, key)?;
    let file = match open_to_write(path, OFlags::EXCL) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            return Err(in_use::busy_device(path, metadata.rdev()));
        }
        Err(error) => return Err(opening(path, error)),
    };
    let opened = file.metadata().map_err(|error| opening(path, error))?;
    let kind = Kind::of(path, &opened)?;
    if kind != Kind::Device || !claim.is_for((opened.dev(), opened.ino())) {
        // Then it was not claimed, and must not be written.
        return Err(Error::new(ErrorKind::InUse, format!("{} changed during opening", path.display())));
    }
    // Another process may have it open without exclusive access: qemu locks the device's node, as
    // it locks a file.
    claim.lock(path, &file)?;
    let mut raw = Raw::new(path, file, kind)?;
    if raw.len() < size_bytes {
        let message = format!(
            "the block device {} is too small: it has {} bytes, but {size_bytes} are needed",
            path.display(),
            raw.len()
        );
        return Err(
            Error::new(ErrorKind::InvalidInput, message).with_hint("name a larger device, or a new file")
        );
    }
    let end = TargetEnd { cut_bytes: 0, left_bytes: raw.leave_out_beyond(size_bytes) };
    raw.write_directly();
    Ok(OpenTarget { raw, end, _claim: claim })
}

fn open_to_write(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = (flags | OFlags::NOCTTY).bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

impl ReadAt for OpenTarget {
    read_through_raw!();
}

impl WriteAt for OpenTarget {
    write_through_raw!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::scratch::LockHolder;
    use crate::world::scratch::Outcome;
    use crate::world::scratch::Root;
    use crate::world::scratch::allocated_bytes;
    use crate::world::scratch::alone;
    use crate::world::scratch::pattern;

    fn refusal(path: &Path, size_bytes: u64) -> Result<Error, &'static str> {
        OpenTarget::open(path, size_bytes).err().ok_or("it was not refused")
    }

    #[test]
    fn a_short_file_is_made_longer_and_a_long_one_is_cut_at_the_end() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, b"short")?;
        let target = OpenTarget::open(&path, 10_000)?;
        assert_eq!((target.len(), std::fs::metadata(&path)?.len()), (10_000, 10_000));
        let mut read = [1; 8];
        target.read_at(0, &mut read)?;
        assert_eq!(&read, b"short\0\0\0");
        assert_eq!(target.finish()?, TargetEnd::default());
        let target = OpenTarget::open(&path, 3)?;
        assert_eq!((target.len(), std::fs::metadata(&path)?.len()), (3, 10_000));
        assert!(target.write_at(3, b"x").is_err() && target.zero_at(2..4).is_err());
        drop(target);
        assert_eq!(std::fs::metadata(&path)?.len(), 10_000);
        let end = OpenTarget::open(&path, 3)?.finish()?;
        assert_eq!(end, TargetEnd { cut_bytes: 9997, left_bytes: 0 });
        assert_eq!(std::fs::read(&path)?, b"sho");
        Ok(())
    }

    #[test]
    fn a_symbolic_link_is_followed() -> Outcome {
        let dir = tempfile::tempdir()?;
        let (path, link) = (dir.path().join("disk"), dir.path().join("link"));
        std::fs::write(&path, b"old")?;
        std::os::unix::fs::symlink("disk", &link)?;
        let target = OpenTarget::open(&link, 3)?;
        target.write_at(0, b"new")?;
        target.sync()?;
        assert_eq!(std::fs::read(&path)?, b"new");
        assert!(link.is_symlink());
        Ok(())
    }

    #[test]
    fn what_is_missing_or_no_disk_is_refused() -> Outcome {
        let dir = tempfile::tempdir()?;
        let missing = refusal(&dir.path().join("missing"), 1)?;
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert_eq!(missing.next_step(), Some(&NextStep::NewFile));
        assert_eq!(refusal(dir.path(), 1)?.kind(), ErrorKind::InvalidInput);
        assert_eq!(refusal(Path::new("/dev/null"), 1)?.kind(), ErrorKind::InvalidInput);
        assert_eq!(refusal(&dir.path().join("missing"), u64::MAX)?.kind(), ErrorKind::InvalidInput);
        Ok(())
    }

    /// Zeroes ranges that begin and end anywhere, and compares the result with the same operations
    /// in memory.
    fn zero_here_and_there(target: &OpenTarget, content: &mut [u8]) -> Outcome {
        let len = content.len();
        target.write_at(0, content)?;
        let ranges = [
            0..0,
            1..2,
            511..513,
            4095..4097,
            4097..8191,
            10_000..12_288,
            12_289..30_001,
            65_536..131_072,
            200_000..300_000,
            len - 5000..len - 100,
            len - 1..len,
        ];
        let mut read = vec![0; len];
        for range in ranges {
            target.zero_at(range.start as u64..range.end as u64)?;
            content[range.clone()].fill(0);
            target.read_at(0, &mut read)?;
            assert!(read == content, "after {range:?}");
        }
        target.sync()?;
        Ok(())
    }

    #[test]
    fn zeros_at_odd_places_in_a_file_leave_the_neighbours_alone() -> Outcome {
        let mut content = pattern(400_777);
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, b"")?;
        zero_here_and_there(&OpenTarget::open(&path, content.len() as u64)?, &mut content)?;
        assert!(std::fs::read(&path)? == content);
        Ok(())
    }

    #[test]
    fn zeros_at_odd_places_on_a_device_leave_the_neighbours_alone() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        // Not a multiple of 4096: the last sectors are not a whole page.
        let mut content = pattern(512 * 783);
        std::fs::write(&path, &content)?;
        let device = root.loop_device(&path)?;
        zero_here_and_there(&OpenTarget::open(&device.path, content.len() as u64)?, &mut content)?;
        assert!(std::fs::read(&device.path)? == content);
        drop(device);
        assert!(std::fs::read(&path)? == content);
        Ok(())
    }

    #[test]
    fn what_becomes_zero_takes_no_space_and_is_found_as_a_hole() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, pattern(4 << 20))?;
        let target = OpenTarget::open(&path, 4 << 20)?;
        target.zero_at(1 << 20..3 << 20)?;
        assert_eq!(target.next_data(0)?, Some(0..1 << 20));
        assert_eq!(target.next_data(1 << 20)?, Some(3 << 20..4 << 20));
        target.sync()?;
        assert!(allocated_bytes(&path)? < 3 << 20);
        Ok(())
    }

    #[test]
    fn a_loop_device_makes_zeros_of_what_nobody_has_read_and_a_file_does_not() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        let mut content = pattern(8 << 20);
        std::fs::write(&path, &content)?;
        let target = OpenTarget::open(&path, 8 << 20)?;
        assert_eq!(target.zero_unread(1..7 << 20)?, 1..1);
        drop(target);
        assert!(std::fs::read(&path)? == content);
        let device = root.loop_device(&path)?;
        let target = OpenTarget::open(&device.path, 8 << 20)?;
        assert_eq!(target.zero_unread(1..(7 << 20) + 100)?, 4096..7 << 20);
        assert_eq!(target.zero_unread(1..4095)?, 1..1);
        assert!(target.zero_unread(0..(8 << 20) + 1).is_err());
        content[4096..7 << 20].fill(0);
        let mut read = vec![0; 8 << 20];
        target.read_at(0, &mut read)?;
        assert!(read == content);
        target.sync()?;
        assert!(allocated_bytes(&path)? < 3 << 20, "{} bytes are left", allocated_bytes(&path)?);
        Ok(())
    }

    #[test]
    fn what_becomes_zero_on_a_loop_device_is_given_back_below_it() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, pattern(8 << 20))?;
        let device = root.loop_device(&path)?;
        let target = OpenTarget::open(&device.path, 8 << 20)?;
        target.zero_at(1..7 << 20)?;
        target.sync()?;
        assert!(allocated_bytes(&path)? < 3 << 20, "{} bytes are left", allocated_bytes(&path)?);
        Ok(())
    }

    #[test]
    fn a_device_that_is_too_small_is_refused_with_both_sizes() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, [0; 8192])?;
        let device = root.loop_device(&path)?;
        let error = refusal(&device.path, 8193)?;
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("8192") && error.to_string().contains("8193"), "{error}");
        assert_eq!(OpenTarget::open(&device.path, 8192)?.len(), 8192);
        let target = OpenTarget::open(&device.path, 100)?;
        assert_eq!((target.len(), target.next_data(0)?, target.next_data(100)?), (100, Some(0..100), None));
        assert_eq!(target.finish()?, TargetEnd { cut_bytes: 0, left_bytes: 8092 });
        Ok(())
    }

    #[test]
    fn a_target_is_open_only_once() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, [0; 8192])?;
        let target = OpenTarget::open(&path, 0)?;
        assert_eq!(refusal(&path, 0)?.kind(), ErrorKind::InUse);
        drop(target);
        drop(OpenTarget::open(&path, 0)?);

        let Some(root) = Root::get() else { return Ok(()) };
        let device = root.loop_device(&path)?;
        let target = OpenTarget::open(&device.path, 0)?;
        let error = refusal(&device.path, 0)?;
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.to_string().contains("is already being restored"), "{error}");
        drop(target);
        drop(OpenTarget::open(&device.path, 0)?);
        Ok(())
    }

    #[test]
    fn a_mounted_device_is_refused_with_the_place_where_it_is_mounted() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let mounted = root.ext4(dir.path(), "disk", 4 << 20)?;
        let point = mounted.point.display().to_string();
        for path in [&mounted.device.path, &mounted.image] {
            let error = refusal(path, 0)?;
            assert_eq!(error.kind(), ErrorKind::InUse);
            assert!(error.to_string().contains(&point), "{error}");
            assert!(format!("{:?}", error.next_step()).contains("umount"));
        }
        Ok(())
    }

    #[test]
    fn a_file_behind_a_loop_device_is_refused_by_any_of_its_names() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let (path, link) = (dir.path().join("disk"), dir.path().join("hard link"));
        std::fs::write(&path, [0; 8192])?;
        std::fs::hard_link(&path, &link)?;
        let device = root.loop_device(&path)?;
        for name in [&path, &link] {
            let error = refusal(name, 0)?;
            assert_eq!(error.kind(), ErrorKind::InUse);
            assert!(error.to_string().contains(&device.path.display().to_string()), "{error}");
            assert!(format!("{:?}", error.next_step()).contains("losetup -d"));
        }
        drop(device);
        drop(OpenTarget::open(&path, 0)?);
        Ok(())
    }

    #[test]
    fn a_device_that_qemu_has_open_is_refused() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, vec![0; 1 << 20])?;
        let device = root.loop_device(&path)?;
        let Some(holder) = LockHolder::start_qemu(&device.path)? else { return Ok(()) };
        let error = refusal(&device.path, 0)?;
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        drop(holder);
        drop(OpenTarget::open(&device.path, 0)?);
        Ok(())
    }

    #[test]
    fn a_file_that_another_process_has_locked_is_refused_until_it_lets_go() -> Outcome {
        let _alone = alone();
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, vec![0; 1 << 20])?;
        let holder = LockHolder::start(&path)?;
        let error = refusal(&path, 0)?;
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.to_string().contains("another process"), "{error}");
        drop(holder);
        drop(OpenTarget::open(&path, 0)?);

        let Some(holder) = LockHolder::start_qemu(&path)? else { return Ok(()) };
        assert_eq!(refusal(&path, 0)?.kind(), ErrorKind::InUse);
        drop(holder);
        drop(OpenTarget::open(&path, 0)?);
        Ok(())
    }
}
