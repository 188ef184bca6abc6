//! `/v2/snapshots`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;
use icecore::snapshot::ResourceKind;

use crate::http::blocking::blocking;
use crate::http::page::Page;
use crate::http::params::Params;
use crate::service::App;
use crate::service::accounts::Who;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_lists::Wanted;
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
        let kinds = [ResourceKind::Droplet, ResourceKind::Volume];
        let kind = kinds.into_iter().find(|known| Some(known.as_str()) == kind);
        let region = region.map(str::to_owned);
        let wanted = Wanted { kind, classes: &[Class::Proper], region, ..Wanted::own() };
        let part = app.snapshots.page(&who, &wanted, false, page.offset(), page.size())?;
        let shown = part.items.iter().map(Into::into).collect();
        Ok(Json(page.with(shown, part.total).into()))
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
