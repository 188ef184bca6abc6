//! Files to import. Only files in the configured folders are allowed, whatever links they contain.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;

use icecore::image::ImageFile;
use icecore::image::ImageState;
use icecore::image::ReadAt;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// A file or block device that may be imported. It stays the same file even if its name changes.
#[derive(Debug)]
pub(crate) struct Source {
    handle: OwnedFd,
    /// The name that the client used, for messages.
    pub(crate) name: String,
}

impl Source {
    /// Finds the file that a `file://` URL names.
    ///
    /// # Errors
    /// 422 for any other URL, and for a path that is not below one of `folders`: with the same
    /// words whether or not the file exists.
    pub(crate) fn find(folders: &[PathBuf], url: &str) -> ApiResult<Self> {
        let path = path_of(url)?;
        let name = path.display().to_string();
        let none = || {
            let hint = match folders.is_empty() {
                true => "imports are not allowed: add folders under [import] in the server's configuration",
                false => "the server's configuration lists its import folders under [import]",
            };
            ApiError::unprocessable(format!("there is no file {name} in an import folder ({hint})"))
        };
        let whole = path.canonicalize().map_err(|_| none())?;
        let handle = folders.iter().find_map(|folder| open_below(folder, &whole));
        let handle = handle.ok_or_else(none)?;
        let stat = rustix::fs::fstat(&handle).map_err(|_| none())?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::BlockDevice => Ok(Self { handle, name }),
            _ => Err(ApiError::unprocessable(format!("{name} is neither a file nor a block device"))),
        }
    }

    /// Takes a file of this server, by the name that the client knows.
    pub(crate) fn of_server(path: &Path, name: &str) -> ApiResult<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| icecore::Error::io(format!("opening {}", path.display()), error.into()))?;
        Ok(Self { handle, name: name.to_owned() })
    }

    /// Returns a path by which this process can open the file.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd()))
    }

    /// Opens the file for reading.
    pub(crate) fn open(&self) -> ApiResult<File> {
        File::open(self.path())
            .map_err(|error| ApiError::unprocessable(format!("cannot open {}: {error}", self.name)))
    }

    /// Returns the state of the file, to detect later whether somebody has written to it.
    pub(crate) fn state(&self) -> ApiResult<ImageState> {
        let looking = |error| ApiError::unprocessable(format!("cannot look up {}: {error}", self.name));
        ImageFile::open(&self.path())?.state().map_err(looking)
    }
}

/// Opens a path without links if it is below a folder. It follows no component that has become a
/// link since.
fn open_below(folder: &Path, whole: &Path) -> Option<OwnedFd> {
    let folder = folder.canonicalize().ok()?;
    let rest = whole.strip_prefix(&folder).ok()?;
    if rest.as_os_str().is_empty() {
        // The folder is a single file: the server's operator has named it.
        return rustix::fs::open(whole, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .ok();
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(&folder, flags, Mode::empty()).ok()?;
    let strictly = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&dir, rest, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), strictly).ok()
}

/// Returns the path that a `file://` URL names.
fn path_of(url: &str) -> ApiResult<PathBuf> {
    let bad = |message: &str| Err(ApiError::unprocessable(format!("url {message}")));
    let Some(rest) = url.strip_prefix("file://") else {
        return bad(
            "must be https://HOST/PATH, or name a file on the server, such as file:///srv/images/disk.qcow2",
        );
    };
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        return bad("names another machine: use three slashes, as in file:///");
    }
    let mut bytes = Vec::with_capacity(rest.len());
    let mut left = rest.bytes();
    while let Some(byte) = left.next() {
        match byte {
            b'%' => {
                let digits =
                    [left.next(), left.next()].map(|digit| digit.and_then(|it| char::from(it).to_digit(16)));
                let [Some(high), Some(low)] = digits else {
                    return bad("has a % that is not followed by two hexadecimal digits");
                };
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(0));
            }
            b'?' | b'#' => return bad("has a query or a fragment: write %3F and %23 for ? and # in a name"),
            _ => bytes.push(byte),
        }
    }
    if bytes.contains(&0) {
        return bad("contains a zero byte");
    }
    Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn url(path: &Path) -> String {
        format!("file://{}", path.display())
    }

    #[test]
    fn only_what_is_below_a_folder_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let [inside, outside] = ["in", "out"].map(|name| dir.path().join(name));
        for folder in [&inside, &outside] {
            std::fs::create_dir_all(folder.join("sub")).unwrap();
            std::fs::write(folder.join("sub/a b.raw"), folder.to_str().unwrap()).unwrap();
        }
        symlink(outside.join("sub/a b.raw"), inside.join("escape")).unwrap();
        symlink("../out/sub", inside.join("escape-dir")).unwrap();
        symlink("sub/a b.raw", inside.join("within")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, inside.join("pipe"), Mode::RUSR).unwrap();
        let folders = [inside.clone()];
        let find = |url: &str| Source::find(&folders, url);
        let read = |source: Source| {
            let mut text = String::new();
            source.open().unwrap().read_to_string(&mut text).unwrap();
            text
        };
        for good in ["sub/a%20b.raw", "sub/../sub/a%20b.raw", "within", "./within"] {
            assert_eq!(read(find(&url(&inside.join(good))).unwrap()), inside.to_str().unwrap(), "{good}");
        }
        let refused = |url: &str| {
            let error = find(url).unwrap_err();
            assert_eq!(error.status, 422, "{url}");
            error.message
        };
        // The messages do not reveal whether a file exists.
        let words = |path: &Path| refused(&url(path)).replace(path.to_str().unwrap(), "");
        let missing = words(&inside.join("missing"));
        for bad in [
            outside.join("sub/missing"),
            outside.join("sub/a b.raw"),
            inside.join("../out/sub/a b.raw"),
            inside.join("escape"),
            inside.join("escape-dir/a b.raw"),
            PathBuf::from("/etc/passwd"),
            PathBuf::from("/proc/self/root/etc/passwd"),
        ] {
            assert_eq!(words(&bad), missing, "{}", bad.display());
        }
        assert!(refused(&url(&inside.join("pipe"))).contains("neither a file"));
        assert!(refused(&url(&inside)).contains("neither a file"));
        for bad in [
            "http://example.com/a.raw",
            "/etc/passwd",
            "file://host/a",
            "file:relative",
            "file:///%zz",
            "file:///a%00",
            "file:///a?b",
        ] {
            assert!(refused(bad).starts_with("url "), "{bad}");
        }
    }

    #[test]
    fn a_name_that_becomes_a_link_after_the_look_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("in/sub")).unwrap();
        std::fs::create_dir_all(dir.join("out")).unwrap();
        std::fs::write(dir.join("out/file"), "secret").unwrap();
        let whole = dir.join("in/sub/file");
        std::fs::remove_dir(dir.join("in/sub")).unwrap();
        symlink(dir.join("out"), dir.join("in/sub")).unwrap();
        assert!(open_below(&dir.join("in"), &whole).is_none());
        assert!(open_below(&dir, &dir.join("out/file")).is_some());
    }

    #[test]
    fn a_single_file_can_be_configured() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, "x").unwrap();
        std::fs::write(dir.path().join("disk2"), "x").unwrap();
        let folders = [path.clone()];
        assert!(Source::find(&folders, &url(&path)).is_ok());
        assert!(Source::find(&folders, &url(&dir.path().join("disk2"))).is_err());
    }
}
