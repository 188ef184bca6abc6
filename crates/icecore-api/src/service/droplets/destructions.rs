//! Destroying a Droplet together with what belongs to it: its snapshots, the volumes attached to it,
//! and their snapshots. A record says what became of each, so a failure can be seen and repeated.

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore_host::clock::Clock;
use icecore_host::config::Config;
use serde::Deserialize;
use serde::Serialize;

use crate::db::Db;
use crate::pool::locks::Locks;
use crate::service::accounts::Who;
use crate::service::accounts::uuid_of_account;
use crate::service::attachments::Attachments;
use crate::service::droplets::catalog::Droplets;
use crate::service::droplets::commands::DropletCommands;
use crate::service::droplets::item::DropletItem;
use crate::service::items::SnapshotItem;
use crate::service::parts::Parts;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_lists::Wanted;
use crate::service::snapshots::Snapshots;
use crate::service::volumes::Volumes;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;

/// Dollars a month for a GiB.
const SNAPSHOT_DOLLARS: f64 = 0.06;
const VOLUME_DOLLARS: f64 = 0.1;

/// What belongs to a Droplet.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Associated {
    pub(crate) snapshots: Vec<Resource>,
    pub(crate) volumes: Vec<Resource>,
    pub(crate) volume_snapshots: Vec<Resource>,
}

/// Something that belongs to a Droplet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    /// Its id in the API.
    pub(crate) id: String,
    pub(crate) name: String,
    /// What it costs in the cloud, in dollars a month.
    pub(crate) dollars: f64,
}

/// The ids of what a client wants to destroy with a Droplet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) snapshots: Vec<String>,
    pub(crate) volumes: Vec<String>,
    pub(crate) volume_snapshots: Vec<String>,
}

/// What became of a Droplet and what belonged to it. The database keeps it as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Destruction {
    pub(crate) droplet: Destroyed,
    pub(crate) snapshots: Vec<Destroyed>,
    pub(crate) volumes: Vec<Destroyed>,
    pub(crate) volume_snapshots: Vec<Destroyed>,
    /// None while it goes on.
    pub(crate) completed_unix_ms: Option<i64>,
}

/// What became of something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Destroyed {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) destroyed_unix_ms: Option<i64>,
    /// Why it is still there.
    pub(crate) problem: Option<String>,
}

/// The service that destroys Droplets together with what belongs to them.
pub(crate) struct Destructions {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    attachments: Arc<Attachments>,
    snapshots: Arc<Snapshots>,
    volumes: Volumes,
    droplets: Arc<Droplets>,
    commands: Arc<DropletCommands>,
    /// Locks by account id, held while something is destroyed. Taken before all others.
    locks: Locks,
}

impl Destructions {
    pub(crate) fn new(parts: &Parts, droplets: &Arc<Droplets>, commands: &Arc<DropletCommands>) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            clock: Arc::clone(&parts.clock),
            attachments: Arc::clone(&parts.attachments),
            snapshots: Arc::clone(&parts.snapshots),
            volumes: Volumes::new(parts),
            droplets: Arc::clone(droplets),
            commands: Arc::clone(commands),
            locks: Locks::default(),
        }
    }

    /// Returns what belongs to a Droplet.
    pub(crate) fn associated(&self, who: &Who, id: &str) -> ApiResult<Associated> {
        self.associated_with(who, &self.droplets.get(who, id)?)
    }

    fn associated_with(&self, who: &Who, droplet: &DropletItem) -> ApiResult<Associated> {
        let mut found = Associated::default();
        let of = |kind, disk, classes: &'static [Class]| {
            let wanted = Wanted { of: Some((kind, disk)), classes, ..Wanted::own() };
            let all = self.snapshots.list(who, &wanted)?;
            Ok::<_, ApiError>(all.iter().map(snapshot).collect::<Vec<_>>())
        };
        let own: &[Class] = &[Class::Proper, Class::Other];
        found.snapshots = of(ResourceKind::Droplet, droplet.disk.id(), own)?;
        for volume in self.attachments.volumes_of(who, droplet.disk.id())? {
            let id = volume.id().to_string();
            found.volume_snapshots.extend(of(ResourceKind::Volume, volume.id(), &[])?);
            let dollars = gib(volume.size_gib()) * VOLUME_DOLLARS;
            found.volumes.push(Resource { id, name: volume.name().to_owned(), dollars });
        }
        Ok(found)
    }

    /// Destroys a Droplet and what was selected of what belongs to it; everything if nothing was.
    ///
    /// # Errors
    /// 422 if something selected does not belong to the Droplet, or if the Droplet is busy. Nothing
    /// was destroyed then. Failures after that are in the record.
    pub(crate) fn destroy(&self, who: &Who, id: &str, selection: Option<&Selection>) -> ApiResult<()> {
        self.alone(who, || {
            let droplet = self.droplets.get(who, id)?;
            let mut all = self.associated_with(who, &droplet)?;
            if let Some(selection) = selection {
                select("snapshots", &mut all.snapshots, &selection.snapshots)?;
                select("volumes", &mut all.volumes, &selection.volumes)?;
                select("volume_snapshots", &mut all.volume_snapshots, &selection.volume_snapshots)?;
            }
            let mut record = Destruction {
                droplet: Destroyed {
                    id: droplet.number.to_string(),
                    name: droplet.disk.name().to_owned(),
                    ..Destroyed::default()
                },
                snapshots: planned(all.snapshots),
                volumes: planned(all.volumes),
                volume_snapshots: planned(all.volume_snapshots),
                completed_unix_ms: None,
            };
            self.keep(who, &record)?;
            // The Droplet goes first: if it is busy, nothing happens. A volume can be deleted only
            // when the Droplet is gone.
            if let Err(error) = self.commands.delete(who, id) {
                self.db.forget_destruction(droplet.number)?;
                return Err(error);
            }
            record.droplet.destroyed_unix_ms = Some(self.clock.now_unix_ms());
            self.carry_out(who, record)
        })
    }

    /// Returns what became of a Droplet.
    pub(crate) fn status(&self, who: &Who, id: &str) -> ApiResult<Destruction> {
        let number = ids::number(id).ok_or_else(ApiError::no_droplet)?;
        let record = self.db.destruction(&who.0, number)?.ok_or_else(ApiError::no_droplet)?;
        serde_json::from_str(&record).map_err(ApiError::server)
    }

    /// Tries again what failed.
    pub(crate) fn retry(&self, who: &Who, id: &str) -> ApiResult<()> {
        self.alone(who, || {
            let record = self.status(who, id)?;
            self.carry_out(who, record)
        })
    }

    /// Continues what an earlier server began and did not finish.
    pub(crate) fn resume(&self) -> ApiResult<()> {
        for (account, record) in self.db.destructions()? {
            let Ok(record) = serde_json::from_str::<Destruction>(&record) else { continue };
            if record.completed_unix_ms.is_none() && self.config.account(&account).is_some() {
                self.carry_out(&Who(account), record)?;
            }
        }
        Ok(())
    }

    /// Deletes what is still there, and records what became of it.
    fn carry_out(&self, who: &Who, mut record: Destruction) -> ApiResult<()> {
        record.completed_unix_ms = None;
        self.keep(who, &record)?;
        self.attempt(&mut record.droplet, |id| self.commands.delete(who, id));
        if record.droplet.problem.is_none() {
            for volume in &mut record.volumes {
                self.attempt(volume, |id| self.volumes.delete(who, id));
            }
            for snapshot in record.snapshots.iter_mut().chain(&mut record.volume_snapshots) {
                self.attempt(snapshot, |id| {
                    self.snapshots.delete(who, self.snapshots.get(who, id)?.snapshot.id.0)
                });
            }
        }
        record.completed_unix_ms = Some(self.clock.now_unix_ms());
        self.keep(who, &record)
    }

    /// Deletes something, unless it is gone.
    fn attempt(&self, what: &mut Destroyed, delete: impl Fn(&str) -> ApiResult<()>) {
        if what.destroyed_unix_ms.is_some() {
            return;
        }
        what.problem = match delete(&what.id) {
            Err(error) if error.status != 404 => Some(error.message),
            _ => None,
        };
        what.destroyed_unix_ms = what.problem.is_none().then(|| self.clock.now_unix_ms());
    }

    fn keep(&self, who: &Who, record: &Destruction) -> ApiResult<()> {
        let number = ids::number(&record.droplet.id).ok_or_else(ApiError::no_droplet)?;
        let text = serde_json::to_string(record).map_err(ApiError::server)?;
        self.db.keep_destruction(&who.0, number, &text)
    }

    fn alone<T>(&self, who: &Who, what: impl FnOnce() -> T) -> T {
        self.locks.alone(uuid_of_account(&who.0), what)
    }
}

impl Destruction {
    /// Returns the number of things that could not be destroyed.
    pub(crate) fn failures(&self) -> usize {
        let resources = self.snapshots.iter().chain(&self.volumes).chain(&self.volume_snapshots);
        resources.chain([&self.droplet]).filter(|one| one.problem.is_some()).count()
    }
}

/// Converts GiB for a calculation of prices.
fn gib(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

fn snapshot(item: &SnapshotItem) -> Resource {
    let dollars = item.size_gigabytes() * SNAPSHOT_DOLLARS;
    Resource { id: item.id(), name: item.snapshot.name.clone(), dollars }
}

/// Keeps what is selected. `field` is the request's.
fn select(field: &str, all: &mut Vec<Resource>, selected: &[String]) -> ApiResult<()> {
    if let Some(strange) = selected.iter().find(|id| !all.iter().any(|one| one.id == **id)) {
        return Err(ApiError::unprocessable(format!("{field}: {strange} does not belong to this Droplet")));
    }
    all.retain(|one| selected.contains(&one.id));
    Ok(())
}

fn planned(resources: Vec<Resource>) -> Vec<Destroyed> {
    let plan = |one: Resource| Destroyed { id: one.id, name: one.name, ..Destroyed::default() };
    resources.into_iter().map(plan).collect()
}
