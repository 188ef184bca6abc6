//! Regions: repositories, and the disks of them that are open.

pub(crate) mod disk;
pub(crate) mod disks;
pub(crate) mod exports;
pub(crate) mod labels;
pub(crate) mod locks;
mod usage;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use icecore::BlockCache;
use icecore::Error;
use icecore::ErrorKind;
use icecore::FsStorage;
use icecore::InitOptions;
use icecore::Repository;
use icecore::RepositoryId;
use icecore::Result;
use icecore_host::clock::random_id;

use crate::config::RegionConfig;
use crate::pool::disks::Disks;
use crate::pool::locks::Locks;

/// A region.
pub(crate) struct Pool {
    /// Its slug.
    pub(crate) slug: String,
    /// What people call it.
    pub(crate) name: String,
    /// Whether volumes can be made in it.
    pub(crate) storage: bool,
    dir: PathBuf,
    repo: Arc<Repository>,
    cache: Arc<BlockCache>,
    disks: Disks,
    changes: Mutex<()>,
    locks: Locks,
}

impl Pool {
    /// Opens the repository of a region, and makes it where there is none.
    pub(crate) fn open(
        slug: &str,
        config: &RegionConfig,
        cache: Arc<BlockCache>,
        now_unix_ms: i64,
    ) -> Result<Self> {
        let dir = config.repository.clone();
        let in_region = |error: Error| error.in_context(format!("region {slug}"));
        let repo = match dir.join("config").try_exists() {
            Ok(false) => open_or_make(&dir, now_unix_ms).map_err(in_region)?,
            _ => open(&dir).map_err(in_region)?,
        };
        Ok(Self {
            slug: slug.to_owned(),
            name: config.name.clone(),
            storage: config.storage,
            dir,
            repo: Arc::new(repo),
            cache,
            disks: Disks::default(),
            changes: Mutex::default(),
            locks: Locks::default(),
        })
    }

    /// Returns the repository, for what is done quickly.
    pub(crate) fn repo(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// Opens the repository once more, for what takes its time: captures over one handle wait for each other.
    pub(crate) fn another_handle(&self) -> Result<Repository> {
        open(&self.dir)
    }

    /// Returns the directory of the repository.
    fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the memory that all disks share for what was read of them.
    pub(crate) fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }

    /// Returns the disks that are open.
    pub(crate) fn disks(&self) -> &Disks {
        &self.disks
    }

    /// Returns the locks of single volumes, for what takes longer than [`changes`](Self::changes) may be held. Whoever needs both
    /// takes this one first.
    pub(crate) fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Keeps others from changing what is in the region, between a look and what is done about it. Held shortly.
    pub(crate) fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(dir: &Path) -> Result<Repository> {
    Repository::open(Arc::new(FsStorage::new(dir)), random_id())
}

fn open_or_make(dir: &Path, now_unix_ms: i64) -> Result<Repository> {
    icecore::check_outside_repository(&dir.join(".."), None)?;
    // What another program that makes one at this moment, or that was killed while it did, has there is none.
    let is_strange =
        |entry: &std::fs::DirEntry| !entry.file_name().to_str().is_some_and(icecore::may_be_in_a_repository);
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
        level: icecore::DEFAULT_LEVEL,
        parity: None,
    };
    Repository::open_or_init(Arc::new(FsStorage::new(dir)), random_id(), &options).map(|(repo, _)| repo)
}
