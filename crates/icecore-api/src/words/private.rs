//! Files that only the server's user may read.

use std::fs::File;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use icecore::Error;
use icecore::Result;

/// Creates a directory that only its owner can enter, unless it exists.
pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let making = |error| Error::io(format!("creating the directory {}", dir.display()), error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(making)
}

/// Creates a file that only its owner can read, unless it exists.
pub(crate) fn make_private_file(path: &Path) -> Result<()> {
    let making = |error| Error::io(format!("creating the file {}", path.display()), error);
    File::options().create(true).append(true).mode(0o600).open(path).map(drop).map_err(making)
}

/// Takes a file or directory away from everybody but its owner, if it exists. An earlier version may
/// have left it open to others.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    let changing = |error| Error::io(format!("taking {} away from other users", path.display()), error);
    let mode = match std::fs::metadata(path) {
        Ok(about) => about.permissions().mode() & 0o7777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(changing(error)),
    };
    if mode & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode & 0o700)).map_err(changing)
}
