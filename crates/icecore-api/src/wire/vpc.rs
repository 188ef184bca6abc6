//! VPCs.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::Vpc;
use crate::service::vpcs::VpcChange;
use crate::service::vpcs::VpcMember;
use crate::service::vpcs::VpcRequest;
use crate::wire::blank;
use crate::wire::list::body;
use crate::wire::list::list_body;
use crate::words::time::rfc3339;

/// A VPC: the record of a private network.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VpcJson {
    /// A UUID.
    pub(crate) id: String,
    pub(crate) urn: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// The slug.
    pub(crate) region: String,
    /// In CIDR notation.
    pub(crate) ip_range: String,
    pub(crate) created_at: String,
    /// Whether new Droplets of the region are in it.
    pub(crate) default: bool,
}

/// A resource in a VPC.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VpcMemberJson {
    pub(crate) urn: String,
    pub(crate) name: String,
    pub(crate) created_at: String,
}

body!(
    /// A VPC.
    VpcBody, vpc: VpcJson
);
list_body!(
    /// VPCs.
    VpcsBody, vpcs: VpcJson
);
list_body!(
    /// What is in a VPC.
    VpcMembersBody, members: VpcMemberJson
);

/// A new VPC.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewVpc {
    /// Letters, digits, dashes and periods; unique in the account.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) region: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) description: Option<String>,
    /// A private network from /16 to /28; by default a free one.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) ip_range: Option<String>,
}

/// The properties of a VPC to change.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct VpcUpdate {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// True makes it the default VPC of its region.
    #[serde(default)]
    pub(crate) default: Option<bool>,
}

impl From<Vpc> for VpcJson {
    fn from(vpc: Vpc) -> Self {
        Self {
            urn: format!("do:vpc:{}", vpc.uuid),
            id: vpc.uuid.to_string(),
            name: vpc.name,
            description: vpc.description,
            region: vpc.region,
            ip_range: vpc.ip_range,
            created_at: rfc3339(vpc.created_unix_ms),
            default: vpc.is_default,
        }
    }
}

impl From<VpcMember> for VpcMemberJson {
    fn from(member: VpcMember) -> Self {
        Self {
            urn: format!("do:droplet:{}", member.number),
            name: member.name,
            created_at: rfc3339(member.created_unix_ms),
        }
    }
}

impl From<NewVpc> for VpcRequest {
    fn from(new: NewVpc) -> Self {
        Self {
            name: new.name.unwrap_or_default(),
            region: new.region.unwrap_or_default(),
            description: new.description.unwrap_or_default(),
            ip_range: new.ip_range,
        }
    }
}

impl From<VpcUpdate> for VpcChange {
    fn from(update: VpcUpdate) -> Self {
        let VpcUpdate { name, description, default } = update;
        Self { name, description, default: default == Some(true) }
    }
}
