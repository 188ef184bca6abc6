//! Droplets: copy-on-write volumes of the engine with a size and an image.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore_host::config::Config;
use icecore_host::config::SizeConfig;
use uuid::Uuid;

use crate::db::Db;
use crate::pool::labels;
use crate::service::accounts::Who;
use crate::service::disks::Disks;
use crate::service::droplets::first_boot::FirstBoot;
use crate::service::droplets::item::DropletItem;
use crate::service::images::catalog::Images;
use crate::service::images::item::ImageItem;
use crate::service::items::VolumeItem;
use crate::service::parts::Parts;
use crate::service::snapshot_lists::Part;
use crate::service::snapshots::Snapshots;
use crate::service::tag_names::is_same;
use crate::service::vpcs::default_vpc;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The Droplets of all accounts.
pub(crate) struct Droplets {
    config: Arc<Config>,
    db: Arc<Db>,
    disks: Arc<Disks>,
    snapshots: Arc<Snapshots>,
    images: Arc<Images>,
}

impl Droplets {
    pub(crate) fn new(parts: &Parts, images: &Arc<Images>) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            disks: Arc::clone(&parts.disks),
            snapshots: Arc::clone(&parts.snapshots),
            images: Arc::clone(images),
        }
    }

    /// Returns all Droplets of an account, oldest first.
    pub(crate) fn list(&self, who: &Who) -> ApiResult<Vec<DropletItem>> {
        let disks = self.disks.list(who, ResourceKind::Droplet)?;
        self.complete(who, disks)
    }

    /// Returns a part of the Droplets whose disks `choose` selects, oldest first.
    pub(crate) fn page(
        &self,
        who: &Who,
        choose: impl Fn(&VolumeItem) -> bool,
        skip: usize,
        most: usize,
    ) -> ApiResult<Part<DropletItem>> {
        let mut disks = self.disks.list(who, ResourceKind::Droplet)?;
        disks.retain(choose);
        let total = disks.len();
        let disks = disks.into_iter().skip(skip).take(most).collect();
        Ok(Part { items: self.complete(who, disks)?, total })
    }

    /// Returns a Droplet of an account.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<DropletItem> {
        let disk = self.disks.of_droplet(who, id)?;
        self.complete(who, vec![disk])?.pop().ok_or_else(ApiError::no_droplet)
    }

    /// Returns all Droplets that have a tag. Fails if the tag does not exist.
    pub(super) fn tagged(&self, who: &Who, tag: &str) -> ApiResult<Vec<DropletItem>> {
        let mut droplets = self.list(who)?;
        droplets.retain(|droplet| droplet.disk.tags().iter().any(|own| is_same(own, tag)));
        if droplets.is_empty() && self.db.tag(&who.0, tag)?.is_none() {
            return Err(ApiError::not_found());
        }
        Ok(droplets)
    }

    fn complete(&self, who: &Who, disks: Vec<VolumeItem>) -> ApiResult<Vec<DropletItem>> {
        let numbers = self.disks.numbers_of(&disks)?;
        let mut attached = HashMap::<Uuid, Vec<Uuid>>::new();
        for volume in self.disks.volumes(who)? {
            if let Some(disk) = volume.attached_to() {
                attached.entry(disk).or_default().push(volume.id());
            }
        }
        let busy: HashSet<Uuid> =
            self.db.unfinished_actions()?.into_iter().map(|action| action.resource).collect();
        let ids: Vec<Uuid> = disks.iter().map(VolumeItem::id).collect();
        let first_boots = self.db.first_boots(&ids)?;
        let mut droplets = Vec::with_capacity(disks.len());
        for (disk, first_boot) in disks.into_iter().zip(first_boots) {
            let number = numbers.get(&disk.id()).copied().ok_or_else(ApiError::not_found)?;
            let [snapshot_ids, backup_ids] = self.snapshots.numbers_of_droplet(who, disk.id())?;
            droplets.push(DropletItem {
                number,
                size: self.size_of(&disk),
                vpc: labels::id(&disk.info.labels, labels::VPC)
                    .unwrap_or_else(|| default_vpc(&who.0, &disk.pool.slug)),
                image: self.image_of_disk(who, &disk)?,
                snapshot_ids,
                backup_ids,
                first_boot: first_boot.map(|data| FirstBoot::parse(&data)).unwrap_or_default(),
                volume_ids: attached.remove(&disk.id()).unwrap_or_default(),
                locked: busy.contains(&disk.id()),
                disk,
            });
        }
        Ok(droplets)
    }

    /// Returns the size in the labels of a disk, or the smallest that it fits in, or one made up
    /// for it.
    fn size_of(&self, disk: &VolumeItem) -> SizeConfig {
        let gib = disk.size_gib();
        let fitting =
            || self.config.sizes.iter().filter(|size| size.disk >= gib).min_by_key(|size| size.disk);
        let noted = disk.label(labels::SIZE);
        let made = || SizeConfig::new(&format!("local-{gib}gb"), gib, 1024, 1);
        self.config.size(noted).or_else(fitting).cloned().unwrap_or_else(made)
    }

    /// Returns the image that a disk was made from, or a made-up one if it was made from none.
    fn image_of_disk(&self, who: &Who, disk: &VolumeItem) -> ApiResult<ImageItem> {
        let Some(origin) = &disk.info.origin else {
            return self.images.blank(disk);
        };
        match self.images.of_snapshot(who, origin.id.0)? {
            Some(image) => {
                // After a rebuild it may be another image's.
                let noted = disk.label(labels::IMAGE_SLUG);
                let asked = self.config.base_snapshot(noted).filter(|snapshot| *snapshot == image.uuid);
                let slug = asked.map(|_| noted.to_owned()).or_else(|| image.slug.clone());
                Ok(ImageItem { slug, ..image })
            }
            None => self.images.deleted(origin),
        }
    }
}
