//! `/v2/tags`

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
use crate::service::tags::TagTarget;
use crate::wire::tag::NewTag;
use crate::wire::tag::TagBody;
use crate::wire::tag::TagJson;
use crate::wire::tag::TagResources;
use crate::wire::tag::TagsBody;
use crate::words::error::ApiResult;

/// All tags, by name.
#[utoipa::path(get, path = "/v2/tags", tag = "Tags", params(
    Page
), responses((status = 200, body = TagsBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Origin(origin): Origin,
    page: Page,
) -> ApiResult<Json<TagsBody>> {
    blocking(move || {
        let all = app.tags.list(&who)?;
        Ok(Json(page.of(all, |tag| TagJson::new(tag, &origin)).into()))
    })
    .await
}

/// Creates a tag. Returns an existing one as it is.
#[utoipa::path(post, path = "/v2/tags", tag = "Tags", request_body = NewTag, responses((status = 201, body = TagBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Origin(origin): Origin,
    Body(new): Body<NewTag>,
) -> ApiResult<(StatusCode, Json<TagBody>)> {
    blocking(move || {
        let tag = app.tags.create(&who, &new.name.unwrap_or_default())?;
        Ok((StatusCode::CREATED, Json(TagBody { tag: TagJson::new(tag, &origin) })))
    })
    .await
}

/// One tag.
#[utoipa::path(get, path = "/v2/tags/{name}", tag = "Tags", params(("name" = String, Path)),
    responses((status = 200, body = TagBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Origin(origin): Origin,
    Path(name): Path<String>,
) -> ApiResult<Json<TagBody>> {
    blocking(move || Ok(Json(TagBody { tag: TagJson::new(app.tags.get(&who, &name)?, &origin) }))).await
}

/// Deletes a tag; the tagged resources stay.
#[utoipa::path(delete, path = "/v2/tags/{name}", tag = "Tags", params(("name" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.tags.delete(&who, &name)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Tags resources.
#[utoipa::path(post, path = "/v2/tags/{name}/resources", tag = "Tags", params(("name" = String, Path)),
    request_body = TagResources, responses((status = 204)))]
pub(crate) async fn add(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Body(body): Body<TagResources>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        let targets: Vec<TagTarget> = body.resources.into_iter().map(TagTarget::from).collect();
        app.tags.give(&who, &name, &targets)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Untags resources.
#[utoipa::path(delete, path = "/v2/tags/{name}/resources", tag = "Tags", params(("name" = String, Path)),
    request_body = TagResources, responses((status = 204)))]
pub(crate) async fn remove(
    State(app): State<App>,
    who: Who,
    Path(name): Path<String>,
    Body(body): Body<TagResources>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        let targets: Vec<TagTarget> = body.resources.into_iter().map(TagTarget::from).collect();
        app.tags.take_away(&who, &name, &targets)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
