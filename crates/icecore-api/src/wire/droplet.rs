//! Droplets.

use serde::Serialize;
use utoipa::ToSchema;

use crate::service::Service;
use crate::service::droplets::first_boot::KeyRef;
use crate::service::droplets::item::DropletItem;
use crate::wire::backup_policy::PolicyJson;
use crate::wire::backup_policy::WindowJson;
use crate::wire::image::ImageJson;
use crate::wire::list::body;
use crate::wire::list::list_body;
use crate::wire::network::NetworksJson;
use crate::wire::region::RegionJson;
use crate::wire::region::SizeJson;
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
    /// Some of `monitoring`, `backups`, `ipv6` and `private_networking`.
    pub(crate) features: Vec<String>,
    pub(crate) backup_ids: Vec<i64>,
    /// When the next backup is made; null if there are no backups.
    pub(crate) next_backup_window: Option<WindowJson>,
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
    /// The SSH keys that the create request named; not in the cloud's API.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub(crate) ssh_keys: Vec<KeyRef>,
    /// The user data of the create request; not in the cloud's API.
    pub(crate) user_data: Option<String>,
    /// Whether the create request wanted DigitalOcean's agent; not in the cloud's API.
    pub(crate) with_droplet_agent: Option<bool>,
    /// The address of the served disk; not in the cloud's API.
    pub(crate) nbd_uri: String,
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
            features: features(item),
            backup_ids: item.backup_ids.clone(),
            next_backup_window: policy
                .as_ref()
                .and_then(|policy| WindowJson::next(policy, service.clock.now_unix_ms())),
            backup_policy: policy.as_ref().map(PolicyJson::from),
            snapshot_ids: item.snapshot_ids.clone(),
            image: ImageJson::from(&item.image),
            volume_ids: item.volume_ids.iter().map(ToString::to_string).collect(),
            size: SizeJson::new(&item.size, regions),
            size_slug: item.size.slug.clone(),
            networks: NetworksJson::from(item),
            region: RegionJson::new(&service.config, &item.disk.pool),
            tags: item.disk.tags(),
            vpc_uuid: item.vpc.to_string(),
            ssh_keys: item.first_boot.ssh_keys.clone(),
            user_data: item.first_boot.user_data.clone(),
            with_droplet_agent: item.first_boot.with_droplet_agent,
            nbd_uri: service.nbd.uri(item.disk.id()),
        }
    }
}

fn features(item: &DropletItem) -> Vec<String> {
    let asked = item.features();
    let all = [
        ("monitoring", asked.monitoring),
        ("backups", item.backups().is_some()),
        ("ipv6", asked.ipv6),
        ("private_networking", asked.private_networking),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}
