//! Temporary files of the server, in its state directory. They are deleted when dropped, or at the
//! next start.

use std::path::PathBuf;

use icecore::Error;
use icecore_host::config::Config;
use tempfile::NamedTempFile;

use crate::words::error::ApiResult;
use crate::words::private::make_private_dir;

/// The directory of temporary files.
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    pub(super) fn new(config: &Config) -> Self {
        Self { dir: config.server.state_dir.join("tmp") }
    }

    /// Creates an empty temporary file.
    pub(super) fn file(&self) -> ApiResult<NamedTempFile> {
        make_private_dir(&self.dir)?;
        let making = |error| Error::io(format!("creating a file in {}", self.dir.display()), error);
        Ok(NamedTempFile::new_in(&self.dir).map_err(making)?)
    }

    /// Deletes the files that an earlier server left.
    pub(super) fn clear(&self) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "could not remove an old temporary file");
            }
        }
    }
}
