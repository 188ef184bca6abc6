//! The parts of services: the configuration, the database, the regions, and the services that
//! others use.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::Result;
use icecore::snapshot::BlockCache;
use icecore_host::clock::Clock;
use icecore_host::config::Config;
use icecore_host::machine::usual_cache_bytes;

use crate::db::Db;
use crate::db::open_database;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::service::accounts::Accounts;
use crate::service::actions::Actions;
use crate::service::attachments::Attachments;
use crate::service::disks::Disks;
use crate::service::jobs::Jobs;
use crate::service::scratch::Scratch;
use crate::service::snapshots::Snapshots;
use crate::service::ssh_keys::SshKeys;
use crate::service::tag_names::TagNames;
use crate::service::vpcs::Vpcs;

/// The parts that services are built from.
pub(crate) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) db: Arc<Db>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pools: Arc<Pools>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) scratch: Scratch,
    pub(super) accounts: Arc<Accounts>,
    pub(super) actions: Actions,
    pub(super) disks: Arc<Disks>,
    pub(super) attachments: Arc<Attachments>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) ssh_keys: Arc<SshKeys>,
    pub(super) tag_names: Arc<TagNames>,
    pub(super) vpcs: Arc<Vpcs>,
}

impl Parts {
    /// Opens the database and the regions.
    pub(super) fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let db = Arc::new(open_database(&config)?);
        let pools = Arc::new(open_pools(&config, &*clock)?);
        let jobs = Arc::new(Jobs::new(config.server.jobs));
        let config = Arc::new(config);
        let disks = Arc::new(Disks::new(&config, &db, &pools));
        let accounts = Arc::new(Accounts::new(&config, &db, &clock));
        Ok(Self {
            scratch: Scratch::new(&config),
            actions: Actions::new(&db, &clock, &jobs),
            attachments: Arc::new(Attachments::new(&disks)),
            snapshots: Arc::new(Snapshots::new(&config, &db, &pools)),
            ssh_keys: Arc::new(SshKeys::new(&db)),
            tag_names: Arc::new(TagNames::new(&db)),
            vpcs: Arc::new(Vpcs::new(&db, &clock, &pools, &accounts, &disks)),
            accounts,
            config,
            db,
            clock,
            pools,
            jobs,
            disks,
        })
    }
}

fn open_pools(config: &Config, clock: &dyn Clock) -> Result<Pools> {
    let cache_bytes = config.nbd.cache_megabytes.map(|mib| mib.saturating_mul(1 << 20));
    let cache = BlockCache::new(cache_bytes.unwrap_or_else(usual_cache_bytes));
    let mut pools = BTreeMap::new();
    for (slug, region) in &config.regions {
        let pool =
            Pool::open(slug, region, &config.server.state_dir, Arc::clone(&cache), clock.now_unix_ms())?;
        pools.insert(slug.clone(), Arc::new(pool));
    }
    Ok(pools)
}
