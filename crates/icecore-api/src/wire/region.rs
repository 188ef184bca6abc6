//! Regions and sizes.

use icecore_host::config::Config;
use icecore_host::config::SizeConfig;
use serde::Serialize;
use utoipa::ToSchema;

use crate::pool::Pool;
use crate::wire::list::list_body;

/// A region: a repository of this machine.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct RegionJson {
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) features: Vec<String>,
    pub(crate) available: bool,
    /// Slugs of sizes.
    pub(crate) sizes: Vec<String>,
}

list_body!(
    /// Regions.
    RegionsBody, regions: RegionJson
);

/// A size of Droplets.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct SizeJson {
    pub(crate) slug: String,
    /// MiB.
    pub(crate) memory: u64,
    pub(crate) vcpus: u64,
    /// GiB.
    pub(crate) disk: u64,
    pub(crate) transfer: f64,
    /// Dollars; the server charges nothing.
    pub(crate) price_monthly: f64,
    pub(crate) price_hourly: f64,
    pub(crate) regions: Vec<String>,
    pub(crate) available: bool,
    pub(crate) description: String,
}

list_body!(
    /// Sizes.
    SizesBody, sizes: SizeJson
);

impl RegionJson {
    /// Shows a region.
    pub(crate) fn new(config: &Config, pool: &Pool) -> Self {
        let features =
            ["backups", "ipv6", "image_transfer"].into_iter().chain(pool.storage.then_some("storage"));
        Self {
            name: pool.name.clone(),
            slug: pool.slug.clone(),
            features: features.map(str::to_owned).collect(),
            available: true,
            sizes: config.sizes.iter().map(|size| size.slug.clone()).collect(),
        }
    }
}

impl SizeJson {
    /// Shows a size, which all of `regions` have.
    pub(crate) fn new(size: &SizeConfig, regions: Vec<String>) -> Self {
        Self {
            slug: size.slug.clone(),
            memory: size.memory,
            vcpus: size.vcpus,
            disk: size.disk,
            transfer: 0.0,
            price_monthly: size.monthly_dollars(),
            price_hourly: size.hourly_dollars(),
            regions,
            available: true,
            description: "Local".to_owned(),
        }
    }
}
