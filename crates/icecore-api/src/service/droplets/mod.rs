//! Droplets: copy-on-write volumes of the engine with a size and an image.

mod backups;
mod commands;
mod create;

use std::collections::HashMap;
use std::collections::HashSet;

use icecore::snapshot::ResourceKind;
use icecore_host::config::SizeConfig;
use uuid::Uuid;

use crate::pool::labels;
use crate::service::Service;
use crate::service::Who;
pub(crate) use crate::service::droplets::backups::BackupPolicy;
pub(crate) use crate::service::droplets::commands::Command;
pub(crate) use crate::service::droplets::create::DropletRequest;
pub(crate) use crate::service::droplets::create::ImageChoice;
use crate::service::images::ImageItem;
use crate::service::images::ImageType;
use crate::service::items::VolumeItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// A Droplet, and what belongs to it.
#[derive(Clone)]
pub(crate) struct DropletItem {
    pub(crate) disk: VolumeItem,
    /// The integer id.
    pub(crate) number: i64,
    pub(crate) size: SizeConfig,
    /// What its disk was made of, as it was then where it is gone by now.
    pub(crate) image: ImageItem,
    pub(crate) snapshot_ids: Vec<i64>,
    pub(crate) backup_ids: Vec<i64>,
    /// The volumes that are attached to it.
    pub(crate) volume_ids: Vec<Uuid>,
    /// Whether an action of it is not done.
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

    /// Returns when backups are made of it, if they are.
    pub(crate) fn backups(&self) -> Option<BackupPolicy> {
        BackupPolicy::parse(self.disk.label(labels::BACKUPS))
    }
}

impl Service {
    /// Returns all Droplets of an account, oldest first.
    pub(crate) fn droplets(&self, who: &Who) -> ApiResult<Vec<DropletItem>> {
        let disks = self.disks(who, ResourceKind::Droplet)?;
        self.droplets_of(who, disks)
    }

    /// Returns a Droplet of an account.
    pub(crate) fn droplet(&self, who: &Who, id: &str) -> ApiResult<DropletItem> {
        let disk = self.disk_of_droplet(who, id)?;
        self.droplets_of(who, vec![disk])?.pop().ok_or_else(ApiError::not_found)
    }

    /// Returns the disk of a Droplet of an account.
    pub(crate) fn disk_of_droplet(&self, who: &Who, id: &str) -> ApiResult<VolumeItem> {
        let number = id.parse().map_err(|_| ApiError::not_found())?;
        self.droplet_disk(who, number)?.ok_or_else(ApiError::not_found)
    }

    fn droplets_of(&self, who: &Who, disks: Vec<VolumeItem>) -> ApiResult<Vec<DropletItem>> {
        let numbers = self.numbers_of(&disks)?;
        let images = self.images(who)?;
        let mut taken = HashMap::<&str, [Vec<i64>; 2]>::new();
        for image in &images {
            let of_kind = taken.entry(&image.resource_id).or_default();
            match image.kind {
                ImageType::Snapshot => of_kind[0].push(image.number),
                ImageType::Backup => of_kind[1].push(image.number),
                ImageType::Custom | ImageType::Base => {}
            }
        }
        let volumes = self.volumes(who)?;
        let busy: HashSet<Uuid> =
            self.db().unfinished_actions()?.into_iter().map(|action| action.resource).collect();
        let mut droplets = Vec::with_capacity(disks.len());
        for disk in disks {
            let number = numbers.get(&disk.id()).copied().ok_or_else(ApiError::not_found)?;
            let [snapshot_ids, backup_ids] =
                taken.get(number.to_string().as_str()).cloned().unwrap_or_default();
            let attached = volumes.iter().filter(|volume| volume.attached_to() == Some(disk.id()));
            droplets.push(DropletItem {
                number,
                size: self.size_of(&disk),
                image: self.image_of_disk(&images, &disk)?,
                snapshot_ids,
                backup_ids,
                volume_ids: attached.map(VolumeItem::id).collect(),
                locked: busy.contains(&disk.id()),
                disk,
            });
        }
        Ok(droplets)
    }

    /// Returns the size that is noted with a disk, or the smallest that it has room in, or one that is made for it.
    fn size_of(&self, disk: &VolumeItem) -> SizeConfig {
        let gib = disk.size_gib();
        let fitting =
            || self.config().sizes.iter().filter(|size| size.disk >= gib).min_by_key(|size| size.disk);
        let noted = disk.label(labels::SIZE);
        let made = || SizeConfig { slug: format!("local-{gib}gb"), disk: gib, memory: 1024, vcpus: 1 };
        self.config().size(noted).or_else(fitting).cloned().unwrap_or_else(made)
    }

    /// Returns the image that a disk was made of; one that is made up for a disk that was made of none.
    fn image_of_disk(&self, images: &[ImageItem], disk: &VolumeItem) -> ApiResult<ImageItem> {
        let Some(origin) = &disk.info.origin else {
            return self.blank_image(disk);
        };
        match images.iter().find(|image| image.uuid == origin.id.0) {
            Some(image) => Ok(image.clone()),
            None => self.deleted_image(origin),
        }
    }
}
