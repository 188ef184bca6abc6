//! Accounts: the owner of a token, and its configuration.

use std::sync::Arc;

use icecore_host::clock::Clock;
use icecore_host::config::AccountConfig;
use icecore_host::config::Config;
use uuid::Uuid;

use crate::db::Db;
use crate::pool::locks::Locks;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The account that makes a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Who(pub(crate) String);

/// The configured accounts.
pub(crate) struct Accounts {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    /// Locks by account id, held while creating anything that counts towards a limit. Taken before
    /// the locks of regions.
    locks: Locks,
}

impl Accounts {
    pub(super) fn new(config: &Arc<Config>, db: &Arc<Db>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            config: Arc::clone(config),
            db: Arc::clone(db),
            clock: Arc::clone(clock),
            locks: Locks::default(),
        }
    }

    /// Returns the number of a token, and its account.
    ///
    /// # Errors
    /// 401, also if the account is no longer configured.
    pub(crate) fn of_token(&self, token: &str) -> ApiResult<(i64, Who)> {
        let found = self.db.token(token, self.clock.now_unix_ms())?;
        let (id, account) = found.ok_or_else(ApiError::unauthorized)?;
        let known = self.config.account(&account).ok_or_else(ApiError::unauthorized)?;
        Ok((id, Who(known.name.clone())))
    }

    /// Returns the configuration of an account.
    pub(crate) fn get(&self, who: &Who) -> ApiResult<&AccountConfig> {
        self.config.account(&who.0).ok_or_else(ApiError::unauthorized)
    }

    /// Returns whether an account may see how much data it shares. With several accounts, that
    /// would reveal what the others have.
    pub(crate) fn may_know_what_is_shared(&self) -> bool {
        self.config.accounts.len() == 1
    }

    /// Calls `what`, which checks the account's limits, while nobody else creates anything in the
    /// account.
    pub(super) fn alone<T>(&self, who: &Who, what: impl FnOnce() -> T) -> T {
        self.locks.alone(uuid_of_account(&who.0), what)
    }
}

/// Returns the id of an account.
pub(crate) fn uuid_of_account(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, format!("{name}.account.icecore").as_bytes())
}
