//! Creating Droplets.

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore_host::clock::Clock;
use icecore_host::clock::new_id;
use icecore_host::config::Config;
use icecore_host::config::SizeConfig;
use uuid::Uuid;

use crate::db::Action;
use crate::db::ActionStatus;
use crate::db::Db;
use crate::db::NewAction;
use crate::pool;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Accounts;
use crate::service::accounts::Who;
use crate::service::actions::Actions;
use crate::service::attachments::Attachments;
use crate::service::attachments::VOLUMES_PER_DROPLET;
use crate::service::disks::Disks;
use crate::service::droplets::backups::BackupPolicy;
use crate::service::droplets::catalog::Droplets;
use crate::service::droplets::features::Features;
use crate::service::droplets::first_boot::FirstBoot;
use crate::service::droplets::item::DropletItem;
use crate::service::droplets::jobs::DropletJob;
use crate::service::droplets::jobs::DropletJobs;
use crate::service::images::catalog::Images;
use crate::service::images::item::ImageItem;
use crate::service::items::GIB;
use crate::service::items::VolumeItem;
use crate::service::parts::Parts;
use crate::service::ssh_keys::SshKeys;
use crate::service::tag_names::TagNames;
use crate::service::vpcs::Vpcs;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names;

/// The most Droplets that one request creates.
const NAMES_MAX: usize = 10;

/// An image, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageChoice {
    /// By its integer id.
    Number(i64),
    /// By its slug, if it is a public one.
    Slug(String),
}

impl ImageChoice {
    /// Returns it in the form used in paths.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Slug(slug) => slug.clone(),
        }
    }
}

/// A volume, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VolumeChoice {
    Id(String),
    /// By its name in the Droplet's region.
    Name(String),
}

/// A request for new Droplets.
#[derive(Debug, Clone, Default)]
pub(crate) struct DropletRequest {
    pub(crate) names: Vec<String>,
    pub(crate) region: Option<String>,
    pub(crate) size: String,
    pub(crate) image: Option<ImageChoice>,
    pub(crate) tags: Vec<String>,
    /// The volumes to attach.
    pub(crate) volumes: Vec<VolumeChoice>,
    pub(crate) backups: Option<BackupPolicy>,
    pub(crate) features: Features,
    /// The id of its VPC, or none for the default one.
    pub(crate) vpc_uuid: Option<String>,
    pub(crate) first_boot: FirstBoot,
}

/// The service that creates Droplets.
pub(crate) struct NewDroplets {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    pools: Arc<Pools>,
    accounts: Arc<Accounts>,
    actions: Actions,
    disks: Arc<Disks>,
    attachments: Arc<Attachments>,
    images: Arc<Images>,
    droplets: Arc<Droplets>,
    jobs: DropletJobs,
    tag_names: Arc<TagNames>,
    ssh_keys: Arc<SshKeys>,
    vpcs: Arc<Vpcs>,
}

impl NewDroplets {
    pub(crate) fn new(
        parts: &Parts,
        images: &Arc<Images>,
        droplets: &Arc<Droplets>,
        jobs: &DropletJobs,
    ) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            clock: Arc::clone(&parts.clock),
            pools: Arc::clone(&parts.pools),
            accounts: Arc::clone(&parts.accounts),
            actions: parts.actions.clone(),
            disks: Arc::clone(&parts.disks),
            attachments: Arc::clone(&parts.attachments),
            images: Arc::clone(images),
            droplets: Arc::clone(droplets),
            jobs: jobs.clone(),
            tag_names: Arc::clone(&parts.tag_names),
            ssh_keys: Arc::clone(&parts.ssh_keys),
            vpcs: Arc::clone(&parts.vpcs),
        }
    }

    /// Creates Droplets, and returns each with its action.
    pub(crate) fn create(
        &self,
        who: &Who,
        request: &DropletRequest,
    ) -> ApiResult<Vec<(DropletItem, Action)>> {
        self.accounts.alone(who, || self.create_alone(who, request))
    }

    fn create_alone(&self, who: &Who, request: &DropletRequest) -> ApiResult<Vec<(DropletItem, Action)>> {
        if request.names.is_empty() || request.names.len() > NAMES_MAX {
            return Err(ApiError::unprocessable(format!("give 1 to {NAMES_MAX} names")));
        }
        request.names.iter().try_for_each(|name| names::check_droplet(name))?;
        let invalid = || ApiError::unprocessable("You specified an invalid size for Droplet creation.");
        let size = self.config.size(&request.size).ok_or_else(invalid)?;
        let (image, pool) = self.image_of_new_droplet(who, request, size)?;
        let volumes = self.volumes_of_new_droplet(who, request, &pool)?;
        request.first_boot.check()?;
        self.ssh_keys.check_keys(who, &request.first_boot.ssh_keys)?;
        let common = self.labels_of_new(who, request, size, &pool)?;
        let there = self.disks.list(who, ResourceKind::Droplet)?.len();
        if there + request.names.len() > self.config.limits.droplets {
            return Err(ApiError::forbidden("creating this/these droplet(s) will exceed your droplet limit"));
        }
        let mut made = Vec::new();
        for name in &request.names {
            let id = new_id();
            let number = self.db.number(id)?;
            let mut labels = common.clone();
            labels::set(&mut labels, labels::NAME, name);
            labels::set(&mut labels, labels::NUMBER, &number.to_string());
            let job = DropletJob::Create {
                name: name.clone(),
                size_bytes: size.disk * GIB,
                snapshot: image.uuid,
                labels,
                volumes: volumes.clone(),
            };
            if !request.first_boot.is_empty() {
                self.db.keep_first_boot(id, &request.first_boot.to_text()?)?;
            }
            let new = new_action(who, "create", id, number, &pool, self.clock.now_unix_ms());
            let action = self.actions.act(&new, self.jobs.work(job)?)?;
            if action.status == ActionStatus::Errored {
                self.db.forget_first_boot(id)?;
                return Err(ApiError::unprocessable(action.message));
            }
            made.push((self.droplets.get(who, &number.to_string())?, action));
        }
        Ok(made)
    }

    /// Returns the labels that all Droplets of a request have.
    fn labels_of_new(
        &self,
        who: &Who,
        request: &DropletRequest,
        size: &SizeConfig,
        pool: &Pool,
    ) -> ApiResult<Labels> {
        if request.features.ipv6 && request.features.without_public_network {
            return Err(ApiError::unprocessable("ipv6 must be false if public_networking is false"));
        }
        let vpc = self.vpcs.for_droplet(who, &pool.slug, request.vpc_uuid.as_deref())?;
        let tags = self.tag_names.for_new(who, &request.tags)?;
        let backups = request.backups.as_ref().map(BackupPolicy::to_label).unwrap_or_default();
        let mut new = Labels::from([(labels::ACCOUNT.to_owned(), who.0.clone())]);
        labels::set(&mut new, labels::SIZE, &size.slug);
        labels::set(&mut new, labels::BACKUPS, &backups);
        labels::set(&mut new, labels::VPC, &vpc.uuid.to_string());
        labels::set(&mut new, labels::NETWORK, &vpc.ip_range);
        if let Some(ImageChoice::Slug(slug)) = &request.image {
            labels::set(&mut new, labels::IMAGE_SLUG, slug);
        }
        request.features.write(&mut new);
        labels::set_tags(&mut new, &tags);
        Ok(new)
    }

    /// Returns the image of a new Droplet, and the region to make it in.
    fn image_of_new_droplet(
        &self,
        who: &Who,
        request: &DropletRequest,
        size: &SizeConfig,
    ) -> ApiResult<(ImageItem, Arc<Pool>)> {
        let invalid = || ApiError::unprocessable("You specified an invalid image for Droplet creation.");
        let choice = request.image.as_ref().ok_or_else(invalid)?;
        let image = self.images.get(who, &choice.text()).map_err(|_| invalid())?;
        if !image.is_available() {
            return Err(invalid());
        }
        let pool = match &request.region {
            None => image.pools.first().ok_or_else(invalid)?,
            Some(slug) => {
                pool::find(&self.pools, slug)?;
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
        for choice in &request.volumes {
            let (found, called) = match choice {
                VolumeChoice::Id(id) => (self.disks.volume(who, id), id),
                VolumeChoice::Name(name) => (self.disks.volume_named(who, name, &pool.slug), name),
            };
            let volume = found
                .map_err(|_| ApiError::unprocessable(format!("volumes: there is no volume {called}")))?;
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
        if self.attachments.droplet_of(who, volume)?.is_some() {
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
}

/// Returns the initial values of an action on a Droplet.
pub(super) fn new_action<'a>(
    who: &'a Who,
    kind: &'a str,
    id: Uuid,
    number: i64,
    pool: &'a Pool,
    now_unix_ms: i64,
) -> NewAction<'a> {
    NewAction {
        account: &who.0,
        kind,
        now_unix_ms,
        resource_type: "droplet",
        resource: id,
        resource_id: Some(number),
        region: &pool.slug,
        job: None,
    }
}

/// Returns the error for an image that needs a larger disk.
pub(super) fn too_small(image: &ImageItem, gib: u64) -> ApiError {
    ApiError::unprocessable(format!(
        "The image {} needs a disk of {} GB, but this one has {gib} GB.",
        image.name, image.min_disk_gib
    ))
}
