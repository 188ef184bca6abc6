//! `/v2/volumes`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::http::page::Page;
use crate::http::params::Params;
use crate::service::App;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::items::VolumeItem;
use crate::wire::volume::NewVolume;
use crate::wire::volume::VolumeBody;
use crate::wire::volume::VolumeJson;
use crate::wire::volume::VolumesBody;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

fn show(service: &Service, who: &Who, item: &VolumeItem) -> ApiResult<VolumeJson> {
    Ok(VolumeJson::new(service, item, service.attachments.droplet_of(who, item)?))
}

/// All volumes, oldest first.
#[utoipa::path(get, path = "/v2/volumes", tag = "Volumes", params(
    ("name" = Option<String>, Query), ("region" = Option<String>, Query),
    Page
), responses((status = 200, body = VolumesBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    page: Page,
    params: Params,
) -> ApiResult<Json<VolumesBody>> {
    blocking(move || {
        let mut volumes = app.disks.volumes(&who)?;
        volumes.retain(|item| params.get("name").is_none_or(|name| item.name() == name));
        volumes.retain(|item| params.get("region").is_none_or(|region| item.pool.slug == region));
        let on_page = volumes.iter().skip(page.offset()).take(page.size());
        let shown = on_page.map(|item| show(&app, &who, item)).collect::<ApiResult<_>>()?;
        Ok(Json(page.with(shown, volumes.len()).into()))
    })
    .await
}

/// Creates a volume.
#[utoipa::path(post, path = "/v2/volumes", tag = "Volumes", request_body = NewVolume, responses((status = 201, body = VolumeBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Body(new): Body<NewVolume>,
) -> ApiResult<(StatusCode, Json<VolumeBody>)> {
    blocking(move || {
        let item = app.volumes.create(&who, &new.into())?;
        Ok((StatusCode::CREATED, Json(VolumeBody { volume: show(&app, &who, &item)? })))
    })
    .await
}

/// One volume.
#[utoipa::path(get, path = "/v2/volumes/{id}", tag = "Volumes", params(("id" = String, Path)), responses((status = 200, body = VolumeBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<VolumeBody>> {
    blocking(move || Ok(Json(VolumeBody { volume: show(&app, &who, &app.disks.volume(&who, &id)?)? }))).await
}

/// Deletes a volume, if it is not attached.
#[utoipa::path(delete, path = "/v2/volumes/{id}", tag = "Volumes", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.volumes.delete(&who, &id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Deletes a volume by its name, if it is not attached.
#[utoipa::path(delete, path = "/v2/volumes", tag = "Volumes", params(("name" = String, Query), ("region" = String, Query)),
    responses((status = 204)))]
pub(crate) async fn delete_by_name(
    State(app): State<App>,
    who: Who,
    params: Params,
) -> ApiResult<StatusCode> {
    blocking(move || {
        let (Some(name), Some(region)) = (params.get("name"), params.get("region")) else {
            return Err(ApiError::unprocessable("name and region are required"));
        };
        let id = app.disks.volume_named(&who, name, region)?.id().to_string();
        app.volumes.delete(&who, &id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
