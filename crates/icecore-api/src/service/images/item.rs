//! An image as the API sees it.

use std::sync::Arc;

use uuid::Uuid;

use crate::pool::Pool;
use crate::pool::labels;

/// What kind of image it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageType {
    /// Of a Droplet, made when somebody wanted it.
    Snapshot,
    /// Of a Droplet, made from time to time, and deleted with it.
    Backup,
    /// Imported.
    Custom,
    /// For all accounts.
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

    /// Returns what is noted with a snapshot of this kind.
    pub(crate) fn label(self) -> &'static str {
        if self == Self::Snapshot { "" } else { self.as_str() }
    }
}

/// How far an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageStatus {
    /// It is being imported.
    New,
    Available,
    /// It could not be imported, for this reason; or it is gone, and only a Droplet that was made
    /// of it knows it.
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
    /// The integer id of the Droplet that it was taken of, as text.
    pub(crate) resource_id: String,
}

impl ImageItem {
    /// Tells whether a Droplet can be made of it.
    pub(crate) fn is_available(&self) -> bool {
        self.status == ImageStatus::Available
    }

    /// Tells whether all accounts see it.
    pub(crate) fn is_public(&self) -> bool {
        self.kind == ImageType::Base
    }

    /// Returns the slugs of the regions that have it.
    pub(crate) fn regions(&self) -> Vec<String> {
        self.pools.iter().map(|pool| pool.slug.clone()).collect()
    }
}
