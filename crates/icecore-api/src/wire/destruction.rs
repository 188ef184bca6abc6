//! Destroying a Droplet together with what belongs to it.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::droplets::destructions::Associated;
use crate::service::droplets::destructions::Destroyed;
use crate::service::droplets::destructions::Destruction;
use crate::service::droplets::destructions::Resource;
use crate::service::droplets::destructions::Selection;
use crate::wire::blank;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::time::rfc3339;

/// What belongs to a Droplet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssociatedBody {
    /// Always empty.
    pub(crate) reserved_ips: Vec<ResourceJson>,
    /// Always empty.
    pub(crate) floating_ips: Vec<ResourceJson>,
    pub(crate) snapshots: Vec<ResourceJson>,
    /// The volumes attached to it.
    pub(crate) volumes: Vec<ResourceJson>,
    /// The snapshots of these volumes.
    pub(crate) volume_snapshots: Vec<ResourceJson>,
}

/// Something that belongs to a Droplet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResourceJson {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Dollars a month in the cloud; the server charges nothing.
    pub(crate) cost: String,
}

/// The ids of what is to be destroyed with a Droplet.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct SelectedResources {
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) reserved_ips: Vec<String>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) floating_ips: Vec<String>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) snapshots: Vec<String>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) volumes: Vec<String>,
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) volume_snapshots: Vec<String>,
}

/// What became of a Droplet and what belonged to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DestructionBody {
    pub(crate) droplet: DestroyedJson,
    pub(crate) resources: DestroyedResourcesJson,
    /// Missing while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) completed_at: Option<String>,
    /// The number of things that could not be destroyed.
    pub(crate) failures: usize,
}

/// What became of the things that belonged to a Droplet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DestroyedResourcesJson {
    /// Always empty.
    pub(crate) reserved_ips: Vec<DestroyedJson>,
    /// Always empty.
    pub(crate) floating_ips: Vec<DestroyedJson>,
    pub(crate) snapshots: Vec<DestroyedJson>,
    pub(crate) volumes: Vec<DestroyedJson>,
    pub(crate) volume_snapshots: Vec<DestroyedJson>,
}

/// What became of one thing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DestroyedJson {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destroyed_at: Option<String>,
    /// Why it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_message: Option<String>,
}

impl From<Resource> for ResourceJson {
    fn from(one: Resource) -> Self {
        Self { id: one.id, name: one.name, cost: format!("{:.2}", one.dollars) }
    }
}

impl From<Associated> for AssociatedBody {
    fn from(all: Associated) -> Self {
        let show = |some: Vec<Resource>| some.into_iter().map(ResourceJson::from).collect();
        Self {
            reserved_ips: Vec::new(),
            floating_ips: Vec::new(),
            snapshots: show(all.snapshots),
            volumes: show(all.volumes),
            volume_snapshots: show(all.volume_snapshots),
        }
    }
}

impl From<Destroyed> for DestroyedJson {
    fn from(one: Destroyed) -> Self {
        Self {
            id: one.id,
            name: one.name,
            destroyed_at: one.destroyed_unix_ms.map(rfc3339),
            error_message: one.problem,
        }
    }
}

impl From<Destruction> for DestructionBody {
    fn from(record: Destruction) -> Self {
        let show = |some: Vec<Destroyed>| some.into_iter().map(DestroyedJson::from).collect();
        Self {
            failures: record.failures(),
            droplet: record.droplet.into(),
            completed_at: record.completed_unix_ms.map(rfc3339),
            resources: DestroyedResourcesJson {
                reserved_ips: Vec::new(),
                floating_ips: Vec::new(),
                snapshots: show(record.snapshots),
                volumes: show(record.volumes),
                volume_snapshots: show(record.volume_snapshots),
            },
        }
    }
}

impl TryFrom<SelectedResources> for Selection {
    type Error = ApiError;

    fn try_from(selected: SelectedResources) -> ApiResult<Self> {
        for (field, ids) in
            [("reserved_ips", &selected.reserved_ips), ("floating_ips", &selected.floating_ips)]
        {
            if let Some(id) = ids.first() {
                return Err(ApiError::unprocessable(format!(
                    "{field}: {id} does not belong to this Droplet"
                )));
            }
        }
        Ok(Self {
            snapshots: selected.snapshots,
            volumes: selected.volumes,
            volume_snapshots: selected.volume_snapshots,
        })
    }
}
