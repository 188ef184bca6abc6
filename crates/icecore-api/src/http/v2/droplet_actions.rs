//! `/v2/droplets/{id}/actions`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::http::page::Page;
use crate::http::params::Params;
use crate::http::v2::actions::page_of;
use crate::http::v2::actions::show;
use crate::service::App;
use crate::service::accounts::Who;
use crate::wire::action::ActionBody;
use crate::wire::action::ActionsBody;
use crate::wire::action::StartedActionsBody;
use crate::wire::new_droplet::NewDropletAction;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// Starts an action on a Droplet.
#[utoipa::path(post, path = "/v2/droplets/{id}/actions", tag = "Droplet Actions", params(("id" = String, Path)), request_body = NewDropletAction, responses((status = 201, body = ActionBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<NewDropletAction>,
) -> ApiResult<(StatusCode, Json<ActionBody>)> {
    blocking(move || {
        app.disks.of_droplet(&who, &id)?;
        let action = app.droplet_commands.command(&who, &id, &new.try_into()?)?;
        Ok((StatusCode::CREATED, Json(ActionBody { action: show(&app, action) })))
    })
    .await
}

/// Starts an action on all Droplets with a tag.
#[utoipa::path(post, path = "/v2/droplets/actions", tag = "Droplet Actions", params(("tag_name" = String, Query)), request_body = NewDropletAction, responses((status = 201, body = StartedActionsBody)))]
pub(crate) async fn create_tagged(
    State(app): State<App>,
    who: Who,
    params: Params,
    Body(new): Body<NewDropletAction>,
) -> ApiResult<(StatusCode, Json<StartedActionsBody>)> {
    blocking(move || {
        let tag = params.get("tag_name").ok_or_else(|| ApiError::unprocessable("tag_name is required"))?;
        let actions = app.droplet_commands.command_tagged(&who, tag, &new.try_into()?)?;
        let actions = actions.into_iter().map(|action| show(&app, action)).collect();
        Ok((StatusCode::CREATED, Json(StartedActionsBody { actions })))
    })
    .await
}

/// The actions of a Droplet, newest first.
#[utoipa::path(get, path = "/v2/droplets/{id}/actions", tag = "Droplet Actions", params(("id" = String, Path), Page), responses((status = 200, body = ActionsBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    page: Page,
) -> ApiResult<Json<ActionsBody>> {
    blocking(move || {
        let disk = app.disks.of_droplet(&who, &id)?.id();
        page_of(&app, &who, Some(disk), &page)
    })
    .await
}

/// One action of a Droplet.
#[utoipa::path(get, path = "/v2/droplets/{id}/actions/{action_id}", tag = "Droplet Actions", params(("id" = String, Path), ("action_id" = String, Path)), responses((status = 200, body = ActionBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path((id, action_id)): Path<(String, String)>,
) -> ApiResult<Json<ActionBody>> {
    blocking(move || {
        let disk = app.disks.of_droplet(&who, &id)?.id();
        Ok(Json(ActionBody { action: show(&app, app.actions.of(&who, disk, &action_id)?) }))
    })
    .await
}
