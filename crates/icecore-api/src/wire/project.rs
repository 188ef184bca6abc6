//! Projects.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::Project;
use crate::service::accounts::uuid_of_account;
use crate::service::projects::ProjectChange;
use crate::service::projects::ProjectResource;
use crate::wire::blank;
use crate::wire::list::body;
use crate::wire::list::list_body;
use crate::words::time::rfc3339;

/// A project: a named group of resources.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectJson {
    /// A UUID.
    pub(crate) id: String,
    pub(crate) owner_uuid: String,
    /// Always 1: an account is known by its UUID.
    pub(crate) owner_id: i64,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) purpose: String,
    /// `Development`, `Staging`, `Production` or empty.
    pub(crate) environment: String,
    /// Whether it has the resources that are in no other project.
    pub(crate) is_default: bool,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

/// A resource of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectResourceJson {
    /// `do:droplet:ID` or `do:volume:ID`.
    pub(crate) urn: String,
    pub(crate) assigned_at: String,
    pub(crate) links: SelfLink,
    /// `ok`, `assigned`, `already_assigned` or `not_found`.
    pub(crate) status: String,
}

/// The address of an object.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SelfLink {
    #[serde(rename = "self")]
    pub(crate) itself: String,
}

body!(
    /// A project.
    ProjectBody, project: ProjectJson
);
list_body!(
    /// Projects.
    ProjectsBody, projects: ProjectJson
);
list_body!(
    /// The resources of a project.
    ProjectResourcesBody, resources: ProjectResourceJson
);

/// A new project.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewProject {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) purpose: Option<String>,
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) description: Option<String>,
    /// `Development`, `Staging` or `Production`.
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) environment: Option<String>,
}

/// The properties of a project to change.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ProjectUpdate {
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) purpose: Option<String>,
    #[serde(default)]
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) environment: Option<String>,
    /// True makes it the default project.
    #[serde(default)]
    pub(crate) is_default: Option<bool>,
}

/// The resources to move to a project.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewProjectResources {
    /// URNs: `do:droplet:ID` or `do:volume:ID`.
    #[serde(default, deserialize_with = "blank::list")]
    pub(crate) resources: Vec<String>,
}

impl From<Project> for ProjectJson {
    fn from(project: Project) -> Self {
        Self {
            id: project.uuid.to_string(),
            owner_uuid: uuid_of_account(&project.account).to_string(),
            owner_id: 1,
            name: project.name,
            description: project.description,
            purpose: project.purpose,
            environment: project.environment,
            is_default: project.is_default,
            created_at: rfc3339(project.created_unix_ms),
            updated_at: rfc3339(project.updated_unix_ms),
        }
    }
}

impl ProjectResourceJson {
    /// Shows a resource; `origin` is where the client found this server.
    pub(crate) fn new(resource: &ProjectResource, origin: &str) -> Self {
        let mut parts = resource.urn.split(':').skip(1);
        let [kind, id] = [parts.next(), parts.next()].map(Option::unwrap_or_default);
        Self {
            urn: resource.urn.clone(),
            assigned_at: rfc3339(resource.assigned_unix_ms),
            links: SelfLink { itself: format!("{origin}/v2/{kind}s/{id}") },
            status: resource.status.to_owned(),
        }
    }
}

impl From<NewProject> for ProjectChange {
    fn from(new: NewProject) -> Self {
        let NewProject { name, purpose, description, environment } = new;
        Self { name, purpose, description, environment, is_default: false }
    }
}

impl From<ProjectUpdate> for ProjectChange {
    fn from(update: ProjectUpdate) -> Self {
        let ProjectUpdate { name, purpose, description, environment, is_default } = update;
        Self { name, purpose, description, environment, is_default: is_default == Some(true) }
    }
}
