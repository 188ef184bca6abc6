//! Attachments of volumes to Droplets: a label of the volume names the disk of the Droplet.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::pool::labels;
use crate::service::accounts::Who;
use crate::service::disks::Disks;
use crate::service::items::VolumeItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The most volumes attached to one Droplet.
pub(crate) const VOLUMES_PER_DROPLET: usize = 15;

/// The attachments of volumes to Droplets.
pub(crate) struct Attachments {
    disks: Arc<Disks>,
}

impl Attachments {
    pub(super) fn new(disks: &Arc<Disks>) -> Self {
        Self { disks: Arc::clone(disks) }
    }

    /// Returns the volumes that are attached to the Droplet with a disk.
    pub(crate) fn volumes_of(&self, who: &Who, disk: Uuid) -> ApiResult<Vec<VolumeItem>> {
        Ok(self.disks.volumes(who)?.into_iter().filter(|item| item.attached_to() == Some(disk)).collect())
    }

    /// Returns the Droplet that a volume is attached to; none if it is gone.
    pub(crate) fn droplet_of(&self, who: &Who, item: &VolumeItem) -> ApiResult<Option<i64>> {
        let Some(disk) = item.attached_to() else { return Ok(None) };
        self.disks.droplet_number(who, disk)
    }

    /// Checks that a volume can be attached to a Droplet, and returns the Droplet's disk. The
    /// caller holds [`Pool::changes`].
    ///
    /// [`Pool::changes`]: crate::pool::Pool::changes
    pub(super) fn check_attach(
        &self,
        who: &Who,
        item: &VolumeItem,
        droplet: Option<i64>,
    ) -> ApiResult<VolumeItem> {
        let number = droplet.ok_or_else(|| ApiError::unprocessable("droplet_id is required"))?;
        let disk = self.disks.of_number(who, number)?;
        if self.droplet_of(who, item)?.is_some() {
            return Err(ApiError::unprocessable("This volume is already attached"));
        }
        if disk.pool.slug != item.pool.slug {
            return Err(ApiError::unprocessable("the volume and the Droplet must be in the same region"));
        }
        if self.volumes_of(who, disk.id())?.len() >= VOLUMES_PER_DROPLET {
            return Err(ApiError::unprocessable(format!(
                "cannot attach more volumes to the Droplet: it has {VOLUMES_PER_DROPLET}"
            )));
        }
        Ok(disk)
    }

    /// Checks that a volume is attached to this Droplet, or to any if none is named.
    pub(super) fn check_detach(&self, who: &Who, item: &VolumeItem, droplet: Option<i64>) -> ApiResult<()> {
        let attached = self.droplet_of(who, item)?;
        match attached.is_some() && droplet.is_none_or(|droplet| attached == Some(droplet)) {
            true => Ok(()),
            false => Err(ApiError::unprocessable("Attachment not found")),
        }
    }
}

/// Records that a volume is attached to the Droplet with a disk, or to none.
pub(super) fn note_attachment(item: &VolumeItem, disk: Option<Uuid>) -> ApiResult<()> {
    let mut set = BTreeMap::new();
    labels::set(&mut set, labels::ATTACHED, &disk.map(|disk| disk.to_string()).unwrap_or_default());
    let remove = if disk.is_none() { vec![labels::ATTACHED.to_owned()] } else { Vec::new() };
    icecore::volume::relabel_volume(item.pool.repo(), &item.info.name, &set, &remove)?;
    Ok(())
}
