//! JSON of the HTTP server and its tokens.

use icecore_api::db::TokenInfo;
use serde::Serialize;

use crate::units;

/// The result of `serve`, when it takes requests.
#[derive(Serialize)]
pub(crate) struct ServerResult {
    /// The address for clients.
    pub(crate) url: String,
    /// The address and the port.
    pub(crate) address: String,
    /// The socket of the disks.
    pub(crate) nbd_socket: String,
    /// The slugs of the regions.
    pub(crate) regions: Vec<String>,
}

/// A token, without its secret.
#[derive(Serialize)]
pub(crate) struct Token {
    id: i64,
    name: String,
    account: String,
    created: Option<String>,
    last_used: Option<String>,
}

impl Token {
    pub(crate) fn new(info: &TokenInfo) -> Self {
        Self {
            id: info.id,
            name: info.name.clone(),
            account: info.account.clone(),
            created: units::time_exact(info.created_unix_ms),
            last_used: info.used_unix_ms.and_then(units::time_exact),
        }
    }
}

/// The result of `token create`.
#[derive(Serialize)]
pub(crate) struct TokenCreatedResult {
    /// Its id.
    pub(crate) id: i64,
    /// The account that it belongs to.
    pub(crate) account: String,
    /// Its name.
    pub(crate) name: String,
    /// The token.
    pub(crate) token: String,
}

/// The result of `token list`.
#[derive(Serialize)]
pub(crate) struct TokensResult {
    /// The tokens, oldest first.
    pub(crate) tokens: Vec<Token>,
}

/// The result of `token revoke`.
#[derive(Serialize)]
pub(crate) struct TokenRevokedResult {
    /// The token as it was.
    pub(crate) revoked: Token,
}
