//! Droplets.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::Service;
use crate::service::droplets::backups::BackupPolicy;
use crate::service::droplets::commands::Command;
use crate::service::droplets::create::DropletRequest;
use crate::service::droplets::create::ImageChoice;
use crate::service::droplets::item::DropletItem;
use crate::wire::blank;
use crate::wire::image::ImageJson;
use crate::wire::list::body;
use crate::wire::list::list_body;
use crate::wire::region::RegionJson;
use crate::wire::region::SizeJson;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::time::rfc3339;

/// A Droplet: a bootable disk, served over NBD.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DropletJson {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// MiB.
    pub(crate) memory: u64,
    pub(crate) vcpus: u64,
    /// GiB.
    pub(crate) disk: u64,
    /// Whether an action on it is running.
    pub(crate) locked: bool,
    /// `active` or `off`.
    pub(crate) status: String,
    /// Always null.
    #[schema(value_type = Option<Object>)]
    pub(crate) kernel: Option<bool>,
    pub(crate) created_at: String,
    pub(crate) features: Vec<String>,
    pub(crate) backup_ids: Vec<i64>,
    /// Always null: `backup_policy` has the times of backups.
    #[schema(value_type = Option<Object>)]
    pub(crate) next_backup_window: Option<bool>,
    /// The times of backups; null if there are none.
    pub(crate) backup_policy: Option<PolicyJson>,
    pub(crate) snapshot_ids: Vec<i64>,
    pub(crate) image: ImageJson,
    pub(crate) volume_ids: Vec<String>,
    pub(crate) size: SizeJson,
    pub(crate) size_slug: String,
    pub(crate) networks: NetworksJson,
    pub(crate) region: RegionJson,
    pub(crate) tags: Vec<String>,
    pub(crate) vpc_uuid: String,
    /// The address of the served disk; not in the cloud's API.
    pub(crate) nbd_uri: String,
}

/// The networks of a Droplet: none, because it is a disk.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct NetworksJson {
    pub(crate) v4: Vec<String>,
    pub(crate) v6: Vec<String>,
}

/// The times of backups.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct PolicyJson {
    /// `daily` or `weekly`.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) plan: Option<String>,
    /// `SUN` to `SAT`, if the plan is weekly.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) weekday: Option<String>,
    /// UTC: 0, 4, 8, 12, 16 or 20.
    #[serde(default)]
    pub(crate) hour: Option<i64>,
}

list_body!(
    /// Droplets.
    DropletsBody, droplets: DropletJson
);
body!(
    /// A Droplet.
    DropletBody, droplet: DropletJson
);

/// A new Droplet, or several if the request asked for several.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewDropletBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) droplet: Option<DropletJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) droplets: Option<Vec<DropletJson>>,
    pub(crate) links: ActionLinks,
}

/// The actions that a request started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionLinks {
    pub(crate) actions: Vec<ActionLink>,
}

/// An action, and the link to its progress.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionLink {
    pub(crate) id: i64,
    pub(crate) rel: String,
    pub(crate) href: String,
}

/// An integer id or a slug.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ImageRef {
    /// An integer id.
    Number(i64),
    /// A slug, or an integer id as text.
    Text(String),
}

/// A volume, as an id or as an object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum VolumeRef {
    /// The id.
    Text(String),
    /// An object with the id.
    Object {
        /// The id.
        id: String,
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
}

/// A request for an action on a Droplet.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewDropletAction {
    /// `snapshot`, `restore`, `rebuild`, `resize`, `rename`, `power_on`, `power_off`, `shutdown`,
    /// `reboot`, `power_cycle`, `enable_backups`, `change_backup_policy` or `disable_backups`.
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
}

impl DropletJson {
    /// Shows a Droplet.
    pub(crate) fn new(service: &Service, item: &DropletItem) -> Self {
        let regions = service.pools.keys().cloned().collect();
        let policy = item.backups();
        Self {
            id: item.number,
            name: item.disk.name().to_owned(),
            memory: item.size.memory,
            vcpus: item.size.vcpus,
            disk: item.disk.size_gib(),
            locked: item.locked,
            status: item.status().to_owned(),
            kernel: None,
            created_at: rfc3339(item.disk.info.created_unix_ms),
            features: policy.iter().map(|_| "backups".to_owned()).collect(),
            backup_ids: item.backup_ids.clone(),
            next_backup_window: None,
            backup_policy: policy.as_ref().map(PolicyJson::from),
            snapshot_ids: item.snapshot_ids.clone(),
            image: ImageJson::from(&item.image),
            volume_ids: item.volume_ids.iter().map(ToString::to_string).collect(),
            size: SizeJson::new(&item.size, regions),
            size_slug: item.size.slug.clone(),
            networks: NetworksJson::default(),
            region: RegionJson::new(&service.config, &item.disk.pool),
            tags: item.disk.tags(),
            vpc_uuid: String::new(),
            nbd_uri: service.nbd.uri(item.disk.id()),
        }
    }
}

impl From<&BackupPolicy> for PolicyJson {
    fn from(policy: &BackupPolicy) -> Self {
        let (plan, weekday, hour) = match policy {
            BackupPolicy::Daily { hour } => ("daily", None, hour),
            BackupPolicy::Weekly { weekday, hour } => ("weekly", Some((*weekday).to_owned()), hour),
        };
        Self { plan: Some(plan.to_owned()), weekday, hour: Some(i64::from(*hour)) }
    }
}

impl PolicyJson {
    fn policy(self) -> ApiResult<BackupPolicy> {
        BackupPolicy::new(self.plan.as_deref(), self.weekday.as_deref(), self.hour)
    }
}

impl From<ImageRef> for ImageChoice {
    fn from(image: ImageRef) -> Self {
        match image {
            ImageRef::Number(number) => Self::Number(number),
            ImageRef::Text(text) => text.parse().map_or(Self::Slug(text), Self::Number),
        }
    }
}

impl TryFrom<NewDroplet> for DropletRequest {
    type Error = ApiError;

    fn try_from(new: NewDroplet) -> ApiResult<Self> {
        let wanted = new.backups == Some(true) || new.backup_policy.is_some();
        let policy = new.backup_policy.unwrap_or_default();
        let id = |volume| match volume {
            VolumeRef::Text(id) | VolumeRef::Object { id } => id,
        };
        Ok(Self {
            names: if new.names.is_empty() { new.name.into_iter().collect() } else { new.names },
            region: new.region,
            size: new.size.unwrap_or_default(),
            image: new.image.map(ImageChoice::from),
            tags: new.tags,
            volumes: new.volumes.into_iter().map(id).collect(),
            backups: wanted.then(|| policy.policy()).transpose()?,
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
            Some(_) => {
                return Err(ApiError::not_found_saying("The specified action type is not available."));
            }
            None => return Err(needed("type")),
        })
    }
}
