//! Droplets are made and deleted.

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore_host::clock::new_id;
use icecore_host::config::SizeConfig;
use uuid::Uuid;

use crate::db::Action;
use crate::db::ActionStatus;
use crate::db::NewAction;
use crate::pool::Pool;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::Service;
use crate::service::Who;
use crate::service::attachments::VOLUMES_PER_DROPLET;
use crate::service::droplets::BackupPolicy;
use crate::service::droplets::DropletItem;
use crate::service::images::ImageItem;
use crate::service::items::GIB;
use crate::service::items::VolumeItem;
use crate::service::jobs::Job;
use crate::service::tags::is_same;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names;

/// The most Droplets that one request makes.
const NAMES_MAX: usize = 10;

/// An image as clients name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageChoice {
    /// By its integer id.
    Number(i64),
    /// By its slug, if it is a public one.
    Slug(String),
}

impl ImageChoice {
    /// Returns it as it stands in a path.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Slug(slug) => slug.clone(),
        }
    }
}

/// What new Droplets are to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct DropletRequest {
    pub(crate) names: Vec<String>,
    pub(crate) region: Option<String>,
    pub(crate) size: String,
    pub(crate) image: Option<ImageChoice>,
    pub(crate) tags: Vec<String>,
    /// The ids of volumes that are attached to it.
    pub(crate) volumes: Vec<String>,
    pub(crate) backups: Option<BackupPolicy>,
}

impl Service {
    /// Makes Droplets, each with the action that made it.
    pub(crate) fn create_droplets(
        self: &Arc<Self>,
        who: &Who,
        request: &DropletRequest,
    ) -> ApiResult<Vec<(DropletItem, Action)>> {
        self.alone_in_account(who, || self.create_alone(who, request))
    }

    fn create_alone(
        self: &Arc<Self>,
        who: &Who,
        request: &DropletRequest,
    ) -> ApiResult<Vec<(DropletItem, Action)>> {
        if request.names.is_empty() || request.names.len() > NAMES_MAX {
            return Err(ApiError::unprocessable(format!("give 1 to {NAMES_MAX} names")));
        }
        request.names.iter().try_for_each(|name| names::check_droplet(name))?;
        let invalid = || ApiError::unprocessable("You specified an invalid size for Droplet creation.");
        let size = self.config().size(&request.size).ok_or_else(invalid)?;
        let (image, pool) = self.image_of_new_droplet(who, request, size)?;
        let volumes = self.volumes_of_new_droplet(who, request, &pool)?;
        let tags = self.tags_for_new(who, &request.tags)?;
        let there = self.disks(who, ResourceKind::Droplet)?.len();
        if there + request.names.len() > self.config().limits.droplets {
            return Err(ApiError::forbidden("creating this/these droplet(s) will exceed your droplet limit"));
        }
        let mut made = Vec::new();
        for name in &request.names {
            let id = new_id();
            let number = self.db().number(id)?;
            let mut labels = Labels::from([(labels::ACCOUNT.to_owned(), who.0.clone())]);
            labels::set(&mut labels, labels::NAME, name);
            labels::set(&mut labels, labels::NUMBER, &number.to_string());
            labels::set(&mut labels, labels::SIZE, &size.slug);
            labels::set_tags(&mut labels, &tags);
            let backups = request.backups.as_ref().map(BackupPolicy::to_label).unwrap_or_default();
            labels::set(&mut labels, labels::BACKUPS, &backups);
            let job = Job::CreateDroplet {
                name: name.clone(),
                size_bytes: size.disk * GIB,
                snapshot: image.uuid,
                labels,
                volumes: volumes.clone(),
            };
            let action = self.act(&self.action_of_droplet(who, "create", id, number, &pool), job)?;
            if action.status == ActionStatus::Errored {
                return Err(ApiError::unprocessable(action.message));
            }
            made.push((self.droplet(who, &number.to_string())?, action));
        }
        Ok(made)
    }

    /// Returns what an action of a Droplet begins as.
    pub(super) fn action_of_droplet<'a>(
        &self,
        who: &'a Who,
        kind: &'a str,
        id: Uuid,
        number: i64,
        pool: &'a Pool,
    ) -> NewAction<'a> {
        NewAction {
            account: &who.0,
            kind,
            now_unix_ms: self.now_unix_ms(),
            resource_type: "droplet",
            resource: id,
            resource_id: Some(number),
            region: &pool.slug,
            job: None,
        }
    }

    /// Returns the image of a new Droplet, and where that is made.
    fn image_of_new_droplet(
        &self,
        who: &Who,
        request: &DropletRequest,
        size: &SizeConfig,
    ) -> ApiResult<(ImageItem, Arc<Pool>)> {
        let invalid = || ApiError::unprocessable("You specified an invalid image for Droplet creation.");
        let choice = request.image.as_ref().ok_or_else(invalid)?;
        let image = self.image(who, &choice.text()).map_err(|_| invalid())?;
        if !image.is_available() {
            return Err(invalid());
        }
        let pool = match &request.region {
            None => image.pools.first().ok_or_else(invalid)?,
            Some(slug) => {
                self.pool(slug)?;
                image.pools.iter().find(|pool| pool.slug == *slug).ok_or_else(|| {
                    ApiError::unprocessable(format!(
                        "The image you specified is not available in the region {slug}. Transfer it there first."
                    ))
                })?
            }
        };
        if image.min_disk_gib > size.disk {
            return Err(too_small(&image, size.disk));
        }
        let pool = Arc::clone(pool);
        Ok((image, pool))
    }

    fn volumes_of_new_droplet(
        &self,
        who: &Who,
        request: &DropletRequest,
        pool: &Pool,
    ) -> ApiResult<Vec<Uuid>> {
        let mut wanted = Vec::new();
        for id in &request.volumes {
            let volume = self
                .volume(who, id)
                .map_err(|_| ApiError::unprocessable(format!("there is no volume {id}")))?;
            self.check_attachable(who, &volume, pool)?;
            wanted.push(volume.id());
        }
        wanted.sort();
        wanted.dedup();
        if wanted.len() > VOLUMES_PER_DROPLET {
            return Err(ApiError::unprocessable("cannot attach more volumes to the Droplet"));
        }
        if !wanted.is_empty() && request.names.len() > 1 {
            return Err(ApiError::unprocessable("a volume can be attached to only one Droplet"));
        }
        Ok(wanted)
    }

    fn check_attachable(&self, who: &Who, volume: &VolumeItem, pool: &Pool) -> ApiResult<()> {
        if self.attachment(who, volume)?.is_some() {
            return Err(ApiError::unprocessable("This volume is already attached"));
        }
        if volume.pool.slug != pool.slug {
            return Err(ApiError::unprocessable(format!(
                "the volume {} is in region {}, but the Droplet is not",
                volume.name(),
                volume.pool.slug
            )));
        }
        Ok(())
    }

    /// Deletes a Droplet and its backups. Its volumes are detached, and its snapshots stay.
    pub(crate) fn delete_droplet(self: &Arc<Self>, who: &Who, id: &str) -> ApiResult<()> {
        let disk = self.disk_of_droplet(who, id)?;
        let number = self.db().number(disk.id())?;
        let new = self.action_of_droplet(who, "destroy", disk.id(), number, &disk.pool);
        let action = self.act(&new, Job::DestroyDroplet)?;
        if action.status == ActionStatus::Errored {
            return Err(ApiError::unprocessable(action.message));
        }
        Ok(())
    }

    /// Deletes all Droplets that have a tag.
    pub(crate) fn delete_droplets_tagged(self: &Arc<Self>, who: &Who, tag: &str) -> ApiResult<()> {
        for droplet in self.droplets_tagged(who, tag)? {
            match self.delete_droplet(who, &droplet.number.to_string()) {
                // Somebody else was faster.
                Err(error) if error.status == 404 => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Returns all Droplets that have a tag, which must be one.
    pub(super) fn droplets_tagged(&self, who: &Who, tag: &str) -> ApiResult<Vec<DropletItem>> {
        let mut droplets = self.droplets(who)?;
        droplets.retain(|droplet| droplet.disk.tags().iter().any(|own| is_same(own, tag)));
        if droplets.is_empty() && self.db().tag(&who.0, tag)?.is_none() {
            return Err(ApiError::not_found());
        }
        Ok(droplets)
    }
}

/// Says that an image needs a larger disk.
pub(super) fn too_small(image: &ImageItem, gib: u64) -> ApiError {
    ApiError::unprocessable(format!(
        "The image {} needs a disk of {} GB, but this one has {gib} GB.",
        image.name, image.min_disk_gib
    ))
}
