//! The start of the server: it restores from the repositories what the database lost, and continues
//! or undoes what an earlier server began.

use std::collections::HashMap;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::ResourceKind;
use icecore_host::clock::Clock;
use icecore_host::config::Config;
use serde::Deserialize;

use crate::db::Numbered;
use crate::pool::Pools;
use crate::pool::labels;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::droplets::jobs::DropletJob;
use crate::service::images::jobs::ImageJob;
use crate::words::error::ApiResult;

/// The work of an action.
#[derive(Deserialize)]
#[serde(untagged)]
enum Job {
    Droplet(DropletJob),
    Image(ImageJob),
}

/// Opens everything that is configured.
pub(crate) fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Service> {
    let service = Service::open(config, clock)?;
    take_over(&service).map_err(|error| Error::new(ErrorKind::Io, error.message))?;
    Ok(service)
}

/// Restores what the repositories know, before any request arrives.
fn take_over(service: &Service) -> ApiResult<()> {
    take_over_numbers(service)?;
    take_over_tags(service)?;
    make_defaults(service)?;
    remove_unfinished(&service.pools)?;
    service.scratch.clear();
    Ok(())
}

/// Restores the recorded numbers of all resources, before any new number is given out.
fn take_over_numbers(service: &Service) -> ApiResult<()> {
    let mut all = HashMap::new();
    let mut note = |uuid, noted: Option<i64>| {
        if let Some(noted) = noted {
            all.entry(uuid).or_insert(noted);
        }
    };
    for pool in service.pools.values() {
        for volume in pool.volumes()?.all() {
            note(volume.id.0, labels::number(&volume.labels));
        }
        icecore::snapshot::now(pool.repo())?.for_each(|snapshot| {
            note(snapshot.id.0, labels::number(&snapshot.labels));
            if let Some(uuid) = labels::id(&snapshot.labels, labels::RESOURCE) {
                note(uuid, labels::resource_number(&snapshot.labels));
            }
        })?;
    }
    let all: Vec<_> = all.into_iter().map(|(uuid, noted)| Numbered { uuid, noted: Some(noted) }).collect();
    service.db.numbers(&all)?;
    Ok(())
}

/// Records all tags in use, each in the spelling of its oldest use.
fn take_over_tags(service: &Service) -> ApiResult<()> {
    for account in &service.config.accounts {
        let who = Who(account.name.clone());
        let mut tags = service.tags.in_use(&who)?;
        tags.sort();
        for (_, tag) in tags {
            service.db.make_tag(&who.0, &tag)?;
        }
    }
    Ok(())
}

/// Creates what each account has from the beginning: a VPC in each region, and a project.
fn make_defaults(service: &Service) -> ApiResult<()> {
    for account in &service.config.accounts {
        let who = Who(account.name.clone());
        service.vpcs.make_defaults(&who)?;
        service.projects.make_default(&who)?;
    }
    Ok(())
}

/// Removes volumes that were being created when the server ended.
fn remove_unfinished(pools: &Pools) -> ApiResult<()> {
    for pool in pools.values() {
        for volume in icecore::volume::list_volumes(pool.repo())?.volumes {
            let unfinished = labels::text(&volume.labels, labels::UNFINISHED).is_some();
            if !unfinished || volume.kind != ResourceKind::Volume {
                continue;
            }
            match icecore::volume::delete_volume(pool.repo(), &volume.name) {
                Ok(_) => tracing::info!(volume = %volume.name, "removed an unfinished object"),
                Err(error) => {
                    tracing::warn!(volume = %volume.name, %error, "what was not finished stays")
                }
            }
        }
    }
    Ok(())
}

/// Continues what an earlier server began and did not finish, or undoes what cannot be continued.
///
/// # Errors
/// Those of the database.
pub(crate) fn resume(service: &Service) -> ApiResult<()> {
    service.offers.end_accepted()?;
    service.imports.end_lost()?;
    for action in service.db.unfinished_actions()? {
        let job = action.job.as_deref().and_then(|job| serde_json::from_str(job).ok());
        match job {
            // A snapshot exists whole or not at all, and the moment to take it is past.
            Some(Job::Droplet(DropletJob::Snapshot { id, .. })) => {
                let taken = service.snapshots.is_in(&action.region, id)?;
                let problem = "the server stopped before it took the snapshot: take another one";
                service.actions.end(&action, (!taken).then_some(problem))?;
            }
            Some(Job::Droplet(job)) => service.actions.go_on(&action, service.droplet_jobs.work(job)?),
            Some(Job::Image(job)) => service.actions.go_on(&action, service.image_jobs.work(job)?),
            None => {
                let problem =
                    "the server stopped before this ended: check whether it was done, and repeat it if not";
                service.actions.end(&action, Some(problem))?;
            }
        }
    }
    // Last: a Droplet may still have been on its way out.
    service.destructions.resume()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_of_a_droplet_or_of_an_image_or_unknown() {
        let read = |text: &str| serde_json::from_str::<Job>(text);
        assert!(matches!(read(r#"{"job":"destroy-droplet"}"#), Ok(Job::Droplet(DropletJob::Destroy))));
        assert!(matches!(read(r#"{"job":"convert-image"}"#), Ok(Job::Image(ImageJob::Convert))));
        assert!(read(r#"{"job":"of-a-later-version"}"#).is_err());
    }
}
