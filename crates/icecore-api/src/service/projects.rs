//! Projects: named groups of an account's resources.

use std::collections::HashMap;
use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore_host::clock::Clock;
use icecore_host::clock::new_id;
use uuid::Uuid;

use crate::db::Assignment;
use crate::db::Db;
use crate::db::Project;
use crate::service::accounts::Accounts;
use crate::service::accounts::Who;
use crate::service::accounts::uuid_of_account;
use crate::service::disks::Disks;
use crate::service::parts::Parts;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;
use crate::words::names;

/// What stands in a path for the default project.
const DEFAULT: &str = "default";
/// The environments of projects, as the API spells them.
const ENVIRONMENTS: [&str; 3] = ["Development", "Staging", "Production"];

/// The texts of a new project, or those to change.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProjectChange {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) purpose: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) is_default: bool,
}

/// A resource of a project.
pub(crate) struct ProjectResource {
    /// `do:TYPE:ID`.
    pub(crate) urn: String,
    pub(crate) assigned_unix_ms: i64,
    /// `ok`, `assigned`, `already_assigned` or `not_found`.
    pub(crate) status: &'static str,
}

/// The projects of all accounts.
pub(crate) struct Projects {
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    accounts: Arc<Accounts>,
    disks: Arc<Disks>,
}

impl Projects {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            db: Arc::clone(&parts.db),
            clock: Arc::clone(&parts.clock),
            accounts: Arc::clone(&parts.accounts),
            disks: Arc::clone(&parts.disks),
        }
    }

    /// Creates the default project of an account that has none.
    pub(super) fn make_default(&self, who: &Who) -> ApiResult<()> {
        if self.list(who)?.iter().any(|project| project.is_default) {
            return Ok(());
        }
        let now = self.clock.now_unix_ms();
        self.db.keep_project(&Project {
            uuid: Uuid::new_v5(&uuid_of_account(&who.0), b"project"),
            account: who.0.clone(),
            name: who.0.clone(),
            description: "The resources that are in no other project".to_owned(),
            purpose: "Just trying out DigitalOcean".to_owned(),
            environment: String::new(),
            is_default: true,
            created_unix_ms: now,
            updated_unix_ms: now,
        })
    }

    /// Returns all projects of an account, oldest first.
    pub(crate) fn list(&self, who: &Who) -> ApiResult<Vec<Project>> {
        self.db.projects(&who.0)
    }

    /// Returns a project, or the default one.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<Project> {
        let wanted = ids::uuid(id);
        let is_it = |project: &Project| match id {
            DEFAULT => project.is_default,
            _ => Some(project.uuid) == wanted,
        };
        self.list(who)?.into_iter().find(is_it).ok_or_else(ApiError::not_found)
    }

    /// Creates a project.
    pub(crate) fn create(&self, who: &Who, new: &ProjectChange) -> ApiResult<Project> {
        self.accounts.alone(who, || {
            let now = self.clock.now_unix_ms();
            let blank = Project {
                uuid: new_id(),
                account: who.0.clone(),
                name: String::new(),
                description: String::new(),
                purpose: String::new(),
                environment: String::new(),
                is_default: false,
                created_unix_ms: now,
                updated_unix_ms: now,
            };
            self.keep(who, blank, new)
        })
    }

    /// Changes a project. What the request leaves out stays.
    pub(crate) fn change(&self, who: &Who, id: &str, change: &ProjectChange) -> ApiResult<Project> {
        self.accounts.alone(who, || {
            let old = self.get(who, id)?;
            self.keep(who, Project { updated_unix_ms: self.clock.now_unix_ms(), ..old }, change)
        })
    }

    fn keep(&self, who: &Who, old: Project, change: &ProjectChange) -> ApiResult<Project> {
        let text = |new: &Option<String>, old: String| new.clone().unwrap_or(old);
        let environment = change.environment.as_deref().map(environment).transpose()?;
        let project = Project {
            name: text(&change.name, old.name),
            description: text(&change.description, old.description),
            purpose: text(&change.purpose, old.purpose),
            environment: environment.unwrap_or(old.environment),
            is_default: old.is_default || change.is_default,
            ..old
        };
        names::check_text("name", &project.name)?;
        names::check_text("purpose", &project.purpose)?;
        names::check_description("description", &project.description)?;
        let all = self.list(who)?;
        if all.iter().any(|other| other.uuid != project.uuid && other.name == project.name) {
            return Err(ApiError::conflict("name is already in use"));
        }
        self.db.keep_project(&project)?;
        Ok(project)
    }

    /// Deletes a project that is not the default one and has no resources.
    pub(crate) fn delete(&self, who: &Who, id: &str) -> ApiResult<()> {
        self.accounts.alone(who, || {
            let project = self.get(who, id)?;
            if project.is_default {
                return Err(ApiError::precondition_failed("cannot delete the default project"));
            }
            if !self.resources(who, id)?.is_empty() {
                return Err(ApiError::precondition_failed("cannot delete a project with resources"));
            }
            self.db.forget_project(project.uuid)
        })
    }

    /// Returns the resources of a project. What was never assigned is in the default project.
    pub(crate) fn resources(&self, who: &Who, id: &str) -> ApiResult<Vec<ProjectResource>> {
        let all = self.list(who)?;
        let project = self.get(who, id)?;
        let assigned = self.db.assignments(&who.0)?;
        let of = |(urn, created_unix_ms): (String, i64)| {
            let there = assigned.get(&urn).filter(|is| all.iter().any(|other| other.uuid == is.project));
            let here = there.map_or(project.is_default, |is| is.project == project.uuid);
            let assigned_unix_ms = there.map_or(created_unix_ms, |is| is.unix_ms);
            here.then_some(ProjectResource { urn, assigned_unix_ms, status: "ok" })
        };
        Ok(self.urns(who)?.into_iter().filter_map(of).collect())
    }

    /// Moves resources to a project, and returns what became of each.
    pub(crate) fn assign(&self, who: &Who, id: &str, urns: &[String]) -> ApiResult<Vec<ProjectResource>> {
        self.accounts.alone(who, || {
            if let Some(bad) = urns.iter().find(|urn| !is_urn(urn)) {
                return Err(ApiError::unprocessable(format!("{bad:?} is not a URN: use do:TYPE:ID")));
            }
            let project = self.get(who, id)?;
            let there: HashMap<String, i64> = self.urns(who)?.into_iter().collect();
            let here = self.resources(who, id)?;
            let now = self.clock.now_unix_ms();
            let of = |urn: &String| {
                let old = here.iter().find(|resource| resource.urn == *urn);
                let (status, assigned_unix_ms) = match old {
                    Some(old) => ("already_assigned", old.assigned_unix_ms),
                    None if there.contains_key(urn) => ("assigned", now),
                    None => ("not_found", now),
                };
                ProjectResource { urn: urn.clone(), assigned_unix_ms, status }
            };
            let done: Vec<ProjectResource> = urns.iter().map(of).collect();
            let new = done.iter().filter(|resource| resource.status == "assigned");
            let new: Vec<String> = new.map(|resource| resource.urn.clone()).collect();
            self.db.assign(&who.0, &new, Assignment { project: project.uuid, unix_ms: now })?;
            Ok(done)
        })
    }

    /// Returns the resources that projects have, and when they were created: Droplets and volumes.
    fn urns(&self, who: &Who) -> ApiResult<Vec<(String, i64)>> {
        let droplets = self.disks.list(who, ResourceKind::Droplet)?;
        let numbers = self.disks.numbers_of(&droplets)?;
        let droplets = droplets.iter().filter_map(|disk| {
            Some((format!("do:droplet:{}", numbers.get(&disk.id())?), disk.info.created_unix_ms))
        });
        let volumes = self.disks.volumes(who)?;
        let volumes =
            volumes.iter().map(|disk| (format!("do:volume:{}", disk.id()), disk.info.created_unix_ms));
        Ok(droplets.chain(volumes).collect())
    }
}

fn is_urn(text: &str) -> bool {
    let mut parts = text.split(':');
    let [first, kind, id] = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
    first == "do" && !kind.is_empty() && !id.is_empty()
}

/// Returns an environment as the API spells it.
fn environment(text: &str) -> ApiResult<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let known = ENVIRONMENTS.iter().find(|known| known.eq_ignore_ascii_case(text));
    known
        .map(|known| (*known).to_owned())
        .ok_or_else(|| ApiError::unprocessable("environment must be Development, Staging or Production"))
}
