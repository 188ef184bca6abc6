//! Sessions of the control panel: a person signs in with a token, and the browser keeps a secret in
//! a cookie.

use std::sync::Arc;

use icecore_host::clock::Clock;
use icecore_host::config::Config;

use crate::db::Db;
use crate::db::NewSession;
use crate::service::accounts::Accounts;
use crate::service::accounts::Who;
use crate::service::parts::Parts;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::text::hex;

/// The lifetime of a session.
pub(crate) const SESSION_SECONDS: i64 = 12 * 60 * 60;

/// The session of a request.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) who: Who,
    /// The secret in each form of this session, so that no other site can send one.
    pub(crate) csrf: String,
}

impl Session {
    /// Returns whether a form belongs to this session. The time this takes does not depend on where
    /// the secrets differ.
    pub(crate) fn is_of_form(&self, csrf: &str) -> bool {
        blake3::hash(self.csrf.as_bytes()) == blake3::hash(csrf.as_bytes())
    }
}

fn digest(secret: &str) -> [u8; 32] {
    blake3::derive_key("icecore 2026 session of the panel", secret.as_bytes())
}

/// The open sessions.
pub(crate) struct Sessions {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    accounts: Arc<Accounts>,
}

impl Sessions {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            clock: Arc::clone(&parts.clock),
            accounts: Arc::clone(&parts.accounts),
        }
    }

    /// Begins a session with a token, and returns its secret.
    pub(crate) fn begin(&self, token: &str) -> ApiResult<String> {
        let (token, who) = self.accounts.of_token(token)?;
        let secret = hex(&icecore_host::repository::secret().map_err(ApiError::server)?);
        let now_unix_ms = self.clock.now_unix_ms();
        self.db.begin_session(&NewSession {
            digest: digest(&secret),
            token,
            account: &who.0,
            now_unix_ms,
            expires_unix_ms: now_unix_ms.saturating_add(SESSION_SECONDS * 1000),
        })?;
        Ok(secret)
    }

    /// Returns the session with a secret. A session of an account that is no longer configured does
    /// not count.
    pub(crate) fn get(&self, secret: &str) -> ApiResult<Option<Session>> {
        let account = self.db.session(digest(secret), self.clock.now_unix_ms())?;
        let account = account.filter(|account| self.config.account(account).is_some());
        let csrf = || hex(&blake3::derive_key("icecore 2026 forms of the panel", secret.as_bytes()));
        Ok(account.map(|account| Session { who: Who(account), csrf: csrf() }))
    }

    /// Ends a session.
    pub(crate) fn end(&self, secret: &str) -> ApiResult<()> {
        self.db.end_session(digest(secret))
    }
}
