//! Regions: repositories and their open disks.

pub(crate) mod disk;
pub(crate) mod disks;
pub(crate) mod exports;
mod keys;
pub(crate) mod labels;
pub(crate) mod locks;
pub(crate) mod volumes;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use icecore::Error;
use icecore::Result;
use icecore::repository::DEFAULT_LEVEL;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore_host::config::RegionConfig;
use icecore_host::keys::sources;
use icecore_host::places::Environment;
use icecore_host::places::Location;
use icecore_host::places::Reading;
use icecore_host::repository;
use icecore_host::repository::NewRepository;
use icecore_host::repository::SERVER;

use crate::pool::disks::Disks;
use crate::pool::locks::Locks;
use crate::pool::volumes::VolumeTable;
use crate::pool::volumes::Volumes;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The unit of [`MetadataExt::blocks`].
const UNIT_BYTES: u64 = 512;

/// All regions by slug.
pub(crate) type Pools = BTreeMap<String, Arc<Pool>>;

/// A region. Handles of one region share all but the account that they are for.
#[derive(Clone)]
pub(crate) struct Pool {
    /// Its slug.
    pub(crate) slug: String,
    /// What people call it.
    pub(crate) name: String,
    /// Whether clients can create volumes in it.
    pub(crate) storage: bool,
    at: Location,
    /// The directory with the local files of the repository.
    dir: PathBuf,
    repo: Arc<Repository>,
    /// The account on whose behalf this handle is used.
    account: Option<String>,
    cache: Arc<BlockCache>,
    disks: Arc<Disks>,
    volumes: Arc<Volumes>,
    changes: Arc<Mutex<()>>,
    locks: Arc<Locks>,
}

impl Pool {
    /// Opens the repository of a region, and creates it if there is none: sealed, if there is a
    /// password or a private key for the region.
    pub(crate) fn open(
        slug: &str,
        config: &RegionConfig,
        state_dir: &Path,
        cache: Arc<BlockCache>,
        now_unix_ms: i64,
    ) -> Result<Self> {
        let in_region = |error: Error| error.in_context(format!("region {slug}"));
        let new = NewRepository { created_unix_ms: now_unix_ms, level: DEFAULT_LEVEL, parity: None };
        let sources = keys::sources(slug, config, sources::environment());
        let unlock = keys::unlock(slug, sources.clone());
        let environment = Environment::new(sources::environment())
            .with_state_in(state_dir.to_owned())
            .with_reading(Reading::Served);
        let at = environment.locate(&config.repository, &config.bucket).map_err(in_region)?;
        let opened = match at.is_vacant() {
            Ok(true) if sources.are_set() => {
                keys::forbid_core_dumps();
                let made = repository::open_or_init_sealed(&at, SERVER, new, &sources, unlock.clone());
                made.map(|(repo, _)| repo)
            }
            Ok(true) => repository::open_or_init(&at, SERVER, new).map(|(repo, _)| repo),
            _ => repository::open_with(&at, SERVER, unlock.clone()),
        };
        let repo = Arc::new(opened.map_err(in_region)?);
        let dir = at.local_root().map_err(in_region)?;
        if let Some(host) = at.only_writer().map_err(in_region)? {
            tracing::warn!(
                region = slug,
                host,
                "only that machine may write to the repository: its store does not keep apart what several write"
            );
        }
        if sources.are_set() && icecore::keys::master_key(&repo).is_err() {
            tracing::warn!(
                region = slug,
                "there is a password, but the repository is plain: everybody who can read its files can read its data"
            );
        }
        Ok(Self {
            slug: slug.to_owned(),
            name: config.name.clone(),
            storage: config.storage,
            disks: Arc::new(Disks::new(dir.clone(), Arc::clone(&repo), Arc::clone(&cache))),
            at,
            dir,
            repo,
            account: None,
            cache,
            volumes: Arc::default(),
            changes: Arc::default(),
            locks: Arc::default(),
        })
    }

    /// Returns the same region for what an account asks for: the log of its repository names the
    /// account.
    pub(crate) fn on_behalf_of(&self, account: &str) -> Arc<Self> {
        let repo = Arc::new(self.repo.on_behalf_of(account));
        Arc::new(Self { repo, account: Some(account.to_owned()), ..self.clone() })
    }

    /// Returns the repository, for quick operations.
    pub(crate) fn repo(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// Opens the repository once more, for slow operations: captures through one handle wait for
    /// each other.
    pub(crate) fn another_handle(&self) -> Repository {
        let repo = repository::open_beside(&self.repo, SERVER);
        match &self.account {
            Some(account) => repo.on_behalf_of(account),
            None => repo,
        }
    }

    /// Returns the cache that all disks share for data read from them.
    pub(crate) fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }

    /// Returns the volumes of the engine, as they are now.
    pub(crate) fn volumes(&self) -> Result<Arc<VolumeTable>> {
        self.volumes.now(&self.repo, &self.dir)
    }

    /// Returns the open disks.
    pub(crate) fn disks(&self) -> &Disks {
        &self.disks
    }

    /// Returns the locks of single volumes, for operations that take longer than
    /// [`changes`](Self::changes) may be held. If you need both, take this one first.
    pub(crate) fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Locks the contents of the region, so that nothing changes between a check and the action
    /// that depends on it. Hold it briefly.
    pub(crate) fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes that the repository and its volumes take on disk; of a repository in a
    /// bucket, those of its local files. Files that cannot be inspected do not count.
    pub(crate) fn disk_bytes(&self) -> u64 {
        bytes_below(&self.dir)
    }

    /// Checks that the repository can be read: its disk is mounted, and is not that of another
    /// repository.
    pub(crate) fn check_readable(&self) -> Result<()> {
        if let Some(dir) = self.at.as_directory() {
            // The open repository stays readable where its directory was moved to.
            let path = dir.join("config");
            fs::read(&path).map_err(|error| Error::io(format!("reading {}", path.display()), error))?;
        }
        self.repo.check_readable()?;
        icecore::volume::list_volumes(&self.repo).map(drop)
    }
}

fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_below(&entry.path()),
        Ok(about) => about.blocks().saturating_mul(UNIT_BYTES),
        Err(_) => 0,
    };
    entries.flatten().map(of).fold(0, u64::saturating_add)
}

/// Returns the region with a slug, where a resource is to be created.
pub(crate) fn find<'a>(pools: &'a Pools, slug: &str) -> ApiResult<&'a Arc<Pool>> {
    pools.get(slug).ok_or_else(|| ApiError::unprocessable(format!("the region {slug:?} does not exist")))
}
