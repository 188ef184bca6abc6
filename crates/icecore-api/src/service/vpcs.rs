//! VPCs: the private networks that Droplets are in. The server runs no network, so a VPC is a
//! record.

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore_host::clock::Clock;
use icecore_host::clock::new_id;
use uuid::Uuid;

use crate::db::Db;
use crate::db::Vpc;
use crate::pool;
use crate::pool::Pools;
use crate::pool::labels;
use crate::service::accounts::Accounts;
use crate::service::accounts::Who;
use crate::service::accounts::uuid_of_account;
use crate::service::disks::Disks;
use crate::service::items::VolumeItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;
use crate::words::ip_range::IpRange;
use crate::words::names;

/// A request for a new VPC.
#[derive(Debug, Clone, Default)]
pub(crate) struct VpcRequest {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) description: String,
    /// A free one if none is given.
    pub(crate) ip_range: Option<String>,
}

/// A request to change a VPC.
#[derive(Debug, Clone, Default)]
pub(crate) struct VpcChange {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) default: bool,
}

/// A Droplet in a VPC.
pub(crate) struct VpcMember {
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) created_unix_ms: i64,
}

/// The VPCs of all accounts.
pub(crate) struct Vpcs {
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    pools: Arc<Pools>,
    accounts: Arc<Accounts>,
    disks: Arc<Disks>,
}

impl Vpcs {
    pub(super) fn new(
        db: &Arc<Db>,
        clock: &Arc<dyn Clock>,
        pools: &Arc<Pools>,
        accounts: &Arc<Accounts>,
        disks: &Arc<Disks>,
    ) -> Self {
        Self {
            db: Arc::clone(db),
            clock: Arc::clone(clock),
            pools: Arc::clone(pools),
            accounts: Arc::clone(accounts),
            disks: Arc::clone(disks),
        }
    }

    /// Creates the default VPC of each region that has none.
    pub(super) fn make_defaults(&self, who: &Who) -> ApiResult<()> {
        for region in self.pools.keys() {
            let all = self.list(who)?;
            if all.iter().any(|vpc| vpc.region == *region && vpc.is_default) {
                continue;
            }
            self.db.keep_vpc(&Vpc {
                uuid: default_vpc(&who.0, region),
                account: who.0.clone(),
                region: region.clone(),
                name: format!("default-{region}"),
                description: String::new(),
                ip_range: free_range(&all)?.to_string(),
                created_unix_ms: self.clock.now_unix_ms(),
                is_default: true,
            })?;
        }
        Ok(())
    }

    /// Returns the VPC for a new Droplet in a region: the one that the request names, which must
    /// exist there, or the account's default VPC of the region.
    pub(super) fn for_droplet(&self, who: &Who, region: &str, asked: Option<&str>) -> ApiResult<Vpc> {
        let mut there = self.list(who)?.into_iter().filter(|vpc| vpc.region == region);
        let wanted = asked.map(ids::uuid);
        let found = there.find(|vpc| wanted.map_or(vpc.is_default, |wanted| wanted == Some(vpc.uuid)));
        found.ok_or_else(|| match asked {
            Some(asked) => ApiError::unprocessable(format!(
                "vpc_uuid {asked:?} is not the id of a VPC in the region {region}"
            )),
            None => ApiError::unprocessable(format!("the region {region} has no default VPC")),
        })
    }

    /// Returns all VPCs of an account, oldest first.
    pub(crate) fn list(&self, who: &Who) -> ApiResult<Vec<Vpc>> {
        self.db.vpcs(&who.0)
    }

    /// Returns a VPC.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<Vpc> {
        let id = ids::uuid(id).ok_or_else(ApiError::not_found)?;
        self.list(who)?.into_iter().find(|vpc| vpc.uuid == id).ok_or_else(ApiError::not_found)
    }

    /// Creates a VPC.
    pub(crate) fn create(&self, who: &Who, request: &VpcRequest) -> ApiResult<Vpc> {
        names::check_vpc(&request.name)?;
        names::check_description("description", &request.description)?;
        let region = pool::find(&self.pools, &request.region)?.slug.clone();
        self.accounts.alone(who, || {
            let all = self.list(who)?;
            check_free_name(&all, &request.name)?;
            let range = match &request.ip_range {
                None => free_range(&all)?,
                Some(text) => asked_range(&all, text)?,
            };
            let vpc = Vpc {
                uuid: new_id(),
                account: who.0.clone(),
                region,
                name: request.name.clone(),
                description: request.description.clone(),
                ip_range: range.to_string(),
                created_unix_ms: self.clock.now_unix_ms(),
                is_default: false,
            };
            self.db.keep_vpc(&vpc)?;
            Ok(vpc)
        })
    }

    /// Changes a VPC. What the request leaves out stays.
    pub(crate) fn change(&self, who: &Who, id: &str, change: &VpcChange) -> ApiResult<Vpc> {
        self.accounts.alone(who, || {
            let mut vpc = self.get(who, id)?;
            if let Some(name) = change.name.as_ref().filter(|name| **name != vpc.name) {
                names::check_vpc(name)?;
                check_free_name(&self.list(who)?, name)?;
                vpc.name.clone_from(name);
            }
            if let Some(description) = &change.description {
                names::check_description("description", description)?;
                vpc.description.clone_from(description);
            }
            vpc.is_default |= change.default;
            self.db.keep_vpc(&vpc)?;
            Ok(vpc)
        })
    }

    /// Deletes a VPC that is not the default one and has no Droplets.
    pub(crate) fn delete(&self, who: &Who, id: &str) -> ApiResult<()> {
        self.accounts.alone(who, || {
            let vpc = self.get(who, id)?;
            if vpc.is_default {
                return Err(ApiError::forbidden("Can not delete default VPCs"));
            }
            if !self.disks_in(who, &vpc)?.is_empty() {
                return Err(ApiError::conflict("Can not delete VPC with members"));
            }
            self.db.forget_vpc(vpc.uuid)
        })
    }

    /// Returns the Droplets in a VPC, oldest first.
    pub(crate) fn members(&self, who: &Who, id: &str) -> ApiResult<Vec<VpcMember>> {
        let disks = self.disks_in(who, &self.get(who, id)?)?;
        let numbers = self.disks.numbers_of(&disks)?;
        let member = |disk: &VolumeItem| {
            let (name, created_unix_ms) = (disk.name().to_owned(), disk.info.created_unix_ms);
            Some(VpcMember { number: *numbers.get(&disk.id())?, name, created_unix_ms })
        };
        Ok(disks.iter().filter_map(member).collect())
    }

    /// Returns the disks of the Droplets in a VPC, also of those that are still being made.
    fn disks_in(&self, who: &Who, vpc: &Vpc) -> ApiResult<Vec<VolumeItem>> {
        let mut disks = self.disks.list_with_unfinished(who, ResourceKind::Droplet)?;
        disks.retain(|disk| {
            let own = labels::id(&disk.info.labels, labels::VPC);
            own.unwrap_or_else(|| default_vpc(&who.0, &disk.pool.slug)) == vpc.uuid
        });
        Ok(disks)
    }
}

/// Returns the id of an account's first default VPC in a region. It is the same after every start.
pub(crate) fn default_vpc(account: &str, region: &str) -> Uuid {
    Uuid::new_v5(&uuid_of_account(account), format!("{region}.vpc").as_bytes())
}

fn check_free_name(all: &[Vpc], name: &str) -> ApiResult<()> {
    match all.iter().any(|vpc| vpc.name == name) {
        true => Err(ApiError::unprocessable("a VPC with the same name already exists in your account")),
        false => Ok(()),
    }
}

/// Returns the networks of these VPCs.
fn ranges(all: &[Vpc]) -> Vec<IpRange> {
    all.iter().filter_map(|vpc| IpRange::parse(&vpc.ip_range)).collect()
}

fn free_range(all: &[Vpc]) -> ApiResult<IpRange> {
    IpRange::free(&ranges(all)).ok_or_else(|| ApiError::forbidden("there is no free network left"))
}

fn asked_range(all: &[Vpc], text: &str) -> ApiResult<IpRange> {
    let range = IpRange::parse(text).ok_or_else(|| {
        ApiError::unprocessable(
            "ip_range must be a private network in CIDR notation, from /16 to /28, such as 10.10.10.0/24",
        )
    })?;
    match ranges(all).iter().any(|other| other.overlaps(range)) {
        true => {
            Err(ApiError::unprocessable("This range/size overlaps with another VPC network in your account"))
        }
        false => Ok(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_its_own_default_in_each_region() {
        let all = ["ann", "bob"].map(|account| ["here", "there"].map(|region| default_vpc(account, region)));
        let different: std::collections::BTreeSet<Uuid> = all.into_iter().flatten().collect();
        assert_eq!(different.len(), 4);
        assert_eq!(default_vpc("ann", "here"), all[0][0]);
    }
}
