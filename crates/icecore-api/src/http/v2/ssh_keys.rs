//! `/v2/account/keys`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::blocking::blocking;
use crate::http::body::Body;
use crate::http::page::Page;
use crate::service::App;
use crate::service::accounts::Who;
use crate::wire::ssh_key::NewSshKey;
use crate::wire::ssh_key::SshKeyBody;
use crate::wire::ssh_key::SshKeyJson;
use crate::wire::ssh_key::SshKeyUpdate;
use crate::wire::ssh_key::SshKeysBody;
use crate::words::error::ApiResult;

/// All SSH keys, oldest first.
#[utoipa::path(get, path = "/v2/account/keys", tag = "SSH keys", params(Page), responses((status = 200, body = SshKeysBody)))]
pub(crate) async fn list(State(app): State<App>, who: Who, page: Page) -> ApiResult<Json<SshKeysBody>> {
    blocking(move || Ok(Json(page.of(app.ssh_keys.list(&who)?, SshKeyJson::from).into()))).await
}

/// Adds an SSH key.
#[utoipa::path(post, path = "/v2/account/keys", tag = "SSH keys", request_body = NewSshKey, responses((status = 201, body = SshKeyBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    Body(new): Body<NewSshKey>,
) -> ApiResult<(StatusCode, Json<SshKeyBody>)> {
    blocking(move || {
        let (name, key) = (new.name.unwrap_or_default(), new.public_key.unwrap_or_default());
        let ssh_key = app.ssh_keys.create(&who, &name, &key)?.into();
        Ok((StatusCode::CREATED, Json(SshKeyBody { ssh_key })))
    })
    .await
}

/// One SSH key, by its id or its fingerprint.
#[utoipa::path(get, path = "/v2/account/keys/{id}", tag = "SSH keys", params(("id" = String, Path)), responses((status = 200, body = SshKeyBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<SshKeyBody>> {
    blocking(move || Ok(Json(SshKeyBody { ssh_key: app.ssh_keys.get(&who, &id)?.into() }))).await
}

/// Renames an SSH key.
#[utoipa::path(put, path = "/v2/account/keys/{id}", tag = "SSH keys", params(("id" = String, Path)),
    request_body = SshKeyUpdate, responses((status = 200, body = SshKeyBody)))]
pub(crate) async fn update(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Body(new): Body<SshKeyUpdate>,
) -> ApiResult<Json<SshKeyBody>> {
    blocking(move || {
        let ssh_key = app.ssh_keys.rename(&who, &id, &new.name.unwrap_or_default())?.into();
        Ok(Json(SshKeyBody { ssh_key }))
    })
    .await
}

/// Deletes an SSH key.
#[utoipa::path(delete, path = "/v2/account/keys/{id}", tag = "SSH keys", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    blocking(move || {
        app.ssh_keys.delete(&who, &id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
