//! The repository of a region is opened, and made where there is none.

use std::path::Path;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::storage::FsStorage;
use icecore_host::clock::random_id;

/// Opens the repository in a directory.
pub(super) fn open(dir: &Path) -> Result<Repository> {
    Repository::open(Arc::new(FsStorage::new(dir)), random_id())
}

/// Opens the repository in a directory, and makes it where there is none.
pub(super) fn open_or_make(dir: &Path, now_unix_ms: i64) -> Result<Repository> {
    icecore::image::check_outside_repository(&dir.join(".."), None)?;
    // What another program that makes one at this moment, or that was killed while it did, has there is none.
    let is_strange = |entry: &std::fs::DirEntry| {
        !entry.file_name().to_str().is_some_and(icecore::repository::may_be_in_a_repository)
    };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(format!("looking for a repository in {}", dir.display()), error));
        }
        entries => entries,
    };
    let mut entries = entries.into_iter().flatten().filter_map(std::result::Result::ok);
    if let Some(stranger) = entries.find(is_strange) {
        let message = format!(
            "{} is no repository, and is not empty: {:?} is in it",
            dir.display(),
            stranger.file_name()
        );
        return Err(
            Error::new(ErrorKind::AlreadyExists, message).with_hint("name a repository, or a new directory")
        );
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| Error::new(ErrorKind::Io, format!("the system gives no random numbers: {error}")))?;
    let options = InitOptions {
        id: RepositoryId(random_id()),
        key,
        created_unix_ms: now_unix_ms,
        level: icecore::repository::DEFAULT_LEVEL,
        parity: None,
    };
    Repository::open_or_init(Arc::new(FsStorage::new(dir)), random_id(), &options).map(|(repo, _)| repo)
}
