//! `/v2/account`

use axum::Json;
use axum::extract::State;

use crate::service::App;
use crate::service::accounts::Who;
use crate::service::accounts::uuid_of_account;
use crate::wire::account::AccountBody;
use crate::wire::account::AccountJson;
use crate::wire::account::TeamJson;
use crate::words::error::ApiResult;

/// The account of the token.
#[utoipa::path(get, path = "/v2/account", tag = "Account", responses((status = 200, body = AccountBody)))]
pub(crate) async fn get(State(app): State<App>, who: Who) -> ApiResult<Json<AccountBody>> {
    let account = app.accounts.get(&who)?;
    let uuid = uuid_of_account(&account.name);
    let limits = &app.config.limits;
    Ok(Json(AccountBody {
        account: AccountJson {
            droplet_limit: limits.droplets,
            floating_ip_limit: 0,
            reserved_ip_limit: 0,
            volume_limit: limits.volumes,
            email: account.email.clone(),
            name: account.name.clone(),
            uuid: uuid.to_string(),
            email_verified: true,
            status: "active".to_owned(),
            status_message: String::new(),
            team: TeamJson { uuid: uuid.to_string(), name: account.name.clone() },
        },
    }))
}
