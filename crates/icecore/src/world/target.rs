//! A restore target that is a new file. It gets its name only when it is complete.
#![expect(clippy::disallowed_methods, reason = "one of the modules that open files outside the repository")]

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Stat;
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::io::retry_on_intr;

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
use crate::world::rename::rename_new;

/// The longest file name that file systems allow.
const NAME_BYTES_MAX: usize = 255;

/// A file being restored: it gets its name only when it is complete.
#[derive(Debug)]
pub struct NewTarget {
    raw: Raw,
    place: Place,
    replaced: Option<Replaced>,
}

impl NewTarget {
    /// Creates a sparse file of `size_bytes` for `path`, without a name: it disappears with the
    /// process. If the file system has no unnamed files, it is beside `path` under a temporary name
    /// made with `session`. With `replace`, [`finish`](Self::finish) replaces a file at `path`;
    /// without, both calls refuse an existing file.
    ///
    /// # Errors
    /// `AlreadyExists` without `replace`; `InUse` if the file to replace is in use; `InvalidInput`
    /// if it is not a file, or is in a repository.
    pub fn create(path: &Path, size_bytes: u64, replace: bool, session: uuid::Uuid) -> Result<Self> {
        Self::make(path, size_bytes, replace, session, create_nameless)
    }

    fn make(
        path: &Path,
        size_bytes: u64,
        replace: bool,
        session: uuid::Uuid,
        create_nameless: CreateNameless,
    ) -> Result<Self> {
        check_size(path, size_bytes)?;
        let mut place = Place::of(path, replace, session)?;
        check_outside_repository(&place.dir_path, None)?;
        let replaced = match place.existing()? {
            Some(stat) => Some(Replaced::open(&place, stat)?),
            None => None,
        };
        let mut raw = Raw::new(path, place.create_temp(create_nameless)?, Kind::File)?;
        if let Some(replaced) = &replaced {
            let doing = |error| place.error("setting the permissions of", error);
            replaced.hand_down(raw.file()).map_err(doing)?;
        }
        let doing = format!("creating a file of {size_bytes} bytes for");
        raw.set_len(size_bytes).map_err(|error| place.error(&doing, error))?;
        raw.write_directly();
        Ok(Self { raw, place, replaced })
    }

    /// Makes the file durable and gives it its name. Without this call, it disappears.
    ///
    /// # Errors
    /// `AlreadyExists` if another file has the name by now and must not be replaced.
    pub fn finish(mut self) -> Result<()> {
        self.raw.sync().map_err(|error| self.place.error("writing", error))?;
        if let Some(stat) = self.place.existing()? {
            let key = (stat.st_dev, stat.st_ino);
            if self.replaced.as_ref().is_some_and(|replaced| replaced.claim.is_for(key)) {
                // A loop device may use it by now, and that takes no lock.
                in_use::refuse_loop_backing(&self.place.path, key)?;
            } else {
                self.replaced = Some(Replaced::open(&self.place, stat)?);
            }
        }
        self.place.publish()
    }
}

impl ReadAt for NewTarget {
    read_through_raw!();
}

impl WriteAt for NewTarget {
    write_through_raw!();
}

/// Returns the error for a target that could not be created or written.
pub(crate) fn target_error(doing: impl Into<String>, path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            let message = format!("the file system of {} does not allow files of this size", path.display());
            let next = NextStep::OtherFileSystem;
            Error::new(ErrorKind::InvalidInput, message).with_source(error).with_hint(next)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let hint = "free some space on its file system, or restore to another one";
            Error::io(doing, error).with_hint(hint)
        }
        io::ErrorKind::ExecutableFileBusy => {
            let message = format!("{} is in use as swap space or as a running program", path.display());
            Error::new(ErrorKind::InUse, message).with_source(error)
        }
        _ => Error::io(doing, error),
    }
}

/// The directory and the future name of the file. The directory stays open: it may be moved
/// meanwhile.
#[derive(Debug)]
struct Place {
    dir: File,
    dir_path: PathBuf,
    name: OsString,
    /// The file itself, if it has no name yet and disappears with the process, however that ends.
    nameless: Option<File>,
    temp: OsString,
    temp_exists: bool,
    replace: bool,
    /// The path as the user named it.
    path: PathBuf,
}

impl Place {
    fn of(path: &Path, replace: bool, session: uuid::Uuid) -> Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        let name_start = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (dir, name) = bytes.split_at(name_start);
        if [&b""[..], b".", b".."].contains(&name) {
            let message = format!("`{}` does not name a file", path.display());
            return Err(
                Error::new(ErrorKind::InvalidInput, message).with_hint("add the name of the new file")
            );
        }
        let dir = if dir.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(dir)) };
        // Without the trailing slash, which looks odd in a message.
        let dir = dir.components().as_path();
        Ok(Self {
            dir: open_dir(dir)?,
            dir_path: dir.to_path_buf(),
            name: OsStr::from_bytes(name).to_os_string(),
            nameless: None,
            temp: temp_name(OsStr::from_bytes(name), session),
            temp_exists: false,
            replace,
            path: path.to_path_buf(),
        })
    }

    /// Returns the file that has the name now if it may be replaced, and an error if it may not.
    fn existing(&self) -> Result<Option<Stat>> {
        let stat = match rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.error("looking for", error.into())),
        };
        let file_type = FileType::from_raw_mode(stat.st_mode);
        if file_type == FileType::RegularFile && self.replace {
            return Ok(Some(stat));
        }
        let path = self.path.display();
        let (what, next) = match file_type {
            FileType::RegularFile => ("", NextStep::ReplaceOrWriteInto),
            FileType::Directory => ("a directory", "name a file in it".into()),
            FileType::Symlink => ("a symbolic link", NextStep::FollowLink),
            FileType::BlockDevice => ("a block device", NextStep::WriteInto),
            FileType::CharacterDevice | FileType::Fifo => ("not a file", NextStep::WriteToOutput),
            _ => ("not a file", "choose another name".into()),
        };
        let message =
            if what.is_empty() { format!("{path} already exists") } else { format!("{path} is {what}") };
        let kind = if self.replace || file_type == FileType::Directory {
            ErrorKind::InvalidInput
        } else {
            ErrorKind::AlreadyExists
        };
        Err(Error::new(kind, message).with_hint(next))
    }

    fn create_temp(&mut self, create_nameless: CreateNameless) -> Result<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match create_nameless(&self.dir, mode) {
            Some((file, again)) => {
                self.nameless = Some(again);
                file
            }
            None => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = retry_on_intr(|| rustix::fs::openat(&self.dir, &self.temp, flags, mode))
                    .map_err(|error| self.error("creating a file for", error.into()))?;
                self.temp_exists = true;
                file.into()
            }
        };
        // Whatever the process's mask is: its owner may read it, and nobody else.
        rustix::fs::fchmod(&file, mode)
            .map_err(|error| self.error("setting the permissions of", error.into()))?;
        Ok(file)
    }

    /// Gives the file its name, and returns once that is durable.
    fn publish(&mut self) -> Result<()> {
        let named = match &self.nameless {
            Some(file) if !self.replace => link(file, &self.dir, &self.name),
            Some(file) => {
                // A link does not replace: the second step does.
                let linked = link(file, &self.dir, &self.temp);
                self.temp_exists |= linked.is_ok();
                linked.and_then(|()| self.rename())
            }
            None if self.replace => self.rename(),
            None => self.rename_without_replacing(),
        };
        match named {
            Ok(()) => self.temp_exists = false,
            Err(Errno::EXIST) => {
                let message = format!("{} appeared during the restore", self.path.display());
                return Err(Error::new(ErrorKind::AlreadyExists, message).with_hint("choose another name"));
            }
            Err(error) => return Err(self.error("giving its name to", error.into())),
        }
        match retry_on_intr(|| rustix::fs::fsync(&self.dir)) {
            // Some file systems have nothing to sync in a directory.
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(self.error("syncing the name of", error.into())),
        }
    }

    fn rename(&self) -> rustix::io::Result<()> {
        retry_on_intr(|| rustix::fs::renameat(&self.dir, &self.temp, &self.dir, &self.name))
    }

    fn rename_without_replacing(&self) -> rustix::io::Result<()> {
        rename_new((&self.dir, &self.temp), (&self.dir, &self.name))
    }

    fn error(&self, doing: &str, error: io::Error) -> Error {
        target_error(format!("{doing} {}", self.path.display()), &self.path, error)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temp_exists {
            // There is nobody to report to. The name says whose file it is.
            let _ = retry_on_intr(|| rustix::fs::unlinkat(&self.dir, &self.temp, AtFlags::empty()));
        }
    }
}

/// Creates an unnamed file in the file system of a directory.
type CreateNameless = fn(&File, Mode) -> Option<(File, File)>;

/// Creates an unnamed file, and opens it twice; none if that is impossible, or if it could not get
/// a name later.
fn create_nameless(dir: &File, mode: Mode) -> Option<(File, File)> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file: File = retry_on_intr(|| rustix::fs::openat(dir, ".", flags, mode)).ok()?.into();
    let same = |one: &Stat, other: &Stat| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino);
    let (opened, seen) = (rustix::fs::fstat(&file).ok()?, rustix::fs::stat(path_of(&file)).ok()?);
    let again = file.try_clone().ok()?;
    same(&opened, &seen).then_some((file, again))
}

/// Returns the path at which the system shows an open file.
fn path_of(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Gives an unnamed file a free name.
fn link(file: &File, dir: &File, name: &OsStr) -> rustix::io::Result<()> {
    let link = || rustix::fs::linkat(rustix::fs::CWD, path_of(file), dir, name, AtFlags::SYMLINK_FOLLOW);
    retry_on_intr(link)
}

fn open_dir(dir: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = dir.display();
    match retry_on_intr(|| rustix::fs::open(dir, flags, Mode::empty())) {
        Ok(opened) => Ok(opened.into()),
        Err(Errno::NOENT) => {
            Err(Error::new(ErrorKind::NotFound, format!("the directory {path} does not exist"))
                .with_hint(format!("create it with `mkdir -p {path}`")))
        }
        Err(Errno::NOTDIR) => Err(Error::new(ErrorKind::InvalidInput, format!("{path} is not a directory"))),
        Err(error) => Err(Error::io(format!("opening the directory {path}"), error.into())),
    }
}

/// Returns `.NAME.icecore-SESSION`, without the name if that would be too long.
fn temp_name(name: &OsStr, session: uuid::Uuid) -> OsString {
    let suffix = format!(".icecore-{session}");
    let mut temp = OsString::from(".");
    if name.len() + suffix.len() < NAME_BYTES_MAX {
        temp.push(name);
        temp.push(suffix);
    } else {
        temp.push(&suffix[1..]);
    }
    temp
}

/// The file to replace at the end. It stays open and locked until then, so that no virtual machine
/// starts on it.
#[derive(Debug)]
struct Replaced {
    _file: Option<File>,
    stat: Stat,
    /// Declared last, so dropped last: closing the file ends the lock, and only then may another
    /// process open it.
    claim: Claim,
}

impl Replaced {
    fn open(place: &Place, stat: Stat) -> Result<Self> {
        let key = (stat.st_dev, stat.st_ino);
        let claim = Claim::take(&place.path, key)?;
        in_use::refuse_loop_backing(&place.path, key)?;
        let file = open_existing(place).map_err(|error| place.error("opening", error.into()))?;
        if let Some(file) = &file {
            claim.lock(&place.path, file)?;
        }
        Ok(Self { _file: file, stat, claim })
    }

    /// Gives `file` the owner and the permissions of the file that it replaces.
    fn hand_down(&self, file: &File) -> io::Result<()> {
        let (owner, group) = (Uid::from_raw(self.stat.st_uid), Gid::from_raw(self.stat.st_gid));
        let owned = rustix::fs::fchown(file, Some(owner), Some(group)).is_ok();
        // With another owner or group, the same bits would let others in.
        let kept = if owned { Mode::RWXU | Mode::RWXG | Mode::RWXO } else { Mode::RWXU };
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(self.stat.st_mode) & kept)?)
    }
}

/// Opens the file that has the name, for writing if possible, because the strictest lock needs
/// that.
fn open_existing(place: &Place) -> rustix::io::Result<Option<File>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    for access in [OFlags::RDWR, OFlags::RDONLY] {
        match retry_on_intr(|| rustix::fs::openat(&place.dir, &place.name, flags | access, Mode::empty())) {
            Ok(file) => return Ok(Some(file.into())),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY) => {}
            Err(error) => return Err(error),
        }
    }
    // A user who may change the directory may replace a file that they may not open.
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::world::scratch::LockHolder;
    use crate::world::scratch::Outcome;
    use crate::world::scratch::Root;
    use crate::world::scratch::alone;
    use crate::world::scratch::skip;

    const SESSION: uuid::Uuid = uuid::Uuid::from_u128(7);

    fn refusal(path: &Path, replace: bool) -> Result<Error, &'static str> {
        NewTarget::create(path, 4096, replace, SESSION).err().ok_or("it was not refused")
    }

    /// With unnamed files, and on a file system without them.
    const WAYS: [CreateNameless; 2] = [create_nameless, |_, _| None];

    fn names(dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    #[test]
    fn a_new_file_gets_its_name_at_the_end_and_is_sparse() -> Outcome {
        for (way, before) in WAYS.iter().zip([vec![], vec![format!(".disk.icecore-{SESSION}")]]) {
            let dir = tempfile::tempdir()?;
            let path = dir.path().join("disk");
            let target = NewTarget::make(&path, 1 << 40, false, SESSION, *way)?;
            assert_eq!(names(dir.path())?, before);
            target.write_at(1 << 30, b"data")?;
            target.write_at((1 << 30) + 4, b"more")?;
            target.zero_at((1 << 30) + 4..1 << 39)?;
            let mut read = [1; 8];
            target.read_at(1 << 30, &mut read)?;
            assert_eq!(&read, b"data\0\0\0\0");
            target.finish()?;
            assert_eq!(names(dir.path())?, ["disk"]);
            let metadata = std::fs::metadata(&path)?;
            assert_eq!((metadata.len(), metadata.mode() & 0o777), (1 << 40, 0o600));
            assert!(metadata.blocks() < 1024, "{} blocks", metadata.blocks());
        }
        Ok(())
    }

    #[test]
    fn a_file_that_is_not_finished_disappears() -> Outcome {
        for way in WAYS {
            let dir = tempfile::tempdir()?;
            let path = dir.path().join("disk");
            drop(NewTarget::make(&path, 4096, false, SESSION, way)?);
            assert!(names(dir.path())?.is_empty());
            std::fs::write(&path, b"old")?;
            let target = NewTarget::make(&path, 4096, true, SESSION, way)?;
            target.write_at(0, b"new")?;
            drop(target);
            assert_eq!(names(dir.path())?, ["disk"]);
            assert_eq!(std::fs::read(&path)?, b"old");
        }
        Ok(())
    }

    #[test]
    fn a_file_that_exists_is_refused_and_the_ways_out_are_named() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, b"old")?;
        let error = refusal(&path, false)?;
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(error.next_step(), Some(&NextStep::ReplaceOrWriteInto));
        let device = refusal(Path::new("/dev/null"), false)?;
        assert_eq!(device.kind(), ErrorKind::AlreadyExists);
        assert_eq!(names(dir.path())?, ["disk"]);
        Ok(())
    }

    #[test]
    fn a_file_is_replaced_in_the_end_and_its_permissions_stay() -> Outcome {
        for way in WAYS {
            let dir = tempfile::tempdir()?;
            let path = dir.path().join("disk");
            std::fs::write(&path, b"old")?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640))?;
            let target = NewTarget::make(&path, 3, true, SESSION, way)?;
            target.write_at(0, b"new")?;
            assert_eq!(std::fs::read(&path)?, b"old");
            target.finish()?;
            assert_eq!(std::fs::read(&path)?, b"new");
            assert_eq!(std::fs::metadata(&path)?.mode() & 0o777, 0o640);
            assert_eq!(names(dir.path())?, ["disk"]);
        }
        Ok(())
    }

    #[test]
    fn only_a_file_is_replaced() -> Outcome {
        let dir = tempfile::tempdir()?;
        let (link, file) = (dir.path().join("link"), dir.path().join("file"));
        std::fs::write(&file, b"old")?;
        std::os::unix::fs::symlink(&file, &link)?;
        for path in [dir.path(), &link, Path::new("/dev/null")] {
            let error = refusal(path, true)?;
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.next_step().is_some());
        }
        assert_eq!(refusal(dir.path(), false)?.kind(), ErrorKind::InvalidInput);
        Ok(())
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced() -> Outcome {
        for way in WAYS {
            let dir = tempfile::tempdir()?;
            let path = dir.path().join("disk");
            let mut target = NewTarget::make(&path, 3, false, SESSION, way)?;
            std::fs::write(&path, b"theirs")?;
            // Each of these detects it by itself: the check, and the link or the rename.
            let named = target.place.publish().err().map(|error| error.kind());
            assert_eq!(named, Some(ErrorKind::AlreadyExists));
            let finished = target.finish().err().map(|error| error.kind());
            assert_eq!(finished, Some(ErrorKind::AlreadyExists));
            assert_eq!(names(dir.path())?, ["disk"]);
            assert_eq!(std::fs::read(&path)?, b"theirs");
        }
        Ok(())
    }

    #[test]
    fn a_path_must_name_a_file_in_a_directory_that_exists() -> Outcome {
        let dir = tempfile::tempdir()?;
        for name in ["", "disk/", "..", "."] {
            let path = if name.is_empty() { PathBuf::new() } else { dir.path().join(name) };
            assert_eq!(refusal(&path, false)?.kind(), ErrorKind::InvalidInput, "{}", path.display());
        }
        let missing = refusal(&dir.path().join("missing/disk"), false)?;
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("missing does not exist"), "{missing}");
        std::fs::write(dir.path().join("file"), b"")?;
        assert_eq!(refusal(&dir.path().join("file/disk"), false)?.kind(), ErrorKind::InvalidInput);
        assert!(names(dir.path())?.iter().eq(["file"]));
        Ok(())
    }

    #[test]
    fn a_name_alone_is_a_file_in_the_current_directory() -> Outcome {
        let name = format!("icecore-test-{}.img", std::process::id());
        let target = match NewTarget::make(Path::new(&name), 4096, false, SESSION, WAYS[1]) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                skip("the current directory cannot be written");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let temp = PathBuf::from(&target.place.temp);
        assert!(temp.exists());
        drop(target);
        assert!(!temp.exists());
        Ok(())
    }

    #[test]
    fn the_longest_name_leaves_room_for_the_temporary_one() -> Outcome {
        let dir = tempfile::tempdir()?;
        for (len, way) in [200, 209, 210, 255].into_iter().flat_map(|len| WAYS.map(|way| (len, way))) {
            let name = "n".repeat(len);
            let path = dir.path().join(&name);
            NewTarget::make(&path, 1, false, SESSION, way)?.finish()?;
            NewTarget::make(&path, 1, true, SESSION, way)?.finish()?;
            assert_eq!(names(dir.path())?, [name.as_str()]);
            std::fs::remove_file(dir.path().join(&name))?;
        }
        assert!(NewTarget::create(&dir.path().join("n".repeat(256)), 1, false, SESSION).is_err());
        Ok(())
    }

    #[test]
    fn a_file_in_use_is_not_replaced() -> Outcome {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("disk");
        std::fs::write(&path, vec![0; 1 << 20])?;
        {
            let _alone = alone();
            let _holder = LockHolder::start(&path)?;
            assert_eq!(refusal(&path, true)?.kind(), ErrorKind::InUse);
        }
        let target = NewTarget::create(&path, 1, true, SESSION)?;
        assert_eq!(refusal(&path, true)?.kind(), ErrorKind::InUse);

        let Some(root) = Root::get() else { return Ok(()) };
        let _device = root.loop_device(&path)?;
        let finished = target.finish().err().map(|error| error.kind());
        assert_eq!(finished, Some(ErrorKind::InUse));
        assert_eq!(refusal(&path, true)?.kind(), ErrorKind::InUse);
        assert_eq!(std::fs::metadata(&path)?.len(), 1 << 20);
        Ok(())
    }

    #[test]
    fn a_full_file_system_and_one_that_allows_no_such_file_say_so() -> Outcome {
        let Some(root) = Root::get() else { return Ok(()) };
        let dir = tempfile::tempdir()?;
        let mounted = root.ext4(dir.path(), "small", 4 << 20)?;
        let before = names(&mounted.point)?;
        let path = mounted.point.join("disk");
        let error = NewTarget::create(&path, 1 << 50, false, SESSION).err().ok_or("it was not refused")?;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("does not allow files of this size"), "{error}");

        let target = NewTarget::create(&path, 64 << 20, false, SESSION)?;
        let written = (0..64).try_for_each(|mib| target.write_at(mib << 20, &[1; 1 << 20]));
        assert_eq!(written.err().map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
        // On a full file system, zeros can still be made.
        target.zero_at(0..1 << 20)?;
        drop(target);
        assert_eq!(names(&mounted.point)?, before);
        Ok(())
    }
}
