//! `/v2/droplets/{id}/destroy_with_associated_resources`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::service::App;
use crate::service::accounts::Who;
use crate::wire::destruction::AssociatedBody;
use crate::wire::destruction::DestructionBody;
use crate::wire::destruction::SelectedResources;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// What belongs to a Droplet: its snapshots, its volumes and their snapshots.
#[utoipa::path(get, path = "/v2/droplets/{id}/destroy_with_associated_resources", tag = "Droplets", params(("id" = String, Path)), responses((status = 200, body = AssociatedBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<AssociatedBody>> {
    blocking(move || Ok(Json(app.destructions.associated(&who, &id)?.into()))).await
}

/// Destroys a Droplet, and what the request names of what belongs to it.
#[utoipa::path(delete, path = "/v2/droplets/{id}/destroy_with_associated_resources/selective", tag = "Droplets", params(("id" = String, Path)), request_body = SelectedResources, responses((status = 202)))]
pub(crate) async fn selective(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(selected): Body<SelectedResources>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.destructions.destroy(&who, &id, Some(&selected.try_into()?))?;
        Ok(StatusCode::ACCEPTED)
    })
    .await
}

/// Destroys a Droplet and all that belongs to it.
#[utoipa::path(delete, path = "/v2/droplets/{id}/destroy_with_associated_resources/dangerous", tag = "Droplets", params(("id" = String, Path), ("X-Dangerous" = bool, Header)), responses((status = 202)))]
pub(crate) async fn dangerous(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<StatusCode> {
    blocking(move || {
        if headers.get("x-dangerous").is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"true")) {
            return Err(ApiError::unprocessable("the header X-Dangerous must be true"));
        }
        app.destructions.destroy(&who, &id, None)?;
        Ok(StatusCode::ACCEPTED)
    })
    .await
}

/// What became of a Droplet and what belonged to it.
#[utoipa::path(get, path = "/v2/droplets/{id}/destroy_with_associated_resources/status", tag = "Droplets", params(("id" = String, Path)), responses((status = 200, body = DestructionBody)))]
pub(crate) async fn status(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<DestructionBody>> {
    blocking(move || Ok(Json(app.destructions.status(&who, &id)?.into()))).await
}

/// Tries again to destroy what is still there.
#[utoipa::path(post, path = "/v2/droplets/{id}/destroy_with_associated_resources/retry", tag = "Droplets", params(("id" = String, Path)), responses((status = 202)))]
pub(crate) async fn retry(State(app): State<App>, who: Who, Path(id): Path<String>) -> ApiResult<StatusCode> {
    blocking(move || {
        app.destructions.retry(&who, &id)?;
        Ok(StatusCode::ACCEPTED)
    })
    .await
}
