//! Files that only the server's user may read.

use std::path::Path;

use icecore::Error;
use icecore::Result;

/// Creates a directory that only its owner can enter, unless it exists.
pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let making = |error| Error::io(format!("creating the directory {}", dir.display()), error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(making)
}
