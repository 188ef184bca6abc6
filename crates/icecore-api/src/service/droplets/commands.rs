//! The operations on a Droplet.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore_host::clock::Clock;
use icecore_host::clock::new_id_at;
use icecore_host::config::Config;

use crate::db::Action;
use crate::db::ActionStatus;
use crate::db::Db;
use crate::db::NewAction;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Who;
use crate::service::actions::Actions;
use crate::service::disks::Disks;
use crate::service::droplets::backups::BackupPolicy;
use crate::service::droplets::catalog::Droplets;
use crate::service::droplets::create::ImageChoice;
use crate::service::droplets::create::new_action;
use crate::service::droplets::create::too_small;
use crate::service::droplets::item::DropletItem;
use crate::service::droplets::jobs::DropletJob;
use crate::service::droplets::jobs::DropletJobs;
use crate::service::images::catalog::Images;
use crate::service::images::item::ImageItem;
use crate::service::images::item::ImageType;
use crate::service::items::GIB;
use crate::service::parts::Parts;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_lists::Wanted;
use crate::service::snapshots::Snapshots;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names;
use crate::words::time::rfc3339;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// An operation on a Droplet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Takes a snapshot. A snapshot without a name is named after the time.
    Snapshot {
        name: Option<String>,
    },
    /// Restores a snapshot or a backup of this Droplet.
    Restore {
        image: Option<ImageChoice>,
    },
    /// Replaces the content of the disk with any image.
    Rebuild {
        image: Option<ImageChoice>,
    },
    /// Changes the size, and also grows the disk if `disk` says so.
    Resize {
        size: String,
        disk: bool,
    },
    Rename {
        name: String,
    },
    PowerOn,
    PowerOff,
    Shutdown,
    Reboot,
    PowerCycle,
    /// Enables backups, or changes their times.
    EnableBackups(BackupPolicy),
    ChangeBackupPolicy(BackupPolicy),
    DisableBackups,
    EnableIpv6,
    EnablePrivateNetworking,
    EnableMonitoring,
    DisableMonitoring,
    /// Records that somebody asked for a new password. The server does not change what is on disks.
    PasswordReset,
    /// Always refused: the kernel is on the disk.
    ChangeKernel {
        kernel: i64,
    },
}

impl Command {
    /// Returns the API's word.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Restore { .. } => "restore",
            Self::Rebuild { .. } => "rebuild",
            Self::Resize { .. } => "resize",
            Self::Rename { .. } => "rename",
            Self::PowerOn => "power_on",
            Self::PowerOff => "power_off",
            Self::Shutdown => "shutdown",
            Self::Reboot => "reboot",
            Self::PowerCycle => "power_cycle",
            Self::EnableBackups(_) => "enable_backups",
            Self::ChangeBackupPolicy(_) => "change_backup_policy",
            Self::DisableBackups => "disable_backups",
            Self::EnableIpv6 => "enable_ipv6",
            Self::EnablePrivateNetworking => "enable_private_networking",
            Self::EnableMonitoring => "enable_monitoring",
            Self::DisableMonitoring => "disable_monitoring",
            Self::PasswordReset => "password_reset",
            Self::ChangeKernel { .. } => "change_kernel",
        }
    }

    /// Returns whether it can be applied to all Droplets with a tag at once.
    fn in_bulk(&self) -> bool {
        match self {
            Self::Restore { .. }
            | Self::Rebuild { .. }
            | Self::Resize { .. }
            | Self::Rename { .. }
            | Self::ChangeBackupPolicy(_)
            | Self::EnableMonitoring
            | Self::DisableMonitoring
            | Self::PasswordReset
            | Self::ChangeKernel { .. } => false,
            Self::Snapshot { .. }
            | Self::PowerOn
            | Self::PowerOff
            | Self::Shutdown
            | Self::Reboot
            | Self::PowerCycle
            | Self::EnableBackups(_)
            | Self::DisableBackups
            | Self::EnableIpv6
            | Self::EnablePrivateNetworking => true,
        }
    }
}

/// The service that carries out commands.
pub(crate) struct DropletCommands {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    actions: Actions,
    disks: Arc<Disks>,
    snapshots: Arc<Snapshots>,
    images: Arc<Images>,
    droplets: Arc<Droplets>,
    jobs: DropletJobs,
}

impl DropletCommands {
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
            actions: parts.actions.clone(),
            disks: Arc::clone(&parts.disks),
            snapshots: Arc::clone(&parts.snapshots),
            images: Arc::clone(images),
            droplets: Arc::clone(droplets),
            jobs: jobs.clone(),
        }
    }

    /// Starts an action on a Droplet.
    pub(crate) fn command(&self, who: &Who, id: &str, command: &Command) -> ApiResult<Action> {
        let droplet = self.droplets.get(who, id)?;
        let job = self.job_of(who, &droplet, command)?;
        self.act(who, &droplet, command.as_str(), job)
    }

    fn act(&self, who: &Who, droplet: &DropletItem, kind: &str, job: DropletJob) -> ApiResult<Action> {
        let new = self.new_action(who, droplet, kind);
        self.actions.act(&new, self.jobs.work(job)?)
    }

    fn new_action<'a>(&self, who: &'a Who, droplet: &'a DropletItem, kind: &'a str) -> NewAction<'a> {
        let disk = &droplet.disk;
        new_action(who, kind, disk.id(), droplet.number, &disk.pool, self.clock.now_unix_ms())
    }

    /// Starts an action on every Droplet that has a tag and is not busy.
    pub(crate) fn command_tagged(&self, who: &Who, tag: &str, command: &Command) -> ApiResult<Vec<Action>> {
        if !command.in_bulk() {
            return Err(ApiError::unprocessable(format!(
                "{} is not possible for several Droplets at once",
                command.as_str()
            )));
        }
        let mut begun = Vec::new();
        for droplet in self.droplets.tagged(who, tag)?.iter().filter(|droplet| !droplet.locked) {
            let job = self.job_of(who, droplet, command)?;
            match self.actions.start(&self.new_action(who, droplet, command.as_str()), self.jobs.work(job)?) {
                // The Droplet has become busy just now.
                Err(error) if error.status == 422 => {}
                action => begun.push(action?),
            }
        }
        self.actions.wait(&mut begun);
        Ok(begun)
    }

    /// Deletes a Droplet and its backups. Its volumes are detached, and its snapshots stay.
    pub(crate) fn delete(&self, who: &Who, id: &str) -> ApiResult<()> {
        let disk = self.disks.of_droplet(who, id)?;
        let number = self.db.number(disk.id())?;
        let new = new_action(who, "destroy", disk.id(), number, &disk.pool, self.clock.now_unix_ms());
        let action = self.actions.act(&new, self.jobs.work(DropletJob::Destroy)?)?;
        if action.status == ActionStatus::Errored {
            return Err(ApiError::unprocessable(action.message));
        }
        Ok(())
    }

    /// Deletes all Droplets with a tag.
    pub(crate) fn delete_tagged(&self, who: &Who, tag: &str) -> ApiResult<()> {
        for droplet in self.droplets.tagged(who, tag)? {
            match self.delete(who, &droplet.number.to_string()) {
                // Another request has already deleted it.
                Err(error) if error.status == 404 => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Takes a backup of a Droplet.
    pub(crate) fn back_up(&self, who: &Who, id: &str) -> ApiResult<Action> {
        let droplet = self.droplets.get(who, id)?;
        let name = rfc3339(self.clock.now_unix_ms()).replace('T', " ").replace('Z', "");
        let job = self.snapshot_job(who, &droplet, name, ImageType::Backup)?;
        self.act(who, &droplet, "backup", job)
    }

    /// Deletes the expired backups of a Droplet: daily ones after a week, weekly ones after four.
    pub(crate) fn expire_backups(&self, who: &Who, id: &str) -> ApiResult<usize> {
        let droplet = self.droplets.get(who, id)?;
        let Some(policy) = droplet.backups() else { return Ok(0) };
        let kept_ms = i64::from(policy.kept_days()) * DAY_MS;
        let now = self.clock.now_unix_ms();
        let of = Some((ResourceKind::Droplet, droplet.disk.id()));
        let wanted = Wanted { of, classes: &[Class::Backup], ..Wanted::own() };
        let mut expired = self.snapshots.list(who, &wanted)?;
        expired.retain(|item| {
            item.number.is_some_and(|number| droplet.backup_ids.contains(&number))
                && now.saturating_sub(item.snapshot.age_unix_ms(now)) > kept_ms
        });
        for item in &expired {
            match self.snapshots.delete(who, item.snapshot.id.0) {
                Err(error) if error.status == 404 => {}
                done => done?,
            }
        }
        Ok(expired.len())
    }

    fn job_of(&self, who: &Who, droplet: &DropletItem, command: &Command) -> ApiResult<DropletJob> {
        let label = |key: &str, text: &str| {
            let labels = BTreeMap::from([(key.to_owned(), text.to_owned())]);
            Ok(DropletJob::Label { labels })
        };
        match command {
            Command::Snapshot { name } => {
                let usual = || format!("{}-{}", droplet.disk.name(), self.clock.now_unix_ms());
                let name = name.clone().unwrap_or_else(usual);
                names::check_text("name", &name)?;
                self.snapshot_job(who, droplet, name, ImageType::Snapshot)
            }
            Command::Restore { image } => {
                let image = self.image_for(who, droplet, image.as_ref())?;
                let own = droplet.snapshot_ids.contains(&image.number)
                    || droplet.backup_ids.contains(&image.number);
                if !own {
                    return Err(ApiError::unprocessable(
                        "The image is neither a backup nor a snapshot of this Droplet.",
                    ));
                }
                Ok(DropletJob::Restore { snapshot: image.uuid })
            }
            Command::Rebuild { image } => {
                let image = self.image_for(who, droplet, image.as_ref())?;
                Ok(DropletJob::Restore { snapshot: image.uuid })
            }
            Command::Resize { size, disk } => self.resize_job(droplet, size, *disk),
            Command::Rename { name } => {
                names::check_droplet(name)?;
                label(labels::NAME, name)
            }
            Command::PowerOff | Command::Shutdown => label(labels::STATUS, "off"),
            Command::PowerOn | Command::Reboot | Command::PowerCycle => label(labels::STATUS, ""),
            Command::EnableBackups(policy) | Command::ChangeBackupPolicy(policy) => {
                if matches!(command, Command::ChangeBackupPolicy(_)) && droplet.backups().is_none() {
                    return Err(ApiError::unprocessable("Backups are not enabled for this Droplet."));
                }
                label(labels::BACKUPS, &policy.to_label())
            }
            Command::DisableBackups => label(labels::BACKUPS, ""),
            Command::EnableIpv6 if droplet.features().without_public_network => {
                Err(ApiError::unprocessable("ipv6 needs a public network, which this Droplet does not have."))
            }
            Command::EnableIpv6 => label(labels::IPV6, labels::YES),
            Command::EnablePrivateNetworking => label(labels::PRIVATE_NETWORKING, labels::YES),
            Command::EnableMonitoring => label(labels::MONITORING, labels::YES),
            Command::DisableMonitoring => label(labels::MONITORING, ""),
            Command::PasswordReset => Ok(DropletJob::Label { labels: BTreeMap::new() }),
            Command::ChangeKernel { kernel } => Err(ApiError::unprocessable(format!(
                "kernel {kernel} is not available: the kernel of this Droplet is on its disk."
            ))),
        }
    }

    fn snapshot_job(
        &self,
        who: &Who,
        droplet: &DropletItem,
        name: String,
        kind: ImageType,
    ) -> ApiResult<DropletJob> {
        let id = new_id_at(self.clock.now_unix_ms());
        let mut labels = Labels::from([(labels::ACCOUNT.to_owned(), who.0.clone())]);
        labels::set(&mut labels, labels::RESOURCE, &droplet.disk.id().to_string());
        labels::set(&mut labels, labels::RESOURCE_NUMBER, &droplet.number.to_string());
        labels::set(&mut labels, labels::NUMBER, &self.db.number(id)?.to_string());
        labels::set(&mut labels, labels::TYPE, kind.label());
        labels::set(&mut labels, labels::DISTRIBUTION, &droplet.image.distribution);
        Ok(DropletJob::Snapshot { id, name, tags: Vec::new(), labels })
    }

    /// Returns an image to put on a Droplet's disk.
    fn image_for(
        &self,
        who: &Who,
        droplet: &DropletItem,
        choice: Option<&ImageChoice>,
    ) -> ApiResult<ImageItem> {
        let choice = choice.ok_or_else(|| ApiError::unprocessable("image is required"))?;
        let invalid = || ApiError::unprocessable("You specified an invalid image.");
        let image = self.images.get(who, &choice.text()).map_err(|_| invalid())?;
        let region = &droplet.disk.pool.slug;
        if !image.is_available() {
            return Err(invalid());
        }
        if !image.pools.iter().any(|pool| pool.slug == *region) {
            return Err(ApiError::unprocessable(format!(
                "The image you specified is not available in the region {region}. Transfer it there first."
            )));
        }
        if image.min_disk_gib > droplet.disk.size_gib() {
            return Err(too_small(&image, droplet.disk.size_gib()));
        }
        Ok(image)
    }

    fn resize_job(&self, droplet: &DropletItem, size: &str, disk: bool) -> ApiResult<DropletJob> {
        let invalid = || ApiError::unprocessable("You specified an invalid size for the Droplet.");
        let new = self.config.size(size).ok_or_else(invalid)?;
        if new.disk < droplet.disk.size_gib() {
            return Err(ApiError::unprocessable("This size is not available because it has a smaller disk."));
        }
        Ok(DropletJob::Resize { size: new.slug.clone(), size_bytes: disk.then_some(new.disk * GIB) })
    }
}
