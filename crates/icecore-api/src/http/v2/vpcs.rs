//! `/v2/vpcs`

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
use crate::service::vpcs::VpcChange;
use crate::wire::vpc::NewVpc;
use crate::wire::vpc::VpcBody;
use crate::wire::vpc::VpcJson;
use crate::wire::vpc::VpcMemberJson;
use crate::wire::vpc::VpcMembersBody;
use crate::wire::vpc::VpcUpdate;
use crate::wire::vpc::VpcsBody;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// All VPCs, oldest first.
#[utoipa::path(get, path = "/v2/vpcs", tag = "VPCs", params(Page), responses((status = 200, body = VpcsBody)))]
pub(crate) async fn list(State(app): State<App>, who: Who, page: Page) -> ApiResult<Json<VpcsBody>> {
    blocking(move || Ok(Json(page.of(app.vpcs.list(&who)?, VpcJson::from).into()))).await
}

/// Creates a VPC.
#[utoipa::path(post, path = "/v2/vpcs", tag = "VPCs", request_body = NewVpc, responses((status = 201, body = VpcBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Body(new): Body<NewVpc>,
) -> ApiResult<(StatusCode, Json<VpcBody>)> {
    blocking(move || {
        let vpc = app.vpcs.create(&who, &new.into())?.into();
        Ok((StatusCode::CREATED, Json(VpcBody { vpc })))
    })
    .await
}

/// One VPC.
#[utoipa::path(get, path = "/v2/vpcs/{id}", tag = "VPCs", params(("id" = String, Path)), responses((status = 200, body = VpcBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<VpcBody>> {
    blocking(move || Ok(Json(VpcBody { vpc: app.vpcs.get(&who, &id)?.into() }))).await
}

/// Replaces the properties of a VPC: one without a description has none afterwards.
#[utoipa::path(put, path = "/v2/vpcs/{id}", tag = "VPCs", params(("id" = String, Path)),
    request_body = VpcUpdate, responses((status = 200, body = VpcBody)))]
pub(crate) async fn replace(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<VpcUpdate>,
) -> ApiResult<Json<VpcBody>> {
    blocking(move || {
        if new.name.is_none() {
            return Err(ApiError::unprocessable("name is required"));
        }
        let description = Some(new.description.clone().unwrap_or_default());
        let change = VpcChange { description, ..new.into() };
        Ok(Json(VpcBody { vpc: app.vpcs.change(&who, &id, &change)?.into() }))
    })
    .await
}

/// Changes properties of a VPC.
#[utoipa::path(patch, path = "/v2/vpcs/{id}", tag = "VPCs", params(("id" = String, Path)),
    request_body = VpcUpdate, responses((status = 200, body = VpcBody)))]
pub(crate) async fn change(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<VpcUpdate>,
) -> ApiResult<Json<VpcBody>> {
    blocking(move || Ok(Json(VpcBody { vpc: app.vpcs.change(&who, &id, &new.into())?.into() }))).await
}

/// Deletes a VPC, if it has no Droplets and is not the default one.
#[utoipa::path(delete, path = "/v2/vpcs/{id}", tag = "VPCs", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.vpcs.delete(&who, &id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// The Droplets in a VPC.
#[utoipa::path(get, path = "/v2/vpcs/{id}/members", tag = "VPCs", params(
    ("id" = String, Path), ("resource_type" = Option<String>, Query),
    Page
), responses((status = 200, body = VpcMembersBody)))]
pub(crate) async fn members(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    page: Page,
    params: Params,
) -> ApiResult<Json<VpcMembersBody>> {
    blocking(move || {
        let mut all = app.vpcs.members(&who, &id)?;
        // Nothing else is in a VPC.
        all.retain(|_| params.get("resource_type").is_none_or(|kind| kind == "droplet"));
        Ok(Json(page.of(all, VpcMemberJson::from).into()))
    })
    .await
}
