//! Backups of Droplets, by the plans that their owners chose, and snapshots of Droplets by a schedule.

use std::sync::Arc;

use icecore::ResourceKind;

use crate::ops::schedule::Entry;
use crate::ops::schedule::What;
use crate::pool::labels;
use crate::service::Service;
use crate::service::Who;
use crate::service::droplets::BackupPolicy;
use crate::service::droplets::Command;
use crate::service::items::VolumeItem;
use crate::words::cron::When;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// Returns an entry for each Droplet that has a plan.
pub(super) fn entries(service: &Service) -> ApiResult<Vec<Entry>> {
    let mut entries = Vec::new();
    for account in &service.config().accounts {
        let who = Who(account.name.clone());
        // All of a Droplet takes longer to find out than its disk.
        let disks = service.disks(&who, ResourceKind::Droplet)?;
        if disks.iter().all(|disk| disk.label(labels::BACKUPS).is_empty()) {
            continue;
        }
        for droplet in service.droplets(&who)? {
            let Some(policy) = droplet.backups() else { continue };
            entries.push(Entry {
                name: format!("/backup/{}", droplet.disk.id()),
                when: when(&policy)?,
                // Its time comes when what is done to it now has ended.
                ready: !droplet.locked,
                what: What::Backup { account: account.name.clone(), droplet: droplet.number.to_string() },
            });
        }
    }
    Ok(entries)
}

fn when(policy: &BackupPolicy) -> ApiResult<When> {
    let cron = match policy {
        BackupPolicy::Daily { hour } => format!("0 {hour} * * *"),
        BackupPolicy::Weekly { weekday, hour } => format!("0 {hour} * * {weekday}"),
    };
    Ok(When::parse(&cron, "UTC")?)
}

/// Takes a backup, and deletes those that are too old.
pub(super) fn perform(service: &Arc<Service>, account: &str, droplet: &str) -> ApiResult<()> {
    let who = Who(account.to_owned());
    service.back_up_droplet(&who, droplet)?;
    let deleted = service.expire_backups(&who, droplet)?;
    tracing::info!(account, droplet, deleted, "backup");
    Ok(())
}

/// Begins to take a snapshot of a Droplet. How that ends is told by its action.
pub(super) fn snapshot(service: &Arc<Service>, who: &Who, disk: &VolumeItem, name: &str) -> ApiResult<()> {
    let droplets = service.droplets(who)?;
    let droplet = droplets.iter().find(|droplet| droplet.disk.id() == disk.id());
    let droplet = droplet.ok_or_else(ApiError::not_found)?.number.to_string();
    let there = service.snapshots(who)?;
    // It was taken by a run that was interrupted after that.
    if there.iter().any(|item| item.resource_id == droplet && item.snapshot.name == name) {
        return Ok(());
    }
    service.command_droplet(who, &droplet, &Command::Snapshot { name: Some(name.to_owned()) }).map(drop)
}
