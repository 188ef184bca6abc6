//! `/v2/projects`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::http::page::Origin;
use crate::http::page::Page;
use crate::service::App;
use crate::service::accounts::Who;
use crate::service::projects::ProjectChange;
use crate::wire::project::NewProject;
use crate::wire::project::NewProjectResources;
use crate::wire::project::ProjectBody;
use crate::wire::project::ProjectJson;
use crate::wire::project::ProjectResourceJson;
use crate::wire::project::ProjectResourcesBody;
use crate::wire::project::ProjectUpdate;
use crate::wire::project::ProjectsBody;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// All projects, oldest first.
#[utoipa::path(get, path = "/v2/projects", tag = "Projects", params(Page), responses((status = 200, body = ProjectsBody)))]
pub(crate) async fn list(State(app): State<App>, who: Who, page: Page) -> ApiResult<Json<ProjectsBody>> {
    blocking(move || Ok(Json(page.of(app.projects.list(&who)?, ProjectJson::from).into()))).await
}

/// Creates a project.
#[utoipa::path(post, path = "/v2/projects", tag = "Projects", request_body = NewProject, responses((status = 201, body = ProjectBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Body(new): Body<NewProject>,
) -> ApiResult<(StatusCode, Json<ProjectBody>)> {
    blocking(move || {
        let project = app.projects.create(&who, &new.into())?.into();
        Ok((StatusCode::CREATED, Json(ProjectBody { project })))
    })
    .await
}

/// One project, by its id or as `default`.
#[utoipa::path(get, path = "/v2/projects/{id}", tag = "Projects", params(("id" = String, Path)), responses((status = 200, body = ProjectBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<ProjectBody>> {
    blocking(move || Ok(Json(ProjectBody { project: app.projects.get(&who, &id)?.into() }))).await
}

/// Replaces the properties of a project: texts that are left out are empty afterwards.
#[utoipa::path(put, path = "/v2/projects/{id}", tag = "Projects", params(("id" = String, Path)),
    request_body = ProjectUpdate, responses((status = 200, body = ProjectBody)))]
pub(crate) async fn replace(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<ProjectUpdate>,
) -> ApiResult<Json<ProjectBody>> {
    blocking(move || {
        let change = ProjectChange::from(new);
        if change.name.is_none() || change.purpose.is_none() {
            return Err(ApiError::unprocessable("name and purpose are required"));
        }
        let whole = |text: Option<String>| Some(text.unwrap_or_default());
        let (description, environment) = (whole(change.description), whole(change.environment));
        let change = ProjectChange { description, environment, ..change };
        Ok(Json(ProjectBody { project: app.projects.change(&who, &id, &change)?.into() }))
    })
    .await
}

/// Changes properties of a project.
#[utoipa::path(patch, path = "/v2/projects/{id}", tag = "Projects", params(("id" = String, Path)),
    request_body = ProjectUpdate, responses((status = 200, body = ProjectBody)))]
pub(crate) async fn change(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<ProjectUpdate>,
) -> ApiResult<Json<ProjectBody>> {
    blocking(move || Ok(Json(ProjectBody { project: app.projects.change(&who, &id, &new.into())?.into() })))
        .await
}

/// Deletes a project, if it has no resources and is not the default one.
#[utoipa::path(delete, path = "/v2/projects/{id}", tag = "Projects", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.projects.delete(&who, &id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// The resources of a project: Droplets and volumes.
#[utoipa::path(get, path = "/v2/projects/{id}/resources", tag = "Projects", params(("id" = String, Path), Page),
    responses((status = 200, body = ProjectResourcesBody)))]
pub(crate) async fn resources(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Origin(origin): Origin,
    page: Page,
) -> ApiResult<Json<ProjectResourcesBody>> {
    blocking(move || {
        let all = app.projects.resources(&who, &id)?;
        Ok(Json(page.of(all, |resource| ProjectResourceJson::new(&resource, &origin)).into()))
    })
    .await
}

/// Moves resources to a project. The status of each says whether it was found.
#[utoipa::path(post, path = "/v2/projects/{id}/resources", tag = "Projects", params(("id" = String, Path)),
    request_body = NewProjectResources, responses((status = 200, body = ProjectResourcesBody)))]
pub(crate) async fn assign(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Origin(origin): Origin,
    page: Page,
    Body(new): Body<NewProjectResources>,
) -> ApiResult<Json<ProjectResourcesBody>> {
    blocking(move || {
        let done = app.projects.assign(&who, &id, &new.resources)?;
        let shown: Vec<_> = done.iter().map(|resource| ProjectResourceJson::new(resource, &origin)).collect();
        let total = shown.len();
        Ok(Json(page.with(shown, total).into()))
    })
    .await
}
