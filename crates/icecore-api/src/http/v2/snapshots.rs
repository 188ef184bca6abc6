//! `/v2/snapshots`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::page::Page;
use crate::http::params::Params;
use crate::service::App;
use crate::service::accounts::Who;
use crate::wire::snapshot::SnapshotBody;
use crate::wire::snapshot::SnapshotsBody;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// All snapshots, oldest first; neither backups nor imported images.
#[utoipa::path(get, path = "/v2/snapshots", tag = "Snapshots", params(
    ("resource_type" = Option<String>, Query), ("region" = Option<String>, Query),
    Page
), responses((status = 200, body = SnapshotsBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    page: Page,
    params: Params,
) -> ApiResult<Json<SnapshotsBody>> {
    let kind = params.get("resource_type");
    if kind.is_some_and(|kind| kind != "droplet" && kind != "volume") {
        return Err(ApiError::unprocessable("resource_type must be droplet or volume"));
    }
    blocking(move || {
        let (kind, region) = (params.get("resource_type"), params.get("region"));
        let mut all = app.snapshots.list(&who)?;
        all.retain(|item| item.is_proper() && kind.is_none_or(|kind| item.snapshot.kind.as_str() == kind));
        all.retain(|item| region.is_none_or(|region| item.pools.iter().any(|pool| pool.slug == region)));
        Ok(Json(page.of(all, |item| (&item).into()).into()))
    })
    .await
}

/// One snapshot.
#[utoipa::path(get, path = "/v2/snapshots/{id}", tag = "Snapshots", params(("id" = String, Path)),
    responses((status = 200, body = SnapshotBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<SnapshotBody>> {
    blocking(move || Ok(Json(SnapshotBody { snapshot: (&app.images.proper_snapshot(&who, &id)?).into() })))
        .await
}

/// Deletes a snapshot. Disks created from it stay.
#[utoipa::path(delete, path = "/v2/snapshots/{id}", tag = "Snapshots", params(("id" = String, Path)),
    responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.snapshots.delete(&who, app.images.proper_snapshot(&who, &id)?.snapshot.id.0)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
