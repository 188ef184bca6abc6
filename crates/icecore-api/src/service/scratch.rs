//! Temporary files of the server, below its state directory. They go when they are dropped, and at
//! the next start at the latest.

use std::path::PathBuf;

use icecore::Error;
use tempfile::NamedTempFile;

use crate::service::Service;
use crate::service::make_private_dir;
use crate::words::error::ApiResult;

impl Service {
    fn scratch_dir(&self) -> PathBuf {
        self.config().server.state_dir.join("tmp")
    }

    /// Makes a temporary file, which is empty.
    pub(crate) fn scratch_file(&self) -> ApiResult<NamedTempFile> {
        let dir = self.scratch_dir();
        make_private_dir(&dir)?;
        let making = |error| Error::io(format!("creating a file in {}", dir.display()), error);
        Ok(NamedTempFile::new_in(&dir).map_err(making)?)
    }

    /// Removes the files of a server that has ended.
    pub(super) fn clear_scratch(&self) {
        let Ok(entries) = std::fs::read_dir(self.scratch_dir()) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "could not remove an old temporary file");
            }
        }
    }
}
