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

/// The account that a request is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Who(pub(crate) String);

/// The accounts that are configured.
pub(crate) struct Accounts {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    /// By their ids, while something is made that counts towards a limit. Taken before locks of
    /// regions.
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
    /// 401 also where the account is no longer configured.
    pub(crate) fn of_token(&self, token: &str) -> ApiResult<(i64, Who)> {
        let found = self.db.token(token, self.clock.now_unix_ms())?;
        let (id, account) = found.ok_or_else(ApiError::unauthorized)?;
        let known = self.config.account(&account).ok_or_else(ApiError::unauthorized)?;
        Ok((id, Who(known.name.clone())))
    }

    /// Returns what is configured of an account.
    pub(crate) fn get(&self, who: &Who) -> ApiResult<&AccountConfig> {
        self.config.account(&who.0).ok_or_else(ApiError::unauthorized)
    }

    /// Tells whether an account may know what data it shares. Where there are others, that would
    /// tell what they have.
    pub(crate) fn may_know_what_is_shared(&self) -> bool {
        self.config.accounts.len() == 1
    }

    /// Does something that its limits are checked for, while nobody else makes anything in the
    /// account.
    pub(super) fn alone<T>(&self, who: &Who, what: impl FnOnce() -> T) -> T {
        self.locks.alone(uuid_of_account(&who.0), what)
    }
}

/// Returns the id of an account.
pub(crate) fn uuid_of_account(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, format!("{name}.account.icecore").as_bytes())
}
