//! Backups of Droplets, by the plans of their owners.

use std::collections::HashSet;
use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use uuid::Uuid;

use crate::ops::schedule::entry::Entry;
use crate::ops::schedule::entry::What;
use crate::pool::labels;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::droplets::backups::BackupPolicy;
use crate::words::error::ApiResult;

/// The backups to schedule.
pub(super) struct Backups {
    pub(super) entries: Vec<Entry>,
    /// Whether the Droplets of all accounts could be listed.
    pub(super) complete: bool,
}

/// Returns an entry for each Droplet with a plan. It leaves out an account whose Droplets cannot be
/// listed.
pub(super) fn entries(service: &Service) -> ApiResult<Backups> {
    let unfinished = service.db.unfinished_actions()?;
    let busy: HashSet<Uuid> = unfinished.into_iter().map(|action| action.resource).collect();
    let mut backups = Backups { entries: Vec::new(), complete: true };
    for account in &service.config.accounts {
        match of_account(service, &account.name, &busy) {
            Ok(entries) => backups.entries.extend(entries),
            Err(error) => {
                tracing::error!(account = account.name, %error, "cannot list Droplets for their backups");
                backups.complete = false;
            }
        }
    }
    Ok(backups)
}

fn of_account(service: &Service, account: &str, busy: &HashSet<Uuid>) -> ApiResult<Vec<Entry>> {
    let mut disks = service.disks.list(&Who(account.to_owned()), ResourceKind::Droplet)?;
    disks.retain(|disk| BackupPolicy::parse(disk.label(labels::BACKUPS)).is_some());
    let numbers = service.disks.numbers_of(&disks)?;
    let mut entries = Vec::new();
    for disk in disks {
        let policy = BackupPolicy::parse(disk.label(labels::BACKUPS));
        let (Some(policy), Some(number)) = (policy, numbers.get(&disk.id())) else { continue };
        entries.push(Entry {
            name: format!("/backup/{}", disk.id()),
            when: policy.when()?,
            // The backup waits for the end of the Droplet's running action.
            ready: !busy.contains(&disk.id()),
            what: What::Backup { account: account.to_owned(), droplet: number.to_string() },
        });
    }
    Ok(entries)
}

/// Takes a backup, and deletes expired ones.
pub(super) fn perform(service: &Arc<Service>, account: &str, droplet: &str) -> ApiResult<()> {
    let who = Who(account.to_owned());
    service.droplet_commands.back_up(&who, droplet)?;
    let deleted = service.droplet_commands.expire_backups(&who, droplet)?;
    tracing::info!(account, droplet, deleted, "backup");
    Ok(())
}
