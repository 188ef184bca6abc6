//! A Droplet as the API sees it.

use icecore_host::config::SizeConfig;
use uuid::Uuid;

use crate::pool::labels;
use crate::service::droplets::backups::BackupPolicy;
use crate::service::droplets::features::Features;
use crate::service::droplets::first_boot::FirstBoot;
use crate::service::images::item::ImageItem;
use crate::service::items::VolumeItem;

/// A Droplet with its image and volumes.
#[derive(Clone)]
pub(crate) struct DropletItem {
    pub(crate) disk: VolumeItem,
    /// The integer id.
    pub(crate) number: i64,
    pub(crate) size: SizeConfig,
    /// The id of its VPC.
    pub(crate) vpc: Uuid,
    /// The image that its disk was made from; a stand-in if that is gone.
    pub(crate) image: ImageItem,
    pub(crate) snapshot_ids: Vec<i64>,
    pub(crate) backup_ids: Vec<i64>,
    /// The volumes attached to it.
    pub(crate) volume_ids: Vec<Uuid>,
    /// What its machine is given at its first start.
    pub(crate) first_boot: FirstBoot,
    /// Whether an action on it is running.
    pub(crate) locked: bool,
}

impl DropletItem {
    /// Returns `active` or `off`.
    pub(crate) fn status(&self) -> &str {
        match self.disk.label(labels::STATUS) {
            "" => "active",
            status => status,
        }
    }

    /// Returns the features that were asked for.
    pub(crate) fn features(&self) -> Features {
        Features::read(&self.disk.info.labels)
    }

    /// Returns its backup plan, if it has one.
    pub(crate) fn backups(&self) -> Option<BackupPolicy> {
        BackupPolicy::parse(self.disk.label(labels::BACKUPS))
    }
}
