//! An image as the API sees it.

use std::sync::Arc;

use uuid::Uuid;

use crate::pool::Pool;
use crate::pool::labels;

/// The type of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageType {
    /// A Droplet's snapshot that somebody asked for.
    Snapshot,
    /// A Droplet's periodic backup, deleted with the Droplet.
    Backup,
    /// An imported image.
    Custom,
    /// An image for all accounts.
    Base,
}

impl ImageType {
    /// Returns the API's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => labels::TYPE_SNAPSHOT,
            Self::Backup => labels::TYPE_BACKUP,
            Self::Custom => labels::TYPE_CUSTOM,
            Self::Base => labels::TYPE_BASE,
        }
    }

    /// Returns the label of a snapshot of this type.
    pub(crate) fn label(self) -> &'static str {
        if self == Self::Snapshot { "" } else { self.as_str() }
    }
}

/// The progress of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageStatus {
    /// Its import is running.
    New,
    Available,
    /// Its import failed, for this reason; or it was deleted, and only a Droplet made from it still
    /// knows it.
    Deleted(String),
}

/// An image.
#[derive(Clone)]
pub(crate) struct ImageItem {
    /// The id of the snapshot.
    pub(crate) uuid: Uuid,
    /// The integer id.
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) kind: ImageType,
    pub(crate) distribution: String,
    pub(crate) description: String,
    /// The slug of a base image.
    pub(crate) slug: Option<String>,
    /// The regions that have it.
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) created_unix_ms: i64,
    pub(crate) min_disk_gib: u64,
    pub(crate) size_gigabytes: f64,
    pub(crate) tags: Vec<String>,
    pub(crate) status: ImageStatus,
}

impl ImageItem {
    /// Returns whether a Droplet can be made from it.
    pub(crate) fn is_available(&self) -> bool {
        self.status == ImageStatus::Available
    }

    /// Returns whether all accounts see it.
    pub(crate) fn is_public(&self) -> bool {
        self.kind == ImageType::Base
    }

    /// Returns the slugs of the regions that have it.
    pub(crate) fn regions(&self) -> Vec<String> {
        self.pools.iter().map(|pool| pool.slug.clone()).collect()
    }
}
