//! `/v2/droplets/backups`, `/v2/droplets/{id}/backups/policy`

use axum::Json;
use axum::extract::Path;
use axum::extract::State;

use crate::http::blocking::blocking;
use crate::http::page::Page;
use crate::service::App;
use crate::service::accounts::Who;
use crate::wire::backup_policy::PoliciesBody;
use crate::wire::backup_policy::PolicyBody;
use crate::wire::backup_policy::PolicyRecordJson;
use crate::wire::backup_policy::SupportedPoliciesBody;
use crate::wire::backup_policy::SupportedPolicyJson;
use crate::words::error::ApiResult;

/// The backup plans of all Droplets.
#[utoipa::path(get, path = "/v2/droplets/backups/policies", tag = "Droplets", params(Page), responses((status = 200, body = PoliciesBody)))]
pub(crate) async fn list(State(app): State<App>, who: Who, page: Page) -> ApiResult<Json<PoliciesBody>> {
    blocking(move || {
        let now = app.clock.now_unix_ms();
        let part = app.droplets.page(&who, |_| true, page.offset(), page.size())?;
        let shown = part.items.iter().map(|item| PolicyRecordJson::new(item, now)).collect();
        Ok(Json(page.with(shown, part.total).into()))
    })
    .await
}

/// The backup plans that Droplets can have.
#[utoipa::path(get, path = "/v2/droplets/backups/supported_policies", tag = "Droplets", responses((status = 200, body = SupportedPoliciesBody)))]
pub(crate) async fn supported(_who: Who) -> Json<SupportedPoliciesBody> {
    Json(SupportedPoliciesBody { supported_policies: SupportedPolicyJson::all() })
}

/// The backup plan of a Droplet.
#[utoipa::path(get, path = "/v2/droplets/{id}/backups/policy", tag = "Droplets", params(("id" = String, Path)), responses((status = 200, body = PolicyBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
) -> ApiResult<Json<PolicyBody>> {
    blocking(move || {
        let item = app.droplets.get(&who, &id)?;
        Ok(Json(PolicyBody { policy: PolicyRecordJson::new(&item, app.clock.now_unix_ms()) }))
    })
    .await
}
