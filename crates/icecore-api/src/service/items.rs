//! Snapshots and volumes as the API sees them: the engine's data, and their labels.

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::volume::VolumeInfo;
use uuid::Uuid;

use crate::db::Numbered;
use crate::pool::Pool;
use crate::pool::labels;
use crate::pool::labels::Labels;

/// Bytes of a GiB.
pub(crate) const GIB: u64 = 1 << 30;
/// The namespace for UUIDs of resources that have no id.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_2a7e_9d41_4b63_8e15_7ac3_d2b9_0416);

/// A copy-on-write volume of the engine: a volume of the API, or the disk of a Droplet.
#[derive(Clone)]
pub(crate) struct VolumeItem {
    pub(crate) pool: Arc<Pool>,
    pub(crate) info: Arc<VolumeInfo>,
}

/// A snapshot, with all regions that have it.
#[derive(Clone)]
pub(crate) struct SnapshotItem {
    pub(crate) snapshot: Snapshot,
    /// The regions that have it, by slug.
    pub(crate) pools: Vec<Arc<Pool>>,
    /// The integer id, or none for a volume's snapshot.
    pub(crate) number: Option<i64>,
    /// The id in the API of the resource that it was taken from.
    pub(crate) resource_id: String,
}

/// Returns whether an account owns a resource with these labels. A resource without an owner
/// belongs to the first account.
pub(crate) fn is_owned_by(labels: &Labels, account: &str, first: &str) -> bool {
    labels::text(labels, labels::ACCOUNT).unwrap_or(first) == account
}

/// Returns an id for a resource that is known only by name.
pub(crate) fn id_of_name(kind: ResourceKind, name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{}/{name}", kind.as_str()).as_bytes())
}

impl VolumeItem {
    /// Returns the id.
    pub(crate) fn id(&self) -> Uuid {
        self.info.id.0
    }

    /// Returns it as a numbered resource, if it is the disk of a Droplet.
    pub(crate) fn numbered(&self) -> Numbered {
        Numbered { uuid: self.id(), noted: labels::number(&self.info.labels) }
    }

    /// Returns the name in the API.
    pub(crate) fn name(&self) -> &str {
        labels::text(&self.info.labels, labels::NAME).unwrap_or(&self.info.name)
    }

    /// Returns the text of a label, or an empty text if there is none.
    pub(crate) fn label(&self, key: &str) -> &str {
        labels::text(&self.info.labels, key).unwrap_or_default()
    }

    /// Returns the tags.
    pub(crate) fn tags(&self) -> Vec<String> {
        labels::tags(&self.info.labels)
    }

    /// Returns the id of the Droplet's disk that it is attached to.
    pub(crate) fn attached_to(&self) -> Option<Uuid> {
        labels::id(&self.info.labels, labels::ATTACHED)
    }

    /// Returns the size in GiB, rounded up.
    pub(crate) fn size_gib(&self) -> u64 {
        self.info.size_bytes.div_ceil(GIB)
    }
}

impl SnapshotItem {
    /// Returns the id in the API, as text.
    pub(crate) fn id(&self) -> String {
        self.number.map_or_else(|| self.snapshot.id.to_string(), |number| number.to_string())
    }

    /// Returns whether it is a proper snapshot: neither a backup nor an imported image.
    pub(crate) fn is_proper(&self) -> bool {
        labels::image_type(&self.snapshot.labels) == labels::TYPE_SNAPSHOT
    }

    /// Returns the slugs of the regions that have it.
    pub(crate) fn regions(&self) -> Vec<String> {
        self.pools.iter().map(|pool| pool.slug.clone()).collect()
    }

    /// Returns the amount of data in the whole image, without holes and zeros, in GiB, rounded to
    /// four decimals. It does not depend on what the repository already stored.
    pub(crate) fn size_gigabytes(&self) -> f64 {
        gigabytes(self.snapshot.stats.data_bytes)
    }
}

/// Converts bytes to GiB, rounded to four decimals.
pub(crate) fn gigabytes(bytes: u64) -> f64 {
    // Whole numbers below 2^53 are exact, and no image is larger.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people, of a few digits")]
    let gib = bytes as f64 / GIB as f64;
    (gib * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_owner_belongs_to_the_first_account() {
        let of = |account: &str| Labels::from([(labels::ACCOUNT.to_owned(), account.to_owned())]);
        assert!(is_owned_by(&Labels::new(), "a", "a") && !is_owned_by(&Labels::new(), "b", "a"));
        assert!(is_owned_by(&of("b"), "b", "a") && !is_owned_by(&of("b"), "a", "a"));
    }

    #[test]
    fn gigabytes_have_four_decimals() {
        assert!((gigabytes(GIB / 3) - 0.3333).abs() < 1e-9 && gigabytes(0).abs() < 1e-9);
    }
}
