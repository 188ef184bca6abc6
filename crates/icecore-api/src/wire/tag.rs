//! Tags.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::tags::TagItem;
use crate::service::tags::TagKind;
use crate::service::tags::TagTarget;
use crate::wire::blank;
use crate::wire::list::body;
use crate::wire::list::list_body;

/// A tag.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TagJson {
    /// The first spelling of the name.
    pub(crate) name: String,
    pub(crate) resources: TagResourcesJson,
}

/// The resources with a tag.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TagResourcesJson {
    pub(crate) count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_tagged_uri: Option<String>,
    pub(crate) droplets: TagUseJson,
    pub(crate) images: TagUseJson,
    pub(crate) volumes: TagUseJson,
    pub(crate) volume_snapshots: TagUseJson,
    /// Always empty.
    pub(crate) databases: TagUseJson,
}

/// The number of resources of one kind with a tag.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct TagUseJson {
    pub(crate) count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_tagged_uri: Option<String>,
}

body!(
    /// A tag.
    TagBody, tag: TagJson
);
list_body!(
    /// Tags.
    TagsBody, tags: TagJson
);

/// A new tag.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewTag {
    /// Letters, digits, colons, dashes and underscores.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
}

/// The resources to tag or untag.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TagResources {
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) resources: Vec<TagResource>,
}

/// A resource that can have a tag.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TagResource {
    #[serde(deserialize_with = "blank::id")]
    pub(crate) resource_id: String,
    /// `droplet`, `image`, `volume` or `volume_snapshot`.
    pub(crate) resource_type: String,
}

impl From<TagResource> for TagTarget {
    fn from(from: TagResource) -> Self {
        Self { kind: from.resource_type, id: from.resource_id }
    }
}

impl TagJson {
    /// Shows a tag; `origin` is where the client found this server.
    pub(crate) fn new(tag: TagItem, origin: &str) -> Self {
        let uri = |kind: TagKind, id: &str| {
            let path = match kind {
                TagKind::Droplet => "droplets",
                TagKind::Image => "images",
                TagKind::Volume => "volumes",
                TagKind::VolumeSnapshot => "volumes/snapshots",
            };
            format!("{origin}/v2/{path}/{id}")
        };
        let of = |kind: TagKind| match tag.uses.get(&kind) {
            Some(uses) => TagUseJson { count: uses.count, last_tagged_uri: Some(uri(kind, &uses.newest.1)) },
            None => TagUseJson::default(),
        };
        let newest = tag.uses.iter().max_by_key(|(_, uses)| &uses.newest);
        Self {
            resources: TagResourcesJson {
                count: tag.uses.values().map(|uses| uses.count).sum(),
                last_tagged_uri: newest.map(|(kind, uses)| uri(*kind, &uses.newest.1)),
                droplets: of(TagKind::Droplet),
                images: of(TagKind::Image),
                volumes: of(TagKind::Volume),
                volume_snapshots: of(TagKind::VolumeSnapshot),
                databases: TagUseJson::default(),
            },
            name: tag.name,
        }
    }
}
