//! Actions.

use uuid::Uuid;

use crate::db::Action;
use crate::service::Service;
use crate::service::Who;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

impl Service {
    /// Returns an action of an account.
    pub(crate) fn action(&self, who: &Who, id: &str) -> ApiResult<Action> {
        let id = id.parse().map_err(|_| ApiError::not_found())?;
        self.db().action(&who.0, id)?.ok_or_else(ApiError::not_found)
    }

    /// Returns an action of a resource.
    pub(crate) fn action_of(&self, who: &Who, resource: Uuid, id: &str) -> ApiResult<Action> {
        let action = self.action(who, id)?;
        if action.resource == resource { Ok(action) } else { Err(ApiError::not_found()) }
    }

    /// Returns how many actions there are, of one resource or all, and some of them, newest first.
    pub(crate) fn actions(
        &self,
        who: &Who,
        resource: Option<Uuid>,
        offset: usize,
        count: usize,
    ) -> ApiResult<(usize, Vec<Action>)> {
        self.db().actions(&who.0, resource, offset, count)
    }
}
