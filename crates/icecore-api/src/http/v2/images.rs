//! `/v2/images`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::http::page::Page;
use crate::http::params::Params;
use crate::service::App;
use crate::service::accounts::Who;
use crate::service::snapshot_lists::Wanted;
use crate::wire::image::ImageBody;
use crate::wire::image::ImageJson;
use crate::wire::image::ImageUpdate;
use crate::wire::image::ImagesBody;
use crate::wire::image::NewImage;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// All images that the account sees, oldest first.
#[utoipa::path(get, path = "/v2/images", tag = "Images", params(
    ("private" = Option<bool>, Query), ("type" = Option<String>, Query), ("tag_name" = Option<String>, Query),
    Page
), responses((status = 200, body = ImagesBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    page: Page,
    params: Params,
) -> ApiResult<Json<ImagesBody>> {
    blocking(move || {
        let (own, base) = match params.get("type") {
            None => (true, true),
            Some("distribution") => (false, true),
            Some("application") => (false, false),
            Some(_) => return Err(ApiError::unprocessable("type must be distribution or application")),
        };
        let (tag, base) = (params.get("tag_name"), base && params.get("private") != Some("true"));
        let wanted = Wanted { own, base, tag: tag.map(str::to_owned), ..Wanted::default() };
        let part = app.images.page(&who, &wanted, page.offset(), page.size())?;
        let shown = part.items.iter().map(ImageJson::from).collect();
        Ok(Json(page.with(shown, part.total).into()))
    })
    .await
}

/// Imports an image.
#[utoipa::path(post, path = "/v2/images", tag = "Images", request_body = NewImage, responses((status = 202, body = ImageBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Body(new): Body<NewImage>,
) -> ApiResult<(StatusCode, Json<ImageBody>)> {
    blocking(move || {
        let image = app.image_commands.import(&who, &new.into())?;
        Ok((StatusCode::ACCEPTED, Json(ImageBody { image: ImageJson::from(&image) })))
    })
    .await
}

/// One image, by its id or its slug.
#[utoipa::path(get, path = "/v2/images/{id}", tag = "Images", params(("id" = String, Path)), responses((status = 200, body = ImageBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<ImageBody>> {
    blocking(move || Ok(Json(ImageBody { image: ImageJson::from(&app.images.get(&who, &id)?) }))).await
}

/// Renames an image.
#[utoipa::path(put, path = "/v2/images/{id}", tag = "Images", params(("id" = String, Path)), request_body = ImageUpdate, responses((status = 200, body = ImageBody)))]
pub(crate) async fn update(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<ImageUpdate>,
) -> ApiResult<Json<ImageBody>> {
    blocking(move || {
        let image = app.image_commands.update(&who, &id, &new.into())?;
        Ok(Json(ImageBody { image: ImageJson::from(&image) }))
    })
    .await
}

/// Deletes an image. Droplets created from it stay.
#[utoipa::path(delete, path = "/v2/images/{id}", tag = "Images", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.image_commands.delete(&who, &id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
