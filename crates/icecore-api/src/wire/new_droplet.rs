//! Requests for Droplets, and for actions on them.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::service::droplets::commands::Command;
use crate::service::droplets::create::DropletRequest;
use crate::service::droplets::create::ImageChoice;
use crate::service::droplets::create::VolumeChoice;
use crate::service::droplets::features::Features;
use crate::service::droplets::first_boot::FirstBoot;
use crate::service::droplets::first_boot::KeyRef;
use crate::wire::backup_policy::PolicyJson;
use crate::wire::blank;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;

/// An integer id or a slug.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an integer id or a slug")]
pub(crate) enum ImageRef {
    /// An integer id.
    Number(i64),
    /// A slug, or an integer id as text.
    Text(String),
}

/// A volume, as an id or as an object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected the id of a volume, or an object with it")]
pub(crate) enum VolumeRef {
    /// The id.
    Text(String),
    /// An object with the id or the name.
    Object {
        /// The id.
        #[serde(default, deserialize_with = "blank::text")]
        id: Option<String>,
        /// The name, in the Droplet's region.
        #[serde(default, deserialize_with = "blank::text")]
        name: Option<String>,
    },
}

/// A request for a new Droplet.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewDroplet {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    /// Instead of `name`: up to ten names, one for each Droplet.
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) names: Vec<String>,
    /// By default the image's first region.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) region: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) size: Option<String>,
    #[serde(default)]
    pub(crate) image: Option<ImageRef>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) tags: Vec<String>,
    /// Volumes to attach to it.
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) volumes: Vec<VolumeRef>,
    #[serde(default)]
    pub(crate) backups: Option<bool>,
    #[serde(default)]
    pub(crate) backup_policy: Option<PolicyJson>,
    #[serde(default)]
    pub(crate) monitoring: Option<bool>,
    #[serde(default)]
    pub(crate) ipv6: Option<bool>,
    #[serde(default)]
    pub(crate) private_networking: Option<bool>,
    /// By default true.
    #[serde(default)]
    pub(crate) public_networking: Option<bool>,
    /// By default the default VPC of the region.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) vpc_uuid: Option<String>,
    /// Ids or fingerprints of SSH keys.
    #[serde(default, deserialize_with = "blank::list")]
    #[schema(value_type = Vec<serde_json::Value>)]
    pub(crate) ssh_keys: Vec<KeyRef>,
    /// At most 64 KiB.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) user_data: Option<String>,
    #[serde(default)]
    pub(crate) with_droplet_agent: Option<bool>,
    /// Refused: no size has a graphics processor.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) gpu_partition_mode: Option<String>,
}

/// A request for an action on a Droplet.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewDropletAction {
    /// `snapshot`, `restore`, `rebuild`, `resize`, `rename`, `power_on`, `power_off`, `shutdown`,
    /// `reboot`, `power_cycle`, `enable_backups`, `change_backup_policy`, `disable_backups`,
    /// `enable_ipv6`, `enable_private_networking`, `enable_monitoring`, `disable_monitoring`,
    /// `password_reset` or `change_kernel`.
    #[serde(rename = "type", default, deserialize_with = "blank::text")]
    pub(crate) kind: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) image: Option<ImageRef>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) size: Option<String>,
    /// Whether the disk grows with the size.
    #[serde(default)]
    pub(crate) disk: Option<bool>,
    #[serde(default)]
    pub(crate) backup_policy: Option<PolicyJson>,
    /// Refused: the kernel is on the Droplet's disk.
    #[serde(default)]
    pub(crate) kernel: Option<i64>,
}

impl From<ImageRef> for ImageChoice {
    fn from(image: ImageRef) -> Self {
        match image {
            ImageRef::Number(number) => Self::Number(number),
            ImageRef::Text(text) => ids::number(&text).map_or(Self::Slug(text), Self::Number),
        }
    }
}

impl TryFrom<VolumeRef> for VolumeChoice {
    type Error = ApiError;

    fn try_from(volume: VolumeRef) -> ApiResult<Self> {
        match volume {
            VolumeRef::Text(id) | VolumeRef::Object { id: Some(id), .. } => Ok(Self::Id(id)),
            VolumeRef::Object { name: Some(name), .. } => Ok(Self::Name(name)),
            VolumeRef::Object { .. } => Err(ApiError::unprocessable("volumes need an id or a name each")),
        }
    }
}

impl TryFrom<NewDroplet> for DropletRequest {
    type Error = ApiError;

    fn try_from(new: NewDroplet) -> ApiResult<Self> {
        let wanted = new.backups == Some(true) || new.backup_policy.is_some();
        let policy = new.backup_policy.unwrap_or_default();
        if new.gpu_partition_mode.is_some() {
            return Err(ApiError::unprocessable("gpu_partition_mode is not possible: no size has a GPU"));
        }
        Ok(Self {
            names: if new.names.is_empty() { new.name.into_iter().collect() } else { new.names },
            region: new.region,
            size: new.size.unwrap_or_default(),
            image: new.image.map(ImageChoice::from),
            tags: new.tags,
            volumes: new.volumes.into_iter().map(VolumeChoice::try_from).collect::<ApiResult<_>>()?,
            backups: wanted.then(|| policy.policy()).transpose()?,
            features: Features {
                monitoring: new.monitoring == Some(true),
                ipv6: new.ipv6 == Some(true),
                private_networking: new.private_networking == Some(true),
                without_public_network: new.public_networking == Some(false),
            },
            vpc_uuid: new.vpc_uuid,
            first_boot: FirstBoot {
                ssh_keys: new.ssh_keys,
                user_data: new.user_data,
                with_droplet_agent: new.with_droplet_agent,
            },
        })
    }
}

impl TryFrom<NewDropletAction> for Command {
    type Error = ApiError;

    fn try_from(new: NewDropletAction) -> ApiResult<Self> {
        let needed = |what: &str| ApiError::unprocessable(format!("{what} is required"));
        let image = new.image.map(ImageChoice::from);
        let policy = || new.backup_policy.unwrap_or_default().policy();
        Ok(match new.kind.as_deref() {
            Some("snapshot") => Self::Snapshot { name: new.name },
            Some("restore") => Self::Restore { image },
            Some("rebuild") => Self::Rebuild { image },
            Some("resize") => {
                Self::Resize { size: new.size.ok_or_else(|| needed("size"))?, disk: new.disk == Some(true) }
            }
            Some("rename") => Self::Rename { name: new.name.ok_or_else(|| needed("name"))? },
            Some("power_on") => Self::PowerOn,
            Some("power_off") => Self::PowerOff,
            Some("shutdown") => Self::Shutdown,
            Some("reboot") => Self::Reboot,
            Some("power_cycle") => Self::PowerCycle,
            Some("enable_backups") => Self::EnableBackups(policy()?),
            Some("change_backup_policy") => Self::ChangeBackupPolicy(policy()?),
            Some("disable_backups") => Self::DisableBackups,
            Some("enable_ipv6") => Self::EnableIpv6,
            Some("enable_private_networking") => Self::EnablePrivateNetworking,
            Some("enable_monitoring") => Self::EnableMonitoring,
            Some("disable_monitoring") => Self::DisableMonitoring,
            Some("password_reset") => Self::PasswordReset,
            Some("change_kernel") => {
                Self::ChangeKernel { kernel: new.kernel.ok_or_else(|| needed("kernel"))? }
            }
            Some(_) => {
                return Err(ApiError::not_found_saying("The specified action type is not available."));
            }
            None => return Err(needed("type")),
        })
    }
}
