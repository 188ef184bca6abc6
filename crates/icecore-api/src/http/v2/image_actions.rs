//! `/v2/images/{id}/actions` and `/v2/images/{id}/account_transfer`

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
use crate::wire::image::AccountTransfer;
use crate::wire::image::NewAccountTransfer;
use crate::wire::image::NewImageAction;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// Copies an image to another region, or converts a backup to a snapshot.
#[utoipa::path(post, path = "/v2/images/{id}/actions", tag = "Image Actions", params(("id" = String, Path)), request_body = NewImageAction, responses((status = 201, body = ActionBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<NewImageAction>,
) -> ApiResult<(StatusCode, Json<ActionBody>)> {
    blocking(move || {
        app.images.get(&who, &id)?;
        let needed = |what: &str| ApiError::unprocessable(format!("{what} is required"));
        let action = match new.kind.as_deref() {
            Some("transfer") => app.image_commands.transfer(
                &who,
                &id,
                new.region.as_deref().ok_or_else(|| needed("region"))?,
            )?,
            Some("convert") => app.image_commands.convert(&who, &id)?,
            Some(_) => {
                return Err(ApiError::not_found_saying("The specified action type is not available."));
            }
            None => return Err(needed("type")),
        };
        Ok((StatusCode::CREATED, Json(ActionBody { action: show(&app, action) })))
    })
    .await
}

/// The actions of an image, newest first.
#[utoipa::path(get, path = "/v2/images/{id}/actions", tag = "Image Actions", params(("id" = String, Path), Page), responses((status = 200, body = ActionsBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    page: Page,
) -> ApiResult<Json<ActionsBody>> {
    blocking(move || {
        let uuid = app.images.get(&who, &id)?.uuid;
        page_of(&app, &who, Some(uuid), &page)
    })
    .await
}

/// One action of an image.
#[utoipa::path(get, path = "/v2/images/{id}/actions/{action_id}", tag = "Image Actions", params(("id" = String, Path), ("action_id" = String, Path)), responses((status = 200, body = ActionBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path((id, action_id)): Path<(String, String)>,
) -> ApiResult<Json<ActionBody>> {
    blocking(move || {
        let uuid = app.images.get(&who, &id)?.uuid;
        Ok(Json(ActionBody { action: show(&app, app.actions.of(&who, uuid, &action_id)?) }))
    })
    .await
}

/// Offers an image to another account.
#[utoipa::path(post, path = "/v2/images/{id}/account_transfer", tag = "Images", params(("id" = String, Path)), request_body = NewAccountTransfer, responses((status = 201, body = AccountTransfer)))]
pub(crate) async fn offer(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<NewAccountTransfer>,
) -> ApiResult<(StatusCode, Json<AccountTransfer>)> {
    blocking(move || {
        let (email, uuid) = (new.recipient_email.as_deref(), new.recipient_uuid.as_deref());
        let transfer_id = Some(app.offers.make(&who, &id, email, uuid)?);
        Ok((StatusCode::CREATED, Json(AccountTransfer { transfer_id })))
    })
    .await
}

/// Accepts an image that another account offers.
#[utoipa::path(post, path = "/v2/images/{id}/account_transfer/accept", tag = "Images", params(("id" = String, Path)), request_body = AccountTransfer, responses((status = 201, body = AccountTransfer)))]
pub(crate) async fn accept(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(offer): Body<AccountTransfer>,
) -> ApiResult<(StatusCode, Json<AccountTransfer>)> {
    blocking(move || {
        app.offers.accept(&who, &id, offer.transfer_id)?;
        Ok((StatusCode::CREATED, Json(AccountTransfer { transfer_id: Some(0) })))
    })
    .await
}

/// Declines an offer.
#[utoipa::path(post, path = "/v2/images/{id}/account_transfer/decline", tag = "Images", params(("id" = String, Path)), request_body = AccountTransfer, responses((status = 204)))]
pub(crate) async fn decline(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(offer): Body<AccountTransfer>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.offers.decline(&who, &id, offer.transfer_id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Cancels an offer.
#[utoipa::path(post, path = "/v2/images/{id}/account_transfer/cancel", tag = "Images", params(("id" = String, Path)), request_body = AccountTransfer, responses((status = 204)))]
pub(crate) async fn cancel(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(offer): Body<AccountTransfer>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.offers.withdraw(&who, &id, offer.transfer_id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
