//! `/v2/volumes/{id}/actions`, `/v2/volumes/actions`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::http::page::Page;
use crate::http::v2::actions::page_of;
use crate::http::v2::actions::show;
use crate::service::App;
use crate::service::accounts::Who;
use crate::wire::action::ActionBody;
use crate::wire::action::ActionsBody;
use crate::wire::volume_action::NewVolumeAction;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// Attaches, detaches or grows a volume.
#[utoipa::path(post, path = "/v2/volumes/{id}/actions", tag = "Volume actions", params(("id" = String, Path)),
    request_body = NewVolumeAction, responses((status = 202, body = ActionBody)))]
pub(crate) async fn act(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<NewVolumeAction>,
) -> ApiResult<(StatusCode, Json<ActionBody>)> {
    blocking(move || {
        let action = app.volume_actions.act(&who, &id, &new.into())?;
        Ok((StatusCode::ACCEPTED, Json(ActionBody { action: show(&app, action) })))
    })
    .await
}

/// Attaches or detaches a volume by its name.
#[utoipa::path(post, path = "/v2/volumes/actions", tag = "Volume actions", request_body = NewVolumeAction,
    responses((status = 202, body = ActionBody)))]
pub(crate) async fn act_by_name(
    State(app): State<App>,
    who: Who,
    Body(new): Body<NewVolumeAction>,
) -> ApiResult<(StatusCode, Json<ActionBody>)> {
    blocking(move || {
        let (Some(name), Some(region)) = (&new.volume_name, &new.region) else {
            return Err(ApiError::unprocessable("volume_name and region are required"));
        };
        if new.kind.as_deref() == Some("resize") {
            return Err(ApiError::not_found_saying("The specified action type is not available."));
        }
        let id = app.disks.volume_named(&who, name, region)?.id().to_string();
        let action = app.volume_actions.act(&who, &id, &new.into())?;
        Ok((StatusCode::ACCEPTED, Json(ActionBody { action: show(&app, action) })))
    })
    .await
}

/// The actions of a volume, newest first.
#[utoipa::path(get, path = "/v2/volumes/{id}/actions", tag = "Volume actions", params(
    ("id" = String, Path), Page
), responses((status = 200, body = ActionsBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    page: Page,
) -> ApiResult<Json<ActionsBody>> {
    blocking(move || {
        let volume = app.disks.volume(&who, &id)?;
        page_of(&app, &who, Some(volume.id()), &page)
    })
    .await
}

/// One action of a volume.
#[utoipa::path(get, path = "/v2/volumes/{id}/actions/{action_id}", tag = "Volume actions", params(
    ("id" = String, Path), ("action_id" = String, Path)
), responses((status = 200, body = ActionBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path((id, action_id)): Path<(String, String)>,
) -> ApiResult<Json<ActionBody>> {
    blocking(move || {
        let volume = app.disks.volume(&who, &id)?;
        let action = app.actions.of(&who, volume.id(), &action_id)?;
        Ok(Json(ActionBody { action: show(&app, action) }))
    })
    .await
}
