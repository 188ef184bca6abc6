//! Which volume is attached to which Droplet: a label of the volume names the disk of the Droplet.

use std::collections::BTreeMap;
use std::collections::HashMap;

use icecore::snapshot::ResourceKind;
use uuid::Uuid;

use crate::pool::labels;
use crate::service::Service;
use crate::service::Who;
use crate::service::items::VolumeItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The most volumes that are attached to one Droplet.
pub(crate) const VOLUMES_PER_DROPLET: usize = 15;

/// The Droplets of an account: their numbers, by the ids of their disks.
pub(crate) type DropletNumbers = HashMap<Uuid, i64>;

impl Service {
    /// Returns the numbers of all Droplets of an account.
    pub(crate) fn droplet_numbers(&self, who: &Who) -> ApiResult<DropletNumbers> {
        self.numbers_of(&self.disks(who, ResourceKind::Droplet)?)
    }

    /// Returns the numbers of Droplets of which these are the disks.
    pub(crate) fn numbers_of(&self, disks: &[VolumeItem]) -> ApiResult<DropletNumbers> {
        self.db().numbers(&disks.iter().map(VolumeItem::numbered).collect::<Vec<_>>())
    }

    /// Returns the disk of a Droplet.
    pub(crate) fn droplet_disk(&self, who: &Who, number: i64) -> ApiResult<Option<VolumeItem>> {
        let disks = self.disks(who, ResourceKind::Droplet)?;
        let numbers = self.numbers_of(&disks)?;
        Ok(disks.into_iter().find(|disk| numbers.get(&disk.id()) == Some(&number)))
    }

    /// Returns the volumes that are attached to the Droplet of a disk.
    pub(crate) fn attached_volumes(&self, who: &Who, disk: Uuid) -> ApiResult<Vec<VolumeItem>> {
        Ok(self.volumes(who)?.into_iter().filter(|item| item.attached_to() == Some(disk)).collect())
    }

    /// Returns the Droplet that a volume is attached to; none where that is gone.
    pub(crate) fn attachment(&self, who: &Who, item: &VolumeItem) -> ApiResult<Option<i64>> {
        let Some(disk) = item.attached_to() else { return Ok(None) };
        Ok(self.droplet_numbers(who)?.get(&disk).copied())
    }

    /// Checks that a volume can be attached to a Droplet, and returns the disk of that. The caller holds [`Pool::changes`].
    ///
    /// [`Pool::changes`]: crate::pool::Pool::changes
    pub(super) fn check_attach(
        &self,
        who: &Who,
        item: &VolumeItem,
        droplet: Option<i64>,
    ) -> ApiResult<VolumeItem> {
        let number = droplet.ok_or_else(|| ApiError::unprocessable("droplet_id is required"))?;
        let disk = self.droplet_disk(who, number)?.ok_or_else(ApiError::not_found)?;
        if self.attachment(who, item)?.is_some() {
            return Err(ApiError::unprocessable("This volume is already attached"));
        }
        if disk.pool.slug != item.pool.slug {
            return Err(ApiError::unprocessable("the volume and the Droplet must be in the same region"));
        }
        if self.attached_volumes(who, disk.id())?.len() >= VOLUMES_PER_DROPLET {
            return Err(ApiError::unprocessable(format!(
                "cannot attach more volumes to the Droplet: it has {VOLUMES_PER_DROPLET}"
            )));
        }
        Ok(disk)
    }

    /// Checks that a volume is attached to this Droplet, or to any where none is named.
    pub(super) fn check_detach(&self, who: &Who, item: &VolumeItem, droplet: Option<i64>) -> ApiResult<()> {
        let attached = self.attachment(who, item)?;
        match attached.is_some() && droplet.is_none_or(|droplet| attached == Some(droplet)) {
            true => Ok(()),
            false => Err(ApiError::unprocessable("Attachment not found")),
        }
    }

    /// Notes that a volume is attached to the Droplet of a disk, or to none.
    pub(crate) fn note_attachment(&self, item: &VolumeItem, disk: Option<Uuid>) -> ApiResult<()> {
        let mut set = BTreeMap::new();
        labels::set(&mut set, labels::ATTACHED, &disk.map(|disk| disk.to_string()).unwrap_or_default());
        let remove = if disk.is_none() { vec![labels::ATTACHED.to_owned()] } else { Vec::new() };
        icecore::volume::relabel_volume(item.pool.repo(), &item.info.name, &set, &remove)?;
        Ok(())
    }
}
