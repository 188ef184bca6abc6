//! `/v2/actions`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use uuid::Uuid;

use crate::db::Action;
use crate::http::blocking::blocking;
use crate::http::page::Page;
use crate::service::App;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::wire::action::ActionBody;
use crate::wire::action::ActionJson;
use crate::wire::action::ActionsBody;
use crate::wire::region::RegionJson;
use crate::words::error::ApiResult;

/// Shows an action.
pub(crate) fn show(service: &Service, action: Action) -> ActionJson {
    let region = service.pools.get(&action.region).map(|pool| RegionJson::new(&service.config, pool));
    ActionJson::new(action, region)
}

/// Returns a page of the actions of an account, or of one resource of it, newest first.
pub(crate) fn page_of(
    service: &Service,
    who: &Who,
    of: Option<Uuid>,
    page: &Page,
) -> ApiResult<Json<ActionsBody>> {
    let (total, actions) = service.actions.list(who, of, page.offset(), page.size())?;
    let shown = actions.into_iter().map(|action| show(service, action)).collect();
    Ok(Json(page.with(shown, total).into()))
}

/// All actions, newest first.
#[utoipa::path(get, path = "/v2/actions", tag = "Actions", params(Page), responses((status = 200, body = ActionsBody)))]
pub(crate) async fn list(State(app): State<App>, who: Who, page: Page) -> ApiResult<Json<ActionsBody>> {
    blocking(move || page_of(&app, &who, None, &page)).await
}

/// One action.
#[utoipa::path(get, path = "/v2/actions/{id}", tag = "Actions", params(("id" = String, Path)), responses((status = 200, body = ActionBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<ActionBody>> {
    blocking(move || Ok(Json(ActionBody { action: show(&app, app.actions.get(&who, &id)?) }))).await
}
