//! Downloads in the state directory. They survive a restart of the server, so that they can continue.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use icecore::Error;
use icecore_host::config::Config;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::words::error::ApiResult;
use crate::words::private::make_private_dir;

/// The directory of downloads.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    dir: PathBuf,
}

/// The version of a file that a part of a download is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// What `If-Range` takes: a strong ETag, or a date.
    pub(crate) validator: String,
}

impl Spool {
    pub(crate) fn new(config: &Config) -> Self {
        Self { dir: config.server.state_dir.join("spool") }
    }

    /// Returns the path of a download.
    pub(crate) fn path(&self, import: Uuid) -> PathBuf {
        self.dir.join(import.to_string())
    }

    fn version_path(&self, import: Uuid) -> PathBuf {
        self.dir.join(format!("{import}.json"))
    }

    /// Opens the file of a download for writing, and creates it if needed.
    pub(crate) fn open(&self, import: Uuid) -> ApiResult<File> {
        make_private_dir(&self.dir)?;
        let path = self.path(import);
        let opening = |error| Error::io(format!("opening {}", path.display()), error);
        Ok(File::options().create(true).append(true).mode(0o600).open(&path).map_err(opening)?)
    }

    /// Returns which version the part of a download is of, if that is known.
    pub(crate) fn version(&self, import: Uuid) -> Option<Version> {
        serde_json::from_slice(&std::fs::read(self.version_path(import)).ok()?).ok()
    }

    /// Records which version a download is of, before any of it is written.
    pub(crate) fn set_version(&self, import: Uuid, version: Option<&Version>) -> ApiResult<()> {
        let path = self.version_path(import);
        let done = match version.and_then(|version| serde_json::to_vec(version).ok()) {
            Some(text) => std::fs::write(&path, text),
            None => remove(&path),
        };
        Ok(done.map_err(|error| Error::io(format!("writing {}", path.display()), error))?)
    }

    /// Deletes a download.
    pub(crate) fn delete(&self, import: Uuid) {
        for path in [self.version_path(import), self.path(import)] {
            if let Err(error) = remove(&path) {
                tracing::warn!(path = %path.display(), %error, "could not remove a download");
            }
        }
    }

    /// Deletes all downloads but those of some imports.
    pub(crate) fn keep_only(&self, imports: &HashSet<Uuid>) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let import = name.to_str().map(|name| name.trim_end_matches(".json").parse::<Uuid>());
            if let Some(Ok(import)) = import
                && !imports.contains(&import)
            {
                self.delete(import);
            }
        }
    }
}

fn remove(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
