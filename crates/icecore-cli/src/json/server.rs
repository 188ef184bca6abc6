//! Results about the HTTP server.

use icecore_api::db::TokenInfo;
use serde::Serialize;

use crate::units;

/// Of `serve`, when it takes requests.
#[derive(Serialize)]
pub(crate) struct ServerResult {
    /// What clients are given.
    pub(crate) url: String,
    /// An address and a port.
    pub(crate) address: String,
    /// The socket of the disks.
    pub(crate) nbd_socket: String,
    /// The slugs of the regions.
    pub(crate) regions: Vec<String>,
}

/// A token, but for itself.
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

/// Of `token create`.
#[derive(Serialize)]
pub(crate) struct TokenCreatedResult {
    /// Its number.
    pub(crate) id: i64,
    /// The account that it is of.
    pub(crate) account: String,
    /// What people call it.
    pub(crate) name: String,
    /// The token.
    pub(crate) token: String,
}

/// Of `token list`.
#[derive(Serialize)]
pub(crate) struct TokensResult {
    /// Oldest first.
    pub(crate) tokens: Vec<Token>,
}

/// Of `token revoke`.
#[derive(Serialize)]
pub(crate) struct TokenRevokedResult {
    /// As it was.
    pub(crate) revoked: Token,
}
