//! What can be done, for one account at a time. All of it blocks, and is called from threads that
//! may.

pub(crate) mod account;
mod actions;
mod attachments;
pub(crate) mod droplets;
mod file_systems;
pub(crate) mod images;
pub(crate) mod items;
pub(crate) mod jobs;
mod rebuild;
mod scratch;
pub(crate) mod sessions;
mod snapshots;
pub(crate) mod tagging;
pub(crate) mod tags;
mod usage;
pub(crate) mod volume_actions;
mod volume_snapshots;
pub(crate) mod volumes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use icecore::Error;
use icecore::Result;
use icecore::snapshot::BlockCache;
use icecore_host::clock::Clock;
use icecore_host::config::Config;
use icecore_host::machine::usual_cache_bytes;

use crate::db::Db;
use crate::pool;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::exports::NbdAddress;
use crate::pool::locks::Locks;
use crate::service::jobs::Jobs;
use crate::words::error::ApiResult;

/// The name of the database in the state directory.
const DATABASE: &str = "icecore.sqlite";

/// The account that a request is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Who(pub(crate) String);

/// Everything that the server works with.
pub(crate) struct Service {
    config: Config,
    db: Db,
    clock: Arc<dyn Clock>,
    pools: Pools,
    nbd: NbdAddress,
    jobs: Arc<Jobs>,
    /// By the ids of accounts, while something is made that counts towards a limit; and by those of
    /// snapshots, while what is noted with one is changed in all regions. Whoever needs a lock of a
    /// region too takes this one first.
    locks: Locks,
    /// Held while usage is counted for somebody who looks at it.
    counting: Mutex<()>,
}

/// Opens the database of a configuration, and makes it where there is none.
///
/// # Errors
/// Those of the file system and of SQLite; `InvalidInput` if it would be in a repository.
pub fn open_database(config: &Config) -> Result<Db> {
    let dir = &config.server.state_dir;
    icecore::image::check_outside_repository(dir, None)?;
    make_private_dir(dir)?;
    Db::open(&dir.join(DATABASE))
}

/// Makes a directory that only its owner can enter, where there is none.
pub(crate) fn make_private_dir(dir: &PathBuf) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let making = |error| Error::io(format!("creating the directory {}", dir.display()), error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(making)
}

/// What handlers work with.
pub(crate) type App = Arc<Service>;

impl Service {
    /// Opens all that is configured.
    pub(crate) fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let db = open_database(&config)?;
        let cache_bytes = config.nbd.cache_megabytes.map(|mib| mib.saturating_mul(1 << 20));
        let cache = BlockCache::new(cache_bytes.unwrap_or_else(usual_cache_bytes));
        let mut pools = BTreeMap::new();
        for (slug, region) in &config.regions {
            let pool = Pool::open(slug, region, Arc::clone(&cache), clock.now_unix_ms())?;
            pools.insert(slug.clone(), Arc::new(pool));
        }
        let nbd = config.nbd.socket.clone().unwrap_or_else(|| config.server.state_dir.join("nbd"));
        let jobs = Arc::new(Jobs::new(config.server.jobs));
        let (nbd, locks, counting) = (NbdAddress(nbd), Locks::default(), Mutex::default());
        let service = Self { config, db, clock, pools, nbd, jobs, locks, counting };
        service.take_over().map_err(|error| Error::new(icecore::ErrorKind::Io, error.message))?;
        Ok(service)
    }

    /// Returns the configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the database.
    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// Returns the time, in milliseconds since 1970.
    pub(crate) fn now_unix_ms(&self) -> i64 {
        self.clock.now_unix_ms()
    }

    /// Returns all regions.
    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Returns where disks are served.
    pub(crate) fn nbd(&self) -> &NbdAddress {
        &self.nbd
    }

    /// Returns the jobs that run or wait.
    pub(crate) fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// Returns the region of a slug, for something that is made in it.
    pub(crate) fn pool(&self, slug: &str) -> ApiResult<&Arc<Pool>> {
        pool::find(&self.pools, slug)
    }
}
