//! VPCs: the private networks that Droplets are in. The server runs no network, so a VPC is a
//! record.

use uuid::Uuid;

use crate::pool::Pool;
use crate::service::accounts::Who;
use crate::service::accounts::uuid_of_account;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The VPCs of all accounts.
pub(crate) struct Vpcs {}

impl Vpcs {
    /// Returns the VPC for a new Droplet in a region: the one that the request names, which must
    /// exist there, or the account's default VPC of the region.
    pub(super) fn for_droplet(&self, who: &Who, pool: &Pool, asked: Option<&str>) -> ApiResult<Uuid> {
        let default = default_vpc(&who.0, &pool.slug);
        let Some(asked) = asked else { return Ok(default) };
        let found = asked.parse().ok().filter(|id: &Uuid| *id == default);
        found.ok_or_else(|| {
            ApiError::unprocessable(format!(
                "vpc_uuid {asked:?} is not the id of a VPC in the region {}",
                pool.slug
            ))
        })
    }
}

/// Returns the id of an account's default VPC in a region. It is the same after every start.
pub(crate) fn default_vpc(account: &str, region: &str) -> Uuid {
    Uuid::new_v5(&uuid_of_account(account), format!("{region}.vpc").as_bytes())
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
