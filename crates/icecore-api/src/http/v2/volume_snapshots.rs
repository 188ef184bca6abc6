//! `/v2/volumes/{id}/snapshots`, `/v2/volumes/snapshots`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::http::page::Page;
use crate::service::App;
use crate::service::accounts::Who;
use crate::wire::snapshot::NewVolumeSnapshot;
use crate::wire::snapshot::SnapshotBody;
use crate::wire::snapshot::SnapshotsBody;
use crate::words::error::ApiResult;

/// The snapshots of a volume, oldest first.
#[utoipa::path(get, path = "/v2/volumes/{id}/snapshots", tag = "Volume snapshots", params(
    ("id" = String, Path), Page
), responses((status = 200, body = SnapshotsBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    page: Page,
) -> ApiResult<Json<SnapshotsBody>> {
    blocking(move || {
        let part = app.volume_snapshots.page(&who, &id, false, page.offset(), page.size())?;
        let shown = part.items.iter().map(Into::into).collect();
        Ok(Json(page.with(shown, part.total).into()))
    })
    .await
}

/// Takes a snapshot of a volume, even while it is in use.
#[utoipa::path(post, path = "/v2/volumes/{id}/snapshots", tag = "Volume snapshots", params(("id" = String, Path)),
    request_body = NewVolumeSnapshot, responses((status = 201, body = SnapshotBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<NewVolumeSnapshot>,
) -> ApiResult<(StatusCode, Json<SnapshotBody>)> {
    blocking(move || {
        let name = new.name.unwrap_or_default();
        let item = app.volume_snapshots.take(&who, &id, &name, &new.tags)?;
        Ok((StatusCode::CREATED, Json(SnapshotBody { snapshot: (&item).into() })))
    })
    .await
}

/// One snapshot of a volume.
#[utoipa::path(get, path = "/v2/volumes/snapshots/{id}", tag = "Volume snapshots", params(("id" = String, Path)),
    responses((status = 200, body = SnapshotBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<SnapshotBody>> {
    blocking(move || Ok(Json(SnapshotBody { snapshot: (&app.snapshots.of_a_volume(&who, &id)?).into() })))
        .await
}

/// Deletes a snapshot of a volume. Volumes created from it stay.
#[utoipa::path(delete, path = "/v2/volumes/snapshots/{id}", tag = "Volume snapshots", params(("id" = String, Path)),
    responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.snapshots.delete(&who, app.snapshots.of_a_volume(&who, &id)?.snapshot.id.0)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
