//! What a region takes, and whether it can be read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use icecore::Error;
use icecore::Result;

use crate::pool::Pool;

/// The unit of [`MetadataExt::blocks`].
const UNIT_BYTES: u64 = 512;

impl Pool {
    /// Returns how many bytes the repository takes on its disk, with its volumes. What cannot be looked at does not count.
    pub(crate) fn disk_bytes(&self) -> u64 {
        disk_bytes(self.dir())
    }

    /// Makes sure that the repository can be read: that its disk is there, and that it is not another one's.
    pub(crate) fn check_readable(&self) -> Result<()> {
        let path = self.dir().join("config");
        fs::read(&path).map_err(|error| Error::io(format!("reading {}", path.display()), error))?;
        // Another handle reads the index again: that of the one that is open may be of before it could not be read.
        let repo = self.another_handle()?;
        icecore::list(&repo)?;
        icecore::list_volumes(&repo).map(drop)
    }
}

fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => disk_bytes(&entry.path()),
        Ok(about) => about.blocks().saturating_mul(UNIT_BYTES),
        Err(_) => 0,
    };
    entries.flatten().map(of).fold(0, u64::saturating_add)
}
