//! Snapshots of volumes, taken at once and of a single moment, even while the volume is written to.

use std::sync::Arc;

use icecore::NoProgress;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeSnapshotOptions;
use icecore_host::clock::Clock;
use icecore_host::clock::new_id_at;
use icecore_host::config::Config;
use icecore_host::exports::Lent;

use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Who;
use crate::service::disks::Disks;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::parts::Parts;
use crate::service::snapshot_lists::Part;
use crate::service::snapshot_lists::Wanted;
use crate::service::snapshots::Snapshots;
use crate::service::snapshots::log_if_clock_is_behind;
use crate::service::tag_names::TagNames;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names;
use crate::words::time::spoken_seconds;

/// The service that takes and lists snapshots of volumes.
pub(crate) struct VolumeSnapshots {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    disks: Arc<Disks>,
    snapshots: Arc<Snapshots>,
    tag_names: Arc<TagNames>,
}

impl VolumeSnapshots {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            clock: Arc::clone(&parts.clock),
            disks: Arc::clone(&parts.disks),
            snapshots: Arc::clone(&parts.snapshots),
            tag_names: Arc::clone(&parts.tag_names),
        }
    }

    /// Returns the snapshots of a volume, oldest first.
    pub(crate) fn list(&self, who: &Who, id: &str) -> ApiResult<Vec<SnapshotItem>> {
        self.page(who, id, false, 0, usize::MAX).map(|part| part.items)
    }

    /// Returns a part of the snapshots of a volume, oldest or newest first.
    pub(crate) fn page(
        &self,
        who: &Who,
        id: &str,
        newest_first: bool,
        skip: usize,
        most: usize,
    ) -> ApiResult<Part<SnapshotItem>> {
        let volume = self.disks.volume(who, id)?;
        let wanted = Wanted { of: Some((ResourceKind::Volume, volume.id())), ..Wanted::own() };
        self.snapshots.page(who, &wanted, newest_first, skip, most)
    }

    /// Takes a snapshot of a volume. On return, the snapshot is complete and durable.
    pub(crate) fn take(&self, who: &Who, id: &str, name: &str, tags: &[String]) -> ApiResult<SnapshotItem> {
        let found = self.disks.volume(who, id)?;
        names::check_text("name", name)?;
        // One after another, so that each sees the name of the previous one.
        found.pool.locks().alone(found.id(), || {
            let item = self.disks.volume(who, id)?;
            self.check_one_more(who, &item, name)?;
            let tags = self.tag_names.for_new(who, tags)?;
            self.capture(who, &item, name, tags)
        })
    }

    fn check_one_more(&self, who: &Who, volume: &VolumeItem, name: &str) -> ApiResult<()> {
        let limits = &self.config.limits;
        let there = self.snapshots.taken_of(who, volume, name)?;
        if there.name_is_taken {
            return Err(ApiError::conflict(
                "failed to create snapshot: the volume has a snapshot of this name: already exists",
            ));
        }
        if there.count >= limits.snapshots_per_volume {
            return Err(ApiError::unprocessable(format!(
                "failed to create snapshot: the volume has {} of at most {} snapshots; delete one first",
                there.count, limits.snapshots_per_volume
            )));
        }
        let interval = limits.snapshot_interval_seconds;
        let now = self.clock.now_unix_ms();
        // A time in the future says nothing.
        let ages = there.newest.iter().map(|snapshot| snapshot.age_unix_ms(now)).filter(|age| *age <= now);
        let passed = ages.max().map(|newest| now.abs_diff(newest) / 1000);
        match passed.filter(|passed| *passed < interval) {
            None => Ok(()),
            Some(passed) => Err(ApiError::too_many(
                format!(
                    "failed to create snapshot: this operation is rate-limited - one request per {}",
                    spoken_seconds(interval)
                ),
                interval - passed,
            )),
        }
    }

    fn capture(
        &self,
        who: &Who,
        volume: &VolumeItem,
        name: &str,
        tags: Vec<String>,
    ) -> ApiResult<SnapshotItem> {
        let mut labels = Labels::from([(labels::ACCOUNT.to_owned(), who.0.clone())]);
        labels::set(&mut labels, labels::RESOURCE, &volume.id().to_string());
        for key in [labels::FILESYSTEM_TYPE, labels::FILESYSTEM_LABEL] {
            labels::set(&mut labels, key, volume.label(key));
        }
        let now_unix_ms = self.clock.now_unix_ms();
        let options = VolumeSnapshotOptions {
            // Another volume may have had this volume's name in the engine, and its snapshots may
            // still exist.
            name_may_repeat: true,
            tags,
            labels,
            ..VolumeSnapshotOptions::new(SnapshotId(new_id_at(now_unix_ms)), now_unix_ms, name)
        };
        let disk = volume.pool.disks().open(&volume.info.name).map_err(ApiError::busy)?;
        let taken = disk.with(|volume| icecore::volume::snapshot_volume(volume, &options, &NoProgress));
        let report = taken.map_err(|error| ApiError::unprocessable(error.to_string()))??;
        log_if_clock_is_behind(&report.snapshot, self.clock.now_unix_ms());
        Ok(SnapshotItem {
            snapshot: report.snapshot,
            pools: vec![Arc::clone(&volume.pool)],
            number: None,
            resource_id: volume.id().to_string(),
        })
    }
}
