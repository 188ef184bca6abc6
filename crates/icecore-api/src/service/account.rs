//! The account of a request.

use icecore_host::config::AccountConfig;
use uuid::Uuid;

use crate::service::Service;
use crate::service::Who;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

impl Service {
    /// Returns the account that a token is of. A token of an account that is not configured any more is none.
    pub(crate) fn who(&self, token: &str) -> ApiResult<(i64, Who)> {
        let found = self.db().token(token, self.now_unix_ms())?;
        let (id, account) = found.ok_or_else(ApiError::unauthorized)?;
        let known = self.config().account(&account).ok_or_else(ApiError::unauthorized)?;
        Ok((id, Who(known.name.clone())))
    }

    /// Does something that its limits are checked for, while nobody else makes anything in the account.
    pub(super) fn alone_in_account<T>(&self, who: &Who, what: impl FnOnce() -> T) -> T {
        self.locks.alone(uuid_of_account(&who.0), what)
    }

    /// Returns what is configured of an account.
    pub(crate) fn account(&self, who: &Who) -> ApiResult<&AccountConfig> {
        self.config().account(&who.0).ok_or_else(ApiError::unauthorized)
    }
}

/// Returns the id of an account.
pub(crate) fn uuid_of_account(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, format!("{name}.account.icecore").as_bytes())
}
