//! `/v2/droplets`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;
use icecore::snapshot::ResourceKind;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::http::page::Origin;
use crate::http::page::Page;
use crate::http::params::Params;
use crate::service::App;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::images::item::ImageType;
use crate::service::items::VolumeItem;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_lists::Wanted;
use crate::wire::droplet::ActionLink;
use crate::wire::droplet::ActionLinks;
use crate::wire::droplet::DropletBody;
use crate::wire::droplet::DropletJson;
use crate::wire::droplet::DropletsBody;
use crate::wire::droplet::NewDropletBody;
use crate::wire::image::DropletBackupsBody;
use crate::wire::image::DropletSnapshotJson;
use crate::wire::image::DropletSnapshotsBody;
use crate::wire::list::Paged;
use crate::wire::new_droplet::NewDroplet;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// All Droplets, oldest first.
#[utoipa::path(get, path = "/v2/droplets", tag = "Droplets", params(
    ("tag_name" = Option<String>, Query), ("name" = Option<String>, Query), ("type" = Option<String>, Query),
    Page
), responses((status = 200, body = DropletsBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    page: Page,
    params: Params,
) -> ApiResult<Json<DropletsBody>> {
    blocking(move || {
        let is = |text: &str, wanted: Option<&str>| wanted.is_none_or(|it| text.eq_ignore_ascii_case(it));
        let tag = params.get("tag_name");
        let wanted = |disk: &VolumeItem| {
            is(disk.name(), params.get("name"))
                && tag.is_none_or(|tag| disk.tags().iter().any(|own| is(own, Some(tag))))
                // None of these has a graphics processor.
                && params.get("type") != Some("gpus")
        };
        let part = app.droplets.page(&who, wanted, page.offset(), page.size())?;
        let shown = part.items.iter().map(|item| DropletJson::new(&app, item)).collect();
        Ok(Json(page.with(shown, part.total).into()))
    })
    .await
}

/// Creates one or several Droplets.
#[utoipa::path(post, path = "/v2/droplets", tag = "Droplets", request_body = NewDroplet, responses((status = 202, body = NewDropletBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Origin(origin): Origin,
    Body(new): Body<NewDroplet>,
) -> ApiResult<(StatusCode, Json<NewDropletBody>)> {
    blocking(move || {
        let several = !new.names.is_empty();
        let made = app.new_droplets.create(&who, &new.try_into()?)?;
        let link =
            |id| ActionLink { id, rel: "create".to_owned(), href: format!("{origin}/v2/actions/{id}") };
        let links = ActionLinks { actions: made.iter().map(|(_, action)| link(action.id)).collect() };
        let mut droplets: Vec<_> = made.iter().map(|(item, _)| DropletJson::new(&app, item)).collect();
        let droplet = if several { None } else { droplets.pop() };
        let droplets = several.then_some(droplets);
        Ok((StatusCode::ACCEPTED, Json(NewDropletBody { droplet, droplets, links })))
    })
    .await
}

/// Deletes all Droplets with a tag.
#[utoipa::path(delete, path = "/v2/droplets", tag = "Droplets", params(("tag_name" = String, Query)), responses((status = 204)))]
pub(crate) async fn delete_tagged(State(app): State<App>, who: Who, params: Params) -> ApiResult<StatusCode> {
    blocking(move || {
        let tag = params.get("tag_name").ok_or_else(|| ApiError::unprocessable("tag_name is required"))?;
        app.droplet_commands.delete_tagged(&who, tag)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// One Droplet.
#[utoipa::path(get, path = "/v2/droplets/{id}", tag = "Droplets", params(("id" = String, Path)), responses((status = 200, body = DropletBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<DropletBody>> {
    blocking(move || {
        let item = app.droplets.get(&who, &id)?;
        Ok(Json(DropletBody { droplet: DropletJson::new(&app, &item) }))
    })
    .await
}

/// Deletes a Droplet and its backups. Its snapshots stay.
#[utoipa::path(delete, path = "/v2/droplets/{id}", tag = "Droplets", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.droplet_commands.delete(&who, &id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn taken_of(
    app: &Service,
    who: &Who,
    id: &str,
    kind: ImageType,
    page: &Page,
) -> ApiResult<Paged<DropletSnapshotJson>> {
    let of = Some((ResourceKind::Droplet, app.disks.of_droplet(who, id)?.id()));
    let classes: &[Class] =
        if kind == ImageType::Backup { &[Class::Backup] } else { &[Class::Proper, Class::Other] };
    let wanted = Wanted { of, classes, ..Wanted::own() };
    let part = app.images.page(who, &wanted, page.offset(), page.size())?;
    Ok(page.with(part.items.iter().map(DropletSnapshotJson::from).collect(), part.total))
}

/// The snapshots of a Droplet.
#[utoipa::path(get, path = "/v2/droplets/{id}/snapshots", tag = "Droplets", params(("id" = String, Path), Page), responses((status = 200, body = DropletSnapshotsBody)))]
pub(crate) async fn snapshots(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    page: Page,
) -> ApiResult<Json<DropletSnapshotsBody>> {
    blocking(move || Ok(Json(taken_of(&app, &who, &id, ImageType::Snapshot, &page)?.into()))).await
}

/// The backups of a Droplet.
#[utoipa::path(get, path = "/v2/droplets/{id}/backups", tag = "Droplets", params(("id" = String, Path), Page), responses((status = 200, body = DropletBackupsBody)))]
pub(crate) async fn backups(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    page: Page,
) -> ApiResult<Json<DropletBackupsBody>> {
    blocking(move || Ok(Json(taken_of(&app, &who, &id, ImageType::Backup, &page)?.into()))).await
}
